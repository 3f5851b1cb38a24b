"""Keys of our own that sign as Google, SNS and Entra do: what is verified is real RSA."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from etl_runner.errors import RetryableError

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """One key a name, for all tests: making one takes long."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_set(*names: str) -> bytes:
    """A JSON Web Key Set; a key's id is its name."""

    def number(value: int) -> str:
        return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))

    keys = []
    for name in names:
        public = key(name).public_key().public_numbers()
        keys.append({"kty": "RSA", "kid": name, "n": number(public.n), "e": number(public.e)})
    return json.dumps({"keys": keys}).encode()


def token(
    claims: dict[str, Any], *, signed_by: str = "google", kid: str | None = None, alg: str = "RS256"
) -> str:
    header = {"alg": alg, "typ": "JWT", "kid": kid or signed_by}
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    signature = key(signed_by).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{encoded(signature)}"


def certificate(name: str = "sns", common_name: str = "sns.amazonaws.com", days: int = 30) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key(name).public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=60))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key(name), hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


def sign_sns(message: dict[str, Any], signed_by: str = "sns") -> dict[str, Any]:
    """The message with its signature, over the fields that the documentation lists, in its order."""
    if message["Type"] == "Notification":
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    else:
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    algorithm: Any = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()
    signature = key(signed_by).sign(text.encode(), padding.PKCS1v15(), algorithm)
    return {**message, "Signature": base64.b64encode(signature).decode()}


@dataclass
class Web:
    """The pages that verification fetches, and a count of the fetches."""

    pages: dict[str, bytes]
    asked: list[str] = field(default_factory=list)

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise RetryableError(f"{url} does not answer")
        return self.pages[url]
