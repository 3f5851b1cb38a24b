"""List what this machine lacks to run the project, then install it. ``make setup`` calls this.

Only the standard library: this runs before anything is installed, under any Python from 3.9 on.
Nothing but MariaDB is installed outside the repository: uv, Azurite and the BigQuery stand-in go to
``.local``, the project's environment to ``.venv``. MariaDB, which only the MySQL source's tests need, is the
distribution's package, installed where root runs this and apt-get is there. The network is used for PyPI, npm
and that package. ``--without-tests`` leaves out what only tests need.
With nothing missing it takes milliseconds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local.bigquery import environment  # noqa: E402 - needs the path; standard library only

UV_VERSION = "0.13.9"
VENV = ROOT / ".venv"
UV_HOME = ROOT / ".local" / "uv"
STAMP = VENV / "etl-runner.stamp"
AZURITE_FILES = ("local/azurite/package.json", "local/azurite/package-lock.json")
AZURITE_HOME = ROOT / ".local" / "azurite"
AZURITE_STAMP = AZURITE_HOME / "etl-runner.stamp"
SUPPORTED = ("3.11", "3.12", "3.13")
BIGQUERY_PYTHON = "3.13"


class InstallError(Exception):
    """Something that only the machine's owner can change; the message says what to type."""


@dataclass(frozen=True)
class Part:
    """One thing that the project needs: ``find`` returns where it is (None: missing)."""

    name: str
    find: Callable[[], str | None]
    plan: str
    """What installing it does, for people."""
    install: Callable[[], None]
    for_tests: bool = False
    """Only tests need it."""


def out(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(command: list[str], **variables: str) -> None:
    """Run a command quietly; its output is shown only when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstallError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout.strip()}")


def fingerprint(*names: str) -> str:
    """A hash of the files that decide what an environment holds."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()


def short(path: Path | str) -> str:
    text = str(path)
    return text[len(str(ROOT)) + 1 :] if text.startswith(str(ROOT) + os.sep) else text


def version_of(python: str) -> str | None:
    """``3.13`` for an interpreter that starts, else None (a pyenv shim may stand for nothing)."""
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_python(*versions: str) -> str | None:
    """The first interpreter of one of these versions: this one, on the PATH, or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in versions:
        places = [sys.executable, shutil.which(f"python{version}")]
        places += sorted(str(place) for place in pyenv.glob(f"{version}.*/bin/python"))
        for place in places:
            if place and version_of(place) == version:
                return place
    return None


def find_uv() -> str | None:
    own = UV_HOME / "bin" / "uv"
    return shutil.which("uv") or (str(own) if own.exists() else None)


def install_uv() -> None:
    """uv into an environment of its own; Debian without python3-venv gets it through pip alone."""
    UV_HOME.parent.mkdir(exist_ok=True)
    try:
        run([sys.executable, "-m", "venv", str(UV_HOME)])
        run([str(UV_HOME / "bin" / "pip"), "install", "--quiet", f"uv=={UV_VERSION}"])
        return
    except (InstallError, OSError) as error:
        shutil.rmtree(UV_HOME, ignore_errors=True)
        reason = error
    try:
        target = ["--target", str(UV_HOME)]
        run([sys.executable, "-m", "pip", "install", "--quiet", *target, f"uv=={UV_VERSION}"])
    except InstallError:
        raise InstallError(
            f"uv cannot be installed: {reason}\n"
            "Install it yourself (https://docs.astral.sh/uv/), or `apt-get install python3-venv`, and repeat."
        ) from reason


def stamped(stamp: Path, *names: str) -> bool:
    """Whether what the stamp stands for was installed from these files as they are now."""
    return stamp.exists() and stamp.read_text() == fingerprint(*names)


def find_environment() -> str | None:
    found = stamped(STAMP, "pyproject.toml", "uv.lock") and (VENV / "bin" / "python").exists()
    return short(VENV) if found else None


def install_environment() -> None:
    uv = find_uv()
    if uv is None:
        raise InstallError("uv is not there")
    run([uv, "sync", "--frozen", "--all-extras"], UV_PROJECT_ENVIRONMENT=str(VENV), VIRTUAL_ENV="")
    STAMP.write_text(fingerprint("pyproject.toml", "uv.lock"))


def find_bigquery() -> str | None:
    place = ROOT / environment.environment_dir()
    return short(place) if environment.is_ready(place) else None


def find_bigquery_python() -> str | None:
    try:
        return find_bigquery() or str(environment.find_python())
    except environment.EnvironmentUnavailable:
        return None


def install_bigquery() -> None:
    uv = find_uv()
    if uv is not None:  # a uv of our own is not on the PATH, where the environment's maker looks for it
        os.environ["PATH"] = os.pathsep.join([str(Path(uv).parent), os.environ.get("PATH", "")])
    try:
        environment.ensure(ROOT / environment.environment_dir())
    except environment.EnvironmentUnavailable as error:
        raise InstallError(f"the BigQuery stand-in: {error}") from error


def find_mariadb() -> str | None:
    """The server's program, or the variable that names a server to use instead."""
    if os.environ.get("ETL_TEST_MYSQL_URL"):
        return "ETL_TEST_MYSQL_URL"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])
    return shutil.which("mariadbd", path=path) if shutil.which("mariadb-install-db", path=path) else None


