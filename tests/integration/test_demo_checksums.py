"""The demo's comparison must notice any single difference, or its last line says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.errors import PermanentError
from local.demo.checksums import Column, Sum, columns_of, destination_sum, source_sum

pytestmark = pytest.mark.stack

TABLE = """
    CREATE TABLE things (
        id bigint, small smallint, whole int, flag boolean, day date, name text, code varchar(5),
        fixed char(3), price numeric(10, 3), ratio double precision, at timestamptz
    )
"""
ROWS = """
    INSERT INTO things VALUES
        (1, 1, 100, true, '2013-01-01', 'plain', 'ab', 'EWR', 1012.300, 10.357019999999999,
         '2013-01-01 10:15:00.123456+00'),
        (2, -5, 0, false, '1969-12-31', 'a|b|\\N', '', 'JFK', -0.500, 0.5, '1969-12-31 23:59:59.999999+00'),
        (3, NULL, NULL, NULL, NULL, '\\N', NULL, NULL, NULL, NULL, NULL),
        (4, 7, 7, true, '9999-12-31', 'Ærø ✈ |2:x', 'x', 'LGA', 100, 1012, '2013-06-01 00:00:00+00'),
        (5, 7, 7, true, '2000-02-29', '', 'x', 'LG', 0, 0, '2013-06-01 00:00:00+00')
"""
THERE = """
    CREATE TABLE `{dataset}.things` (id INT64, small INT64, whole INT64, flag BOOL, day DATE, name STRING,
        code STRING, fixed STRING, price NUMERIC, ratio FLOAT64, at TIMESTAMP)
"""
ROWS_THERE = r"""
    INSERT INTO `{dataset}.things` (id, small, whole, flag, day, name, code, fixed, price, ratio, at) VALUES
        (1, 1, 100, TRUE, DATE '2013-01-01', 'plain', 'ab', 'EWR', NUMERIC '1012.3', 10.357019999999999,
         TIMESTAMP '2013-01-01 10:15:00.123456+00'),
        (2, -5, 0, FALSE, DATE '1969-12-31', r'a|b|\N', '', 'JFK', NUMERIC '-0.5', 0.5,
         TIMESTAMP '1969-12-31 23:59:59.999999+00'),
        (3, NULL, NULL, NULL, NULL, r'\N', NULL, NULL, NULL, NULL, NULL),
        (4, 7, 7, TRUE, DATE '9999-12-31', 'Ærø ✈ |2:x', 'x', 'LGA', NUMERIC '100', 1012.0,
         TIMESTAMP '2013-06-01 00:00:00+00'),
        (5, 7, 7, TRUE, DATE '2000-02-29', '', 'x', 'LG ', NUMERIC '0', 0.0,
         TIMESTAMP '2013-06-01 00:00:00+00')
"""
DIFFERENCES = (
    "SET small = 2 WHERE id = 1",
    "SET whole = 1 WHERE id = 2",
    "SET flag = FALSE WHERE id = 4",
    "SET day = DATE '2000-03-01' WHERE id = 5",
    "SET name = 'plai' WHERE id = 1",
    "SET name = NULL WHERE id = 3",
    "SET name = NULL WHERE id = 5",
    "SET code = 'xx', fixed = 'GA' WHERE id = 4",
    "SET fixed = 'ewr' WHERE id = 1",
    "SET fixed = 'LG' WHERE id = 5",
    "SET price = NUMERIC '10' WHERE id = 4",
    "SET price = NUMERIC '1012.301' WHERE id = 1",
    "SET ratio = 10.35702 WHERE id = 1",
    "SET at = TIMESTAMP '2013-01-01 10:15:00.123457+00' WHERE id = 1",
    "SET at = NULL WHERE id = 5",
)


@pytest.fixture
def sides(postgres: Any, bigquery: Any) -> tuple[Any, Any, tuple[Column, ...]]:
    """Connection, warehouse and columns of a table that is the same on both sides."""
    postgres.execute(TABLE)
    postgres.execute(ROWS)
    bigquery.rows(THERE)
    bigquery.rows(ROWS_THERE)
    connection = postgres.connect()
    return connection, bigquery, columns_of(connection, "things")


def there(bigquery: Any, columns: tuple[Column, ...]) -> Sum:
    return destination_sum(bigquery.client, f"{bigquery.client.project}.{bigquery.dataset}.things", columns)


def test_equal_tables_agree_and_any_single_difference_is_noticed(
    sides: tuple[Any, Any, tuple[Column, ...]],
) -> None:
    connection, bigquery, columns = sides
    here = source_sum(connection, "things", columns)
    assert here.rows == 5
    assert there(bigquery, columns) == here
    for difference in DIFFERENCES:
        bigquery.rows("CREATE OR REPLACE TABLE `{dataset}.kept` AS SELECT * FROM `{dataset}.things`")
        bigquery.rows(f"UPDATE `{{dataset}}.things` {difference}")
        changed = there(bigquery, columns)
        assert changed.rows == here.rows
        assert changed.checksum != here.checksum, difference
        bigquery.rows("DELETE FROM `{dataset}.things` WHERE TRUE")
        bigquery.rows("INSERT INTO `{dataset}.things` SELECT * FROM `{dataset}.kept`")
    assert there(bigquery, columns) == here


def test_one_row_for_another_of_the_same_count_is_noticed(
    sides: tuple[Any, Any, tuple[Column, ...]],
) -> None:
    connection, bigquery, columns = sides
    bigquery.rows("DELETE FROM `{dataset}.things` WHERE id = 5")
    bigquery.rows("INSERT INTO `{dataset}.things` SELECT * FROM `{dataset}.things` WHERE id = 4")
    here, found = source_sum(connection, "things", columns), there(bigquery, columns)
    assert here.rows == found.rows
    assert here.checksum != found.checksum


def test_empty_tables_agree(sides: tuple[Any, Any, tuple[Column, ...]]) -> None:
    connection, bigquery, columns = sides
    connection.run("DELETE FROM things")
    bigquery.rows("DELETE FROM `{dataset}.things` WHERE TRUE")
    assert source_sum(connection, "things", columns) == there(bigquery, columns) == Sum(0, 0)


def test_a_type_without_a_common_text_is_refused(postgres: Any) -> None:
    postgres.execute("CREATE TABLE odd (a int4range)")
    connection = postgres.connect()
    with pytest.raises(PermanentError, match="column a: int4range"):
        source_sum(connection, "odd", columns_of(connection, "odd"))
