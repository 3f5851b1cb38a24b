"""Runs one execution of a checked definition."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.workflows import connectors, http_calls, limits, model, parallel, stdlib
from local.workflows.clock import Clock
from local.workflows.errors import ExecutionCancelled, Frame, WorkflowError, limit_exceeded, tagged
from local.workflows.evaluate import evaluate
from local.workflows.http_calls import HttpClient
from local.workflows.parallel import Branch, BranchAborted
from local.workflows.scope import Memory, Scope
from local.workflows.values import is_number, to_json, type_name


@dataclass(frozen=True)
class _Jump:
    """Leave the block for a step of this name, or for ``break`` or ``continue``."""

    to: str


@dataclass(frozen=True)
class _Returned:
    """Leave the routine with a value."""

    value: Any


_Flow = _Jump | _Returned | None


@dataclass
class _Thread:
    """One line of execution: its call stack, and what can stop it."""

    frames: list[Frame] = field(default_factory=list)
    aborts: tuple[threading.Event, ...] = ()
    parallel: int = 0

    def branch(self, abort: threading.Event) -> _Thread:
        return _Thread(list(self.frames), (*self.aborts, abort), self.parallel + 1)


@dataclass
class Engine:
    """One execution. ``environment`` holds what ``sys.get_env`` reads, ``endpoints`` a root URL by service.

    ``moved`` is told each step before it begins.
    """

    definition: model.Definition
    environment: Mapping[str, str]
    clock: Clock
    client: HttpClient
    endpoints: Mapping[str, str] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    moved: Callable[[Frame], None] = lambda frame: None  # noqa: ARG005

    def __post_init__(self) -> None:
        self._memory = Memory()
        self._steps = 0
        self._steps_lock = threading.Lock()

    def run(self, argument: Any) -> str:
        """Run ``main`` with the argument; the result as JSON text.

        Raises:
            WorkflowError: uncaught in the definition; its frames say where.
            ExecutionCancelled: ``cancelled`` was set.
        """
        main = self.definition.routines["main"]
        args = dict.fromkeys(main.parameters, argument)
        return to_json(self._invoke(main, args, _Thread()))

    # -- what functions and connectors need (stdlib.Host, connectors.Host) ------------------------

    def now(self) -> float:
        """Seconds since 1970."""
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        """Wait; ends at once, with ExecutionCancelled, when the execution is cancelled."""
        self.clock.sleep(seconds, self.cancelled)
        if self.cancelled.is_set():
            raise ExecutionCancelled

    def count_step(self) -> None:
        """Count one step, and stop where the execution was cancelled or has made too many."""
        if self.cancelled.is_set():
            raise ExecutionCancelled
        with self._steps_lock:
            self._steps += 1
            steps = self._steps
        if steps > limits.STEPS:
            raise limit_exceeded(f"the execution made more than {limits.STEPS} steps")

    # -- routines and blocks ----------------------------------------------------------------------

    def _invoke(self, routine: model.Routine, args: Mapping[str, Any], thread: _Thread) -> Any:
        if len(thread.frames) >= limits.CALL_DEPTH:
            raise tagged("RecursionError", f"more than {limits.CALL_DEPTH} calls wait for one another")
        scope = Scope(self._memory)
        thread.frames.append(Frame(routine.name, "", routine.line))
        try:
            for name in routine.parameters:
                scope.define(name, args[name] if name in args else routine.defaults[name])
            flow = self._block(routine.block, scope, thread)
        finally:
            thread.frames.pop()
            scope.close()
        return flow.value if isinstance(flow, _Returned) else None

    def _block(self, block: model.Block, scope: Scope, thread: _Thread) -> _Flow:
        at = 0
        while at < len(block.steps):
            flow = self._step(block.steps[at], scope, thread)
            if isinstance(flow, _Jump) and flow.to == "end":
                return _Returned(None)
            if isinstance(flow, _Jump) and flow.to in block.index:
                at = block.index[flow.to]
            elif flow is not None:
                return flow
            else:
                at += 1
        return None

    def _step(self, step: model.Step, scope: Scope, thread: _Thread) -> _Flow:
        if any(abort.is_set() for abort in thread.aborts):
            raise BranchAborted
        frame = Frame(thread.frames[-1].routine, step.name, step.line)
        thread.frames[-1] = frame
        self.moved(frame)
        try:
            self.count_step()
            flow = self._action(step.action, scope, thread)
        except WorkflowError as error:
            error.frames = error.frames or tuple(reversed(thread.frames))
            raise
        if flow is None and step.next is not None:
            return _Jump(step.next)
        return flow

    def _action(self, action: model.Action, scope: Scope, thread: _Thread) -> _Flow:
        match action:
            case model.Assign():
                for target, template in action.assignments:
                    self._assign(target, self._value(template, scope, thread), scope, thread)
                return None
            case model.Call():
                self._call(action, scope, thread)
                return None
            case model.Raise(value):
                raise WorkflowError(self._value(value, scope, thread))
            case model.Return(value):
                return _Returned(self._value(value, scope, thread))
            case model.Nested(block):
                return self._block(block, scope, thread)
            case model.Switch(cases):
                return self._switch(cases, scope, thread)
            case model.For():
                return self._for(action, scope, thread)
            case model.Parallel():
                self._parallel(action, scope, thread)
                return None
            case model.Try():
                return self._try(action, scope, thread)
            case model.Nothing():
                return None

    def _switch(self, cases: tuple[model.Case, ...], scope: Scope, thread: _Thread) -> _Flow:
        for case in cases:
            holds = self._value(case.condition, scope, thread)
            if not isinstance(holds, bool):
                raise tagged("TypeError", f"a condition is a boolean, not a {type_name(holds)}")
            if holds:
                flow = self._action(case.action, scope, thread)
                return _Jump(case.next) if flow is None and case.next is not None else flow
        return None

    # -- calls ------------------------------------------------------------------------------------

    def _call(self, action: model.Call, scope: Scope, thread: _Thread) -> None:
        args = {name: self._value(value, scope, thread) for name, value in action.args.items()}
        name = action.function
        if name in self.definition.routines:
            result = self._invoke(self.definition.routines[name], args, thread)
        elif name in http_calls.METHODS:
            result = http_calls.call(name, args, self.client)
        elif name in connectors.METHODS:
            result = connectors.call(name, args, self)
        else:
            result = stdlib.invoke(name, stdlib.FUNCTIONS[name], args, self)
        if action.result is not None:
            self._assign(action.result, result, scope, thread)

    def _function(self, name: str, args: tuple[Any, ...], thread: _Thread) -> Any:
        """A call inside an expression, its arguments by position."""
        routine = self.definition.routines.get(name)
        if routine is not None:
            return self._invoke(routine, dict(zip(routine.parameters, args, strict=False)), thread)
        function = stdlib.FUNCTIONS[name]
        return stdlib.invoke(name, function, dict(zip(function.names(), args, strict=False)), self)

    # -- try --------------------------------------------------------------------------------------

    def _try(self, action: model.Try, scope: Scope, thread: _Thread) -> _Flow:
        retries = 0
        delay: float | None = None
        depth = len(thread.frames)
        top = thread.frames[-1]
        while True:
            try:
                return self._action(action.body, scope, thread)
            except WorkflowError as error:
                caught = error
            del thread.frames[depth:]
            thread.frames[-1] = top
            if not caught.catchable:
                raise caught
            retry = action.retry
            if (
                retry is not None
                and retries < self._number(retry.max_retries, scope, thread)
                and self._retryable(retry.predicate, caught, thread)
            ):
                delay = self._delay(retry, delay, scope, thread)
                retries += 1
                self.sleep(delay)
                self.count_step()
                continue
            if action.handler is None:
                raise caught
            return self._handle(action.handler, caught, scope, thread)

    def _retryable(self, predicate: str | None, error: WorkflowError, thread: _Thread) -> bool:
        if predicate is None:
            return True
        answer = self._function(predicate, (error.value,), thread)
        if not isinstance(answer, bool):
            raise tagged(
                "TypeError", f"the predicate {predicate} answered a {type_name(answer)}, not a boolean"
            )
        return answer

    def _delay(self, retry: model.RetryPolicy, last: float | None, scope: Scope, thread: _Thread) -> float:
        if last is None:
            following = self._number(retry.initial_delay, scope, thread)
        else:
            following = last * self._number(retry.multiplier, scope, thread)
        return min(following, self._number(retry.max_delay, scope, thread))

    def _handle(self, handler: model.Except, error: WorkflowError, scope: Scope, thread: _Thread) -> _Flow:
        inner = scope.child()
        try:
            inner.define(handler.name, error.value)
            return self._action(handler.action, inner, thread)
        finally:
            inner.close()

    # -- loops and parallel steps -----------------------------------------------------------------

    def _elements(self, loop: model.For, scope: Scope, thread: _Thread) -> list[Any]:
        if loop.range is not None:
            span = self._value(loop.range, scope, thread)
            if not isinstance(span, list) or len(span) != 2 or not all(map(is_number, span)):
                raise tagged("TypeError", "range is a list of two numbers")
            first, last = span
            return [first + offset for offset in range(int(max(0, (last - first) // 1 + 1)))]
        items = self._value(loop.items or model.Constant([]), scope, thread)
        if not isinstance(items, list):
            raise tagged("TypeError", f"a for loop goes over a list, not a {type_name(items)}")
        return items

    def _iteration(self, loop: model.For, number: int, item: Any, scope: Scope, thread: _Thread) -> _Flow:
        inner = scope.child()
        try:
            inner.define(loop.value, item)
            if loop.index is not None:
                inner.define(loop.index, number)
            return self._block(loop.block, inner, thread)
        finally:
            inner.close()

    def _for(self, loop: model.For, scope: Scope, thread: _Thread) -> _Flow:
        for number, item in enumerate(self._elements(loop, scope, thread)):
            flow = self._iteration(loop, number, item, scope, thread)
            if isinstance(flow, _Jump) and flow.to == "break":
                return None
            if flow is not None and flow != _Jump("continue"):
                return flow
        return None

    def _parallel(self, action: model.Parallel, scope: Scope, thread: _Thread) -> None:
        if thread.parallel >= limits.PARALLEL_DEPTH:
            raise tagged("ParallelNestingError", f"parallel steps nest {limits.PARALLEL_DEPTH} deep at most")
        branches = [(name, self._branch(block, scope, thread)) for name, block in action.branches]
        if action.loop is not None:
            for number, item in enumerate(self._elements(action.loop, scope, thread)):
                branches.append((str(number), self._loop_branch(action.loop, number, item, scope, thread)))
        parallel.run_all(branches, concurrency=action.concurrency, continue_all=action.continue_all)

    def _branch(self, block: model.Block, scope: Scope, thread: _Thread) -> Branch:
        def run(abort: threading.Event) -> None:
            inner = scope.child()
            try:
                self._block(block, inner, thread.branch(abort))
            finally:
                inner.close()

        return run

    def _loop_branch(self, loop: model.For, number: int, item: Any, scope: Scope, thread: _Thread) -> Branch:
        return lambda abort: self._iteration(loop, number, item, scope, thread.branch(abort))

    # -- values -----------------------------------------------------------------------------------

    def _value(self, template: model.Template, scope: Scope, thread: _Thread) -> Any:
        match template:
            case model.Constant(value):
                return value
            case model.Computed(tree):
                return evaluate(tree, _Environment(self, scope, thread))
            case model.ListTemplate(items):
                return [self._value(item, scope, thread) for item in items]
            case model.MapTemplate(pairs):
                return {key: self._value(value, scope, thread) for key, value in pairs}

    def _number(self, template: model.Template, scope: Scope, thread: _Thread) -> float:
        value = self._value(template, scope, thread)
        if not is_number(value):
            raise tagged("TypeError", f"a retry policy takes numbers, not a {type_name(value)}")
        return float(value)

    def _assign(self, target: model.Target, value: Any, scope: Scope, thread: _Thread) -> None:
        if target.keys:
            environment = _Environment(self, scope, thread)
            scope.set_element(target.name, [evaluate(key, environment) for key in target.keys], value)
        else:
            scope.set(target.name, value)


@dataclass(frozen=True)
class _Environment:
    """What an expression reaches (evaluate.Environment)."""

    engine: Engine
    scope: Scope
    thread: _Thread

    def variable(self, name: str) -> Any:
        return self.scope.get(name)

    def call(self, name: str, args: tuple[Any, ...]) -> Any:
        return self.engine._function(name, args, self.thread)
