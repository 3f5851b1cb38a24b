"""The cost page shows what the formulae give."""

from __future__ import annotations

import pytest

from tools.cost import EXAMPLES, PAGE, Prices, Run, main, page, parts


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), "run `python -m tools.cost --write`"


def test_the_command_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out in PAGE.read_text()


def test_a_run_with_nothing_new_pays_no_task_and_no_query() -> None:
    spent = parts(EXAMPLES["nothing new"], Prices())
    assert (spent["job"], spent["BigQuery merge"], spent["staging"]) == (0, 0, 0)


def test_one_task_of_the_job_by_hand() -> None:
    # 20 s to start and 40 s to read, 4 CPU and 8 GiB: 60 * (4 * 0.000018 + 8 * 0.000002)
    assert parts(Run(10_000_000), Prices())["job"] == pytest.approx(60 * 0.000088)


def test_workers_by_hand() -> None:
    # 2 workers: 180 s to start each, 40 s to read; 4 CPU and 16 GiB
    spent = parts(Run(10_000_000, workers=2), Prices())
    assert spent["Dataflow"] == pytest.approx((360 + 40) / 3600 * (4 * 0.056 + 16 * 0.003557))
    assert spent["job"] == 0


def test_a_tebibyte_that_is_merged_costs_its_price() -> None:
    assert parts(Run(1, merge_bytes=2**40), Prices())["BigQuery merge"] == 6.25
