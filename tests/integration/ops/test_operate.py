"""Backfill, cancel, retry, show and adopt on the local stack, by the commands that people use."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from etl_runner.cli.deployment import cloud_deployment
from etl_runner.cli.main import app
from etl_runner.commit.close import RunKey
from etl_runner.gcp import clients
from etl_runner.state.requests import Backfill, Requests
from tests.integration.exactness.lab import Lab, until

pytestmark = pytest.mark.stack


def etl_runner(lab: Lab, *arguments: str) -> tuple[int, Any]:
    """Exit code and the one document on stdout."""
    deployment = cloud_deployment(lab.stack.settings)
    done = CliRunner().invoke(app, [*arguments, "--json"], obj=deployment)
    print(done.stdout)  # for whoever reads a failure
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def orders(lab: Lab) -> Lab:
    """Ten orders, one a day, loaded."""
    lab.database.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL, amount numeric(9,2), note text)"
    )
    lab.database.execute(
        "INSERT INTO orders SELECT n, timestamptz '2025-12-31 00:00+00' + n * interval '1 day', n, 'n' || n "
        "FROM generate_series(1, 10) n"
    )
    lab.put(source_table_name="orders", timestamp_column="at")
    lab.run_ok()
    return lab


def _loaded(lab: Lab) -> Counter[tuple[int, str]]:
    rows = lab.bigquery.query_and_wait(f"SELECT id, note FROM `{lab.path}`")
    return Counter((row["id"], row["note"]) for row in rows)


def _source(lab: Lab) -> Counter[tuple[int, str]]:
    return Counter(
        (int(str(row[0])), str(row[1])) for row in lab.database.query("SELECT id, note FROM orders")
    )


def test_a_backfill_replaces_exactly_its_window_and_leaves_the_watermark(orders: Lab) -> None:
    before = orders.state().watermark
    # Changed, removed and added without moving a cursor out of the window; and one change outside of it.
    orders.database.execute("UPDATE orders SET note = 'corrected' WHERE id IN (3, 9)")
    orders.database.execute("DELETE FROM orders WHERE id = 4")
    orders.database.execute("INSERT INTO orders VALUES (11, '2026-01-05 12:00:00+00', 1, 'late')")
    window = ("--from", "2026-01-03", "--to", "2026-01-06")
    code, answer = etl_runner(orders, "backfill", orders.source_id, *window)
    assert (code, answer["outcome"]) == (0, "ok"), json.dumps(answer)
    assert answer["run_id"].startswith("backfill-")
    wanted = _source(orders)
    wanted[(9, "corrected")] -= 1
    wanted[(9, "n9")] += 1
    assert _loaded(orders) == +wanted
    assert orders.state().watermark == before
    assert answer["receipt"]["disposition"] == "replace_range"
    # Nothing is doubled by the next regular run.
    orders.run_ok()
    assert _loaded(orders) == +wanted


def test_a_backfill_that_appends_leaves_what_is_there(orders: Lab) -> None:
    code, answer = etl_runner(
        orders, "backfill", orders.source_id, "--from", "2026-01-02", "--to", "2026-01-04", "--append"
    )
    assert (code, answer["receipt"]["rows_loaded"]) == (0, 2)
    assert _loaded(orders) == _source(orders) + Counter({(2, "n2"): 1, (3, "n3"): 1})


def test_a_backfill_of_an_emptied_window_deletes_only_when_told(orders: Lab) -> None:
    orders.database.execute("DELETE FROM orders WHERE id = 7")
    window = ("--from", "2026-01-07", "--to", "2026-01-08")
    code, answer = etl_runner(orders, "backfill", orders.source_id, *window)
    assert (code, answer["outcome"]) == (1, "failed")
    assert "--allow-empty" in answer["receipt"]["reason"]
    assert sum(_loaded(orders).values()) == 10
    code, _ = etl_runner(orders, "backfill", orders.source_id, *window, "--allow-empty")
    assert code == 0
    assert _loaded(orders) == _source(orders)


def test_a_backfill_ends_where_regular_runs_will_look_again(orders: Lab) -> None:
    orders.database.execute("INSERT INTO orders VALUES (12, now() - interval '5 seconds', 1, 'new')")
    code, answer = etl_runner(
        orders, "backfill", orders.source_id, "--from", "2026-01-09", "--to", "2999-01-01"
    )
    assert code == 0, answer
    assert any("regular runs load what lies behind it" in note for note in answer["receipt"]["notes"])
    orders.run_ok()
    assert _loaded(orders) == _source(orders)


def test_wrong_windows_and_sources_are_refused_before_anything_is_started(orders: Lab) -> None:
    orders.put("catalog-" + orders.source_id, source_table_name="orders", load_type="catalog")
    wrong = [
        (orders.source_id, "2026-01-09", "2026-01-09", "--to does not lie after --from"),
        (orders.source_id, "2026-01-09", "soon", "--to: is no value of the cursor's type timestamptz"),
        (orders.source_id, "2998-01-01", "2999-01-01", "the next regular run loads what lies there"),
        ("catalog-" + orders.source_id, "2026-01-01", "2026-01-02", "loaded as a whole"),
    ]
    epoch = orders.state().epoch
    for source_id, start, end, sentence in wrong:
        code, answer = etl_runner(orders, "backfill", source_id, "--from", start, "--to", end)
        assert code == 3, answer
        assert sentence in answer["error"]["message"].replace("--to: does", "--to does")
    assert orders.state().epoch == epoch


def test_a_cursor_of_decimals_is_compared_and_backfilled(lab: Lab) -> None:
    lab.database.execute("CREATE TABLE orders (id int, seq numeric(12,3) PRIMARY KEY, note text)")
    lab.database.execute("INSERT INTO orders SELECT n, n / 4.0, 'n' || n FROM generate_series(1, 12) n")
    lab.put(source_table_name="orders", incrementing_column="seq", late_window="0")
    lab.run_ok()
    path = f"`{lab.path}`"
    lab.bigquery.query_and_wait(f"DELETE FROM {path} WHERE id = 5")
    lab.bigquery.query_and_wait(f"UPDATE {path} SET note = 'x' WHERE id = 12")
    code, answer = etl_runner(lab, "reconcile", lab.source_id)
    assert (code, answer["differing"]) == (1, 2), answer
    code, answer = etl_runner(lab, "reconcile", lab.source_id, "--repair")
    assert (code, answer["differing"]) == (0, 0), answer
    assert _loaded(lab) == _source(lab)
    # From 1.25 on and before 1.75: 5 and 6, and neither the row before nor the one at the end.
    lab.bigquery.query_and_wait(f"UPDATE {path} SET note = 'y' WHERE id BETWEEN 4 AND 7")
    code, answer = etl_runner(lab, "backfill", lab.source_id, "--from", "1.25", "--to", "1.75")
    assert (code, answer["receipt"]["rows_loaded"]) == (0, 2), answer
    wanted = _source(lab)
    for number in (4, 7):
        wanted[(number, f"n{number}")] -= 1
        wanted[(number, "y")] += 1
    assert _loaded(lab) == +wanted


def test_a_table_within_its_late_window_is_not_called_equal(lab: Lab) -> None:
    lab.database.execute("CREATE TABLE orders (id int PRIMARY KEY, note text)")
    lab.database.execute("INSERT INTO orders SELECT n, 'n' || n FROM generate_series(1, 12) n")
    lab.put(source_table_name="orders", incrementing_column="id", late_window="100")
    lab.run_ok()
    deployment = cloud_deployment(lab.stack.settings)
    done = CliRunner().invoke(app, ["reconcile", lab.source_id], obj=deployment)
    assert (done.exit_code, "nothing was compared" in done.stdout) == (0, True), done.stdout
    assert "equal" not in done.stdout


def test_a_backfill_killed_between_its_two_jobs_is_rolled_forward_by_the_next_run(orders: Lab) -> None:
    orders.database.execute("UPDATE orders SET note = 'again' WHERE id = 5")
    run_id = f"backfill-{orders.run_id('killed')}"
    Requests(orders.deployment.state, orders.source_id).write(run_id, Backfill("2026-01-05", "2026-01-06"))
    opened = orders.deployment.opener(orders.source_id).open_run(run_id)
    key: RunKey = opened.key  # type: ignore[union-attr]
    orders.deployment.plan_writer(orders.source_id).write_plan(key)
    orders.extract(key)
    finalizer = orders.deployment.finalizer(orders.source_id)
    finalizer.finalize(key)  # submits the first job, and dies before it looks at it again
    # A run that comes while the second job is at it is skipped, as any is.
    until(lambda: (orders.run().result or {}).get("outcome") == "ok", "the next run")
    assert _loaded(orders) == _source(orders)
    assert {receipt["outcome"] for receipt in orders.receipts()} == {"ok"}


def test_an_extracting_run_is_cancelled_and_what_works_for_it_is_stopped(orders: Lab) -> None:
    orders.database.execute("INSERT INTO orders VALUES (20, now() - interval '2 min', 1, 'x')")
    key, _ = orders.open_and_plan("slow")
    code, answer = etl_runner(orders, "cancel", key.run_id, "--source", orders.source_id)
    assert (code, answer["was"], answer["outcome"]) == (0, "extracting", "cancelled")
    assert answer["receipt"]["reason"].startswith("cancelled by ")
    state = orders.state()
    assert state.slot is None
    assert state.last is not None
    assert state.last.outcome == "cancelled"
    orders.extract(key)  # a task that nobody could stop
    assert orders.finalize(key).outcome == "cancelled"
    assert sum(_loaded(orders).values()) == 10
    # Asked again, it says how it ended.
    assert etl_runner(orders, "cancel", key.run_id)[1]["was"] == "over"
    code, answer = etl_runner(orders, "retry", key.run_id)
    assert (code, answer["outcome"]) == (0, "ok")
    assert _loaded(orders) == _source(orders)


def test_cancelling_stops_the_workflow_and_the_job(orders: Lab) -> None:
    orders.database.execute("INSERT INTO orders VALUES (21, now() - interval '2 min', 1, 'x')")
    slow = "SELECT id, at, amount, note || coalesce(pg_sleep(3)::text, '') AS note FROM orders"
    orders.put(query=slow, timestamp_column="at")
    orders.deployment.store(orders.source_id).change(
        lambda state: replace(state, watermark=None) if state.watermark else None
    )
    name = orders.stack.start_run(orders.source_id)
    run_id = name.rsplit("/", 1)[1]
    executions = clients.job_executions_client(orders.stack.settings)

    def working() -> bool:
        found = executions.list_executions(parent=_job(orders))
        return any(run_id in str(one.template) and one.running_count for one in found)

    until(working, "the job's task to run")
    code, answer = etl_runner(orders, "cancel", run_id)
    assert (code, answer["outcome"]) == (0, "cancelled"), answer
    assert len(answer["stopped"]) == 2
    assert orders.stack.wait_run(name, 60).state == "CANCELLED"
    until(lambda: not working(), "the task to end")
    assert sum(_loaded(orders).values()) == 10


def _job(lab: Lab) -> str:
    settings = lab.stack.settings
    return f"projects/{settings.project}/locations/{settings.location}/jobs/{settings.job}"


def test_a_committing_run_is_rolled_forward_instead(orders: Lab) -> None:
    orders.database.execute("INSERT INTO orders VALUES (13, now() - interval '2 min', 1, 'new')")
    key, _ = orders.open_and_plan("committing")
    orders.extract(key)
    orders.faults.inject("slow_job", method="POST", path="/jobs", job_id=key.run_id, polls=3)
    orders.deployment.finalizer(orders.source_id).finalize(key)
    assert orders.state().slot is not None
    code, answer = etl_runner(orders, "cancel", key.run_id)
    assert (code, answer["was"], answer["outcome"]) == (0, "committing", "ok")
    assert _loaded(orders) == _source(orders)
    code, answer = etl_runner(orders, "retry", key.run_id)
    assert code == 6
    assert "committed" in answer["error"]["message"]
    code, answer = etl_runner(orders, "show", key.run_id)
    assert (code, answer["receipt"]["rows_loaded"]) == (0, 1)


def test_a_value_is_taken_over_without_loading_again(lab: Lab, tmp_path: Path) -> None:
    lab.database.execute("CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL, note text)")
    lab.database.execute("INSERT INTO orders VALUES (1, '2026-01-01+00', 'old'), (2, '2026-01-02+00', 'new')")
    lab.put(source_table_name="orders", timestamp_column="at")
    arguments = ("adopt", lab.source_id, "--last-sync-value", "2026-01-01T00:00:00Z")
    for _ in range(2):
        assert etl_runner(lab, *arguments)[0] == 0
    assert lab.run_ok()["rows_loaded"] == 1
    assert _loaded(lab) == Counter({(2, "new"): 1})
    code, answer = etl_runner(lab, *arguments)
    assert code == 6
    assert "etl-runner reset" in answer["error"]["message"]


def test_reconcile_finds_each_difference_and_repairs_exactly_those(orders: Lab) -> None:
    code, answer = etl_runner(orders, "reconcile", orders.source_id, "--by", "day")
    assert (code, answer["differing"], len(answer["ranges"])) == (0, 0, 10), answer
    assert answer["compared"] == ["id", "at", "amount", "note"]
    path = f"`{orders.path}`"
    for damage in (
        f"DELETE FROM {path} WHERE id = 2",
        f"UPDATE {path} SET note = 'n6!' WHERE id = 6",
        f"UPDATE {path} SET amount = amount + 1 WHERE id = 8",
        f"INSERT INTO {path} (id, at, amount, note) SELECT id, at, amount, note FROM {path} WHERE id = 9",
    ):
        orders.bigquery.query_and_wait(damage)
    code, answer = etl_runner(orders, "reconcile", orders.source_id, "--by", "day")
    assert code == 1
    assert [
        (item["start"][:10], item["verdict"]) for item in answer["ranges"] if item["verdict"] != "equal"
    ] == [
        ("2026-01-02", "missing"),
        ("2026-01-06", "different"),
        ("2026-01-08", "different"),
        ("2026-01-09", "extra"),
    ]
    before = orders.state().watermark
    code, answer = etl_runner(orders, "reconcile", orders.source_id, "--by", "day", "--repair")
    assert (code, answer["differing"], len(answer["repairs"])) == (0, 0, 3), (
        answer
    )  # two of them are neighbours
    assert _loaded(orders) == _source(orders)
    assert orders.state().watermark == before
