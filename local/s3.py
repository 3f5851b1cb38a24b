"""S3: moto's server, which checks keys, signatures and permissions here.

Known differences from S3: a request without a signature is answered 500, so that public buckets cannot be
tried; buckets of other regions answer, too; nothing survives the server's end.
"""

from __future__ import annotations

import secrets
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etl_runner.errors import PermanentError
from etl_runner.jsontypes import dumps
from local.ports import free_port
from local.processes import Child
from local.rest import opener

REGION = "us-east-1"


@dataclass
class S3Server:
    """A running server, and the key of its owner, who may do everything."""

    endpoint: str
    """``http://127.0.0.1:port``"""
    access_key_id: str = field(default="owner", repr=False)
    secret_access_key: str = field(default="not yet", repr=False)
    _child: Child | None = field(default=None, repr=False)

    @classmethod
    def start(cls, log: Path, *, port: int | None = None) -> S3Server:
        """Start an empty server.

        Raises:
            ProcessFailedError: it did not start.
        """
        port = port or free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        child = Child.start("moto", command, log=log)
        server = cls(f"http://127.0.0.1:{port}", _child=child)
        try:
            child.wait_for_url(f"{server.endpoint}/moto-api/", timeout=90)
            server.access_key_id, server.secret_access_key = server.create_key("*")
            server._demand_keys()
        except BaseException:
            child.kill()
            raise
        return server

    def client(self, service: str = "s3") -> Any:
        """botocore's client of a service of this server (s3, iam, sqs, sns, ...), signed by the owner."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that is there already stays as it is."""
        self.client().create_bucket(Bucket=name)

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object."""
        self.client().put_object(Bucket=bucket, Key=name, Body=data)

    def create_key(self, *actions: str, resource: str = "*") -> tuple[str, str]:
        """The access key, id and secret, of a new user who may do these actions: ``s3:ListBucket``."""
        iam = self.client("iam")
        user = f"user-{secrets.token_hex(4)}"
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
        policy = dumps({"Version": "2012-10-17", "Statement": [statement]}).decode()
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="actions", PolicyDocument=policy)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def document(self, bucket: str) -> dict[str, Any]:
        """A connection document for a bucket, with the owner's key in it."""
        return {
            "source_type": "s3",
            "bucket": bucket,
            "endpoint": self.endpoint,
            "region": REGION,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }

    def stop(self) -> None:
        """Stop the server. Safe to repeat."""
        if self._child is not None:
            self._child.stop(grace=2.0)

    def _demand_keys(self) -> None:
        # http://docs.getmoto.org/en/latest/docs/iam.html: from now on each request is authenticated.
        url = f"{self.endpoint}/moto-api/reset-auth"
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(url, b"0", headers, method="POST")  # noqa: S310 - our own URL
        try:
            opener.open(request, timeout=30).close()
        except OSError as error:
            raise PermanentError(f"moto does not demand keys: {error}") from error
