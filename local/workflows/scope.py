"""Variables in their scopes, and the limit on their size."""

from __future__ import annotations

import threading
from typing import Any

from local.workflows.errors import limit_exceeded, tagged
from local.workflows.evaluate import element, list_index
from local.workflows.limits import VARIABLES_BYTES
from local.workflows.values import copy_value, size_of


class Memory:
    """Bytes that an execution's variables take together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = 0

    def change(self, by: int) -> None:
        """Count bytes taken or given back.

        Raises:
            WorkflowError: ResourceLimitError above 512 KB.
        """
        with self._lock:
            self._used += by
            used = self._used
        if by > 0 and used > VARIABLES_BYTES:
            raise limit_exceeded(f"the variables take {used} bytes, the limit is {VARIABLES_BYTES}")


class Scope:
    """A routine's variables, or those of a loop, an except clause or a branch inside of it.

    A name that an outer scope has is written there; any other is new here and gone with the scope.
    """

    def __init__(self, memory: Memory, parent: Scope | None = None) -> None:
        self._memory = memory
        self._parent = parent
        self._values: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._lock: threading.RLock = parent._lock if parent is not None else threading.RLock()

    def child(self) -> Scope:
        """A scope inside this one."""
        return Scope(self._memory, self)

    def get(self, name: str) -> Any:
        """The variable's value.

        Raises:
            WorkflowError: KeyError when no scope has it.
        """
        scope = self._owner(name)
        if scope is None:
            raise tagged("KeyError", f"variable {name} has no value yet")
        return scope._values[name]

    def set(self, name: str, value: Any) -> None:
        """Assign a copy of the value."""
        with self._lock:
            (self._owner(name) or self).define(name, value)

    def define(self, name: str, value: Any) -> None:
        """Assign a copy of the value in this very scope."""
        copied = copy_value(value)
        with self._lock:
            self._values[name] = copied
            self._recount(name)

    def set_element(self, name: str, keys: list[Any], value: Any) -> None:
        """Assign to an element of a variable; the last key of a map may be new.

        Raises:
            WorkflowError: KeyError, IndexError or TypeError when there is no such place.
        """
        with self._lock:
            scope = self._owner(name)
            if scope is None:
                raise tagged("KeyError", f"variable {name} has no value yet")
            holder = scope._values[name]
            for key in keys[:-1]:
                holder = element(holder, key, name)
            last = keys[-1]
            if isinstance(holder, list):
                holder[list_index(holder, last)] = copy_value(value)
            elif isinstance(holder, dict) and isinstance(last, str):
                holder[last] = copy_value(value)
            else:
                raise tagged("TypeError", f"{name} has no element of this kind to assign to")
            scope._recount(name)

    def close(self) -> None:
        """Give back what the scope's variables took."""
        self._memory.change(-sum(self._sizes.values()))
        self._values.clear()
        self._sizes.clear()

    def _owner(self, name: str) -> Scope | None:
        scope: Scope | None = self
        while scope is not None and name not in scope._values:
            scope = scope._parent
        return scope

    def _recount(self, name: str) -> None:
        before = self._sizes.get(name, 0)
        size = len(name) + size_of(self._values[name])
        self._sizes[name] = size
        self._memory.change(size - before)
