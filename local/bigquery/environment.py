"""The separate Python 3.13 environment that local-bigquery needs.

local-bigquery asks for numpy and pyarrow versions that the project's own environment cannot have, so it
lives apart, in ``.local/bigquery-env`` unless told otherwise. ``python -m local.bigquery.environment``
makes it; made already, it costs one look at a marker file.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

PYTHON = (3, 13)
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
DEFAULT_ENVIRONMENT = Path(".local/bigquery-env")
EXTENSIONS = ("ducklake", "httpfs", "icu", "spatial")
_MARKER = "ready"

_IMPORT_EXTENSIONS = (
    "from duckdb_extensions import import_extension\n" + f"for name in {EXTENSIONS!r}: import_extension(name)"
)


class EnvironmentUnavailable(Exception):  # noqa: N818 - says what is the case, like FileNotFound
    """The environment is not there and could not be made; the message says what to do."""


def environment_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Where the environment lives: ``ETL_LOCAL_BIGQUERY_ENV``, else ``.local/bigquery-env``."""
    env = os.environ if environ is None else environ
    return Path(env.get("ETL_LOCAL_BIGQUERY_ENV") or DEFAULT_ENVIRONMENT)


def executable(env_dir: Path) -> Path:
    """The server's command inside an environment."""
    return env_dir / "bin" / "local-bigquery"


def home(env_dir: Path) -> Path:
    """The home folder that the server runs with.

    DuckDB keeps its extensions below the home folder; inside the environment they neither touch the
    user's own nor depend on them.
    """
    return env_dir / "home"


def is_ready(env_dir: Path) -> bool:
    """Whether the environment was made from exactly the present requirements."""
    marker = env_dir / _MARKER
    return marker.is_file() and marker.read_text() == _fingerprint() and executable(env_dir).is_file()


def ensure(env_dir: Path) -> Path:
    """Make the environment if it is missing or was made from other requirements; returns its folder.

    Several processes may ask at once: one makes it, the others wait.

    Raises:
        EnvironmentUnavailable: there is no Python 3.13, or a package could not be installed.
    """
    env_dir = env_dir.absolute()
    if is_ready(env_dir):
        return env_dir
    env_dir.parent.mkdir(parents=True, exist_ok=True)
    with env_dir.with_name(env_dir.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_ready(env_dir):
            _make(env_dir)
    return env_dir


def find_python(environ: Mapping[str, str] | None = None) -> Path:
    """A Python 3.13: uv's, pyenv's, or ``python3.13`` on the path, in this order.

    Raises:
        EnvironmentUnavailable: none of them runs.
    """
    env = os.environ if environ is None else environ
    for candidate in _candidates(env):
        if _version(candidate) == PYTHON:
            return candidate
    raise EnvironmentUnavailable(
        "local-bigquery needs Python 3.13 and none was found: install one with `uv python install 3.13` "
        "or `pyenv install 3.13`, or put python3.13 on the PATH."
    )


def _candidates(env: Mapping[str, str]) -> Iterator[Path]:
    path = env.get("PATH")
    uv = shutil.which("uv", path=path)
    wanted = ".".join(map(str, PYTHON))
    if uv:
        found = subprocess.run(
            [uv, "python", "find", "--no-project", wanted],
            capture_output=True,
            text=True,
            check=False,
            env=dict(env),
        )
        if found.returncode == 0 and found.stdout.strip():
            yield Path(found.stdout.strip())
    roots = [env["PYENV_ROOT"]] if env.get("PYENV_ROOT") else []
    if env.get("HOME"):
        roots.append(str(Path(env["HOME"]) / ".pyenv"))
    for root in roots:
        yield from sorted(Path(root).glob(f"versions/{wanted}*/bin/python"), reverse=True)
    on_path = shutil.which(f"python{wanted}", path=path)
    if on_path:
        yield Path(on_path)
    if sys.version_info[:2] == PYTHON:
        yield Path(sys.executable)


def _version(python: Path) -> tuple[int, int] | None:
    """The version that an interpreter tells; None when it does not run (a pyenv shim without a version)."""
    try:
        told = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except OSError:
        return None
    parts = told.stdout.split()
    return (int(parts[0]), int(parts[1])) if told.returncode == 0 and len(parts) == 2 else None


def _fingerprint() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes() + repr(EXTENSIONS).encode()).hexdigest()


def _make(env_dir: Path) -> None:
    python = find_python()
    (env_dir / _MARKER).unlink(missing_ok=True)
    inside = env_dir / "bin" / "python"
    uv = shutil.which("uv")
    if uv:
        _run(uv, "venv", "--quiet", "--clear", "--python", python, env_dir)
        _run(uv, "pip", "install", "--quiet", "--python", inside, "--requirements", REQUIREMENTS)
    else:
        _run(python, "-m", "venv", "--clear", env_dir)
        _run(inside, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS)
    home(env_dir).mkdir(exist_ok=True)
    _run(inside, "-c", _IMPORT_EXTENSIONS, HOME=str(home(env_dir)))
    (env_dir / _MARKER).write_text(_fingerprint())


def _run(*command: str | Path, **extra: str) -> None:
    # From a folder outside the project: uv would otherwise apply the project's own version limits.
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, **extra}, cwd=elsewhere
        )
    if done.returncode:
        last = (done.stderr or done.stdout).strip()[-800:]
        raise EnvironmentUnavailable(f"{' '.join(map(str, command[:4]))} ... failed: {last}")


def main(arguments: list[str] | None = None) -> int:
    """``python -m local.bigquery.environment [--dir DIR]``."""
    parser = argparse.ArgumentParser(prog="python -m local.bigquery.environment", description=main.__doc__)
    parser.add_argument("--dir", type=Path, default=environment_dir())
    options = parser.parse_args(arguments)
    try:
        made = ensure(options.dir)
    except EnvironmentUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
