"""What a registry has to say before its digest is believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.infra.base_images.registry_server import (
    TOKEN,
    Registry,
    digest_of,
    index_of,
    registry,
    times,
    with_tokens,
)
from tools.base_images.reference import Reference, parse
from tools.base_images.registry import (
    INDEXES,
    LONGEST_WAIT,
    SINGLE,
    TRIES,
    Found,
    Registries,
    RegistryError,
)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[Registry]:
    with registry() as started:
        yield started


class Asking:
    """Asks for one image; what was slept is noted, not slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.registries = Registries(sleep=self.slept.append)

    def __call__(self, server: Registry, name: str = "team/base:1.0") -> Found:
        return self.registries.resolve(parse(f"{server.host}/{name}"))

    def refused(self, server: Registry, name: str = "team/base:1.0") -> str:
        with pytest.raises(RegistryError) as caught:
            self(server, name)
        told = str(caught.value)
        assert told.startswith(f"{server.host}/{name}: "), told
        assert TOKEN not in told
        return told


@pytest.fixture
def ask() -> Asking:
    return Asking()


@pytest.mark.parametrize(
    ("written", "host", "repository", "tag"),
    [
        ("python", "registry-1.docker.io", "library/python", None),
        ("apache/beam_python3.11_sdk:2.77.0", "registry-1.docker.io", "apache/beam_python3.11_sdk", "2.77.0"),
        ("docker.io/library/python:3", "registry-1.docker.io", "library/python", "3"),
        ("ghcr.io/astral-sh/uv:0.13.9", "ghcr.io", "astral-sh/uv", "0.13.9"),
        ("localhost/a:1", "localhost", "a", "1"),
        ("registry.example:5000/a/b/c", "registry.example:5000", "a/b/c", None),
    ],
)
def test_a_name_says_which_registry_is_asked_for_what(
    written: str, host: str, repository: str, tag: str | None
) -> None:
    image = parse(written)
    assert (image.host, image.repository, image.tag) == (host, repository, tag)
    digest = digest_of(b"")
    assert image.at(digest) == f"{image.name}:{tag or 'latest'}@{digest}"
    assert parse(image.at(digest)) == Reference(image.name, tag or "latest", digest)


@pytest.mark.parametrize(
    "written", ["", "Python", "a b", "a:", "a@sha256:12", "a@sha512:" + "0" * 128, "a//b", "$A"]
)
def test_what_is_no_name_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="not the name of an image"):
        parse(written)


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_is_found_with_its_platforms(server: Registry, ask: Asking, kind: str) -> None:
    digest = server.add("team/base:1.0", kind=kind)
    assert ask(server) == Found(digest, kind, ("linux/amd64", "linux/arm64/v8"))
    assert server.asked() == ["HEAD team/base:1.0", "GET team/base"]


@pytest.mark.parametrize("kind", SINGLE)
def test_an_image_of_one_platform_is_found(server: Registry, ask: Asking, kind: str) -> None:
    digest = server.add("team/base:1.0", b'{"schemaVersion":2,"config":{},"layers":[]}', kind)
    assert ask(server) == Found(digest, kind, ())


@pytest.mark.parametrize("field", ["token", "access_token"])
def test_a_challenge_is_answered_with_an_anonymous_token(server: Registry, ask: Asking, field: str) -> None:
    digest = server.add("team/base:1.0")
    queries = with_tokens(server, field)
    assert ask(server).digest == digest
    assert queries == [{"service": ["registry.here"], "scope": ["repository:team/base:pull"]}]


