"""Jobs that fail, submissions that are refused, extracts that must not be committed."""

from __future__ import annotations

import pytest

from etl_runner.commit.close import Done, Failure
from etl_runner.commit.open_run import Opened, Skipped
from etl_runner.commit.rejects import RejectsEnd, RejectsLoader
from etl_runner.errors import PermanentError
from etl_runner.state.records import CommitRecords
from tests.faults.world import SOURCE, TABLE, World


def _loaded(**shape: object) -> World:
    world = World(**shape)  # type: ignore[arg-type]
    world.process().run("first")
    world.check()
    world.rows += 2
    return world


def _done(result: object) -> Done:
    assert isinstance(result, Done)
    assert result.receipt is not None
    return result


def test_a_final_failure_leaves_table_and_state_as_they_were_and_says_why() -> None:
    world = _loaded()
    before = list(world.table), world.process().store.read().watermark
    world.bigquery.failures = ["invalid"]
    done = _done(world.process().run("bad"))
    assert done.outcome == "failed"
    assert "invalid" in str(done.receipt)
    assert "told to fail" in str(done.receipt)
    assert (list(world.table), world.process().store.read().watermark) == before
    world.process().run("good")
    world.check()


@pytest.mark.parametrize("staged", [False, True])
def test_a_retryable_failure_uses_a_new_job_id(staged: bool) -> None:
    world = _loaded(staged=staged)
    world.bigquery.submitted.clear()
    world.bigquery.failures = ["rateLimitExceeded", "backendError"]
    done = _done(world.process().run("bumpy"))
    assert done.outcome == "ok"
    assert len(set(world.bigquery.submitted)) == len(world.bigquery.submitted) == 3 + staged
    assert [name[-1] for name in world.bigquery.submitted] == list("1234")[: 3 + staged]
    world.check()


def test_retryable_failures_do_not_go_on_for_ever() -> None:
    world = _loaded()
    world.bigquery.failures = ["rateLimitExceeded"] * 100
    done = _done(world.process().run("never"))
    assert done.outcome == "failed"
    assert len(world.bigquery.failures) > 90
    world.bigquery.failures.clear()
    world.process().run("good")
    world.check()


def test_a_refused_submission_burns_its_id() -> None:
    world = _loaded()
    world.bigquery.refusals = 1
    done = _done(world.process().run("refused"))
    assert done.outcome == "failed"
    assert "the request is invalid" in str(done.receipt)
    tombstone = world.bigquery.jobs[f"etl_{SOURCE}_2_refused_1"]
    assert tombstone.tombstone
    world.process().run("good")
    world.check()


def test_other_rows_than_expected_pause_the_source_loudly() -> None:
    world = _loaded()
    world.bigquery.miscount = 1
    done = _done(world.process().run("odd"))
    assert done.outcome == "ok"
    assert done.receipt is not None
    assert done.receipt["row_mismatch"] == {"expected": 2, "loaded": 3}
    with pytest.raises(PermanentError, match="paused: run odd loaded 3 rows where 2 were expected"):
        world.process().run("next")


def test_other_rows_than_expected_in_staging_are_never_published() -> None:
    world = _loaded(staged=True)
    before = list(world.table)
    world.bigquery.miscount = 1
    done = _done(world.process().run("odd"))
    assert done.outcome == "failed"
    assert world.table == before


def test_an_empty_extract_does_not_empty_a_table() -> None:
    world = _loaded(disposition="replace")
    before = list(world.table)
    world.rows = 0
    done = _done(world.process().run("empty"))
    assert done.outcome == "failed"
    assert "allow_empty" in str(done.receipt)
    assert world.table == before
    world.allow_empty = True
    assert _done(world.process().run("meant")).outcome == "ok"
    assert world.table == []


def test_nothing_new_needs_no_job() -> None:
    world = World()
    world.process().run("first")
    world.bigquery.submitted.clear()
    done = _done(world.process().run("second"))
    assert done.outcome == "ok"
    assert world.bigquery.submitted == []
    world.check()


def test_an_empty_source_creates_the_table_and_nothing_else() -> None:
    world = World()
    world.rows = 0
    assert _done(world.process().run("first")).outcome == "ok"
    assert world.bigquery.tables[TABLE] == []
    assert world.bigquery.submitted == []


def test_missing_manifests_fail_the_run() -> None:
    world = _loaded()
    process = world.process()
    opened = process.opener.open_run("gap")
    assert isinstance(opened, Opened)
    process.plans.write_plan(opened.key)
    done = process.finalize(opened.key)
    assert done.outcome == "failed"
    assert "u00000" in str(done.receipt)
    process.run("good")
    world.check()


