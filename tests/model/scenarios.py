"""Which scenario each model is explored in, and which one shows what the removal of a rule breaks."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.model import (
    arrivals_model,
    commit_world,
    deadline_model,
    extract_model,
    snapshot_model,
    window_model,
)
from tests.model.arrivals_model import ArrivalsModel
from tests.model.commit_model import CommitModel
from tests.model.commit_world import Faults
from tests.model.deadline_model import DeadlineModel
from tests.model.explorer import Model
from tests.model.extract_model import ExtractModel
from tests.model.snapshot_model import SnapshotModel
from tests.model.window_model import WindowModel

Commit = commit_world.Scenario
Window = window_model.Scenario
CommitRule = commit_world.Rule
WindowRule = window_model.Rule
ArrivalsRule = arrivals_model.Rule


@dataclass(frozen=True)
class Subject:
    """A model, the scenarios of the test suite, larger ones, and a scenario for each rule's removal."""

    name: str
    build: Callable[[Any, frozenset[Any]], Model[Any]]
    rules: type[Enum]
    small: tuple[Any, ...]
    large: tuple[Any, ...]
    usual: Hashable
    """The scenario in which a rule is removed, unless ``shown_by`` names another."""
    shown_by: dict[Any, Any]

    def scenario_without(self, rule: Enum) -> Any:
        """The scenario in which the removal of ``rule`` breaks a property."""
        return self.shown_by.get(rule, self.usual)


def _two_steps(*scenarios: Commit) -> tuple[Commit, ...]:
    return tuple(one._replace(name=f"{one.name}, two steps", steps=2) for one in scenarios)


PLAIN = Commit("same id twice and a rival", (1, 1, 2))
COPIES = Commit("two finalize copies", (1, 2), copies=2)
LOST = Commit("two finalize copies, a lost reply", (1, 2), Faults(lost_reply=1), copies=2)
FAILURE = Commit("two finalize copies, a retryable failure", (1, 2), Faults(retryable=1), copies=2)
REFUSED = Commit("two finalize copies, a refused submission", (1, 2), Faults(refused=1), copies=2)
EXCEPT = Commit("failure branch", (1, 2), Faults(except_branch=1))
LIFECYCLE = Commit("staging deleted early", (1, 2), Faults(lifecycle=1))
MISMATCH = Commit("row mismatch", (1, 2), Faults(mismatch=1))
LOST_RECEIPT = Commit("a lost receipt", (1, 1, 2), Faults(lost_receipt=1), rows=3)
FAILURES = Commit("two finalize copies, two failures", (1, 2), Faults(retryable=1, permanent=1), copies=2)
EXCEPT_LOST = Commit("failure branch, a lost reply", (1, 2), Faults(except_branch=1, lost_reply=1))
REFUSED_FAILURE = Commit("refused, then a failure", (1, 2), Faults(refused=1, retryable=1), copies=2)
LOAD_MISMATCH = Commit(
    "row mismatch in the staging table",
    (1, 2),
    Faults(mismatch=1),
    copies=2,
    steps=2,
    load_mismatch_closes=True,
)
FILE_REPLACED = LOAD_MISMATCH._replace(
    name="a loaded file is replaced before, while or after others look", faults=Faults(replaced=1)
)
TWO_STEPS = _two_steps(PLAIN, COPIES, FAILURE)


HEALTHY = Faults()


def _with_rejects(faults: Faults = HEALTHY, **more: Any) -> Commit:
    named = ", ".join(name for name, count in faults._asdict().items() if count)
    return Commit(f"rejects {named}".strip(), (1, 2), faults, **{"copies": 2, "rejects": True, **more})


REJECTS = _with_rejects()
REJECTS_REFUSED = _with_rejects(Faults(rejects_refused=1))
REJECTS_LOST = _with_rejects(Faults(lost_reply=1, rejects_permanent=1))
REJECTS_RETRYABLE = _with_rejects(Faults(rejects_retryable=1))
REJECTS_AND_FAILURE = _with_rejects(Faults(permanent=1))

