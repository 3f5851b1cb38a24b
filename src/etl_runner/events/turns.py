"""One load of a source at a time in one process.

Whoever has noted an arrival while another call of this process loads the source leaves it to that call, which
looks once more before it ends: in a burst most calls then cost one write. Nothing rests on this memory. The
call that looks is acknowledged last; when its process dies, the bus delivers its event again, to a process
that looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from etl_runner.events.load import Loaded


class Turns:
    """Whose turn it is to load a source. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._look_again: dict[str, bool] = {}
        """The sources that are being loaded; whether somebody came since the last look began."""

    def take(self, source_id: str, load: Callable[[], Loaded]) -> Loaded:
        """Call ``load``, and again as long as somebody came meanwhile; ``held`` when another call is at it.

        Raises:
            RetryableError, PermanentError: from ``load``.
        """
        with self._lock:
            if source_id in self._look_again:
                self._look_again[source_id] = True
                return Loaded("held")
            self._look_again[source_id] = False
        result = Loaded()
        try:
            while True:
                result = result.then(load())
                with self._lock:
                    over = result.status == "time_up" or result.trouble is not None
                    if over or not self._look_again[source_id]:
                        return result
                    self._look_again[source_id] = False
        finally:
            with self._lock:
                del self._look_again[source_id]
