"""Signing in to Microsoft Entra ID as an application with a secret.

The client credentials grant: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from azure.core.credentials import AccessToken
from azure.core.exceptions import ServiceRequestError

from etl_runner.errors import PermanentError, RetryableError

AUTHORITY = "https://login.microsoftonline.com"
SCOPE = "https://storage.azure.com/.default"
EARLY_SECONDS = 300
"""A token is renewed this long before it ends."""
_TIMEOUT = (15.0, 30.0)
_MEANING = {
    "AADSTS7000215": "client_secret is not the application's secret",
    "AADSTS7000222": "client_secret has expired",
    "AADSTS700016": "there is no such application in the tenant; check client_id",
    "AADSTS90002": "there is no such tenant; check tenant_id",
    "AADSTS900023": "tenant_id is not a tenant's id",
}
# https://learn.microsoft.com/entra/identity-platform/reference-error-codes


class ClientSecretLogin:
    """A credential of azure-core (``TokenCredential``). Safe for use by several threads."""

    def __init__(
        self,
        tenant_id: str,
        client_id: str,
        client_secret: str,
        *,
        place: str,
        authority: str = AUTHORITY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``place`` begins each message."""
        self._url = f"{authority}/{quote(tenant_id, safe='')}/oauth2/v2.0/token"
        self._client_id = client_id
        self._secret = client_secret
        self._place = place
        self._clock = clock
        self._lock = threading.Lock()
        self._token: AccessToken | None = None

    def __repr__(self) -> str:
        return f"ClientSecretLogin(client_id={self._client_id!r})"

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token of the storage service, from memory while it is good.

        Raises:
            PermanentError: tenant, application or secret was not accepted.
            RetryableError: the sign-in service is busy.
            ServiceRequestError: it cannot be reached (azure-core's, which its callers understand).
        """
        del scopes, options  # one service, one scope
        with self._lock:
            if self._token is None or self._token.expires_on - EARLY_SECONDS <= self._clock():
                self._token = self._sign_in()
            return self._token

    def _sign_in(self) -> AccessToken:
        import requests

        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._secret,
            "scope": SCOPE,
        }
        try:
            answer = requests.post(self._url, data=form, timeout=_TIMEOUT, allow_redirects=False)
            status, body = answer.status_code, answer.json()
        except requests.JSONDecodeError:
            body = {}
        except requests.RequestException as error:
            raise ServiceRequestError("sign-in", error=error) from None
        if status == 200 and isinstance(body, dict) and isinstance(body.get("access_token"), str):
            lasts = body.get("expires_in")
            return AccessToken(body["access_token"], int(self._clock()) + int(lasts or 0))
        if status == 429 or status >= 500:
            raise RetryableError(f"{self._place}: Microsoft's sign-in service is busy ({status})")
        told = str(body.get("error_description", "")) if isinstance(body, dict) else ""
        code = told.partition(":")[0].strip()
        meaning = _MEANING.get(code, "check tenant_id, client_id and client_secret")
        raise PermanentError(f"{self._place}: the application could not sign in: {meaning}")
