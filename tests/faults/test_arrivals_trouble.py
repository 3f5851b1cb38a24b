"""Files that cannot be loaded, that are gone, or that come out of order; and tables whose day is used up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from etl_runner.commit.close import timestamp
from etl_runner.errors import RetryableError
from etl_runner.events.arrivals import Arrival
from etl_runner.events.budget import TableOperations
from etl_runner.events.load import Loaded
from etl_runner.events.object_event import ObjectEvent
from tests.faults.arrivals_world import TABLE, World, broken, unblamed


def note(world: World, *events: ObjectEvent) -> None:
    for event in events:
        world.process().arrivals.note(Arrival.of(event, timestamp(world.now)))


def names(world: World) -> list[list[str]]:
    return [[uri.removeprefix("gs://b/") for uri, _ in files] for files in world.commits]


def until_quiet(world: World, rounds: int = 20) -> list[Loaded]:
    """Sweeps, an hour apart."""
    done = []
    for _ in range(rounds):
        done.append(world.process().load())
        world.later(hours=1)
    return done


class TestPoison:
    def test_it_is_set_aside_after_three_attempts_and_holds_nobody_up(self) -> None:
        world = World()
        note(world, *(world.bucket.put(f"{n}.csv") for n in range(4)))
        world.poison["2.csv"] = broken()
        first = world.process().load()
        assert names(world) == [["0.csv", "1.csv", "3.csv"]]
        assert first.failed == 1
        assert first.status == "postponed"
        until_quiet(world)
        (aside,) = world.arrivals().all_set_aside()
        assert (aside.arrival.name, aside.kind, aside.attempts) == ("2.csv", "poisonous", 3)
        assert "not a Parquet file" in aside.reason
        assert world.arrivals().hashes() == set()
        assert len(world.commits) == 1

    def test_its_event_delivered_again_does_not_bring_it_back(self) -> None:
        world = World()
        event = world.bucket.put("bad.csv")
        world.poison["bad.csv"] = broken()
        world.process().deliver(event)
        until_quiet(world)
        runs = len(world.events.published)
        assert world.process().deliver(event).status == "empty"
        assert len(world.events.published) == runs

    def test_replayed_it_is_loaded(self) -> None:
        world = World()
        world.poison["bad.csv"] = broken()
        world.process().deliver(world.bucket.put("bad.csv"))
        until_quiet(world)
        world.poison.clear()
        (aside,) = world.arrivals().all_set_aside()
        world.arrivals().replay(aside)
        world.process().load()
        assert names(world) == [["bad.csv"]]
        assert world.arrivals().all_set_aside() == []

    def test_one_failure_is_forgotten_once_the_file_is_loaded(self) -> None:
        world = World()
        world.poison["a.csv"] = broken()
        world.process().deliver(world.bucket.put("a.csv"))
        world.poison.clear()
        until_quiet(world, 2)
        world.check()
        assert world.arrivals().attempts() == {}

    def test_pauses_grow(self) -> None:
        world = World(retry_seconds=30)
        world.poison["a.csv"] = broken()
        start = world.now
        world.process().deliver(world.bucket.put("a.csv"))
        until = world.process().load().until
        assert until is not None
        assert until - start == timedelta(seconds=30)
        world.later(seconds=31)
        until = world.process().load().until
        assert until is not None
        assert until - start == timedelta(seconds=31 + 60)

    def test_a_failure_that_names_no_file_is_narrowed_down(self) -> None:
        world = World()
        note(world, *(world.bucket.put(f"{n:02}.csv") for n in range(16)))
        world.poison["05.csv"] = unblamed()
        until_quiet(world, 40)
        (aside,) = world.arrivals().all_set_aside()
        assert aside.arrival.name == "05.csv"
        assert sorted(name for files in names(world) for name in files) == [
            f"{n:02}.csv" for n in range(16) if n != 5
        ]

    def test_what_may_pass_is_told_and_nothing_is_set_aside(self) -> None:
        world = World()
        world.poison["a.csv"] = RetryableError("the source's bucket does not answer")
        loaded = world.process().deliver(world.bucket.put("a.csv"))
        assert isinstance(loaded.trouble, RetryableError)
        world.poison.clear()
        until_quiet(world, 2)
        world.check()


class TestVersions:
    def test_an_overwritten_object_is_loaded_as_it_is_now_whichever_event_comes(self) -> None:
        world = World()
        old = world.bucket.put("a.csv")
        world.bucket.put("a.csv")
        world.process().deliver(old)
        world.check()
        (aside,) = world.arrivals().all_set_aside()
        assert (aside.kind, aside.arrival.version) == ("replaced", "1")

    def test_an_event_for_an_older_version_than_the_loaded_one_is_ignored(self) -> None:
        world = World()
        old = world.bucket.put("a.csv")
        world.process().deliver(world.bucket.put("a.csv"))
        commits = world.commits
        assert world.process().deliver(old).status == "empty"
        assert world.commits == commits
        assert world.arrivals().all_set_aside() == []
        world.check()

    def test_an_overwritten_object_that_was_loaded_is_loaded_again(self) -> None:
        world = World()
        world.process().deliver(world.bucket.put("a.csv"))
        world.process().deliver(world.bucket.put("a.csv"))
        assert [version for files in world.commits for _, version in files] == ["1", "2"]

    def test_a_deleted_object_is_reported_and_not_fatal(self) -> None:
        world = World()
        events = [world.bucket.put(f"{n}.csv") for n in range(3)]
        note(world, *events)
        del world.bucket.files["1.csv"]
        world.process().load()
        world.check()
        (aside,) = world.arrivals().all_set_aside()
        assert (aside.kind, aside.arrival.name) == ("deleted", "1.csv")


class TestOrder:
    @pytest.mark.parametrize(
        ("order_by", "wanted"),
        [("name", [["a", "b"], ["c", "d"]]), ("last_modified", [["d", "b"], ["a", "c"]])],
    )
    def test_within_and_across_commits(self, order_by: str, wanted: list[list[str]]) -> None:
        world = World(order_by=order_by, batch_files=2)
        events = [world.bucket.put(name) for name in ("d", "b", "a", "c")]
        note(world, *reversed(events))
        world.process().load()
        assert names(world) == wanted

    def test_a_catalog_is_replaced_by_what_the_bucket_has(self) -> None:
        world = World(load_type="catalog")
        world.bucket.put("silent.csv")
        world.process().deliver(world.bucket.put("b.csv"))
        assert names(world) == [["silent.csv", "b.csv"]]
        assert world.arrivals().hashes() == set()


class TestSize:
    def test_a_large_batch_goes_to_the_workflow_with_its_run(self) -> None:
        world = World(in_place_bytes=100)
        loaded = world.process().deliver(world.bucket.put("big.csv", size=101))
        assert loaded.status == "handed_over"
        slot = world.state_now().slot
        assert slot is not None
        assert world.workflows == [slot.run_id]


class TestBudget:
    def use(self, world: World, operations: int) -> None:
        count = TableOperations(world.state, world.clock)
        for n in range(operations):
            count.note(TABLE, f"job-{n}")

    def test_a_used_up_day_postpones_and_loses_nothing(self) -> None:
        world = World(table_operations=10)
        self.use(world, 10)
        event = world.bucket.put("a.csv")
        assert world.process().deliver(event).status == "postponed"
        assert world.state_now().slot is None
        world.later(hours=24, seconds=1)
        world.process().load()
        world.check()

    def test_the_interval_is_kept(self, caplog: pytest.LogCaptureFixture) -> None:
        world = World(table_operations=1_400)
        self.use(world, 1_000)
        loaded = world.process().deliver(world.bucket.put("a.csv"))
        assert loaded.status == "postponed"
        assert loaded.until is not None
        assert "1000 of 1400 operations on table p.d.sales are used" in caplog.text
        world.now = loaded.until
        world.process().load()
        world.check()

    def test_sources_of_one_table_share_it(self) -> None:
        world = World(table_operations=10)
        self.use(world, 10)
        other = replace(world.entry, source_id="other")
        world.entry = other
        assert world.process().deliver(world.bucket.put("a.csv")).status == "postponed"
