"""Destination column names (requirement T3)."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl_runner.convert.names import destination_name, destination_names, is_valid
from etl_runner.errors import ConfigError

# BigQuery's rule, written down once more and not imported.
BIGQUERY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
BIGQUERY_PREFIXES = ("_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER")

names = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.text(alphabet="aAbB_1 -%é", max_size=5),
        st.sampled_from(
            ["a" * 299 + "b", "a" * 300, "A" * 300, "a" * 400, "a" * 401, "_PARTITIONDATE", "_etl_run_id"]
        ),
    ),
    unique=True,
    max_size=30,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DiscountApplied(%)", "discountapplied"),
        ("net\namount", "net_amount"),
        ("  spaced  out  ", "spaced_out"),
        ("total 💰 due", "total_due"),
        ("2024_sales", "_2024_sales"),
        ("Prénom", "prenom"),
        ("Straße", "strasse"),
        ("ﬁeld", "field"),
        ("already_fine", "already_fine"),
        ("_private_", "_private_"),
        ("a-_-b", "a_b"),
        ("_PARTITIONTIME", "c_partitiontime"),
        ("_TABLE_SUFFIX", "c_table_suffix"),
        ("_file_name", "c_file_name"),
        ("__ROOT__x", "c__root__x"),
        ("_ROW_TIMESTAMP", "c_row_timestamp"),
        ("_colidentifier_1", "c_colidentifier_1"),
        ("_CHANGE_TYPE", "c_change_type"),
        ("_etl_run_id", "c_etl_run_id"),
        ("__etl_raw", "c__etl_raw"),
    ],
)
def test_one_name(name: str, expected: str) -> None:
    assert destination_name(name) == expected


def test_a_name_of_foreign_letters_only_is_known_by_its_hash() -> None:
    first, second = destination_name("价格"), destination_name("名称")
    assert first != second
    assert re.fullmatch(r"column_[0-9a-f]{8}", first)


def test_long_names_stay_apart() -> None:
    result = destination_names(["x" * 400 + "1", "x" * 400 + "2"])
    assert len(set(result.values())) == 2
    assert {len(name) for name in result.values()} == {300}


def test_duplicates_get_numbers_in_column_order_and_valid_names_keep_theirs() -> None:
    assert destination_names(["Total", "TOTAL", "total", "Total 2"]) == {
        "Total": "total_2",
        "TOTAL": "total_3",
        "total": "total",
        "Total 2": "total_2_2",
    }


def test_chosen_names_are_kept_and_avoided() -> None:
    assert destination_names(["a", "B", "id"], {"a": "ID", "nowhere": "x"}) == {
        "a": "ID",
        "B": "b",
        "id": "id_2",
    }


def test_chosen_names_must_be_valid_and_different() -> None:
    with pytest.raises(ConfigError) as caught:
        destination_names(["a", "b", "c"], {"a": "not valid", "b": "x", "c": "X"})
    assert [problem.path for problem in caught.value.problems] == ["column_mapping.a", "column_mapping.c"]
    assert caught.value.problems[0].suggestion == "not_valid"


def test_a_source_name_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="two columns named 'a'"):
        destination_names(["a", "b", "a"])


@given(names)
@example(["A B", "a-b", "a_b_2", "a_b"])
def test_names_are_valid_unique_and_stable(source: list[str]) -> None:
    result = destination_names(source)
    assert list(result) == source
    for name in result.values():
        assert BIGQUERY_NAME.fullmatch(name)
        assert not name.upper().startswith(BIGQUERY_PREFIXES)
        assert is_valid(name)
    assert len({name.lower() for name in result.values()}) == len(source)
    assert destination_names(list(result.values())) == {name: name for name in result.values()}
    assert destination_names(source) == result


@given(names, st.text(max_size=8))
def test_a_column_added_at_the_end_renames_nobody_unless_its_name_is_valid_already(
    source: list[str], added: str
) -> None:
    if added in source or destination_name(added) == added:
        return
    before = destination_names(source)
    after = destination_names([*source, added])
    assert {name: after[name] for name in source} == before
