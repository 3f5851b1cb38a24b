"""Cloud Functions: each folder of ``functions/`` under functions-framework, in a process of its own.

functions-framework is what the platform runs a function under too. A server that ends unasked is started
again on its port, as the platform would.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from local.ports import free_port
from local.processes import Child, ProcessFailedError

TARGET = "main"
_WATCH_SECONDS = 0.1
_log = logging.getLogger(__name__)


def function_names(folder: Path) -> list[str]:
    """The functions of a folder: those with a ``main.py``."""
    return sorted(path.parent.name for path in folder.glob("*/main.py"))


class FunctionServer:
    """One function, served over HTTP."""

    def __init__(
        self, name: str, source: Path, *, env: Mapping[str, str], log: Path, port: int | None = None
    ) -> None:
        """Start the server; :meth:`wait` waits until it answers.

        Args:
            name: what messages call it.
            source: the ``main.py`` whose ``main`` is served.
            env: the whole environment of the process.
            port: of 127.0.0.1, a free one when absent.
        """
        self.name = name
        self.port = port or free_port()
        self._source = source
        self._env = {**env, "FUNCTION_TARGET": TARGET, "K_SERVICE": name}
        self._log = log
        self._stopping = threading.Event()
        # Code that never loaded would not load the second time either: wait() tells why.
        self._loaded = threading.Event()
        self._lock = threading.Lock()
        self._child = self._start()
        self._watcher = threading.Thread(target=self._watch, name=f"watch {name}", daemon=True)
        self._watcher.start()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that is serving now."""
        return self._child.pid

    def wait(self, timeout: float = 60.0) -> None:
        """Return as soon as it answers.

        Raises:
            ProcessFailedError: its code cannot be loaded, or ``timeout`` seconds went by.
        """
        with self._lock:
            child = self._child
        # functions-framework answers this path itself, with 404: the function is not called.
        child.wait_for_url(f"{self.url}/robots.txt", timeout=timeout)
        self._loaded.set()

    def restart(self) -> None:
        """End the process at once, whatever it does, and start it again."""
        with self._lock:
            self._child.kill()
            self._child = self._start()
        self.wait()

    def stop(self) -> None:
        """Stop serving. Safe to repeat."""
        self._stopping.set()
        with self._lock:
            self._child.stop(grace=2.0)
        self._watcher.join()

    def _start(self) -> Child:
        command = [sys.executable, "-m", "functions_framework", "--source", str(self._source)]
        options = ["--target", TARGET, "--signature-type", "http", "--host", "127.0.0.1"]
        return Child.start(
            f"function {self.name}",
            [*command, *options, "--port", str(self.port)],
            log=self._log,
            env=self._env,
            cwd=self._source.parent,
        )

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_SECONDS):
            with self._lock:
                if self._child.running or self._stopping.is_set() or not self._loaded.is_set():
                    continue
                _log.warning("function %s ended with %s; starting again", self.name, self._child.returncode)
                self._child.kill()
                try:
                    self._child = self._start()
                except ProcessFailedError as error:
                    _log.error("function %s cannot be started again: %s", self.name, error)
                    return