def install_mariadb() -> None:
    """Through apt-get; where that cannot be, the owner is told and the rest of the project works."""
    packages = ["mariadb-server-core", "mariadb-client-core"]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        out(f"    not by this user: `apt-get install {' '.join(packages)}`, or set ETL_TEST_MYSQL_URL;")
        out("    until then the tests of the MySQL source cannot run, all else does.")
        return
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    try:
        run(install, DEBIAN_FRONTEND="noninteractive")
    except InstallError:  # the package lists of a fresh machine are missing or old
        run(["apt-get", "update", "-q"])
        run(install, DEBIAN_FRONTEND="noninteractive")


def find_azurite() -> str | None:
    return short(AZURITE_HOME) if stamped(AZURITE_STAMP, *AZURITE_FILES) else None


def install_azurite() -> None:
    """Through npm, exactly what its lock names; without npm the owner is told and the rest works."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        out("    Node.js with npm is not there: install it (nodejs.org, or `apt-get install nodejs npm`) and")
        out("    repeat; until then the tests of the Azure source cannot run, all else does.")
        return
    shutil.rmtree(AZURITE_HOME, ignore_errors=True)
    AZURITE_HOME.mkdir(parents=True)
    for name in AZURITE_FILES:
        shutil.copy(ROOT / name, AZURITE_HOME)
    run([npm, "ci", "--prefix", str(AZURITE_HOME), "--ignore-scripts", "--no-audit", "--no-fund"])
    AZURITE_STAMP.write_text(fingerprint(*AZURITE_FILES))


def need_python(wanted: str, purpose: str) -> Callable[[], None]:
    def explain() -> None:
        raise InstallError(
            f"Python {wanted} is needed {purpose}. Install it (`uv python install {wanted}`, "
            f"`pyenv install {wanted}`, or your distribution's python{wanted}) and repeat."
        )

    return explain


def python_by_uv(version: str, purpose: str) -> Callable[[], None]:
    """uv can fetch an interpreter where the network allows it; else the owner is told."""

    def install() -> None:
        uv = find_uv()
        try:
            if uv is None:
                raise InstallError("uv is not there")
            run([uv, "python", "install", version])
        except InstallError:
            need_python(version, purpose)()

    return install


PARTS = (
    Part(
        "uv",
        find_uv,
        f"uv {UV_VERSION} from PyPI into .local/uv",
        install_uv,
    ),
    Part(
        "Python " + " or ".join(SUPPORTED),
        lambda: find_environment() or find_python(*SUPPORTED),
        "an interpreter by `uv python install 3.11`",
        python_by_uv("3.11", "for the project"),
    ),
    Part(
        "project environment",
        find_environment,
        "what uv.lock names, from PyPI into .venv (PostgreSQL and Cloud Storage for local use come with it)",
        install_environment,
    ),
    Part(
        f"Python {BIGQUERY_PYTHON} for the BigQuery stand-in",
        find_bigquery_python,
        f"an interpreter by `uv python install {BIGQUERY_PYTHON}`",
        python_by_uv(BIGQUERY_PYTHON, "for the BigQuery stand-in of the demo and the tests"),
    ),
    Part(
        "BigQuery stand-in",
        find_bigquery,
        "local-bigquery from PyPI into an environment of its own under .local",
        install_bigquery,
    ),
    Part(
        "MariaDB, for the MySQL source's tests",
        find_mariadb,
        "Debian's mariadb-server-core by apt-get",
        install_mariadb,
        for_tests=True,
    ),
    Part(
        "Azurite, for the Azure source's tests",
        find_azurite,
        "npm's azurite as local/azurite/package-lock.json names it, into .local/azurite",
        install_azurite,
        for_tests=True,
    ),
)


def main(arguments: list[str]) -> int:
    started = time.monotonic()
    parts = [part for part in PARTS if not (part.for_tests and "--without-tests" in arguments)]
    found = [(part, part.find()) for part in parts]
    missing = [part for part, place in found if place is None]
    if not missing:
        return 0
    out("What the project needs, and what this machine has:")
    for part, place in found:
        out(f"  {'missing' if place is None else 'ok     '}  {part.name}" + (f"  ({place})" if place else ""))
    out("Installing what is missing:")
    for part in missing:
        if part.find() is not None:  # an earlier part may have brought it along
            continue
        out(f"  {part.name}: {part.plan} ...")
        began = time.monotonic()
        try:
            part.install()
        except InstallError as error:
            sys.stderr.write(f"setup: {error}\n")
            return 1
        out(f"  {part.name}: done in {time.monotonic() - began:.1f} s")
    out(f"Everything is there after {time.monotonic() - started:.1f} s.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
