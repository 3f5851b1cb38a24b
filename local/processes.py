"""Child processes that are certain to start, or to say why not, and certain to end."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from etl_runner.errors import PermanentError
from local.rest import opener

_POLL_SECONDS = 0.01
_LOG_TAIL_BYTES = 4000


class ProcessFailedError(PermanentError):
    """A child process ended or stayed silent when it should have been ready."""


class _Guard:
    """This process's ``local.guard``, started with the first child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._descriptors: tuple[int, ...] = ()

    def hold(self, descriptor: int) -> None:
        with self._lock:
            self._descriptors = (*self._descriptors, descriptor)
            if self._process is not None:
                self._send("hold", [descriptor])

    def add(self, group: int, stop_signal: int) -> None:
        with self._lock:
            self._send(f"add {group} {stop_signal}")

    def remove(self, group: int) -> None:
        with self._lock:
            self._send(f"remove {group}")

    def _send(self, line: str, descriptors: Sequence[int] = ()) -> None:
        if self._line is None or self._process is None or self._process.poll() is not None:
            self._line = self._start()
        socket.send_fds(self._line, [f"{line}\n".encode()], descriptors)

    def _start(self) -> socket.socket:
        ours, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                # -I and -S: no site packages to search through, it starts in some 20 ms.
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
                pass_fds=self._descriptors,
            )
        return ours


_guard = _Guard()


def guard_holds(descriptor: int) -> None:
    """Keep a file open, and the lock on it held, until everything that this process starts is killed too."""
    _guard.hold(descriptor)


def guard(group: int, stop_signal: int = signal.SIGTERM) -> None:
    """Have a process group that was not started as a :class:`Child` killed with this process, too."""
    _guard.add(group, stop_signal)


def unguard(group: int) -> None:
    """The group has ended: its number may be somebody else's next."""
    _guard.remove(group)


class Child:
    """A running child process, in a process group of its own, writing to a log file.

    Its whole group is killed when this object is stopped or when the process that started it ends, however
    that one ends.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, stop_signal: int) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._stop_signal = stop_signal

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: int = signal.SIGTERM,
    ) -> Child:
        """Start ``command`` with both outputs appended to ``log``.

        Args:
            name: what messages call it.
            env: the whole environment; this process's own when absent.
            user: the account to run as, for a parent that runs as root.
            stop_signal: what asks it to end in good order.

        Raises:
            ProcessFailedError: the program cannot be executed.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=None if env is None else dict(env),
                    cwd=cwd,
                    process_group=0,
                    **as_account(user),
                )
            except OSError as error:
                raise ProcessFailedError(f"{name} cannot be started: {error}") from error
        _guard.add(process.pid, stop_signal)
        return cls(name, process, log, stop_signal)

    @property
    def pid(self) -> int:
        """The process id, which is the process group's id too."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative signal number, or None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.returncode is None

    def log_tail(self) -> str:
        """The end of the log."""
        with self.log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()

    def wait_until(self, ready: Callable[[], bool], *, what: str, timeout: float = 30.0) -> None:
        """Return as soon as ``ready`` says so.

        Raises:
            ProcessFailedError: the process ended before, or ``timeout`` seconds went by; with the log's end.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise ProcessFailedError(
                    f"{self.name} ended with code {self.returncode} before it was ready ({what}); "
                    f"its log {self.log} ends with:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise ProcessFailedError(
                    f"{self.name} was not ready ({what}) within {timeout:g} s; "
                    f"its log {self.log} ends with:\n{self.log_tail()}"
                )
            time.sleep(_POLL_SECONDS)

    def wait_for_port(self, port: int, *, timeout: float = 30.0) -> None:
        """Return as soon as something accepts connections on 127.0.0.1:``port``."""
        self.wait_until(lambda: listens(port), what=f"port {port}", timeout=timeout)

    def wait_for_url(self, url: str, *, timeout: float = 30.0) -> None:
        """Return as soon as a GET of ``url`` answers, with any status below 500."""
        self.wait_until(lambda: answers(url), what=url, timeout=timeout)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; the exit code, or None when ``timeout`` seconds went by first."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._forget()
        return code

    def stop(self, grace: float = 5.0) -> None:
        """Ask the group to end, and after ``grace`` seconds make it. Safe to repeat."""
        if self.running:
            self._send(self._stop_signal)
            if self.wait(grace) is not None:
                # The leader has ended; what it started and left behind ends too.
                self._send(signal.SIGKILL)
                return
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group, at once."""
        self._send(signal.SIGKILL)
        self._process.wait()
        self._forget()

    def _send(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # the group is empty: nothing left to signal

    def _forget(self) -> None:
        _guard.remove(self.pid)


class Account(TypedDict, total=False):
    """What ``subprocess`` takes to run a program as somebody else."""

    user: int
    group: int
    extra_groups: list[int]


def as_account(name: str | None) -> Account:
    """``subprocess`` arguments to run as the account ``name``; none of them for None, this process's own."""
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def listens(port: int) -> bool:
    """Whether something accepts connections on 127.0.0.1:``port``."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def answers(url: str) -> bool:
    """Whether a GET of ``url`` gets an HTTP answer with a status below 500."""
    try:
        with opener.open(url, timeout=2.0):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False
