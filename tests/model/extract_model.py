"""Planners and workers of one run, any of them twice: one plan, one attempt a unit, nothing rewritten.

What is abstracted, and why that is fair: a shard's content is the plan and the version of the source that it
was read from, since that is all by which two attempts can differ. The commit record is written from the
manifests in one step; that only one record counts is the commit protocol's model.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from tests.model.explorer import Broken, Pairs, get, put


class Rule(Enum):
    """Each single rule of extraction. Removing any one mixes plans or attempts, or leaves units out."""

    PLAN_CREATE_ONLY = "plan.jsonl is create-only, the second planner uses the winner's"
    FRESH_ATTEMPT = "each attempt names its shards with a token of its own"
    SHARDS_BEFORE_MANIFEST = "a manifest is written only once its shards are"
    MANIFEST_CREATE_ONLY = "of two attempts at a unit the first manifest counts"
    ALL_MANIFESTS = "finalize goes on only when every unit of the plan has a manifest"


class Content(NamedTuple):
    """What was read: under which plan, from which version of the source."""

    plan: int
    version: int


class Result(NamedTuple):
    """A manifest: whose shards count, and what is in them."""

    token: int
    content: Content


class Actor(NamedTuple):
    """A planner, or an attempt at a unit."""

    at: str
    attempt: int
    unit: int = 0
    plan: int = 0
    version: int = 0


class State(NamedTuple):
    """Staging objects, the source's version, who is at work."""

    source: int
    plan: int | None
    shards: Pairs[tuple[int, int], Content]
    manifests: Pairs[int, Result]
    record: Pairs[int, Result] | None
    actors: tuple[Actor, ...]


class Scenario(NamedTuple):
    """Units of the plan, and planners: each starts one attempt at every unit."""

    name: str
    units: int = 2
    planners: int = 2


Steps = Iterator[tuple[str, State]]


class ExtractModel:
    """One scenario under all rules except the ``without`` ones."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule] = frozenset()) -> None:
        self.scenario = scenario
        self.without = without

    def has(self, rule: Rule) -> bool:
        """Whether extraction still has ``rule``."""
        return rule not in self.without

    def initial(self) -> State:
        """Every planner is about to fix its window."""
        planners = tuple(Actor("fix_window", number) for number in range(1, self.scenario.planners + 1))
        return State(1, None, (), (), None, planners)

    def steps(self, state: State) -> Steps:
        """The source changes once; planners, attempts and finalize go on."""
        if state.source < 2:
            yield "source: changes", state._replace(source=2)
        for index, actor in enumerate(state.actors):
            rest = (*state.actors[:index], *state.actors[index + 1 :])
            for label, following, then in self._act(state, actor):
                yield label, following._replace(actors=tuple(sorted((*rest, *then))))
        if state.record is None:
            if len(state.manifests) == self.scenario.units:
                yield "write_record: all manifests", state._replace(record=state.manifests)
            elif state.manifests and not self.has(Rule.ALL_MANIFESTS):
                yield "write_record: some manifests", state._replace(record=state.manifests)

    def _act(self, state: State, me: Actor) -> Iterator[tuple[str, State, tuple[Actor, ...]]]:
        token = me.attempt if self.has(Rule.FRESH_ATTEMPT) else 0
        content = Content(me.plan, me.version)
        who = f"unit {me.unit} attempt {me.attempt}"
        order = ("write_shards", "write_manifest")
        if not self.has(Rule.SHARDS_BEFORE_MANIFEST):
            order = ("write_manifest", "write_shards")
        after = {"read_unit": order[0], order[0]: order[1]}
        goes_on = me._replace(at=after[me.at]) if me.at in after else None
        then = (goes_on,) if goes_on else ()
        if me.at == "fix_window":
            fixed = me._replace(at="write_plan", plan=state.source)
            yield f"planner {me.attempt}: window {state.source}", state, (fixed,)
        elif me.at == "write_plan":
            taken = self.has(Rule.PLAN_CREATE_ONLY) and state.plan is not None
            plan = state.plan if taken else me.plan
            units = tuple(Actor("read_unit", me.attempt, unit) for unit in range(self.scenario.units))
            yield f"write_plan: planner {me.attempt}, window {plan}", state._replace(plan=plan), units
        elif me.at == "read_unit":
            plan = state.plan or 0
            read = me._replace(at=order[0], plan=plan, version=state.source)
            yield f"read_unit: {who} reads window {plan}, version {state.source}", state, (read,)
        elif me.at == "write_shards":
            shards = put(state.shards, (me.unit, token), content)
            yield f"write_shards: {who}", state._replace(shards=shards), then
        else:
            manifests = state.manifests
            if get(manifests, me.unit) is None or not self.has(Rule.MANIFEST_CREATE_ONLY):
                manifests = put(manifests, me.unit, Result(token, content))
            yield f"write_manifest: {who}", state._replace(manifests=manifests), then

    def check(self, state: State) -> None:
        """What the record names is there, whole, unchanged and of one plan."""
        if state.record is None:
            return
        if len(state.record) != self.scenario.units:
            raise Broken("the commit record leaves units out")
        for unit, result in state.record:
            if get(state.shards, (unit, result.token)) != result.content:
                raise Broken(f"the shards of unit {unit} are not what its manifest says")
            if get(state.manifests, unit) != result:
                raise Broken(f"the manifest of unit {unit} changed after the commit record was written")
        if len({result.content.plan for _, result in state.record}) > 1:
            raise Broken("units of two plans are committed together")