COMMIT = Subject(
    name="commit",
    build=CommitModel,
    rules=commit_world.Rule,
    small=(
        *(PLAIN, LOST, FAILURES, REFUSED, EXCEPT_LOST, LIFECYCLE, MISMATCH, LOST_RECEIPT),
        *_two_steps(PLAIN, LOST, FAILURE, REFUSED, EXCEPT, LIFECYCLE, MISMATCH),
        LOAD_MISMATCH,
        FILE_REPLACED,
        *(REJECTS, REJECTS_REFUSED, REJECTS_LOST, REJECTS_RETRYABLE, REJECTS_AND_FAILURE),
        _with_rejects(Faults(except_branch=1, rejects_retryable=1), copies=1),
    ),
    large=(
        _with_rejects(Faults(lost_reply=1, rejects_refused=1, rejects_retryable=1)),
        _with_rejects(Faults(rejects_retryable=1, retryable=1, rejects_permanent=1), steps=2),
        _with_rejects(Faults(lifecycle=1, rejects_retryable=1)),
        REFUSED_FAILURE,
        *_two_steps(FAILURES, REFUSED_FAILURE, EXCEPT_LOST, LOST_RECEIPT),
        Commit("three runs, a failure", (1, 2, 3), Faults(retryable=1)),
        Commit("three runs, a lost reply, two steps", (1, 2, 3), Faults(lost_reply=1), steps=2),
        Commit("same id twice, everything once", (1, 1), Faults(1, 1, 1, 1, 1, 1, 1, 0), attempts=3),
        Commit("two lost replies, failure branch", (1, 2), Faults(lost_reply=2, except_branch=1), copies=2),
        Commit("three attempts", (1, 2), Faults(retryable=2, permanent=1), copies=2, attempts=3),
        Commit(
            "staging deleted early, a failure", (1, 2), Faults(lifecycle=1, retryable=1), copies=2, steps=2
        ),
    ),
    usual=PLAIN,
    shown_by={
        CommitRule.EPOCH_IN_NAMES: LOST_RECEIPT,
        CommitRule.PAUSE_ON_MISMATCH: MISMATCH,
        CommitRule.KEEP_RECORD: LIFECYCLE,
        CommitRule.ADOPT_CHECKS_JOB: REFUSED,
        CommitRule.BURN_JOB_ID: REFUSED,
        CommitRule.CONFIRMED_FAILURE: Commit("a failure", (1, 2), Faults(permanent=1)),
        CommitRule.ADOPT_EXISTING: FAILURE,
        CommitRule.DONE_ADVANCES: MISMATCH,
        CommitRule.NEXT_ATTEMPT_BY_CAS: FAILURE,
        CommitRule.NEXT_STEP_BY_CAS: TWO_STEPS[2],
        CommitRule.NEXT_STEP_TAKES_NEW_N: TWO_STEPS[0],
        CommitRule.LAST_STEP_COMMITS: TWO_STEPS[0],
        CommitRule.CLOSE_BY_CAS_ON_N: FAILURE,
        CommitRule.EXCEPT_ROLLS_FORWARD: EXCEPT,
        CommitRule.SUPERSEDED_IS_NO_OUTCOME: COPIES,
        CommitRule.STAGING_NAMED_BY_RUN: TWO_STEPS[0],
        CommitRule.REJECTS_AFTER_COMMIT: REJECTS_AND_FAILURE,
        CommitRule.REJECTS_BEFORE_ADVANCE: REJECTS,
        CommitRule.REJECTS_CONFIRMED_FAILURE: REJECTS,
        CommitRule.REJECTS_BURN_ID: REJECTS_REFUSED,
        CommitRule.REJECTS_FAIL_NO_RUN: REJECTS_LOST,
    },
)

NOW = ("start", "write")
BACKDATED = ("past", "start")
FUTURE = ("future", "write")


