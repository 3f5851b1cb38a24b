"""Names of images, as Docker reads them.

The grammar is that of https://github.com/distribution/reference: ``[domain/]path[:tag][@digest]``, where the
first part is a domain when it holds a dot or a colon, or is ``localhost``. A name without a domain is one of
Docker Hub's, whose API is at registry-1.docker.io and whose official images are under ``library/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_WHOLE = re.compile(
    rf"(?P<name>(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_PATH}(?:/{_PATH})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_HUB = "registry-1.docker.io"
_HUB_NAMES = ("docker.io", "index.docker.io")


@dataclass(frozen=True)
class Reference:
    """One image."""

    name: str
    """As it was written, domain included where one was."""
    tag: str | None
    digest: str | None
    """``sha256:`` and 64 hexadecimal digits."""

    @property
    def host(self) -> str:
        """Where the registry's API is: a host, with its port where one was written."""
        domain = self._domain()
        return _HUB if domain is None or domain in _HUB_NAMES else domain

    @property
    def repository(self) -> str:
        """The name within the registry."""
        domain = self._domain()
        path = self.name if domain is None else self.name.removeprefix(f"{domain}/")
        return f"library/{path}" if self.host == _HUB and "/" not in path else path

    def at(self, digest: str) -> str:
        """The same image with a digest; the tag that Docker takes when there is none is written out."""
        return f"{self.name}:{self.tag or 'latest'}@{digest}"

    def _domain(self) -> str | None:
        first, slash, _ = self.name.partition("/")
        return first if slash and (first == "localhost" or set(first) & set(".:")) else None


def parse(text: str) -> Reference:
    """An image's name.

    Raises:
        ValueError: it is none.
    """
    found = _WHOLE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not the name of an image, [registry/]name[:tag][@sha256:digest]")
    return Reference(found["name"], found["tag"], found["digest"])
