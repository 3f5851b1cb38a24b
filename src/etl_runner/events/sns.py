"""Messages of Amazon SNS: their signature, and the confirmation of a subscription.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html,
https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from etl_runner.errors import ForbiddenCall, RefusedCall
from etl_runner.events.object_event import unreadable
from etl_runner.events.tokens import Fetch

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

NOTIFICATION = "Notification"
CONFIRMATIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
_CONFIRMED = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED: dict[str, tuple[str, ...]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(CONFIRMATIONS, _CONFIRMED),
}
_HOST = re.compile(r"sns\.[a-z0-9-]{4,32}\.amazonaws\.com(\.cn)?")
_CERTIFIED = re.compile(r"sns(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")
_CERTIFICATES = 20


def string_to_sign(message: Mapping[str, Any]) -> bytes:
    """What SNS signed: names and values of the signed fields, each on a line, in byte order of the names.

    Raises:
        ConfigError: a message of an unknown type, or a field is no text.
    """
    fields = _SIGNED.get(str(message.get("Type")))
    if fields is None:
        raise unreadable("SNS message", "Type", "is unknown", message.get("Type"))
    lines = []
    for name in fields:
        value = message.get(name)
        if value is None and name == "Subject":
            continue
        if not isinstance(value, str):
            raise unreadable("SNS message", name, "is missing or no text")
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode()


class SnsVerifier:
    """Verifies messages of the allowed topics; certificates are fetched once and kept."""

    def __init__(self, topics: tuple[str, ...], fetch: Fetch, now: Callable[[], datetime]) -> None:
        self._topics = topics
        self._fetch = fetch
        self._now = now
        self._certificates: dict[str, Certificate] = {}
        self._lock = threading.Lock()

    def verify(self, message: Mapping[str, Any]) -> None:
        """Accept a message of an allowed topic that SNS has signed.

        Raises:
            ForbiddenCall: another topic, or a wrong signature or certificate (403).
            ConfigError: not an SNS message.
            RetryableError: the certificate cannot be fetched now.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.hashes import SHA1, SHA256

        signed = string_to_sign(message)
        if message["TopicArn"] not in self._topics:
            raise ForbiddenCall("the SNS topic is none of those that are allowed (ETL_SNS_TOPICS)")
        # Version 1 is SHA-1 over the same string: what topics use that were not set to version 2.
        hashes = {"1": SHA1(), "2": SHA256()}  # noqa: S303
        algorithm = hashes.get(str(message.get("SignatureVersion")))
        if algorithm is None:
            raise ForbiddenCall("the SNS message has an unknown SignatureVersion")
        key = self._certificate(str(message.get("SigningCertURL", ""))).public_key()
        if not isinstance(key, RSAPublicKey):
            raise ForbiddenCall("the SNS certificate holds no RSA key")
        try:
            signature = base64.b64decode(str(message.get("Signature", "")), validate=True)
            key.verify(signature, signed, PKCS1v15(), algorithm)
        except (InvalidSignature, ValueError, binascii.Error) as error:
            raise ForbiddenCall("the SNS message's signature is wrong") from error

    def confirm(self, message: Mapping[str, Any]) -> None:
        """Confirm the subscription of a verified ``SubscriptionConfirmation``, by a GET of its URL.

        Raises:
            ForbiddenCall: the URL is not SNS's.
        """
        self._fetch(_aws_url(str(message["SubscribeURL"]), "SubscribeURL"))

    def _certificate(self, url: str) -> Certificate:
        from cryptography.x509 import load_pem_x509_certificate

        _aws_url(url, "SigningCertURL", ".pem")
        with self._lock:
            certificate = self._certificates.get(url)
            if certificate is None:
                # TLS to the pinned host is what vouches for the certificate.
                try:
                    certificate = load_pem_x509_certificate(self._fetch(url))
                except ValueError as error:
                    raise ForbiddenCall("SigningCertURL leads to no certificate") from error
                if len(self._certificates) >= _CERTIFICATES:
                    self._certificates.clear()
                self._certificates[url] = certificate
        now = self._now()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise ForbiddenCall("the SNS certificate is not valid now")
        if not any(_CERTIFIED.fullmatch(name) for name in _common_names(certificate)):
            raise ForbiddenCall("the certificate was not issued to SNS")
        return certificate


def _common_names(certificate: Certificate) -> list[str]:
    from cryptography.x509.oid import NameOID

    return [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def _aws_url(url: str, field: str, ending: str = "") -> str:
    """The URL, if it is SNS's own: anything else would have us trust, or call, whoever wrote it."""
    try:
        parts = urlsplit(url)
        plain = parts.port is None and parts.username is None
    except ValueError as error:
        raise RefusedCall(f"{field} is no URL") from error
    host = parts.hostname or ""
    if parts.scheme != "https" or not plain or not _HOST.fullmatch(host) or not parts.path.endswith(ending):
        raise ForbiddenCall(f"{field} does not lead to sns.<region>.amazonaws.com")
    return url
