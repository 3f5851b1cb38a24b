"""``make deploy`` and ``make destroy``: Terraform in two phases, with the runner image built between them.

Variables of the environment (or of make): PROJECT, REGION, DATASET, SOURCES; and optionally IMAGE (take this
image, build none), TFVARS (a file with further variables), APPROVE=1 (do not ask), DATA=1 (destroy data too);
and for events of other clouds SNS_TOPICS (ARNs, with commas), AZURE_TENANT with AZURE_AUDIENCE, EVENT_KEY
(the name of a secret), which together are the module's variable ``external_events``.

Base images without a digest are pinned first (``tools.base_images``), unless UNPINNED=1 takes whatever the
tags are now.

Nothing is changed before everything that is needed is there; what is missing is listed, with the commands
that would have been run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "infra" / "terraform"
ENDINGS = (".yaml", ".yml", ".json")
REGISTRY_NAME = "etl"
"""The variable ``name`` of the module, which the registry bears. Another name takes an IMAGE."""

_IMAGE_PARTS = ("pyproject.toml", "uv.lock", "runner_image", "src")
_FIRST = ("google_project_service.this", "google_artifact_registry_repository.this")
_VARIABLES = {
    "PROJECT": "the project's id",
    "REGION": "its region, e.g. europe-west1",
    "DATASET": "the dataset to load into",
    "SOURCES": "the folder with sources/, connections/ and schedules.yaml",
}

Command = list[str]


@dataclass(frozen=True)
class Machine:
    """What is asked of the machine; tests give one of their own."""

    environ: Mapping[str, str]
    find: Callable[[str], str | None]
    run: Callable[[Command], int]
    """Runs a command with the terminal's input and output; gives its exit code."""
    logged_in: Callable[[], bool]
    """Whether Google's libraries find credentials."""


def real_machine() -> Machine:
    """This one."""
    return Machine(os.environ, shutil.which, _run, _logged_in)


def image_tag(root: Path = ROOT) -> str:
    """A tag that changes exactly when something in the image does."""
    digest = hashlib.sha256()
    for part in _IMAGE_PARTS:
        place = root / part
        inside = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        for path in inside:
            if "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def missing(machine: Machine, what: str) -> list[str]:
    """What has to be there and is not, a sentence each."""
    environ = machine.environ
    lacks = [f"{name}: {meaning}" for name, meaning in _VARIABLES.items() if not environ.get(name)]
    folder = environ.get("SOURCES")
    if folder and not documents(Path(folder)):
        lacks.append(f"SOURCES: {folder} has no sources/*.yaml")
    if bool(environ.get("AZURE_TENANT")) != bool(environ.get("AZURE_AUDIENCE")):
        lacks.append("AZURE_TENANT and AZURE_AUDIENCE: one goes with the other")
    if environ.get("TFVARS") and not Path(environ["TFVARS"]).is_file():
        lacks.append(f"TFVARS: there is no file {environ['TFVARS']}")
    tools = {"terraform": "1.11 or newer, https://developer.hashicorp.com/terraform/install"}
    if what == "deploy" and not environ.get("IMAGE"):
        tools["docker"] = "to build the runner image; or give IMAGE"
        tools["gcloud"] = "to let docker push; or give IMAGE"
    lacks += [f"{tool}: {why}" for tool, why in tools.items() if machine.find(tool) is None]
    if not machine.logged_in():
        lacks.append(
            "credentials: `gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS"
        )
    return lacks


def external_events(environ: Mapping[str, str]) -> dict[str, str | list[str]]:
    """The module's variable ``external_events``; empty where no event of another cloud is taken."""
    topics = [each.strip() for each in environ.get("SNS_TOPICS", "").split(",") if each.strip()]
    names = {"azure_tenant": "AZURE_TENANT", "azure_audience": "AZURE_AUDIENCE", "key_secret": "EVENT_KEY"}
    given = {field: environ[name] for field, name in names.items() if environ.get(name)}
    return {**({"sns_topics": topics} if topics else {}), **given}


def documents(folder: Path) -> list[Path]:
    """The source documents of a folder."""
    return sorted(path for path in (folder / "sources").glob("*") if path.suffix in ENDINGS)


