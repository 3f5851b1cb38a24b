"""The slot's deadline: a healthy run keeps its slot however long it takes, a stalled one loses it for good.

What is abstracted, and why that is fair: time is in ticks, and a *healthy* run is one that finishes a unit at
least every ``PATIENCE`` ticks; that its progress is reported within ``PATIENCE`` ticks and that reports may
overtake each other is part of the model. Any longer delay is a stall, and a run may stall at any moment.
``extend_deadline`` is a compare-and-swap, so one step. How a slot is taken and given up is the commit
protocol's model.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from tests.model.explorer import Broken

PATIENCE = 2
"""A healthy run finishes a unit within so many ticks, and its report arrives within as many again."""


class Rule(Enum):
    """Each single rule of deadlines."""

    RENEWED_BY_PROGRESS = "each finished unit moves the deadline"
    NEVER_EARLIER = "a deadline is only ever moved to a later time"
    ONLY_OWN_SLOT = "a run extends only a slot that is still its own"
    ONLY_PAST_DEADLINE = "a slot is given up only past its deadline"


class State(NamedTuple):
    """Clock, holder (run 1, then perhaps run 2) and deadline, run 1's progress and whether it is stalled."""

    now: int
    holder: int
    deadline: int
    units: int
    progress: int
    """When run 1 finished its last unit."""
    reports: tuple[int, ...]
    """When units were finished whose extend_deadline is still on its way."""
    stalled: bool
    given_up: bool = False


class Scenario(NamedTuple):
    """How many units run 1 has, and whether it may stall and wake as a zombie."""

    name: str
    units: int = 4
    may_stall: bool = False


Steps = Iterator[tuple[str, State]]


class DeadlineModel:
    """One scenario under all rules except the ``without`` ones."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule] = frozenset()) -> None:
        self.scenario = scenario
        self.without = without

    def has(self, rule: Rule) -> bool:
        """Whether deadlines still have ``rule``."""
        return rule not in self.without

    def initial(self) -> State:
        """Run 1 has just taken the slot."""
        return State(0, 1, 2 * PATIENCE, self.scenario.units, 0, (), stalled=False)

    def steps(self, state: State) -> Steps:
        """Progress and its reports (which may overtake each other), the clock, a rival's look."""
        healthy = state.holder == 1 and not state.stalled and state.units > 0
        overdue = healthy and state.now - state.progress >= PATIENCE
        waiting = any(state.now - since >= PATIENCE for since in state.reports)
        if state.now < PATIENCE * (self.scenario.units + 1) and not overdue and not waiting:
            yield f"clock: {state.now + 1}", state._replace(now=state.now + 1)
        if state.units and not state.stalled:
            finished = state._replace(
                units=state.units - 1, progress=state.now, reports=(*state.reports, state.now)
            )
            if len(state.reports) < 2:
                yield "extract: a unit is finished", finished
        for index, since in enumerate(state.reports):
            rest = (*state.reports[:index], *state.reports[index + 1 :])
            yield (
                f"extend_deadline: for the unit of {since}",
                self._extend(state._replace(reports=rest), since),
            )
        if self.scenario.may_stall and not state.stalled:
            yield "run 1: stalls", state._replace(stalled=True)
        if state.stalled and state.holder == 2:
            yield "run 1: wakes as a zombie", state._replace(stalled=False)
        past = state.now > state.deadline or not self.has(Rule.ONLY_PAST_DEADLINE)
        if state.holder == 1 and state.units and past:
            if not state.stalled:
                raise Broken("a healthy run loses its slot")
            taken = state._replace(holder=2, deadline=state.now + PATIENCE, given_up=True)
            yield "abandon_run, take_slot: by run 2", taken

    def _extend(self, state: State, since: int) -> State:
        if not self.has(Rule.RENEWED_BY_PROGRESS):
            return state
        if self.has(Rule.ONLY_OWN_SLOT) and state.holder != 1:
            return state
        deadline = since + 2 * PATIENCE
        if self.has(Rule.NEVER_EARLIER):
            deadline = max(deadline, state.deadline)
        return state._replace(holder=1, deadline=deadline)

    def check(self, state: State) -> None:
        """A run that was given up never holds the slot again."""
        if state.holder == 1 and state.given_up:
            raise Broken("a run that was given up holds the slot again")
