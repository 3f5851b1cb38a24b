from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.config.names import RESERVED_COLUMN_PREFIXES, column_fault, is_id, table_fault

ID_CHARACTERS = string.ascii_letters + string.digits + "_-"


@given(st.text(ID_CHARACTERS, min_size=1, max_size=128))
def test_ids(text: str) -> None:
    assert is_id(text)


@given(st.text().filter(lambda text: not text or len(text) > 128 or set(text) - set(ID_CHARACTERS)))
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("text", ["orders\n", "../orders", "a/b", "a b", "ä", "a" * 129])
def test_ids_stay_inside_their_folder(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("name", ["table 01", "ग्राहक", "00_お客様", "étudiant-01"])
def test_tables_of_the_documentation(name: str) -> None:
    assert table_fault(name) is None


@pytest.mark.parametrize("name", ["a$20240101", "a/b", "a`b", "a\nb", "a.b", "x" * 901, "ä" * 451, "a😀"])
def test_what_is_no_table(name: str) -> None:
    assert table_fault(name) is not None


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,299}", fullmatch=True))
def test_columns(name: str) -> None:
    assert column_fault(name) is None


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "ä", "a" * 301, "_etl_run_id", "_ETL_x", "a\n"])
def test_what_is_no_column(name: str) -> None:
    assert column_fault(name) is not None


@pytest.mark.parametrize("prefix", RESERVED_COLUMN_PREFIXES)
def test_reserved_prefixes_in_any_case(prefix: str) -> None:
    assert column_fault(prefix + "x") is not None
    assert column_fault(prefix.lower() + "x") is not None