def test_nothing_of_the_callers_logins_is_sent(
    server: Registry, ask: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.add("team/base:1.0")
    with_tokens(server)
    ask(server)
    assert {headers.get("Authorization") for _, _, headers in server.seen} == {None, f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("challenge", "told"),
    [
        ({"WWW-Authenticate": 'Basic realm="here"'}, "asks for a login"),
        ({}, "asks for a login"),
        ({"WWW-Authenticate": "Bearer"}, "asks for a login"),
    ],
)
def test_a_registry_that_wants_a_login_is_named(
    server: Registry, ask: Asking, challenge: dict[str, str], told: str
) -> None:
    server.add("team/base:1.0")
    server.rules.append(times(99, (401, challenge, b"")))
    assert told in ask.refused(server)


def test_a_token_that_does_not_open_is_the_end(server: Registry, ask: Asking) -> None:
    with_tokens(server)
    server.rules.append(times(99, (401, {}, b"")))
    assert "without a login (401)" in ask.refused(server)


@pytest.mark.parametrize("reply", [(401, {}, b""), (200, {}, b"no json"), (200, {}, b"[]"), (200, {}, b"{}")])
def test_a_realm_without_a_token(
    server: Registry, ask: Asking, reply: tuple[int, dict[str, str], bytes]
) -> None:
    server.rules.append(lambda method, path, headers: reply if path.startswith("/token") else None)
    with_tokens(server)
    assert f"{server.host} gave no anonymous token" in ask.refused(server)


def test_a_tag_that_is_not_there(server: Registry, ask: Asking) -> None:
    server.add("team/base:1.0")
    assert "no such image or tag (404)" in ask.refused(server, "team/base:2.0")
    assert ask.slept == []


def test_a_registry_that_is_busy_is_waited_for_as_long_as_it_says(server: Registry, ask: Asking) -> None:
    digest = server.add("team/base:1.0")
    server.rules.append(times(2, (429, {"Retry-After": "7"}, b"")))
    assert ask(server).digest == digest
    assert ask.slept == [7.0, 7.0]


def test_it_may_say_so_with_a_date(server: Registry, ask: Asking) -> None:
    digest = server.add("team/base:1.0")
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.rules.append(times(1, (503, {"Retry-After": until}, b"")))
    assert ask(server).digest == digest
    assert 0 < ask.slept[0] <= 30


def test_a_fault_that_passes_is_tried_again_and_one_that_stays_is_the_end(
    server: Registry, ask: Asking
) -> None:
    digest = server.add("team/base:1.0")
    server.rules.append(times(TRIES - 1, (500, {}, b"")))
    assert ask(server).digest == digest
    assert ask.slept == [1.0, 2.0, 4.0]
    server.rules.append(times(99, (502, {"Retry-After": "tomorrow"}, b"")))
    assert f"answered 502 {TRIES} times" in ask.refused(server)


def test_nobody_waits_for_an_hour(server: Registry, ask: Asking) -> None:
    server.rules.append(times(99, (429, {"Retry-After": "3600"}, b"")))
    assert "come back in 3600 s" in ask.refused(server)
    assert ask.slept == []
    assert LONGEST_WAIT < 3600


def test_a_redirect_is_followed_and_takes_no_token_to_another_host(server: Registry, ask: Asking) -> None:
    with registry("localhost") as other:
        digest = other.add("team/base:1.0")
        with_tokens(server)
        server.rules.append(
            lambda method, path, headers: (307, {"Location": f"http://{other.host}{path}"}, b"")
        )
        assert ask(server).digest == digest
        assert [headers.get("Authorization") for _, _, headers in other.seen] == [None, None]


def test_a_redirect_within_the_host_keeps_the_token(server: Registry, ask: Asking) -> None:
    digest = server.add("moved/base:1.0")
    with_tokens(server)
    server.rules.append(
        lambda method, path, headers: (
            (301, {"Location": path.replace("/team/", "/moved/")}, b"") if "/team/" in path else None
        )
    )
    assert ask(server).digest == digest


def test_redirects_end(server: Registry, ask: Asking) -> None:
    server.rules.append(lambda method, path, headers: (302, {"Location": path}, b""))
    assert "redirects more than" in ask.refused(server)
    assert len(server.seen) < 10


def test_a_redirect_to_another_protocol_is_refused(server: Registry, ask: Asking) -> None:
    server.rules.append(times(99, (302, {"Location": "ftp://elsewhere/x"}, b"")))
    assert "redirects to ftp://elsewhere" in ask.refused(server)


def test_without_the_header_the_digest_is_that_of_the_manifest(server: Registry, ask: Asking) -> None:
    digest = server.add("team/base:1.0")
    server.headers["Docker-Content-Digest"] = ""
    assert ask(server).digest == digest
    assert server.asked() == ["HEAD team/base:1.0", "GET team/base:1.0"]


def test_a_digest_that_is_not_that_of_the_manifest_is_not_taken(server: Registry, ask: Asking) -> None:
    server.add("team/base:1.0")
    other = server.add("team/base:other", index_of("other"))
    server.headers["Docker-Content-Digest"] = other
    content = index_of("tampered")
    server.rules.append(
        lambda method, path, headers: (
            (200, {"Content-Type": INDEXES[0]}, content) if method == "GET" else None
        )
    )
    told = ask.refused(server)
    assert other in told
    assert digest_of(content) in told


@pytest.mark.parametrize("header", ["sha256:12", "md5:" + "0" * 32, "latest"])
def test_a_header_that_is_no_digest_is_refused(server: Registry, ask: Asking, header: str) -> None:
    server.add("team/base:1.0")
    server.headers["Docker-Content-Digest"] = header
    assert "no sha256 digest" in ask.refused(server)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/html", b"<html>a captive portal</html>"),
        (INDEXES[0], b"not json"),
        (INDEXES[0], b"[]"),
        (INDEXES[0], b'{"manifests": {"a": 1}}'),
        (SINGLE[0], b"{}"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion": 1}'),
    ],
)
def test_what_is_no_manifest_is_not_taken(server: Registry, ask: Asking, kind: str, content: bytes) -> None:
    server.rules.append(lambda method, path, headers: (200, {"Content-Type": kind}, content))
    assert "neither index nor manifest" in ask.refused(server)


