"""The PostgreSQL window rule: each row version is in exactly one run.

A run fixes, in this order, ``t0`` (the server's clock), ``oldest`` (the start of the oldest open transaction)
and its horizon X (``pg_snapshot_xmin``); later its units read whatever is committed by then. The state keeps
three values from run to run: ``high``, ``settled`` and X. With ``late`` the source's late window::

    bound    = min(t0, oldest + late) - 1 tick
    high'    = max(high, bound)             settled' = max(settled, bound - late)
    a version with cursor c and transaction id x belongs to the run when
    settled < c <= high'  and  (c > high or x >= X)  and  (x < X' or c <= settled')

What is abstracted, and why that is fair: a tick is the clock's smallest unit, and anything can happen
within one in any order, so equal timestamps are covered. Each transaction writes one row version; an update
is a further version with a cursor of its own, and a version that is dead before it is read needs no
loading, so updates add nothing. Units of one run read at different moments, but each version is in one
unit, so one read at any later moment covers all. Rolled-back transactions load nothing and only hold
horizons back, as open ones do. Transaction ids do not wrap here; the arithmetic of the wrap has tests of
its own.

The promise: a version is loaded at most once, and exactly once if its cursor is not before its
transaction's start (``now()``, ``clock_timestamp()``, the future) or it commits within ``late`` of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from tests.model.explorer import Broken


class Rule(Enum):
    """Each single rule of the window. Removing any one loses or doubles a row version."""

    CAP_BY_OLDEST = "high stays within the late window of the oldest open transaction"
    STRICTLY_BELOW = "high is strictly below the clock and below oldest + late"
    CLOCK_BOUNDS_HIGH = "cursors in the future wait for the clock, they do not move high"
    T0_BEFORE_OLDEST = "the clock is read before the open transactions are looked at"
    LOOK_BACK = "versions down to the settled bound are looked at again"
    ONLY_NEW_VERSIONS = "of those that are looked at again, only what the last horizon left out counts"
    DEFER_UNSETTLED = "versions beyond the horizon and above the settled bound wait for the next run"
    TAKE_SETTLED = "versions at or below the settled bound are taken whatever their transaction id"
    HORIZON_IS_XMIN = "the horizon is the snapshot's xmin, not what pg_visible_in_snapshot says"
    HORIZON_IS_KEPT = "the horizon of the previous run is kept in the state"
    SETTLED_IS_KEPT = "the settled bound is kept in the state, not computed again from the late window"
    HIGH_NEVER_FALLS = "high is never below the previous high"
    REPLICA_HAS_REPLAYED = "units read only from a server that has replayed the horizon"


class Snapshot(NamedTuple):
    """``pg_current_snapshot()``: all ids below ``xmin`` have ended, the top ids in ``open`` have not."""

    xmin: int = 0
    xmax: int = 0
    open: tuple[int, ...] = ()


NOTHING = -1_000
"""Below every cursor and every time."""
NEVER = 1_000
"""Above every time."""


class Watermark(NamedTuple):
    """What the state keeps from one run to the next."""

    high: int = NOTHING
    settled: int = NOTHING
    horizon: Snapshot = Snapshot()


class Writer(NamedTuple):
    """A transaction: ``at`` is idle, begun, written or committed."""

    at: str = "idle"
    start: int = 0
    cursor: int = 0
    top: int = 0
    """Top-level transaction id, taken at the first write."""
    xid: int = 0
    """Id that the row version bears; a savepoint's own where there is one."""
    position: int = 0
    """Place in the order of commits, from 1."""
    promised: bool = True


class Planning(NamedTuple):
    """What the run under way has fixed so far; ``done`` once ``following`` holds."""

    run: int = 0
    t0: int | None = None
    oldest: int | None = None
    following: Watermark | None = None
    replayed: int = 0
    """Commits that were there when the horizon was fixed."""


class State(NamedTuple):
    """The server, the source's state and the run under way."""

    now: int
    next_xid: int
    commits: int
    writers: tuple[Writer, ...]
    watermark: Watermark
    planning: Planning
    loaded: tuple[int, ...]


class Scenario(NamedTuple):
    """``late`` of each run; each writer's way to set its cursor (start, write, past, future); the server."""

    name: str
    late: tuple[int, ...]
    cursors: tuple[str, ...]
    savepoints: bool = False
    replica: bool = False
    ticks: int = 4


Steps = Iterator[tuple[str, State]]