def preparation(environ: Mapping[str, str], what: str) -> list[Command]:
    """What is run before the image's tag is made of its content."""
    builds = what == "deploy" and not environ.get("IMAGE") and not environ.get("UNPINNED")
    return [[sys.executable, "-m", "tools.base_images"]] if builds else []


def commands(environ: Mapping[str, str], what: str, tag: Callable[[], str] = image_tag) -> list[Command]:
    """What is run, in order; variables that are missing stand as ``<NAME>``."""

    def given(name: str) -> str:
        return environ.get(name) or f"<{name}>"

    host = f"{given('REGION')}-docker.pkg.dev"
    image = environ.get("IMAGE") or f"{host}/{given('PROJECT')}/{REGISTRY_NAME}/runner:{tag()}"
    folder = Path(given("SOURCES"))
    terraform = ["terraform", f"-chdir={MODULE}"]
    variables = {
        "project": given("PROJECT"),
        "region": given("REGION"),
        "dataset": given("DATASET"),
        "image": image,
        "sources_folder": str(folder.absolute()) if environ.get("SOURCES") else str(folder),
    }
    options = [f"-var={name}={value}" for name, value in variables.items()]
    if environ.get("TFVARS"):
        options.append(f"-var-file={Path(environ['TFVARS']).absolute()}")
    if believed := external_events(environ):
        options.append(f"-var=external_events={json.dumps(believed)}")
    if environ.get("APPROVE") == "1":
        options.append("-auto-approve")
    start = [*terraform, "init", "-input=false"]
    if what == "destroy":
        destroy = [*terraform, "destroy", *options]
        # What may be destroyed is read from the state, so it has to get there first.
        allow = [*terraform, "apply", *options, "-var=destroy_data=true"]
        return [start, allow, destroy] if environ.get("DATA") == "1" else [start, destroy]
    found = [str(path) for path in documents(folder)] or [f"{folder}/sources/*.yaml"]
    check = [str(Path(sys.executable).parent / "etl-runner"), "validate", *found]
    dockerfile = str(ROOT / "runner_image" / "Dockerfile")
    build = [
        [*terraform, "apply", *options, *(f"-target={address}" for address in _FIRST)],
        ["gcloud", "auth", "configure-docker", host, "--quiet"],
        ["docker", "build", "--platform=linux/amd64", f"--file={dockerfile}", f"--tag={image}", str(ROOT)],
        ["docker", "push", image],
    ]
    # Where S3 and Azure are to send events: what the modules of these clouds ask for.
    told = [[*terraform, "output", "external_events"]] if external_events(environ) else []
    return [check, start, *([] if environ.get("IMAGE") else build), [*terraform, "apply", *options], *told]


def main(arguments: Sequence[str], machine: Machine | None = None, tag: Callable[[], str] = image_tag) -> int:
    """0 when all commands ended well; 2 when something is missing; else the first failed command's code."""
    if list(arguments) not in (["deploy"], ["destroy"]):
        sys.stderr.write("python -m tools.deploy deploy|destroy\n")
        return 2
    what, machine = arguments[0], machine or real_machine()
    lacks = missing(machine, what)
    first = preparation(machine.environ, what)
    if lacks:
        plan = [*first, *commands(machine.environ, what, lambda: "<tag of its content>")]
        sys.stdout.write(f"{what}: nothing was changed. It needs:\n")
        sys.stdout.writelines(f"  - {each}\n" for each in lacks)
        sys.stdout.write("and would then run:\n")
        sys.stdout.writelines(f"  {shlex.join(command)}\n" for command in plan)
        return 2
    # Not before the preparation ran: it changes what the image is made of.
    return _run_all(what, machine, first) or _run_all(what, machine, commands(machine.environ, what, tag))


def _run_all(what: str, machine: Machine, plan: Sequence[Command]) -> int:
    for command in plan:
        sys.stdout.write(f"::: {shlex.join(command)}\n")
        sys.stdout.flush()
        code = machine.run(command)
        if code:
            shown = shlex.join(command[:3]) if command[1] == "-m" else command[0]
            sys.stderr.write(f"{what}: stopped, `{shown}` ended with {code}; it can be repeated\n")
            return code
    return 0


def _run(command: Command) -> int:
    return subprocess.run(command, check=False).returncode


def _logged_in() -> bool:
    from google.auth import default
    from google.auth.exceptions import DefaultCredentialsError

    try:
        default()
    except DefaultCredentialsError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
