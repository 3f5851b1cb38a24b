"""Who calls whom: tokens as Google signs them, by a key of this process that it publishes as Google does.

The code that verifies tokens is told where the keys are (``ETL_GOOGLE_KEYS_URL``) and is otherwise the same.
"""

from __future__ import annotations

import base64
import json
import time
from functools import cached_property
from typing import Any

from local.http_server import JsonServer

PUSH_ACCOUNT = "push@local-project.iam.gserviceaccount.com"
_KEY_ID = "local"


class TokenIssuer:
    """Signs identity tokens and serves its public key as a JSON Web Key Set."""

    def __init__(self, port: int = 0) -> None:
        self._server = JsonServer(lambda *_: (200, self._key_set), port)

    @property
    def keys_url(self) -> str:
        """Where the key set is."""
        return f"{self._server.endpoint}/oauth2/v3/certs"

    def token(self, email: str, audience: str) -> str:
        """A token for an hour, with the claims of Google's."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        issued = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": audience,
            "azp": email,
            "sub": email,
            "email": email,
            "email_verified": True,
            "iat": issued,
            "exp": issued + 3600,
        }
        text = f"{_encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': _KEY_ID})}.{_encoded(claims)}"
        return f"{text}.{_base64(self._key.sign(text.encode(), PKCS1v15(), SHA256()))}"

    def stop(self) -> None:
        """Stop serving the key."""
        self._server.stop()

    @cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa

        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def _key_set(self) -> dict[str, Any]:
        public = self._key.public_key().public_numbers()
        number = public.n.to_bytes(256, "big")
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": _KEY_ID, "e": "AQAB"}
        return {"keys": [{**key, "n": _base64(number)}]}


def _encoded(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
