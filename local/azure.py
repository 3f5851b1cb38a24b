"""Azure Blob Storage: Azurite, Microsoft's own emulator (npm), with an account of our own.

Known differences from the service: a wrong key and a missing permission are told by the same code, a
backslash in a name becomes a slash, and there is no sign-in as an application over HTTP.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl_runner.errors import PermanentError
from local.layout import REPOSITORY
from local.ports import free_port
from local.processes import Child, ProcessFailedError

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

HOME = REPOSITORY / ".local" / "azurite"
"""Where tools/setup.py installs it."""
_PROGRAM = HOME / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "etlaccount"


@dataclass
class AzureServer:
    """A running server with one storage account."""

    endpoint: str
    """``http://127.0.0.1:port/etlaccount``: the account's Blob service."""
    account_key: str = field(repr=False)
    _child: Child = field(repr=False)

    @classmethod
    def start(cls, data_dir: Path, *, log: Path | None = None, port: int | None = None) -> AzureServer:
        """Start a server over a folder.

        Raises:
            ProcessFailedError: it did not start.
            PermanentError: Node.js or Azurite is not installed.
        """
        node = shutil.which("node")
        if node is None or not _PROGRAM.exists():
            raise PermanentError(
                "Azurite is not installed: it needs Node.js 20 or newer with npm, and then `make setup`."
            )
        port = port or free_port()
        key = base64.b64encode(secrets.token_bytes(64)).decode()
        data_dir.mkdir(parents=True, exist_ok=True)
        # The client's API version is newer than the ones that Azurite lists, hence the last option.
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(data_dir)]
        options += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        child = Child.start(
            "Azurite",
            [node, _PROGRAM, *options],
            log=log or data_dir.with_name(data_dir.name + ".log"),
            env={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}", "PATH": os.environ.get("PATH", "")},
            cwd=data_dir,
        )
        try:
            child.wait_for_port(port, timeout=90)
        except ProcessFailedError:
            child.kill()
            raise
        return cls(f"http://127.0.0.1:{port}/{ACCOUNT}", key, child)

    def client(self) -> BlobServiceClient:
        """The official client, with the account's key."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self.endpoint, credential=self.account_key)

    def create_container(self, name: str, *, public: bool = False) -> None:
        """Create a container, whose objects anybody can list and read if it is ``public``."""
        from azure.storage.blob import PublicAccess

        self.client().create_container(name, public_access=PublicAccess.CONTAINER if public else None)

    def put(self, container: str, name: str, data: bytes) -> None:
        """Write an object."""
        self.client().get_blob_client(container, name).upload_blob(data, overwrite=True)

    def sas_token(self, container: str, permissions: str = "rl") -> str:
        """A shared access signature for a container, good for an hour; ``rl`` is read and list."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        return generate_container_sas(
            ACCOUNT,
            container,
            account_key=self.account_key,
            permission=ContainerSasPermissions.from_string(permissions),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )

    @property
    def connection_string(self) -> str:
        """The account's connection string."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.account_key};"
            f"BlobEndpoint={self.endpoint};"
        )

    def document(self, container: str) -> dict[str, Any]:
        """A connection document for a container, with the account's key in it."""
        return {
            "source_type": "azure",
            "bucket": container,
            "account_name": ACCOUNT,
            "account_key": self.account_key,
            "endpoint": self.endpoint,
        }

    def stop(self) -> None:
        """Stop the server. Safe to repeat."""
        self._child.stop(grace=2.0)
