"""A plan whose units are read in one exported snapshot: two attempts at the task never mix.

Each attempt opens a snapshot under a token, writes every unit's manifest under that token, and then names
the token in the create-only ``snapshot.json``. What is abstracted, and why that is fair: a manifest stands
for its shards (extract_model); a snapshot is the source's version at the moment it was opened. The first
attempt may die anywhere or be a zombie that goes on beside the second; the second one lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from tests.model.explorer import Broken, Pairs, get, put


class Rule(Enum):
    """Each single rule of snapshot plans. Removing any one mixes two snapshots, or ends nowhere."""

    MANIFESTS_UNDER_TOKEN = "manifests are written under the snapshot's token"
    FRESH_TOKEN = "a restarted task takes a new token"
    NAMED_WHEN_COMPLETE = "snapshot.json is written only after the last manifest of its token"
    NAME_CREATE_ONLY = "snapshot.json is create-only, the first complete snapshot counts"
    ONLY_THE_NAMED_COUNTS = "finalize collects the manifests of the named token and no others"


class Attempt(NamedTuple):
    """One execution of the task: the next unit, and the version that its snapshot shows (0: not open)."""

    number: int
    unit: int = 0
    version: int = 0


class Result(NamedTuple):
    """A manifest: by which attempt, from which version."""

    attempt: int
    version: int


class State(NamedTuple):
    """Staging objects, the source's version, attempts at work."""

    source: int
    manifests: Pairs[tuple[int, int], Result]
    """By token and unit."""
    named: int | None
    record: tuple[Result, ...]
    attempts: tuple[Attempt, ...]


class Scenario(NamedTuple):
    """Units of the plan, and attempts at the task."""

    name: str
    units: int = 2
    attempts: int = 2


Steps = Iterator[tuple[str, State]]


class SnapshotModel:
    """One scenario under all rules except the ``without`` ones."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule] = frozenset()) -> None:
        self.scenario = scenario
        self.without = without

    def has(self, rule: Rule) -> bool:
        """Whether the plan still has ``rule``."""
        return rule not in self.without

    def initial(self) -> State:
        """No attempt has opened its snapshot."""
        return State(1, (), None, (), tuple(Attempt(n) for n in range(1, self.scenario.attempts + 1)))

    def steps(self, state: State) -> Steps:
        """The source changes, attempts go on or die, finalize looks."""
        if state.source < self.scenario.attempts:
            yield "source: changes", state._replace(source=state.source + 1)
        for index, attempt in enumerate(state.attempts):
            rest = (*state.attempts[:index], *state.attempts[index + 1 :])
            if attempt.number < self.scenario.attempts:
                yield f"crash: of attempt {attempt.number}", state._replace(attempts=rest)
            yield from self._act(state, attempt, rest)
        if not state.record:
            yield from self._finalize(state)

    def _token(self, me: Attempt) -> int:
        return me.number if self.has(Rule.FRESH_TOKEN) else 1

    def _act(self, state: State, me: Attempt, rest: tuple[Attempt, ...]) -> Steps:
        who = f"attempt {me.number}"

        def on(following: State, *then: Attempt) -> State:
            return following._replace(attempts=tuple(sorted((*rest, *then))))

        if not me.version:
            opened = me._replace(version=state.source)
            named = state if self.has(Rule.NAMED_WHEN_COMPLETE) else self._name(state, me)
            yield f"open_snapshot: {who} sees version {state.source}", on(named, opened)
        elif me.unit < self.scenario.units:
            folder = self._token(me) if self.has(Rule.MANIFESTS_UNDER_TOKEN) else 0
            key = (folder, me.unit)
            result = get(state.manifests, key) or Result(me.number, me.version)
            written = state._replace(manifests=put(state.manifests, key, result))
            yield f"write_manifest: {who} unit {me.unit}", on(written, me._replace(unit=me.unit + 1))
        else:
            yield f"name_snapshot: {who}", on(self._name(state, me))

    def _name(self, state: State, me: Attempt) -> State:
        if state.named is not None and self.has(Rule.NAME_CREATE_ONLY):
            return state
        return state._replace(named=self._token(me))

    def _finalize(self, state: State) -> Steps:
        if state.named is None:
            return
        found: dict[int, Result] = {}
        for (token, unit), result in state.manifests:
            if token in (0, state.named) or not self.has(Rule.ONLY_THE_NAMED_COUNTS):
                found[unit] = result
        if len(found) == self.scenario.units:
            record = tuple(found[unit] for unit in sorted(found))
            yield "write_record: manifests of the named snapshot", state._replace(record=record)

    def check(self, state: State) -> None:
        """One snapshot, the named one, and always one in the end."""
        if len({result.version for result in state.record}) > 1:
            raise Broken("units of two snapshots are committed together")
        if state.record and state.named not in {self._token(Attempt(r.attempt)) for r in state.record}:
            raise Broken("snapshot.json names another snapshot than the one that was committed")
        if not state.record and next(self.steps(state), None) is None:
            raise Broken("stuck: an attempt was completed and nothing can be committed")
