"""A tag's digest from a registry, anonymously, over the API of the OCI distribution specification.

Rules, with their source:

- ``HEAD`` and ``GET /v2/<name>/manifests/<tag or digest>``, with the kinds of manifest that are wanted in
  ``Accept``; a registry SHOULD name the digest in ``Docker-Content-Digest``, and a client is to verify
  content against it (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md, "Pulling
  manifests", "Checking if content exists in the registry").
- a digest is that of the manifest's bytes
  (https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md, "Digests").
- 401 with ``WWW-Authenticate: Bearer realm=,service=,scope=``: the realm hands out a token, to anonymous
  callers too (https://distribution.github.io/distribution/spec/auth/token/).
- 429 and 503 may say in ``Retry-After`` how long to wait (RFC 9110, 10.2.3): seconds or a date.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from tools.base_images.reference import Reference

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
"""One manifest for each platform."""
SINGLE = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""What a tag is that was pushed for one platform only."""

TRIES = 4
LONGEST_WAIT = 60.0
"""Seconds. A registry that asks for more is not waited for."""
_REDIRECTS = 5
_MOST_BYTES = 16 << 20  # four times what registries have to take
_TIMEOUT = (10.0, 30.0)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RegistryError(Exception):
    """A registry gave no digest that can be believed; the message names image, registry and what to do."""


