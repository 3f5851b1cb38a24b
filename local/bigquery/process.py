"""local-bigquery as a child process on loopback."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from local.bigquery.environment import executable, home
from local.ports import free_port
from local.processes import guard, unguard

_CORRECTIONS = Path(__file__).with_name("corrections.py")
START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 10.0


class ServerDidNotStart(Exception):  # noqa: N818 - says what is the case
    """The server ended or stayed silent; the message names its log."""


@dataclass
class BigQueryProcess:
    """A running local-bigquery. Started in a process group of its own, which ends with :meth:`stop`, and with
    the process that started it however that one ends."""

    popen: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @classmethod
    def start(
        cls,
        *,
        env_dir: Path,
        data_dir: Path,
        project: str,
        storage_endpoint: str,
        corrected: bool = True,
        grpc_port: int = 0,
        attempts: int = 3,
    ) -> BigQueryProcess:
        """Start the server and wait until it answers.

        ``storage_endpoint`` is a full URL (``http://127.0.0.1:4443``). A program that knows nothing of
        :mod:`local.ports` may take a port before the server does: then other ports are tried.
        ``grpc_port`` is that of the Storage API, 0 for a free one.
        ``corrected=False`` starts local-bigquery as it is, without :mod:`local.bigquery.corrections`.

        Raises:
            ServerDidNotStart: it ended each time, or did not answer within 60 s.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        log = data_dir / "local-bigquery.log"
        for _ in range(attempts):
            process = cls._launch(env_dir, data_dir, project, storage_endpoint, log, corrected, grpc_port)
            if process._wait_until_it_answers():
                return process
        tail = log.read_text(errors="replace")[-600:]
        raise ServerDidNotStart(f"local-bigquery did not start; the end of {log}: {tail}")

    @classmethod
    def _launch(
        cls,
        env_dir: Path,
        data_dir: Path,
        project: str,
        storage_endpoint: str,
        log: Path,
        corrected: bool,
        grpc_port: int,
    ) -> BigQueryProcess:
        port, grpc_port = free_port(), grpc_port or free_port()
        # An outside NO_PROXY or proxy setting must not come between the server and the storage emulator.
        environ = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environ |= {
            "HOME": str(home(env_dir.absolute())),
            "DATA_DIR": str(data_dir.absolute()),
            "STORAGE_EMULATOR_HOST": storage_endpoint,
            "PYTHONUNBUFFERED": "1",
        }
        server: list[str | Path] = [executable(env_dir.absolute())]
        if corrected:
            # -I keeps this folder's other modules off the server's import path.
            server = [env_dir.absolute() / "bin" / "python", "-I", "-u", _CORRECTIONS]
        command: list[str | Path] = [
            *server,
            "--host", "127.0.0.1",
            "--port", str(port),
            "--grpc-port", str(grpc_port),
            "--project", project,
        ]  # fmt: skip
        with log.open("ab") as output:
            popen = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        guard(popen.pid)
        return cls(popen, port, grpc_port, log)

    def _wait_until_it_answers(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self.popen.poll() is None:
            if self._answers():
                return True
            if time.monotonic() > deadline:
                self.stop()
                raise ServerDidNotStart(
                    f"local-bigquery did not answer within {START_TIMEOUT_SECONDS:.0f} s; "
                    f"its log is {self.log}"
                )
            time.sleep(0.05)
        return False

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/bigquery/v2/projects")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End the server and everything that it started; idempotent."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGTERM)
            try:
                self.popen.wait(_STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.popen.pid, signal.SIGKILL)
                self.popen.wait()
        unguard(self.popen.pid)