def _window(late: tuple[int, ...], cursors: tuple[str, ...], **more: Any) -> Window:
    extra = "".join(
        f", {name}" if value is True else f", {value} {name}" for name, value in more.items() if value
    )
    return Window(f"late {late}, cursors {cursors}{extra}", late, cursors, **{"ticks": 2, **more})


WINDOW = Subject(
    name="window",
    build=WindowModel,
    rules=window_model.Rule,
    small=(
        _window((0, 0), NOW),
        _window((1, 1), NOW),
        _window((1, 1), BACKDATED),
        _window((1, 1), FUTURE),
        _window((2, 0), NOW),
        _window((0, 2), NOW),
        _window((2, 1), BACKDATED),
        _window((1, 1), NOW, savepoints=True),
        _window((1, 1), NOW, replica=True),
    ),
    large=(
        *(
            _window(late, cursors, ticks=3, savepoints=savepoints, replica=replica)
            for late in ((0, 0), (1, 1), (2, 2), (2, 0), (0, 2), (1, 2))
            for cursors in (NOW, BACKDATED, FUTURE)
            for savepoints, replica in ((False, False), (True, False), (False, True))
        ),
        _window((1, 1, 1), NOW, ticks=3),
        _window((1, 1), (*NOW, "past"), ticks=2),
    ),
    usual=_window((1, 1), NOW),
    shown_by={
        WindowRule.CLOCK_BOUNDS_HIGH: _window((1, 1), FUTURE),
        WindowRule.T0_BEFORE_OLDEST: _window((0, 0), NOW),
        WindowRule.HORIZON_IS_XMIN: _window((1, 1), NOW, savepoints=True),
        WindowRule.SETTLED_IS_KEPT: _window((2, 0), NOW),
        WindowRule.HIGH_NEVER_FALLS: _window((2, 0), NOW),
        WindowRule.REPLICA_HAS_REPLAYED: _window((1, 1), NOW, replica=True),
    },
)

SWEPT = arrivals_model.Scenario("with the sweep")
PROMPT = arrivals_model.Scenario("prompt", sweep=False)
ARRIVALS = Subject(
    name="arrivals",
    build=ArrivalsModel,
    rules=arrivals_model.Rule,
    small=(SWEPT, PROMPT),
    large=(
        arrivals_model.Scenario("three objects", objects=3),
        arrivals_model.Scenario("two crashes", crashes=2, duplicates=2),
        arrivals_model.Scenario("three objects, prompt", objects=3, alive=3, sweep=False),
    ),
    usual=SWEPT,
    shown_by={ArrivalsRule.DUPLICATE_GOES_ON: PROMPT, ArrivalsRule.LOOK_AGAIN: PROMPT},
)

UNITS = extract_model.Scenario("two planners, two units")
EXTRACT = Subject(
    name="extract",
    build=ExtractModel,
    rules=extract_model.Rule,
    small=(UNITS,),
    large=(
        extract_model.Scenario("two planners, three units", units=3),
        extract_model.Scenario("three planners, one unit", units=1, planners=3),
    ),
    usual=UNITS,
    shown_by={},
)

ATTEMPTS = snapshot_model.Scenario("two attempts, two units")
SNAPSHOT = Subject(
    name="snapshot",
    build=SnapshotModel,
    rules=snapshot_model.Rule,
    small=(ATTEMPTS,),
    large=(snapshot_model.Scenario("three attempts, three units", 3, 3),),
    usual=ATTEMPTS,
    shown_by={},
)

LONG_RUN = deadline_model.Scenario("a long run")
ZOMBIE = deadline_model.Scenario("a run that stalls and wakes", may_stall=True)
DEADLINE = Subject(
    name="deadline",
    build=DeadlineModel,
    rules=deadline_model.Rule,
    small=(LONG_RUN, ZOMBIE),
    large=(deadline_model.Scenario("ten units", units=10, may_stall=True),),
    usual=LONG_RUN,
    shown_by={deadline_model.Rule.ONLY_OWN_SLOT: ZOMBIE},
)

SUBJECTS = (COMMIT, WINDOW, ARRIVALS, EXTRACT, SNAPSHOT, DEADLINE)