@dataclass(frozen=True)
class Found:
    """What a tag is now."""

    digest: str
    media_type: str
    platforms: tuple[str, ...]
    """``os/architecture[/variant]`` of an index; empty for a manifest of one platform."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Any
    body: bytes


class Registries:
    """Asks registries, those of this machine over plain HTTP, as Docker does. ``sleep`` takes seconds."""

    def __init__(
        self, session: requests.Session | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._session = session or requests.Session()
        # Anonymous: nothing of ~/.netrc, which requests would look into otherwise.
        self._session.auth = _nobody
        self._sleep = sleep
        self._tokens: dict[tuple[str, str], str] = {}
        self._silent: set[str] = set()

    def resolve(self, image: Reference) -> Found:
        """The digest that the image's tag (``latest`` without one) has now, checked against the manifest.

        Raises:
            RegistryError: the registry does not answer, does not have it, wants a login, asks to wait for
                longer than a minute, or says what does not agree with the manifest.
        """
        name = f"{image.name}:{image.tag or 'latest'}"
        head = self._manifest("HEAD", image, image.tag or "latest")
        digest = head.headers.get("Docker-Content-Digest")
        if digest is not None and not _DIGEST.fullmatch(digest):
            raise RegistryError(f"{name}: {image.host} named {digest[:80]!r}, which is no sha256 digest")
        # The digest names the content that it was computed from: a tag that moves in between does no harm.
        got = self._manifest("GET", image, digest or image.tag or "latest")
        computed = f"sha256:{hashlib.sha256(got.body).hexdigest()}"
        if digest not in (None, computed):
            raise RegistryError(
                f"{name}: {image.host} named {digest}, but the manifest that it sent has {computed}; "
                "something between here and the registry changes answers, so neither is taken"
            )
        media_type = str(got.headers.get("Content-Type", "")).split(";")[0].strip().lower()
        return Found(computed, media_type, _platforms(name, image.host, media_type, got.body))

    def _manifest(self, method: str, image: Reference, wanted: str) -> _Answer:
        name = f"{image.name}:{image.tag or 'latest'}"
        scheme = "http" if (urlsplit(f"//{image.host}").hostname or "") in _LOOPBACK else "https"
        url = f"{scheme}://{image.host}/v2/{image.repository}/manifests/{wanted}"
        key = (image.host, image.repository)
        headers = {"Accept": ", ".join(INDEXES + SINGLE)}
        answer = self._ask(method, url, name, headers | _bearer(self._tokens.get(key)))
        if answer.status == 401:
            self._tokens[key] = self._token(name, image, scheme, answer)
            answer = self._ask(method, url, name, headers | _bearer(self._tokens[key]))
        if answer.status in (401, 403):
            raise RegistryError(
                f"{name}: {image.host} shows it to nobody without a login ({answer.status}), or has no such "
                "repository; give the digest by hand as name:tag@sha256:..., or a public image"
            )
        if answer.status == 404:
            raise RegistryError(f"{name}: {image.host} has no such image or tag (404)")
        if answer.status != 200:
            raise RegistryError(f"{name}: {image.host} answered {answer.status} to {method} {url}")
        return answer

    def _token(self, name: str, image: Reference, scheme: str, refused: _Answer) -> str:
        challenge = str(refused.headers.get("WWW-Authenticate", ""))
        kind, _, rest = challenge.partition(" ")
        given = dict(_PARAMETER.findall(rest))
        if kind.lower() != "bearer" or "realm" not in given:
            raise RegistryError(
                f"{name}: {image.host} asks for a login ({kind or 'no challenge'}), not for an anonymous "
                "token; give the digest by hand as name:tag@sha256:..., or a public image"
            )
        realm = given["realm"]
        if urlsplit(realm).scheme != "https" and scheme == "https":
            raise RegistryError(f"{name}: {image.host} sends for a token to {realm}, which is not https")
        asked = {"scope": given.get("scope", f"repository:{image.repository}:pull")}
        if "service" in given:
            asked["service"] = given["service"]
        url = requests.Request("GET", realm, params=asked).prepare().url or realm
        answer = self._ask("GET", url, name, {})
        try:
            answered = json.loads(answer.body) if answer.status == 200 else {}
            token = answered.get("token") or answered.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str):
            raise RegistryError(
                f"{name}: {urlsplit(realm).netloc} gave no anonymous token for {image.host} ({answer.status})"
            )
        return token

    def _ask(self, method: str, url: str, name: str, headers: dict[str, str]) -> _Answer:
        """An answer that is worth reading: waits are waited, passing faults tried again."""
        host = urlsplit(url).netloc
        for tried in range(1, TRIES + 1):
            try:
                answer = self._follow(method, url, name, headers)
            except requests.RequestException as error:
                # What was not there for one image is not waited for with each of the others.
                if tried == TRIES or host in self._silent:
                    self._silent.add(host)
                    raise RegistryError(
                        f"{name}: {host} cannot be reached ({type(error).__name__}); is there a network, a "
                        "proxy (HTTPS_PROXY), or a certificate of your own (REQUESTS_CA_BUNDLE)?"
                    ) from error
                self._sleep(2.0 ** (tried - 1))
                continue
            if answer.status != 429 and answer.status < 500:
                return answer
            wait = _wait(answer.headers.get("Retry-After"), 2.0 ** (tried - 1))
            if wait > LONGEST_WAIT:
                raise RegistryError(
                    f"{name}: {host} answered {answer.status} and asks to come back in {wait:.0f} s; try then"
                )
            if tried < TRIES:
                self._sleep(wait)
        raise RegistryError(f"{name}: {host} answered {answer.status} {TRIES} times; try later")

    def _follow(self, method: str, url: str, name: str, headers: dict[str, str]) -> _Answer:
        for _ in range(_REDIRECTS + 1):
            with self._sent(method, url, headers) as response:
                to = response.headers.get("Location")
                if response.status_code not in (301, 302, 303, 307, 308) or to is None:
                    return _Answer(response.status_code, response.headers, _body(response, name))
            before, url = urlsplit(url), urljoin(url, to)
            after = urlsplit(url)
            if (before.scheme, after.scheme) != ("http", "http") and after.scheme != "https":
                raise RegistryError(f"{name}: {before.netloc} redirects to {after.scheme}://{after.netloc}")
            if (before.scheme, before.netloc) != (after.scheme, after.netloc):
                # A token is for the one who asked for it.
                headers = {each: value for each, value in headers.items() if each != "Authorization"}
        raise RegistryError(f"{name}: {urlsplit(url).netloc} redirects more than {_REDIRECTS} times")

    @contextmanager
    def _sent(self, method: str, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        sent = {"Accept-Encoding": "identity", "User-Agent": "etl-runner-base-images", **headers}
        response = self._session.request(
            method, url, headers=sent, allow_redirects=False, timeout=_TIMEOUT, stream=True
        )
        try:
            yield response
        finally:
            response.close()


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _body(response: requests.Response, name: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(1 << 16):
        size += len(part)
        if size > _MOST_BYTES:
            raise RegistryError(
                f"{name}: the answer of {urlsplit(response.url).netloc} is no manifest: too long"
            )
        parts.append(part)
    return b"".join(parts)


def _platforms(name: str, host: str, media_type: str, body: bytes) -> tuple[str, ...]:
    try:
        manifest = json.loads(body)
        if media_type in SINGLE and isinstance(manifest["config"], dict):
            return ()
        if media_type in INDEXES:
            listed = [each.get("platform", {}) for each in manifest["manifests"]]
            # Attestations are entries as well, of the platform unknown/unknown.
            known = [each for each in listed if each.get("os", "unknown") != "unknown"]
            keys = ("os", "architecture", "variant")
            return tuple("/".join(each[key] for key in keys if each.get(key)) for each in known)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise RegistryError(f"{name}: {host} sent {media_type or 'something'} that is neither index nor manifest")


def _wait(header: str | None, otherwise: float) -> float:
    if header is None:
        return otherwise
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return otherwise
