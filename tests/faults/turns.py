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
    """Runs actors in a chosen interleaving."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._waiting: list[str] = []
        self._turn: str | None = None
        self._running: set[str] = set()
        self._dead: set[str] = set()
        self.errors: list[BaseException] = []
        self.log: list[str] = []

    def wire(self, actor: str) -> Callable[[str, Callable[[], Any]], Any]:
        """What an actor's remote calls go through."""

        def around(name: str, call: Callable[[], Any]) -> Any:
            with self._lock:
                self._waiting.append(actor)
                self._lock.notify_all()
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
                    self._lock.notify_all()

        return around

    def run(
        self, actors: dict[str, Callable[[], Any]], order: Sequence[int | str], kill: dict[str, int]
    ) -> None:
        """Run all actors to their end. ``order`` picks among those that wait, by number or by name, cycling
        when it is used up; ``kill`` says after how many of its calls an actor dies."""
        threads = []
        for name, body in actors.items():
            self._running.add(name)
            threads.append(threading.Thread(target=self._act, args=(name, body), daemon=True))
        for thread in threads:
            thread.start()
        made: dict[str, int] = dict.fromkeys(actors, 0)
        step = 0
        while True:
            with self._lock:
                while len(set(self._waiting)) < len(self._running) or self._turn is not None:
                    self._lock.wait(30)
                if not self._running:
                    break
                ready = sorted(set(self._waiting))
                pick = order[step % len(order)] if order else step
                chosen = ready[pick % len(ready)] if isinstance(pick, int) else pick
                if chosen not in ready:
                    chosen = ready[0]
                step += 1
                made[chosen] += 1
                if chosen in kill and made[chosen] > kill[chosen]:
                    self._dead.add(chosen)
                self._turn = chosen
                self._lock.notify_all()
        for thread in threads:
            thread.join(30)
        if self.errors:
            raise self.errors[0]

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
                self._lock.notify_all()
