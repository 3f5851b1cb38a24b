"""The standard library's functions, by what the documentation says of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.workflows.errors import WorkflowError
from tests.workflow.running import run
from tests.workflow.servers import FakeClock


def value(expression: str, **options: Any) -> Any:
    quoted = expression.replace("'", "''")
    return run(f"- a:\n    return: '${{{quoted}}}'", **options)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('sys.get_env("GOOGLE_CLOUD_PROJECT_ID")', "p"),
        ('sys.get_env("NOT_SET", "default")', "default"),
        ("sys.now()", 1_700_000_000.0),
        ("default(null, 1)", 1),
        ("default(false, 1)", False),
        ('if(1 < 2, "yes", "no")', "yes"),
        ('if(null, "yes", "no")', "no"),
        ('len("äö")', 2),
        ("len([1, 2, 3])", 3),
        ('keys(json.decode("{\\"a\\": 1, \\"b\\": 2}"))', ["a", "b"]),
        ("get_type(1)", "integer"),
        ("get_type(1.0)", "double"),
        ("get_type(null)", "null"),
        ("get_type([])", "list"),
        ('get_type(text.encode("x"))', "bytes"),
        ('int("12")', 12),
        ("int(2.7)", 2),
        ('double("2.5")', 2.5),
        ("string(true)", "true"),
        ("string(1.5)", "1.5"),
        ('json.decode("[1, null]")', [1, None]),
        ('json.encode_to_string([1, "ä"])', '[1,"ä"]'),
        ('text.decode(json.encode("x"))', '"x"'),
        ('map.get(json.decode("{\\"a\\": {\\"b\\": 1}}"), ["a", "b"])', 1),
        ('map.get(json.decode("{\\"a\\": 1}"), "z")', None),
        ('map.get(json.decode("{\\"a\\": 1}"), ["a", "b"])', None),
        ('map.delete(json.decode("{\\"a\\": 1, \\"b\\": 2}"), "a")', {"b": 2}),
        ('map.merge(json.decode("{\\"a\\": 1}"), json.decode("{\\"a\\": 2}"))', {"a": 2}),
        (
            'map.merge_nested(json.decode("{\\"a\\":{\\"x\\":1}}"), json.decode("{\\"a\\":{\\"y\\":2}}"))',
            {"a": {"x": 1, "y": 2}},
        ),
        ("list.concat([1], [2])", [1, [2]]),
        ("list.prepend([1], 0)", [0, 1]),
        ('text.find_all("banana", "an")', [1, 3]),
        ('text.match_regex("abc-12", "[0-9]+$")', True),
        ('text.replace_all("a.b.c", ".", "/")', "a/b/c"),
        ('text.replace_all_regex("a1b22", "[0-9]+", "#")', "a#b#"),
        ('text.split("a,b", ",")', ["a", "b"]),
        ('text.substring("abcdef", 1, 3)', "bc"),
        ('text.to_lower("AbC")', "abc"),
        ('text.to_upper("AbC")', "ABC"),
        ('text.url_encode("a b/ä")', "a%20b%2F%C3%A4"),
        ('text.url_encode_plus("a b")', "a+b"),
        ('text.url_decode("a%20b")', "a b"),
        ('text.url_decode_plus("a+b")', "a b"),
        ("time.format(0)", "1970-01-01T00:00:00Z"),
        ('time.format(0, "Europe/Berlin")', "1970-01-01T01:00:00+01:00"),
        ('time.parse("1970-01-01T00:01:00Z")', 60.0),
        ("math.abs(-3)", 3),
        ("math.max(1, 2.5)", 2.5),
        ("math.min(1, 2.5)", 1),
        ("math.floor(-1.5)", -2),
        ('base64.encode(text.encode("hi"))', "aGk="),
        ('base64.encode(text.encode("hi"), false)', "aGk"),
        ('text.decode(base64.decode("aGk="))', "hi"),
        ('text.decode(base64.decode("aGk", false))', "hi"),
        ("retry.always(null)", True),
        ("retry.never(null)", False),
    ],
)
def test_functions(expression: str, expected: Any) -> None:
    found = value(expression)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "tag"),
    [
        ('sys.get_env("NOT_SET")', "KeyError"),
        ("sys.get_env(1)", "TypeError"),
        ("len(1)", "TypeError"),
        ("int(null)", "TypeError"),
        ('int("1.5x")', "ValueError"),
        ('double("x")', "ValueError"),
        ("string(null)", "TypeError"),
        ('json.decode("{")', "ValueError"),
        ('json.encode(text.encode("x"))', "TypeError"),
        ('map.delete(json.decode("{}"), "a")', "KeyError"),
        ('map.get([1], "a")', "TypeError"),
        ('text.substring("abc", 2, 9)', "IndexError"),
        ('text.match_regex("a", "(")', "ValueError"),
        ('time.parse("yesterday")', "ValueError"),
        ('time.format(0, "Mars/Phobos")', "ValueError"),
        ('base64.decode("!")', "ValueError"),
        ('text.decode(base64.decode("/w=="))', "ValueError"),
    ],
)
def test_errors(expression: str, tag: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        value(expression)
    assert caught.value.tags == (tag,)


def test_a_generated_uuid_is_new_each_time() -> None:
    first, second = value("uuid.generate()"), value("uuid.generate()")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first)
    assert first != second


def test_sleep_waits_on_the_clock_it_is_given() -> None:
    clock = FakeClock()
    run("- a:\n    call: sys.sleep\n    args: {seconds: 90}", clock=clock)
    assert clock.sleeps == [90]


def test_log_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run('- a:\n    call: sys.log\n    args: {json: {"rows": 3}, severity: WARNING}')
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", '{"rows":3}')
    ]


@pytest.mark.parametrize(
    ("error", "idempotent", "other"),
    [
        ('{"tags": ["HttpError"], "code": 429}', True, True),
        ('{"tags": ["HttpError"], "code": 503}', True, True),
        ('{"tags": ["HttpError"], "code": 502}', True, False),
        ('{"tags": ["HttpError"], "code": 500}', False, False),
        ('{"tags": ["HttpError"], "code": 422}', False, False),
        ('{"tags": ["ConnectionError"]}', True, False),
        ('{"tags": ["ConnectionFailedError"]}', True, True),
        ('{"tags": ["TimeoutError"]}', True, False),
        ('"text"', False, False),
    ],
)
def test_default_predicates(error: str, idempotent: bool, other: bool) -> None:
    source = f"""
        - a:
            assign:
              - e: {error}
        - b:
            return:
              - ${{http.default_retry_predicate(e)}}
              - ${{http.default_retry_predicate_non_idempotent(e)}}
        """
    assert run(source) == [idempotent, other]
