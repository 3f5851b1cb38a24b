"""Bearer tokens of callers: OpenID Connect, RS256, checked with the issuer's published keys.

Where the platform has verified the caller already (a function that is not public), nothing here is needed.
https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation,
https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etl_runner import jsontypes
from etl_runner.errors import ForbiddenCall, RefusedCall, RetryableError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

Fetch = Callable[[str], bytes]
"""GET of a URL; raises RetryableError."""

_LEEWAY = 60
_KEEP_SECONDS = 3_600
_ASK_AGAIN_SECONDS = 60


@dataclass(frozen=True)
class Issuer:
    """Who issues tokens: its names (``iss``), and the URL of its keys as a JSON Web Key Set (RFC 7517)."""

    names: tuple[str, ...]
    keys_url: str


class TokenVerifier:
    """Verifies the tokens of one issuer for one receiver."""

    def __init__(
        self,
        issuer: Issuer,
        audiences: tuple[str, ...],
        callers: tuple[str, ...],
        fetch: Fetch,
        now: Callable[[], float],
    ) -> None:
        """``callers`` are the verified e-mail addresses or application ids that may call; any when empty.
        ``now`` gives seconds since 1970."""
        self._issuer = issuer
        self._audiences = audiences
        self._callers = callers
        self._fetch = fetch
        self._now = now
        self._keys: dict[str, RSAPublicKey] = {}
        self._fetched = float("-inf")
        self._lock = threading.Lock()

    def verify(self, authorization: str) -> dict[str, Any]:
        """The claims of an ``Authorization: Bearer`` header.

        Raises:
            RefusedCall: no token, a forged, foreign or expired one (401).
            ForbiddenCall: a true token of somebody who may not call (403).
            RetryableError: the issuer's keys cannot be read now.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise RefusedCall("the call carries no bearer token")
        claims = self._signed_claims(token.strip())
        self._check_times(claims)
        if claims.get("iss") not in self._issuer.names:
            raise RefusedCall(f"the token's issuer is not {self._issuer.names[0]}")
        audience = claims.get("aud")
        given = set(audience) if isinstance(audience, list) else {audience}
        if not given & set(self._audiences):
            raise RefusedCall("the token is meant for another audience")
        self._check_caller(claims)
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._now()
        expires, begins = claims.get("exp"), claims.get("nbf", claims.get("iat", 0))
        if not isinstance(expires, (int, float)) or expires + _LEEWAY < now:
            raise RefusedCall("the token has expired")
        if not isinstance(begins, (int, float)) or begins - _LEEWAY > now:
            raise RefusedCall("the token is not valid yet")

    def _check_caller(self, claims: Mapping[str, Any]) -> None:
        if not self._callers:
            return
        email = claims.get("email") if claims.get("email_verified") is True else None
        if not {email, claims.get("azp"), claims.get("appid")} & set(self._callers):
            raise ForbiddenCall("the token's owner is none of the callers that are allowed")

    def _signed_claims(self, token: str) -> dict[str, Any]:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        parts = token.split(".")
        if len(parts) != 3:
            raise RefusedCall("the token is not a JSON Web Token")
        header, claims = _object(parts[0]), _object(parts[1])
        # Only what issuers use: "none" and keys that the token itself brings are no proof.
        if header.get("alg") != "RS256":
            raise RefusedCall("the token is not signed with RS256")
        key = self._key(str(header.get("kid", "")))
        try:
            key.verify(_bytes(parts[2]), f"{parts[0]}.{parts[1]}".encode(), PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise RefusedCall("the token's signature is wrong") from error
        return claims

    def _key(self, key_id: str) -> RSAPublicKey:
        with self._lock:
            age = self._now() - self._fetched
            # An unknown key may be a new one; a flood of invented ones asks once a minute at most.
            if age > _KEEP_SECONDS or (key_id not in self._keys and age > _ASK_AGAIN_SECONDS):
                self._keys = _read_keys(self._fetch(self._issuer.keys_url), self._issuer.keys_url)
                self._fetched = self._now()
            key = self._keys.get(key_id)
        if key is None:
            raise RefusedCall("the token is signed with a key that its issuer does not publish")
        return key


def _read_keys(data: bytes, url: str) -> dict[str, RSAPublicKey]:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    try:
        return {
            str(key["kid"]): RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
            for key in jsontypes.loads(data)["keys"]
            if key.get("kty") == "RSA"
        }
    except (ValueError, KeyError, TypeError) as error:
        raise RetryableError(f"{url} gave no JSON Web Key Set") from error


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise RefusedCall("the token is not base64url") from error


def _object(text: str) -> dict[str, Any]:
    try:
        value = jsontypes.loads(_bytes(text))
    except ValueError as error:
        raise RefusedCall("the token is not JSON inside") from error
    if not isinstance(value, dict):
        raise RefusedCall("the token is not a JSON object inside")
    return value