def test_a_body_without_an_end_is_not_read_to_its_end(server: Registry, ask: Asking) -> None:
    server.rules.append(lambda method, path, headers: (200, {"Content-Type": INDEXES[0]}, b" " * (17 << 20)))
    assert "too long" in ask.refused(server)


def test_a_registry_that_is_not_there_is_tried_again_once_for_all_images(ask: Asking) -> None:
    with registry() as gone:
        pass
    assert "cannot be reached" in ask.refused(gone)
    slept = list(ask.slept)
    assert "HTTPS_PROXY" in ask.refused(gone, "team/other:1.0")
    assert ask.slept == slept == [1.0, 2.0, 4.0]


class Wire(HTTPAdapter):
    """Stands where requests would go to a host elsewhere: notes what goes out, and answers it."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        super().__init__()
        self.asked: list[str] = []
        self._answer = (status, headers)

    def send(self, request: requests.PreparedRequest, *args: object, **options: object) -> requests.Response:
        self.asked.append(str(request.url))
        answer = requests.Response()
        answer.status_code, answer.url, answer.raw = self._answer[0], str(request.url), BytesIO()
        answer.request = request
        answer.headers.update(self._answer[1])
        return answer


def through(wire: Wire) -> Registries:
    session = requests.Session()
    session.mount("https://", wire)
    return Registries(session)


def test_registries_elsewhere_are_asked_over_https() -> None:
    wire = Wire(404, {})
    with pytest.raises(RegistryError, match="no such image"):
        through(wire).resolve(parse("python:3.11"))
    assert wire.asked == ["https://registry-1.docker.io/v2/library/python/manifests/3.11"]


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (401, {"WWW-Authenticate": 'Bearer realm="http://auth.example/token"'}, "not https"),
        (302, {"Location": "http://mirror.example/"}, "redirects to http://mirror.example"),
    ],
)
def test_nothing_leads_from_https_to_http(status: int, headers: dict[str, str], told: str) -> None:
    wire = Wire(status, headers)
    with pytest.raises(RegistryError, match=told):
        through(wire).resolve(parse("python:3.11"))
    assert len(wire.asked) == 1
