"""Object events, the slot and the ledger: every object is loaded once, and soon.

What is abstracted, and why that is fair: extract and commit of a batch are one step with ``advance``,
because the commit protocol's own model shows that they have the effect of one; what stays is the swap that
can lose its slot. A redelivery after a crash is the bus's promise. Without ``sweep`` the model asks for
promptness: no death from taking the slot on, no expiry, and nothing may be left over once all is quiet.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from tests.model.explorer import Broken


class Rule(Enum):
    """Each single rule of arrivals. Removing any one loads an object twice, or leaves one behind."""

    DUPLICATE_GOES_ON = "a delivery whose arrival exists goes on to the slot all the same"
    LEDGER_FILTERS = "arrivals that the ledger has are not loaded again"
    LEDGER_AFTER_SLOT = "the ledger is read after the slot was taken"
    ADVANCE_IS_FENCED = "the swap that advances succeeds only on one's own slot"
    DELETE_AFTER_ADVANCE = "arrivals are deleted only once the ledger has them"
    LOOK_AGAIN = "whoever empties the slot lists once more and tries the slot again"
    SWEEP = "a sweep takes up sources with arrivals or an expired slot"


class Handler(NamedTuple):
    """One execution of file_arrival or of the sweep (object -1)."""

    at: str
    object: int
    epoch: int = 0
    batch: tuple[int, ...] = ()
    ledger: tuple[int, ...] | None = None
    """A ledger that was read too early, where LEDGER_AFTER_SLOT is off."""


class State(NamedTuple):
    """Objects' arrivals, how often each was loaded, the slot (an epoch), handlers, deliveries to come."""

    arrivals: frozenset[int]
    ledger: tuple[int, ...]
    slot: int | None
    epoch: int
    handlers: tuple[Handler, ...]
    pending: tuple[int, ...]
    duplicates: int
    crashes: int


class Scenario(NamedTuple):
    """Objects, handlers alive at once, duplicate deliveries, crashes; with the sweep, or prompt without."""

    name: str
    objects: int = 2
    alive: int = 2
    duplicates: int = 1
    crashes: int = 1
    sweep: bool = True


Steps = Iterator[tuple[str, State]]


class ArrivalsModel:
    """One scenario under all rules except the ``without`` ones."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule] = frozenset()) -> None:
        self.scenario = scenario
        self.without = without

    def has(self, rule: Rule) -> bool:
        """Whether the handler still has ``rule``."""
        return rule not in self.without

    def initial(self) -> State:
        """Every object was written and its event is on its way."""
        scenario = self.scenario
        return State(
            arrivals=frozenset(),
            ledger=(0,) * scenario.objects,
            slot=None,
            epoch=0,
            handlers=(),
            pending=tuple(range(scenario.objects)),
            duplicates=scenario.duplicates,
            crashes=scenario.crashes,
        )

    def steps(self, state: State) -> Steps:
        """Deliveries, crashes, handlers' steps, and the sweep when nothing else goes on."""
        if len(state.handlers) < self.scenario.alive:
            for number in sorted(set(state.pending)):
                yield from self._deliver(state, number)
        for index, handler in enumerate(state.handlers):
            if index and state.handlers[index - 1] == handler:
                continue
            rest = (*state.handlers[:index], *state.handlers[index + 1 :])
            if state.crashes and (self.scenario.sweep or not handler.epoch):
                again = (*state.pending, handler.object) if handler.object >= 0 else state.pending
                dead = state._replace(handlers=rest, pending=tuple(sorted(again)), crashes=state.crashes - 1)
                yield f"crash: of handler {handler.object} at {handler.at}", dead
            for label, following, then in self._handle(state, handler):
                handlers = (*rest, then) if then else rest
                yield (
                    f"{label} [{handler.object}]",
                    following._replace(handlers=tuple(sorted(handlers, key=repr))),
                )
        quiet = not state.handlers and not state.pending
        if self.scenario.sweep and self.has(Rule.SWEEP) and quiet and self._left(state):
            yield "sweep: takes the source up", state._replace(handlers=(Handler("open_run", -1),))

    def _deliver(self, state: State, number: int) -> Steps:
        rest = list(state.pending)
        rest.remove(number)
        early = None if self.has(Rule.LEDGER_AFTER_SLOT) else state.ledger
        handler = Handler("note_arrival", number, ledger=early)
        handlers = tuple(sorted((*state.handlers, handler), key=repr))
        yield f"bus: delivers object {number}", state._replace(handlers=handlers, pending=tuple(rest))
        if state.duplicates:
            fewer = state.duplicates - 1
            yield (
                f"bus: delivers object {number}, and will again",
                state._replace(handlers=handlers, duplicates=fewer),
            )

    def _handle(self, state: State, me: Handler) -> Iterator[tuple[str, State, Handler | None]]:
        filters = self.has(Rule.LEDGER_FILTERS)
        if me.at == "note_arrival":
            if me.object in state.arrivals:
                goes_on = me._replace(at="open_run") if self.has(Rule.DUPLICATE_GOES_ON) else None
                yield "note_arrival: exists already", state, goes_on
            elif filters and state.ledger[me.object]:
                yield "note_arrival: the ledger has it", state, None
            else:
                noted = state._replace(arrivals=state.arrivals | {me.object})
                yield "note_arrival", noted, me._replace(at="open_run")
        elif me.at == "open_run":
            epoch = state.epoch + 1
            taken = state._replace(slot=epoch, epoch=epoch), me._replace(at="list_arrivals", epoch=epoch)
            if state.slot is None:
                yield "take_slot", *taken
            else:
                if self.scenario.sweep:
                    yield "take_slot: past its deadline", *taken
                yield "open_run: skipped", state, None
        elif me.at == "list_arrivals":
            ledger = state.ledger if me.ledger is None else me.ledger
            batch = tuple(sorted(n for n in state.arrivals if not (filters and ledger[n])))
            yield f"list_arrivals: {batch}", state, me._replace(at="advance", batch=batch)
        elif me.at == "advance":
            if not self.has(Rule.DELETE_AFTER_ADVANCE):
                state = state._replace(arrivals=state.arrivals - set(me.batch))
            if self.has(Rule.ADVANCE_IS_FENCED) and state.slot != me.epoch:
                yield "advance: the slot moved on", state, None
            else:
                counts = tuple(count + (n in me.batch) for n, count in enumerate(state.ledger))
                yield "advance", state._replace(ledger=counts, slot=None), me._replace(at="clean_up")
        elif me.at == "clean_up":
            left = state._replace(arrivals=state.arrivals - set(me.batch))
            looks = me._replace(at="look_again", batch=()) if self.has(Rule.LOOK_AGAIN) else None
            yield "clean_up", left, looks
        else:
            more = [n for n in state.arrivals if not (filters and state.ledger[n])]
            yield f"look_again: {more}", state, me._replace(at="open_run") if more else None

    def _left(self, state: State) -> bool:
        return state.slot is not None or any(not state.ledger[number] for number in state.arrivals)

    def check(self, state: State) -> None:
        """Nothing twice; and once all is quiet, nothing left and the slot free."""
        for number, count in enumerate(state.ledger):
            if count > 1:
                raise Broken(f"object {number} is loaded {count} times")
        if next(self.steps(state), None) is None:
            missing = [number for number, count in enumerate(state.ledger) if not count]
            if missing:
                raise Broken(f"objects {missing} are left unloaded")
            if state.slot is not None:
                raise Broken("the slot stays held")
