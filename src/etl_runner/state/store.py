"""Reading and compare-and-swapping the state document.

A precondition failure is not a verdict: the response to our own successful write may have been lost. So
a change is given as a function from what *is* to what should be, which recognises its own effect; after
every conflict or lost response the object is read again and the function decides anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from etl_runner.errors import RetryableError, StoreConflict
from etl_runner.state.document import State
from etl_runner.state.objects import ObjectStore

_ATTEMPTS = 8
_FIRST_PAUSE = 0.1
# An object takes about one write a second (https://cloud.google.com/storage/quotas#objects).
_LONGEST_PAUSE = 2.0


def state_name(source_id: str) -> str:
    """The object that holds a source's state."""
    return f"sources/{source_id}/state.json"


class StateStore:
    """One source's state document in the state bucket."""

    def __init__(
        self, objects: ObjectStore, source_id: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._objects = objects
        self._name = state_name(source_id)
        self._sleep = sleep
        self.source_id = source_id

    def read(self) -> State:
        """The state as it is now; a source that never ran has the empty one."""
        return self._read()[0]

    def change(self, decide: Callable[[State], State | None]) -> State:
        """Bring the state to what ``decide`` wants and return the state as it stands then.

        ``decide`` gets the current state and returns the wanted one, or None when there is nothing (any
        more) to write: it is already so, or somebody else's slot forbids it. It may be called repeatedly
        and may raise to give up.

        Raises:
            RetryableError: the store stayed unavailable or contended.
        """
        pause = _FIRST_PAUSE
        failure: Exception | None = None
        for _ in range(_ATTEMPTS):
            state, generation = self._read()
            wanted = decide(state)
            if wanted is None:
                return state
            try:
                if generation is None:
                    self._objects.create(self._name, wanted.to_json())
                else:
                    self._objects.replace(self._name, wanted.to_json(), generation)
                return wanted
            except (StoreConflict, RetryableError) as error:
                failure = error
            self._sleep(pause * (1 + random.random()))  # spread contenders
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise RetryableError(
            f"the state of source {self.source_id} could not be written in {_ATTEMPTS} attempts"
        ) from failure

    def _read(self) -> tuple[State, int | None]:
        stored = self._objects.read(self._name)
        if stored is None:
            return State(), None
        return State.from_json(stored.data, self._name), stored.generation
