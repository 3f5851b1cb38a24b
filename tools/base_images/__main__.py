"""Give each base image of a Dockerfile the digest that its tag has now, in place: name:tag@sha256:...

Registries are asked over HTTP; Docker is not needed. An image that has a digest keeps it, and is not asked
for (--update asks again, for a tag that has moved). Either every image gets its digest or the file stays as
it is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.base_images.dockerfile import DockerfileError, Use, rewritten, uses
from tools.base_images.registry import Found, Registries, RegistryError

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "runner_image" / "Dockerfile"
UNPINNED, UNREADABLE, UNRESOLVED = 1, 2, 3

_MORE = """\
exit codes:
  0  every image has a digest
  1  --check: an image has none
  2  wrong arguments, or a Dockerfile that cannot be read or pinned
  3  a registry gave no digest; nothing was written

example:
  python -m tools.base_images                  FROM python:3.11.14-slim-bookworm AS build becomes
                                               FROM python:3.11.14-slim-bookworm@sha256:... AS build
  python -m tools.base_images --check          asks nobody, for CI
  python -m tools.base_images --update --json  new digests for the same tags
"""


@dataclass(frozen=True)
class _Line:
    """What became of one image."""

    use: Use
    state: str
    """kept, pinned, updated, unchanged, missing (--check) or failed."""
    found: Found | None = None
    error: str | None = None

    @property
    def old(self) -> str:
        image = self.use.image
        tag = f":{image.tag}" if image.tag else ""
        return f"{image.name}{tag}" + (f"@{image.digest}" if image.digest else "")

    @property
    def new(self) -> str:
        return self.old if self.found is None else self.use.image.at(self.found.digest)

    def told(self, file: Path) -> str:
        place = f"{_shown(file)}:{self.use.line}: "
        if self.error is not None:
            return f"{place}{self.error}"
        if self.found is None:
            return f"{place}{self.old} " + ("has its digest" if self.state == "kept" else "has no digest")
        kind = ", ".join(self.found.platforms) or "one platform"
        if self.state == "unchanged":
            return f"{place}{self.old} is what the tag is now ({kind})"
        return f"{place}{self.old}\n  -> {self.new} ({kind})"

    def as_json(self) -> dict[str, Any]:
        """One of ``images`` of --json."""
        found = self.found
        return {
            "line": self.use.line,
            "state": self.state,
            "old": self.old,
            "new": self.new,
            "media_type": None if found is None else found.media_type,
            "platforms": [] if found is None else list(found.platforms),
            "error": self.error,
        }


def main(arguments: Sequence[str] | None = None, registries: Registries | None = None) -> int:
    """Pin, or check; the exit codes are in --help."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.base_images",
        description=__doc__,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", type=Path, default=DOCKERFILE, help="the Dockerfile")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true", help="only look; 1 when an image has no digest")
    either.add_argument("--update", action="store_true", help="ask for images that have a digest as well")
    parser.add_argument("--json", action="store_true", help="one object instead of lines")
    options = parser.parse_args(arguments)
    file: Path = options.file
    try:
        # newline="": line ends are kept as they are.
        with file.open(encoding="utf-8", newline="") as opened:
            text = opened.read()
        found = uses(text)
    except (OSError, UnicodeDecodeError, DockerfileError) as error:
        return _told(options.json, file, [], UNREADABLE, f"{_shown(file)}: {error}")
    if options.check:
        lines = [_Line(use, "kept" if use.image.digest else "missing") for use in found]
        missing = any(line.state == "missing" for line in lines)
        advice = "make pin-images asks the registries for what is missing" if missing else None
        return _told(options.json, file, lines, UNPINNED if missing else 0, advice)
    lines = _resolved(found, options.update, registries or Registries())
    if any(line.state == "failed" for line in lines):
        return _told(options.json, file, lines, UNRESOLVED, f"{_shown(file)}: nothing was written")
    digests = {
        line.use: line.found.digest for line in lines if line.found and line.state in ("pinned", "updated")
    }
    if digests:
        try:
            _write(file, rewritten(text, digests))
        except OSError as error:
            return _told(options.json, file, lines, UNREADABLE, f"{_shown(file)}: not written: {error}")
    return _told(options.json, file, lines, 0, None)


def _resolved(found: Sequence[Use], update: bool, registries: Registries) -> list[_Line]:
    """Each image looked up once, however often it is named."""
    known: dict[str, Found | RegistryError] = {}
    lines = []
    for use in found:
        # A digest without a tag says all: there is nothing to ask for.
        if use.image.digest and not (update and use.image.tag):
            lines.append(_Line(use, "kept"))
            continue
        name = f"{use.image.name}:{use.image.tag or 'latest'}"
        if name not in known:
            try:
                known[name] = registries.resolve(use.image)
            except RegistryError as error:
                known[name] = error
        answer = known[name]
        if isinstance(answer, RegistryError):
            lines.append(_Line(use, "failed", error=str(answer)))
        elif use.image.digest is None:
            lines.append(_Line(use, "pinned", answer))
        else:
            lines.append(_Line(use, "unchanged" if use.image.digest == answer.digest else "updated", answer))
    return lines


def _write(file: Path, text: str) -> None:
    """The whole file or none of it, with the permissions that it had."""
    place = file.resolve()
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as opened:
            opened.write(text)
        Path(name).chmod(place.stat().st_mode & 0o7777)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _told(as_json: bool, file: Path, lines: Sequence[_Line], code: int, message: str | None) -> int:
    if as_json:
        written = any(line.state in ("pinned", "updated") for line in lines) and code == 0
        answer = {
            "file": str(file),
            "exit_code": code,
            "written": written,
            "message": message,
            "images": [line.as_json() for line in lines],
        }
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        return code
    for line in lines:
        bad = line.state in ("missing", "failed")
        (sys.stderr if bad else sys.stdout).write(line.told(file) + "\n")
    if message is not None:
        sys.stderr.write(message + "\n")
    return code


def _shown(file: Path) -> str:
    try:
        return str(file.resolve().relative_to(ROOT))
    except ValueError:
        return str(file)


if __name__ == "__main__":
    sys.exit(main())
