"""Processes that take turns: one remote call at a time, in an order that the test chooses.

Each actor runs in a thread and stops before every remote call until it is given a turn, so that a list of
numbers decides the interleaving and hypothesis can search (and shrink) it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from tests.faults.world import Killed


class Turns:
    """Runs actors in a chosen interleaving.

    Whoever arrives last at its next call chooses whose turn it is, so that an actor with several turns in a
    row goes on without a change of threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._waiting: list[str] = []
        self._turn: str | None = None
        self._running: set[str] = set()
        self._dead: set[str] = set()
        self._order: Sequence[int | str] = ()
        self._kill: dict[str, int] = {}
        self._made: dict[str, int] = {}
        self._step = 0
        self.errors: list[BaseException] = []
        self.log: list[str] = []

    def wire(self, actor: str) -> Callable[[str, Callable[[], Any]], Any]:
        """What an actor's remote calls go through."""

        def around(name: str, call: Callable[[], Any]) -> Any:
            with self._lock:
                self._waiting.append(actor)
                self._choose()
                while self._turn != actor and actor not in self._dead:
                    self._lock.wait()
                self._waiting.remove(actor)
                try:
                    if actor in self._dead:
                        raise Killed(name)
                    self.log.append(f"{actor}: {name}")
                    # Made while the lock is held: one call at a time.
                    return call()
                finally:
                    if self._turn == actor:
                        self._turn = None
                    self._choose()

        return around

    def run(
        self, actors: dict[str, Callable[[], Any]], order: Sequence[int | str], kill: dict[str, int]
    ) -> None:
        """Run all actors to their end. ``order`` picks among those that wait, by number or by name, cycling
        when it is used up; ``kill`` says after how many of its calls an actor dies."""
        self._order, self._kill, self._made = order, kill, dict.fromkeys(actors, 0)
        self._running.update(actors)
        threads = [
            threading.Thread(target=self._act, args=(name, body), daemon=True)
            for name, body in actors.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _choose(self) -> None:
        """Give the next turn if all who run wait for one; with the lock held."""
        if self._turn is not None or not self._running or len(set(self._waiting)) < len(self._running):
            return
        ready = sorted(set(self._waiting))
        pick = self._order[self._step % len(self._order)] if self._order else self._step
        chosen = ready[pick % len(ready)] if isinstance(pick, int) else pick
        if chosen not in ready:
            chosen = ready[0]
        self._step += 1
        self._made[chosen] += 1
        if chosen in self._kill and self._made[chosen] > self._kill[chosen]:
            self._dead.add(chosen)
        self._turn = chosen
        self._lock.notify_all()

    def _act(self, name: str, body: Callable[[], Any]) -> None:
        try:
            body()
        except Killed:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            with self._lock:
                self._running.discard(name)
                self._choose()
