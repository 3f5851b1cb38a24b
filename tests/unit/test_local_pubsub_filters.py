"""Subscription filters: what passes, and what is refused."""

from __future__ import annotations

import pytest

from local.pubsub.filters import FilterSyntaxError, parse_filter


@pytest.mark.parametrize(
    ("text", "passes", "fails"),
    [
        ("", {}, None),
        ('attributes.type = "a"', {"type": "a"}, {"type": "b"}),
        ('attributes.type != "a"', {}, {"type": "a"}),
        ("attributes:type", {"type": ""}, {}),
        ('hasPrefix(attributes.name, "in/")', {"name": "in/x"}, {"name": "out/x"}),
        ('NOT attributes.type = "a"', {"type": "b"}, {"type": "a"}),
        ("-attributes:type", {}, {"type": "a"}),
        ('attributes."ce-type" = "a \\"b\\""', {"ce-type": 'a "b"'}, {"ce-type": "a"}),
        ('attributes.a="1" AND attributes.b="2"', {"a": "1", "b": "2"}, {"a": "1"}),
        ('attributes.a="1" OR attributes.b="2"', {"b": "2"}, {"a": "2"}),
        ('(attributes:a OR attributes:b) AND NOT attributes.c="x"', {"b": ""}, {"b": "", "c": "x"}),
    ],
)
def test_filters(text: str, passes: dict[str, str], fails: dict[str, str] | None) -> None:
    accept = parse_filter(text)
    assert accept(passes)
    if fails is not None:
        assert not accept(fails)


@pytest.mark.parametrize(
    "text",
    [
        "attributes.type",
        'attributes.type = "a',
        'type = "a"',
        "attributes.type = a",
        "attributes:a AND attributes:b OR attributes:c",
        "(attributes:a",
        'hasPrefix(attributes.a "x")',
        "attributes:a attributes:b",
        "attributes:",
    ],
)
def test_what_the_service_would_refuse_is_refused(text: str) -> None:
    with pytest.raises(FilterSyntaxError, match="Filter"):
        parse_filter(text)
