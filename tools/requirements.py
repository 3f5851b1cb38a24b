"""Write ``functions/<f>/requirements.txt`` from uv.lock: ``python -m tools.requirements``.

Cloud Functions installs a function's requirements.txt with pip and knows no lock. The files hold what the
project and its extra ``functions`` need on the platform's runtime, each at the locked version. They are the
same for all functions: every one of them may have to roll a run forward, which takes the committing code.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parent.parent
EXTRA = "functions"
PROJECT = "etl-runner"
HEADER = "# Written by `python -m tools.requirements` from uv.lock: do not edit.\n"

# The runtime python311 of Cloud Functions (infra/terraform/functions.tf).
RUNTIME = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.0",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
}


class LockError(Exception):
    """uv.lock does not say which version is meant."""


def requirements(lock: dict[str, Any]) -> dict[str, str]:
    """Name to version of everything that the functions need on the runtime.

    Raises:
        LockError: a package is missing, or locked at several versions for this one platform.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(PROJECT, ""), (PROJECT, EXTRA)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        package = _package(lock, name)
        if name != PROJECT:
            found[name] = package["version"]
        groups = package.get("optional-dependencies", {})
        for dependency in groups.get(extra, []) if extra else package.get("dependencies", []):
            if _applies(dependency):
                todo.append((dependency["name"], ""))
                todo += [(dependency["name"], more) for more in dependency.get("extra", [])]
    return dict(sorted(found.items()))


def render(found: dict[str, str]) -> str:
    """The text of a requirements.txt."""
    return HEADER + "".join(f"{name}=={version}\n" for name, version in found.items())


def targets(root: Path = ROOT) -> list[Path]:
    """One file a function."""
    return sorted(path.parent / "requirements.txt" for path in (root / "functions").glob("*/main.py"))


def current(root: Path = ROOT) -> str:
    """What each of the files has to hold."""
    return render(requirements(tomllib.loads((root / "uv.lock").read_text())))


def _package(lock: dict[str, Any], name: str) -> dict[str, Any]:
    candidates = [
        package
        for package in lock["package"]
        if package["name"] == name
        and ("resolution-markers" not in package or any(map(_holds, package["resolution-markers"])))
    ]
    if len(candidates) != 1:
        raise LockError(f"uv.lock has {len(candidates)} versions of {name} for the functions' runtime")
    package: dict[str, Any] = candidates[0]
    return package


def _applies(dependency: dict[str, Any]) -> bool:
    return "marker" not in dependency or _holds(dependency["marker"])


def _holds(marker: str) -> bool:
    return Marker(marker).evaluate({**RUNTIME, "extra": ""})


def main() -> int:
    """Write the files; say which ones changed."""
    text = current()
    for path in targets():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
