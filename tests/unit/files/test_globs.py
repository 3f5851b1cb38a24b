"""The globs of file_pattern."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.sources.files.globs import compile_glob

CASES = [
    ("*.csv", {"a.csv": True, ".csv": True, "in/a.csv": False, "a.csv.gz": False, "a.CSV": False}),
    ("data_?.parquet", {"data_1.parquet": True, "data_12.parquet": False, "data_/.parquet": False}),
    ("**/part-*.json.gz", {"part-1.json.gz": True, "a/b/part-.json.gz": True, "xpart-1.json.gz": False}),
    ("in/**", {"in/a": True, "in/a/b.csv": True, "in": False, "out/in/a": False}),
    ("a/**/b.csv", {"a/b.csv": True, "a/x/y/b.csv": True, "ab.csv": False, "a/xb.csv": False}),
    ("[0-9][!a-c].csv", {"1d.csv": True, "1a.csv": False, "xd.csv": False, "1/.csv": False}),
    ("[]x].csv", {"].csv": True, "x.csv": True, "y.csv": False}),
    ("[x.csv", {"[x.csv": True, "x.csv": False}),
    ("a.b+c(1).csv", {"a.b+c(1).csv": True, "aXb+c(1).csv": False}),
    ("/in/*.csv", {"in/a.csv": True}),
    ("*", {"a\nb": True, "a/b": False}),
]


@pytest.mark.parametrize(("pattern", "name", "wanted"), [(p, n, w) for p, c in CASES for n, w in c.items()])
def test_a_pattern_means_what_its_documentation_says(pattern: str, name: str, wanted: bool) -> None:
    assert compile_glob(pattern).matches(name) is wanted


def naive(pattern: str, name: str) -> bool:
    """The rules once more, by trying every split; without sets."""
    if pattern == "":
        return name == ""
    if pattern.startswith("**/"):
        rest = pattern[3:]
        return naive(rest, name) or any(
            naive(rest, name[index + 1 :]) for index, sign in enumerate(name) if sign == "/"
        )
    if pattern.startswith("**"):
        return any(naive(pattern[2:].lstrip("*"), name[index:]) for index in range(len(name) + 1))
    if pattern.startswith("*"):
        reach = name.find("/") if "/" in name else len(name)
        return any(naive_tail(pattern[1:], name[index:]) for index in range(reach + 1))
    if not name:
        return False
    if pattern[0] == "?":
        return name[0] != "/" and naive_tail(pattern[1:], name[1:])
    return pattern[0] == name[0] and (
        naive(pattern[1:], name[1:]) if pattern[0] == "/" else naive_tail(pattern[1:], name[1:])
    )


def naive_tail(pattern: str, name: str) -> bool:
    """``**/`` means folders only where a folder's name begins."""
    if pattern.startswith("**/"):
        return any(naive(pattern[2:], name[index:]) for index in range(len(name) + 1))
    return naive(pattern, name)


@given(st.text("ab/*?", max_size=8), st.text("ab/", max_size=8))
def test_it_agrees_with_trying_every_split(pattern: str, name: str) -> None:
    assert compile_glob(pattern).matches(name) is naive(pattern.lstrip("/"), name)


@given(st.text("ab/*?[]!-", max_size=10), st.text("ab/*?[]!-", max_size=10))
def test_every_match_begins_with_the_literal_part(pattern: str, name: str) -> None:
    glob = compile_glob(pattern)
    if glob.regex.fullmatch(name):
        assert name.startswith(glob.literal)
