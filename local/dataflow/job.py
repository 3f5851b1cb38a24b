"""One job: the pipeline's process, its attempts, and how the API shows it."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etl_runner.jsontypes import JsonObject
from local.dataflow.request import Request, launcher_arguments
from local.processes import Child, ProcessFailedError

ATTEMPTS = 4
"""Dataflow tries failed work four times before a batch job fails.
https://cloud.google.com/dataflow/docs/guides/deploying-a-pipeline#error-and-exception-handling"""
TERMINAL = ("DONE", "FAILED", "CANCELLED")
_LOST = b"Worker subprocess exited with return code"
"""What Beam logs of a worker process that ended badly (runners/portability/local_job_service.py)."""
_STOP_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Launcher:
    """What stands in for the template's image: the command that executes its pipeline, the environment that
    its containers have from the start, and the most worker processes that this machine should run."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    workdir: Path = Path()
    most_processes: int = 2


def now() -> str:
    """The time as the API writes it."""
    return dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")


class Job:
    """Runs in a thread of its own."""

    def __init__(self, request: Request, launcher: Launcher, logs: Path) -> None:
        stamp = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d_%H_%M_%S")
        self.id = f"{stamp}-{secrets.randbelow(10**19):019d}"
        self.request = request
        self.attempts = 0
        self._launcher = launcher
        self._log = logs / self.id
        self._state = "QUEUED"
        self._created = self._changed = now()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._run, name=self.id, daemon=True)

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self._state not in TERMINAL

    @property
    def pid(self) -> int | None:
        """Process (and process group) of the pipeline while it runs; its workers are in the group."""
        child = self._child
        return child.pid if child is not None and child.running else None

    def start(self) -> None:
        """Run in the background."""
        self._thread.start()

    def cancel(self) -> bool:
        """Stop the pipeline. Safe to repeat; False for a job that has ended, which stays as it is."""
        if not self._become("CANCELLING"):
            return False
        self._cancelled.set()
        return True

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def log_of(self, attempt: int) -> Path:
        """Where an attempt's output is; attempts count from 1."""
        return self._log / f"attempt-{attempt}.log"

    def to_json(self) -> JsonObject:
        """The Job resource, JOB_VIEW_SUMMARY."""
        return {
            "id": self.id,
            "name": self.request.name,
            "projectId": self.request.project,
            "location": self.request.location,
            "type": "JOB_TYPE_BATCH",
            "currentState": f"JOB_STATE_{self._state}",
            "currentStateTime": self._changed,
            "createTime": self._created,
            "labels": dict(self.request.environment.get("additionalUserLabels") or {}),
            **({"requestedState": "JOB_STATE_CANCELLED"} if self._cancelled.is_set() else {}),
        }

    def command(self) -> list[str]:
        """The command line as the flex template launcher makes it, with the runner of this machine."""
        environment = self.request.environment
        processes = int(environment.get("numWorkers") or 1) * _processors(environment)
        return [
            *self._launcher.command,
            *launcher_arguments(self.request),
            "--runner=FnApiRunner",
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={min(processes, self._launcher.most_processes)}",
        ]

    def _become(self, state: str) -> bool:
        with self._lock:
            if not self.active:
                return False
            self._state, self._changed = state, now()
            return True

    def _run(self) -> None:
        self._become("RUNNING")
        while self.attempts < ATTEMPTS and not self._cancelled.is_set():
            self.attempts += 1
            if self._attempt():
                self._become("DONE")
                return
        self._become("CANCELLED" if self._cancelled.is_set() else "FAILED")

    def _attempt(self) -> bool:
        try:
            child = Child.start(
                f"dataflow-{self.request.name}",
                self.command(),
                log=self.log_of(self.attempts),
                env=dict(self._launcher.env),
                cwd=self._launcher.workdir,
            )
        except ProcessFailedError:
            return False
        self._child = child
        with self.log_of(self.attempts).open("rb") as log:
            tail = b""
            while (code := child.wait(_POLL_SECONDS)) is None:
                if self._cancelled.is_set():
                    child.stop(_STOP_GRACE_SECONDS)
                    return False
                tail = tail[-len(_LOST) :] + log.read()
                if _LOST in tail:
                    # FnApiRunner waits for ever for the answer of a worker that died; Dataflow does its work
                    # again. Finished units have their manifests, whoever starts again.
                    child.kill()
                    return False
        # Workers that outlive their pipeline would go on with its units.
        child.kill()
        return code == 0


def _processors(environment: JsonObject) -> int:
    """Worker processes of one machine."""
    if "no_use_multiple_sdk_containers" in (environment.get("additionalExperiments") or ()):
        return 1
    number = str(environment.get("machineType") or "").rpartition("-")[2]
    return int(number) if number.isdecimal() else os.cpu_count() or 1
