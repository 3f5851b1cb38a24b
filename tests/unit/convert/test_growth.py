"""A table's schema grows by what it lacks, at any depth, and by nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from etl_runner.convert.fields import BqField
from etl_runner.convert.growth import grown, lacking, with_added


def _unique(fields: list[BqField]) -> tuple[BqField, ...]:
    return tuple({field.name.lower(): field for field in fields}.values())


def _fields(deep: int) -> st.SearchStrategy[tuple[BqField, ...]]:
    # A name has one type, since a type that differs is another matter than a field that lacks.
    names = st.sampled_from("abcABC")
    leaves = st.builds(BqField, names, st.just("INT64"), st.sampled_from(["NULLABLE", "REQUIRED"]))
    if not deep:
        return st.lists(leaves, min_size=1, max_size=3).map(_unique)
    structs = st.builds(
        BqField,
        st.sampled_from("xyXY"),
        st.just("STRUCT"),
        st.sampled_from(["NULLABLE", "REPEATED"]),
        _fields(deep - 1),
    )
    return st.lists(leaves | structs, min_size=1, max_size=4).map(_unique)


@given(there=_fields(2), wanted=_fields(2))
def test_a_record_has_what_it_had_and_what_it_lacked(
    there: tuple[BqField, ...], wanted: tuple[BqField, ...]
) -> None:
    old, new = BqField("r", "STRUCT", fields=there), BqField("r", "STRUCT", fields=wanted)
    whole = grown(new, old)
    assert lacking(new, whole, "r") == []
    assert lacking(old, whole, "r") == []
    assert (whole == old) == (lacking(new, old, "r") == [])
    # Fields keep their places: who reads a record by position reads what was there before.
    assert [field.name for field in whole.fields][: len(there)] == [field.name for field in there]
    # The planner's schema and the one that the commit makes of the table are the same.
    api = with_added([old.to_api()], [whole.to_api()])
    assert [BqField.from_api(field) for field in api] == [whole]
    assert with_added(api, [whole.to_api()]) == api


def test_what_is_added_is_never_required() -> None:
    inside = BqField("b", "STRUCT", "REQUIRED", (BqField("c", "INT64", "REQUIRED"),))
    whole = grown(
        BqField("r", "STRUCT", fields=(inside,)), BqField("r", "STRUCT", fields=(BqField("a", "DATE"),))
    )
    assert whole.fields[1] == BqField("b", "STRUCT", "NULLABLE", (BqField("c", "INT64"),))


def test_what_the_table_says_of_its_fields_is_kept_word_for_word() -> None:
    a: dict[str, Any] = {"name": "A", "type": "STRING", "policyTags": {"names": ["t"]}, "collation": "und:ci"}
    there: list[dict[str, Any]] = [
        {"name": "Box", "type": "RECORD", "mode": "REPEATED", "fields": [a], "description": "d"}
    ]
    wanted: list[dict[str, Any]] = [
        {
            "name": "box",
            "type": "STRUCT",
            "mode": "REPEATED",
            "fields": [{"name": "a", "type": "STRING"}, {"name": "b", "type": "DATE"}],
        },
        {"name": "n", "type": "INT64"},
    ]
    assert with_added(there, wanted) == [
        {**there[0], "fields": [a, {"name": "b", "type": "DATE"}]},
        {"name": "n", "type": "INT64"},
    ]