def test_a_shard_that_is_not_what_its_manifest_says_fails_the_run() -> None:
    world = _loaded()
    process = world.process()
    opened = process.opener.open_run("swapped")
    assert isinstance(opened, Opened)
    step = process.plans.write_plan(opened.key)
    process.extract(step.plan_uri.removeprefix("gs://staging/"))
    shard = next(info for info in world.staging.list("runs/swapped/") if info.name.endswith(".parquet"))
    world.staging.replace(shard.name, b"not parquet", shard.generation)
    before = list(world.table)
    done = process.finalize(opened.key)
    assert done.outcome == "failed"
    assert shard.name in str(done.receipt)
    assert world.table == before


def test_the_failure_path_closes_an_extracting_run_and_says_why() -> None:
    world = _loaded()
    process = world.process()
    opened = process.opener.open_run("sad")
    assert isinstance(opened, Opened)
    done = process.finalize(opened.key, Failure("run_job", "the job ran out of memory"))
    assert done.outcome == "failed"
    assert done.receipt is not None
    assert done.receipt["reason"] == "run_job: the job ran out of memory"
    process.run("good")
    world.check()


def test_a_run_id_of_another_source_is_refused() -> None:
    world = _loaded()
    process = world.process()
    opened = process.opener.open_run("shared")
    assert isinstance(opened, Opened)
    uri = process.plans.write_plan(opened.key).plan_uri.removeprefix("gs://staging/")
    theirs = world.staging.read(uri)
    assert theirs is not None
    data = theirs.data.replace(f'"source_id":"{SOURCE}"'.encode(), b'"source_id":"other"')
    world.staging.replace(uri, data, theirs.generation)
    with pytest.raises(PermanentError, match="is that of a run of source other"):
        process.plans.write_plan(opened.key)
    done = process.finalize(opened.key)
    assert done.outcome == "failed"
    process.run("own")
    world.check()


def test_a_held_slot_is_named_and_writes_no_receipt() -> None:
    world = _loaded()
    process = world.process()
    holder = process.opener.open_run("holder")
    assert isinstance(holder, Opened)
    skipped = process.opener.open_run("late")
    assert isinstance(skipped, Skipped)
    assert skipped.holder.run_id == "holder"
    assert not list(world.state.list(f"sources/{SOURCE}/receipts/late"))
    process.go_on(holder.key)
    world.check()


def test_rejects_follow_a_committed_run_and_no_failed_one() -> None:
    world = World()
    world.rejects = 2
    done = _done(world.process().run("first"))
    assert done.receipt is not None
    assert done.receipt["rejects_table"] == {
        "table": f"{TABLE}__rejects",
        "outcome": "loaded",
        "rows": 4,
        "jobs": [f"etl_{SOURCE}_1_first_r1"],
    }
    assert not list(world.staging.list("runs/first/"))
    world.rows += 2
    world.bigquery.failures = ["invalid"]
    assert _done(world.process().run("bad")).outcome == "failed"
    assert {run for run, _, _ in world.bigquery.rejected} == {"first"}
    world.process().run("good")
    world.check()


def test_rejects_that_cannot_be_loaded_are_kept_and_loaded_when_a_person_says_so() -> None:
    world = World()
    world.rejects = 2
    world.bigquery.rejects_failures = ["invalid"]
    done = _done(world.process().run("first"))
    assert done.outcome == "ok"
    assert done.receipt is not None
    assert done.receipt["rejects_table"]["outcome"] == "kept"
    assert "told to fail" in done.receipt["rejects_table"]["reason"]
    kept = [info.name for info in world.staging.list("runs/first/")]
    assert kept == sorted(done.receipt["rejects_objects"])
    world.check()
    record = CommitRecords(world.state, SOURCE).read("first", 1)
    loader = RejectsLoader(world.bigquery)
    # By themselves, copies of the run never go on after a failure for good.
    again = loader.load(record)
    assert isinstance(again, RejectsEnd)
    assert again.outcome == "kept"
    for _ in range(2):
        end = loader.load(record, go_on=True)
        assert isinstance(end, RejectsEnd)
        assert (end.outcome, end.rows) == ("loaded", 4)
    assert len(world.bigquery.rejected) == 4


def test_no_rejects_need_no_table_operation() -> None:
    world = World()
    world.process().run("first")
    assert set(world.bigquery.tables) == {TABLE}
    assert len(world.bigquery.submitted) == 1
