from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.config.text import MAX_BYTES, read_document
from etl_runner.errors import ConfigError


def read(text: str | bytes, name: str = "sources/x.yaml") -> Any:
    return read_document(text, name=name).value


def refused(text: str | bytes, name: str = "sources/x.yaml") -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("5432", 5432), ("-1", -1), ("0", 0), ("true", True), ("False", False), ("null", None), ("~", None),
        ("", None), ("no", "no"), ("on", "on"), ("yes", "yes"), ("Off", "Off"), ("2024-01-31", "2024-01-31"),
        ("2024-01-31 08:00:00", "2024-01-31 08:00:00"), ("007", "007"), ("0x1F", "0x1F"), ("1_000", "1_000"),
        ("1.50", "1.50"), ("1e3", "1e3"), ("12:30", "12:30"), (".inf", ".inf"), ("'5432'", "5432"),
        ('"true"', "true"), ("-5d", "-5d"), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_scalars_without_surprises(scalar: str, value: object) -> None:
    found = read(f"field: {scalar}\n")["field"]
    assert found == value
    assert type(found) is type(value)


@given(
    st.dictionaries(
        st.text(min_size=1), st.integers(-(10**17), 10**17) | st.booleans() | st.text() | st.none()
    )
)
def test_json_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert read(json.dumps(value), "x.json") == value


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(st.characters(codec="ascii"))))
def test_quoted_yaml_comes_back_as_it_was(value: dict[str, str]) -> None:
    text = "".join(f"{key}: {json.dumps(item)}\n" for key, item in value.items())
    assert (read(text) or {}) == value


def test_each_line_is_known() -> None:
    raw = read_document("a: 1\nb:\n  c: 2\n  d: [x,\n     y]\n", name="x.yaml")
    assert raw.lines[("b", "c")] == 3
    assert raw.lines[("b", "d", "1")] == 5


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    assert "line 3, column 1: duplicate key: the same key is already on line 1" in refused(
        "a: 1\nb: 2\na: 3\n"
    )
    assert "an object has the same key twice" in refused('{"a": 1, "a": 2}', "x.json")


def test_syntax_errors_name_line_and_column() -> None:
    assert refused("a: 1\nb: [2\n").startswith("sources/x.yaml: 1 problem\n  - line 3, column 1: is not YAML")
    assert "line 2, column 3: is not JSON" in refused('{"a": 1,\n  b: 2}', "sources/x.json")


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *y\n", "a: !!python/object:os.system x\n", "a: !secret x\n", "a: 1\n---\nb: 2\n",
        "a: {<<: {b: 1}}\n", "? [a]\n: 1\n", "a: \x01\n", "\tb: 1\n", "a: !!set {x}\n",
        "a: &a [*a]\n", "%YAML 9.9\n---\n: :\n  - b: [\n",
    ],
)  # fmt: skip
def test_more_than_a_plain_document_is_refused(text: str) -> None:
    assert refused(text)


def test_bombs_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "too large" in refused("\n".join(lines))
    assert "too deeply" in refused("[" * 100_000)
    assert "too deeply" in refused("[" * 100_000, "x.json")
    assert "is larger than" in refused(b" " * (MAX_BYTES + 1))


def test_encodings() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n") == {"a": 1}
    assert "line 2: is not UTF-8" in refused(b"a: 1\nb: \xff\n")


@pytest.mark.parametrize(
    "pattern", ["p: *{}\n", "p: !{} x\n", "p: &{0} 1\nq: &{0} [*x{0}]\n", "%{}\n---\na: 1\n", "p: !{}! x\n"]
)
@given(secret=st.from_regex(r"[A-Za-z0-9]{8,20}", fullmatch=True))
def test_no_error_repeats_the_document(pattern: str, secret: str) -> None:
    try:
        read(pattern.format(secret))
    except ConfigError as error:
        assert secret not in str(error)
        assert secret not in repr(error)