class WindowModel:
    """One scenario under all rules except the ``without`` ones."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule] = frozenset()) -> None:
        self.scenario = scenario
        self.without = without

    def has(self, rule: Rule) -> bool:
        """Whether the window still has ``rule``."""
        return rule not in self.without

    def initial(self) -> State:
        """No transaction has begun, no run has been planned."""
        count = len(self.scenario.cursors)
        return State(0, 1, 0, (Writer(),) * count, Watermark(), Planning(), (0,) * count)

    def steps(self, state: State) -> Steps:
        """Clock, writers, the run's next step."""
        if state.now < self.scenario.ticks:
            yield f"clock: {state.now + 1}", state._replace(now=state.now + 1)
        for index, writer in enumerate(state.writers):
            yield from self._write(state, index, writer)
        if state.planning.run < len(self.scenario.late):
            yield from self._run(state)

    def _write(self, state: State, index: int, writer: Writer) -> Steps:
        def become(changed: Writer) -> tuple[Writer, ...]:
            return (*state.writers[:index], changed, *state.writers[index + 1 :])

        who = f"transaction {index}"
        if writer.at == "idle":
            yield f"{who}: begins", state._replace(writers=become(Writer("begun", state.now)))
        elif writer.at == "begun":
            cursor = {
                "start": writer.start,
                "write": state.now,
                "past": writer.start - 1,
                "future": state.now + 2,
            }[self.scenario.cursors[index]]
            top = state.next_xid
            xid = top + 1 if self.scenario.savepoints else top
            written = writer._replace(at="written", cursor=cursor, top=top, xid=xid)
            yield (
                f"{who}: writes cursor {cursor} as xid {xid}",
                state._replace(writers=become(written), next_xid=xid + 1),
            )
        elif writer.at == "written":
            in_time = state.now < writer.cursor + min(self.scenario.late)
            promised = in_time or writer.cursor >= writer.start
            commits = state.commits + 1 if self.scenario.replica else 0
            ended = Writer(
                "committed", cursor=writer.cursor, xid=writer.xid, position=commits, promised=promised
            )
            yield f"{who}: commits", state._replace(writers=become(ended), commits=commits)

    def _run(self, state: State) -> Steps:
        """t0, oldest, horizon, read."""
        planning = state.planning
        if planning.following is None:
            first, second = ("t0", "oldest") if self.has(Rule.T0_BEFORE_OLDEST) else ("oldest", "t0")
            for name in (first, second):
                if getattr(planning, name) is None:
                    value = state.now if name == "t0" else _oldest(state)
                    label = f"plan: {name} = {value}"
                    fixed = planning._replace(t0=value) if name == "t0" else planning._replace(oldest=value)
                    yield label, state._replace(planning=fixed)
                    return
            following = self._fix(state)
            label = f"plan: high {following.high}, settled {following.settled}, X {following.horizon.xmin}"
            fixed = Planning(planning.run, following=following, replayed=state.commits)
            yield label, state._replace(planning=fixed)
            return
        behind = planning.replayed if self.has(Rule.REPLICA_HAS_REPLAYED) else 0
        for seen in range(behind if self.scenario.replica else state.commits, state.commits + 1):
            yield f"units: read, seeing {seen} commits", self._read(state, seen)

    def _fix(self, state: State) -> Watermark:
        planning, before = state.planning, state.watermark
        t0, oldest = planning.t0 or 0, planning.oldest or 0
        late = self.scenario.late[planning.run]
        bounds = [t0, oldest + late] if self.has(Rule.CAP_BY_OLDEST) else [t0]
        if not self.has(Rule.CLOCK_BOUNDS_HIGH):
            visible = [w.cursor + 1 for w in state.writers if w.at == "committed"]
            bounds[0] = max(visible, default=t0)
        bound = min(bounds) - (1 if self.has(Rule.STRICTLY_BELOW) else 0)
        high = max(before.high, bound) if self.has(Rule.HIGH_NEVER_FALLS) else bound
        settled = max(before.settled, bound - late) if self.has(Rule.SETTLED_IS_KEPT) else high - late
        still_open = tuple(w.top for w in state.writers if w.at == "written")
        horizon = Snapshot(min((*still_open, state.next_xid)), state.next_xid, still_open)
        if self.has(Rule.HORIZON_IS_XMIN):
            horizon = Snapshot(horizon.xmin)
        return Watermark(high, settled, horizon)

    def _read(self, state: State, seen: int) -> State:
        following = state.planning.following
        assert following is not None
        loaded = tuple(
            count + (w.at == "committed" and w.position <= seen and self._belongs(w, state, following))
            for count, w in zip(state.loaded, state.writers, strict=True)
        )
        return state._replace(
            loaded=loaded, watermark=following, planning=Planning(run=state.planning.run + 1)
        )

    def _belongs(self, writer: Writer, state: State, now: Watermark) -> bool:
        before, c, x = state.watermark, writer.cursor, writer.xid
        late = self.scenario.late[min(state.planning.run, len(self.scenario.late) - 1)]
        floor = before.settled if self.has(Rule.SETTLED_IS_KEPT) else before.high - late
        if not self.has(Rule.LOOK_BACK):
            floor = before.high
        last = before.horizon if self.has(Rule.HORIZON_IS_KEPT) else now.horizon
        if not floor < c <= now.high:
            return False
        if self.has(Rule.ONLY_NEW_VERSIONS) and not (c > before.high or not self._ended(x, last)):
            return False
        settled = self.has(Rule.TAKE_SETTLED) and c <= now.settled
        return not self.has(Rule.DEFER_UNSETTLED) or settled or self._ended(x, now.horizon)

    def _ended(self, xid: int, snapshot: Snapshot) -> bool:
        if self.has(Rule.HORIZON_IS_XMIN):
            return xid < snapshot.xmin
        return xid < snapshot.xmin or (xid < snapshot.xmax and xid not in snapshot.open)

    def check(self, state: State) -> None:
        """Nothing twice; and once all is quiet, nothing missing."""
        for index, count in enumerate(state.loaded):
            if count > 1:
                raise Broken(f"the row of transaction {index} is loaded {count} times")
        quiet = all(writer.at == "committed" for writer in state.writers)
        if not quiet or state.planning.run < len(self.scenario.late):
            return
        end = state
        for _ in range(2):  # one run after all cursors, and one that must find nothing
            late = len(self.scenario.late) - 1
            end = end._replace(now=end.now + 10, planning=Planning(late, end.now + 10, NEVER))
            end = end._replace(planning=end.planning._replace(following=self._fix(end)))
            end = self._read(end, end.commits)
        for index, (count, writer) in enumerate(zip(end.loaded, state.writers, strict=True)):
            if count > 1:
                raise Broken(f"the row of transaction {index} is loaded {count} times")
            if count == 0 and writer.promised:
                raise Broken(f"the row of transaction {index} is lost")


def _oldest(state: State) -> int:
    """The start of the oldest transaction that is open."""
    starts = [writer.start for writer in state.writers if writer.at in ("begun", "written")]
    return min(starts, default=NEVER)
