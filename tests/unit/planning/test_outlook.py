"""What a plan will cost, against figures reckoned by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etl_runner.convert.fields import BqField
from etl_runner.planning.outlook import Operations, estimated_cost, planned_operations
from tests.unit.cli.conftest import make_plan

HEADER = make_plan(2).header


def test_what_is_left_counts_the_plan_and_the_last_day() -> None:
    assert Operations(1, 1_400).left == 99


def test_a_plan_without_units_makes_no_table_operation() -> None:
    assert planned_operations(HEADER) == 1
    assert planned_operations(replace(HEADER, units=0, engine="none")) == 0


def test_the_cost_of_an_extraction_is_its_task_seconds() -> None:
    header = replace(HEADER, tasks=2, slots=2, estimated_rows=80_000_000, units=1_600)
    # 2 tasks of 15 s and a quarter of 400 s each; a second costs 4 CPUs and 8 GiB.
    seconds = 2 * (15 + 100)
    assert estimated_cost(header).dollars == pytest.approx(seconds * (4 * 0.000018 + 8 * 0.000002))
    assert estimated_cost(replace(header, units=0, tasks=0)).dollars == 0


def test_a_staged_load_pays_for_reading_its_staging_table() -> None:
    destination = replace(HEADER.destination, schema=(BqField("doc", "JSON"),))
    plain = replace(HEADER, estimated_bytes=2**40)
    staged = replace(plain, destination=destination)
    assert estimated_cost(staged).dollars - estimated_cost(plain).dollars == pytest.approx(6.25)
