"""The planning step of a run: make the plan once, whoever asks how often."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from etl_runner.commit.close import Clock, RunKey, timestamp, utc_now
from etl_runner.commit.open_run import extend_deadline
from etl_runner.config.resolved import ResolvedSource
from etl_runner.errors import ObjectExists, PermanentError
from etl_runner.planning.engine import time_limit
from etl_runner.planning.launch import Launch, launch_of
from etl_runner.planning.plan import Plan, PlanHeader, run_prefix
from etl_runner.planning.planner import Planner
from etl_runner.settings import Settings
from etl_runner.state.objects import ObjectStore
from etl_runner.state.requests import Requests
from etl_runner.state.store import StateStore

if TYPE_CHECKING:
    from etl_runner.sources.files.store import FileVersion

# A healthy run renews its deadline long before; a dead one is taken over after this much silence.
EXTRACTION_LEASE = timedelta(minutes=30)
RENEW_BELOW = timedelta(minutes=10)
_LOOK_EVERY = timedelta(minutes=2)


@dataclass(frozen=True)
class PlanStep:
    """What the workflow needs of a plan: ids, counts and a time limit in seconds, no rows."""

    engine: str
    plan_uri: str
    units: int
    tasks: int
    timeout_seconds: int
    dataflow: Launch | None = None


def plan_name(run_id: str, epoch: int) -> str:
    """The object that holds a run's plan."""
    return f"{run_prefix(run_id, epoch)}plan.jsonl"


class PlanWriter:
    """Plans runs of one source and writes their plans."""

    def __init__(
        self,
        store: StateStore,
        staging: ObjectStore,
        planner: Planner,
        load_source: Callable[[str], ResolvedSource],
        settings: Settings,
        clock: Clock = utc_now,
        *,
        renew: bool = True,
        requests: Requests | None = None,
    ) -> None:
        """``renew=False`` leaves the run's deadline as the opening set it: for a run that is over before."""
        self._requests = requests
        self._lasting = renew
        self._store = store
        self._staging = staging
        self._planner = planner
        self._load_source = load_source
        self._settings = settings
        self._clock = clock

    def write_plan(self, key: RunKey, files: tuple[FileVersion, ...] | None = None) -> PlanStep:
        """Make and write the run's plan, or use the one that is there; ``files`` as in
        :meth:`Planner.make_plan`.

        Raises:
            PermanentError: the run does not hold the slot (any more).
            ConfigError, RetryableError: see :meth:`Planner.make_plan`.
        """
        name = plan_name(key.run_id, key.epoch)
        state = self._store.read()
        if not state.holds(key.run_id, key.epoch):
            raise _superseded(key)
        stored = self._staging.read(name)
        if stored is None:
            resolved = self._load_source(key.source_id)
            backfill = self._requests.read(key.run_id) if self._requests is not None else None
            more = {} if backfill is None else {"backfill": backfill}
            plan = self._planner.make_plan(resolved, key, state, files, **more)
            try:
                self._staging.create(name, plan.to_jsonl())
            except ObjectExists:
                # A second planner, or our own first attempt whose response was lost: that plan counts.
                plan = self._existing(name)
        else:
            plan = Plan.from_jsonl(stored.data)
        header = plan.header
        if header.source_id != key.source_id:
            raise PermanentError(
                f"run id {key.run_id} is that of a run of source {header.source_id}; start the run of source "
                f"{key.source_id} with an id of its own"
            )
        limit = math.ceil(time_limit(header.estimated_rows, header.tasks, header.engine).total_seconds())
        self._renew(key, state.slot.deadline if state.slot else "")
        uri = self._staging.uri(name)
        launch = launch_of(header, uri, self._settings)
        return PlanStep(header.engine, uri, header.units, header.tasks, limit, launch)

    def _renew(self, key: RunKey, deadline: str) -> None:
        # The state object takes about one write a second: none where the lease of the opening will do.
        if not self._lasting or datetime.fromisoformat(deadline) - self._clock() > RENEW_BELOW:
            return
        if not extend_deadline(self._store, key, timestamp(self._clock() + EXTRACTION_LEASE)):
            raise _superseded(key)

    def _existing(self, name: str) -> Plan:
        stored = self._staging.read(name)
        if stored is None:
            raise PermanentError(f"plan {self._staging.uri(name)} vanished: is a lifecycle rule too short?")
        return Plan.from_jsonl(stored.data)


def _superseded(key: RunKey) -> PermanentError:
    return PermanentError(
        f"run {key.run_id} (epoch {key.epoch}) does not hold the slot of source {key.source_id} any more"
    )


class Heartbeat:
    """Renews a run's deadline while its units make progress; called after each unit, writes rarely."""

    def __init__(self, store: StateStore, header: PlanHeader, clock: Clock = utc_now) -> None:
        self._store = store
        self._key = RunKey(header.source_id, header.run_id, header.epoch)
        self._clock = clock
        self._next = clock() + _LOOK_EVERY

    def __call__(self) -> bool:
        """Renew if it is time; False when the run lost its slot and its work is in vain."""
        now = self._clock()
        if now < self._next:
            return True
        self._next = now + _LOOK_EVERY
        state = self._store.read()
        slot = state.slot
        if slot is None or not slot.belongs_to(self._key.run_id, self._key.epoch):
            return False
        if datetime.fromisoformat(slot.deadline) - now > RENEW_BELOW:
            return True
        return extend_deadline(self._store, self._key, timestamp(now + EXTRACTION_LEASE))
