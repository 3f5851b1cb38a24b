"""Keeps one topology in the background: a detached process that holds a lock for as long as it lives."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from etl_runner.errors import EtlError, PermanentError
from local.layout import REPOSITORY, write_settings
from local.processes import guard_holds
from local.scheduler import Schedule, Scheduler

# Generous, for machines that are busy with something else.
_START_SECONDS = 300.0
_STOP_SECONDS = 60.0
_LOG_TAIL = 3000


class Supervisor:
    """The background topology of one folder.

    ``.local/settings.env`` is what its clients need, ``.local/data`` its data and logs, ``.local/stack.lock``
    is locked while anything of it runs and names its process.
    """

    def __init__(self, root: Path = REPOSITORY) -> None:
        folder = root / ".local"
        self.data = folder / "data"
        self.settings = folder / "settings.env"
        self._lock = folder / "stack.lock"
        self._parts = folder / "stack.json"
        self._log = folder / "stack.log"
        self._root = root

    def up(
        self, schedules: Sequence[str] = (), time_zone: str = "UTC", clouds: Sequence[str] = ()
    ) -> dict[str, str]:
        """Start it unless it runs, with the ``clouds`` of :mod:`local.clouds`; part to address.

        Raises:
            PermanentError: it did not start, or runs without one of the clouds.
        """
        if self._pid() is None:
            self._launch(schedules, time_zone, clouds)
        parts = self.status()
        lacking = [name for name in clouds if parts["running"] == "yes" and name not in parts]
        if lacking:
            raise PermanentError(
                f"The local topology runs without {', '.join(lacking)}: stop it first with "
                "`etl-runner local down`."
            )
        return parts

    def status(self) -> dict[str, str]:
        """Part to address, ``{"running": "no"}`` when nothing runs, ``"starting"`` before all does."""
        pid = self._pid()
        if pid is None:
            return {"running": "no"}
        if not self._parts.exists():
            return {"running": "starting", "pid": str(pid)}
        parts: dict[str, str] = json.loads(self._parts.read_text())
        return {"running": "yes", "pid": str(pid), "settings": str(self.settings), **parts}

    def down(self, *, clean: bool = False) -> None:
        """Stop it, by force if need be.

        Raises:
            PermanentError: it still runs.
        """
        pid = self._pid()
        if pid is not None:
            _signal(pid, signal.SIGTERM)
            if not self._ended(_STOP_SECONDS):
                # Its guard process kills what it started, and holds the lock until then.
                _signal(pid, signal.SIGKILL)
                if not self._ended(_STOP_SECONDS):
                    raise PermanentError(f"The local topology (process {pid}) does not end.")
        self._forget()
        if clean:
            from local.postgres import remove_data

            remove_data(self.data / "postgres")
            shutil.rmtree(self.data, ignore_errors=True)

    def run(self, schedules: Sequence[str] = (), time_zone: str = "UTC", clouds: Sequence[str] = ()) -> None:
        """Start it in this process and stay until SIGTERM or SIGINT.

        Raises:
            PermanentError: one runs already, or it did not start.
        """
        wanted = [Schedule.parse(text, time_zone) for text in schedules]
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        with self._hold_lock():
            self._forget()
            self._serve(wanted, stopping, clouds)

    def _serve(self, schedules: Sequence[Schedule], stopping: threading.Event, clouds: Sequence[str]) -> None:
        from local.clouds import start_clouds
        from local.stack import Stack

        stack = Stack.start(self.data, environ=os.environ)
        try:
            others = start_clouds(stack, clouds) if clouds else {}
        except BaseException:
            stack.stop()
            raise
        settings = dict(stack.environ)
        for cloud in others.values():
            settings |= cloud.settings
        parts = {**stack.endpoints(), **{name: cloud.endpoint for name, cloud in others.items()}}
        scheduler = Scheduler(schedules, stack.start_run) if schedules else None
        sweeper = Scheduler([Schedule.parse("sweep=*/2 * * * *")], lambda _: stack.sweep())
        try:
            write_settings(self.settings, settings, ["The topology on this machine, while it is up."])
            self._parts.write_text(json.dumps(parts))
            logging.getLogger(__name__).info("up after %.1f s: %s", stack.seconds["all"], stack.seconds)
            stopping.wait()
        finally:
            self._forget()
            if scheduler is not None:
                scheduler.stop()
            sweeper.stop()
            stack.stop()

    def _launch(self, schedules: Sequence[str], time_zone: str, clouds: Sequence[str]) -> None:
        self._forget()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "local.stack", "run", "--root", str(self._root)]
        for text in schedules:
            command += ["--schedule", text]
        if clouds:
            command += ["--with", ",".join(clouds)]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--time-zone", time_zone],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"},
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._parts.exists():
            if process.poll() is not None:
                raise PermanentError(f"The local topology did not start:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                process.terminate()
                raise PermanentError(
                    f"The local topology was not up within {_START_SECONDS:g} s:\n{self._log_tail()}"
                )
            time.sleep(0.02)

    def _log_tail(self) -> str:
        return self._log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()

    def _ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _pid(self) -> int | None:
        """The process that took the lock, while it or its guard holds it.

        Unlike a pid file, a lock can't outlive its holders.
        """
        try:
            with self._lock.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read() or 0) or None
        except FileNotFoundError:
            return None
        return None

    @contextlib.contextmanager
    def _hold_lock(self) -> Iterator[IO[str]]:
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PermanentError("A local topology runs already.") from error
            guard_holds(file.fileno())
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield file

    def _forget(self) -> None:
        self._parts.unlink(missing_ok=True)
        self.settings.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m local.stack``; exit code 0, or 1 with a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m local.stack", description="The topology on one machine.")
    parser.add_argument("command", choices=["up", "down", "status", "run"])
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="whose .local folder to use")
    parser.add_argument("--clean", action="store_true", help="down: remove the data too")
    parser.add_argument(
        "--schedule", action="append", default=[], metavar="SOURCE=CRON", help="up, run: load by the clock"
    )
    parser.add_argument(
        "--with", dest="clouds", type=_names, default=[], metavar="s3,azure", help="up, run: start these, too"
    )
    parser.add_argument("--time-zone", default="UTC", help="of the schedules, e.g. Europe/Berlin")
    options = parser.parse_args(arguments)
    supervisor = Supervisor(options.root.absolute())
    try:
        if options.command == "run":
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
            supervisor.run(options.schedule, options.time_zone, options.clouds)
        elif options.command == "up":
            _show(supervisor.up(options.schedule, options.time_zone, options.clouds))
        elif options.command == "down":
            supervisor.down(clean=options.clean)
        else:
            _show(supervisor.status())
    except EtlError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _signal(pid: int, number: int) -> None:
    # Gone already: its guard is about to let the lock go.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _show(parts: dict[str, str]) -> None:
    width = max(map(len, parts))
    for name, value in parts.items():
        sys.stdout.write(f"{name:<{width}}  {value}\n")
