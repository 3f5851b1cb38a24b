"""terraform itself: fmt, validate and test of a module, with schemas served instead of providers.

It works on a copy of what the module reads. In the copy a Python file holds only its name: the tests ask
which files go into a function's archive, and a megabyte of them makes Terraform ten times slower.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.infra.plugin import serving
from tools.infra.report import Problem, Result

_READ = ("yaml", "json", "sql")
"""Endings of the package's files that the modules read."""
NO_TERRAFORM = (
    "there is no terraform on this machine; `terraform schema` checked names, types and references, nothing "
    "the policies (1.11 or newer, https://developer.hashicorp.com/terraform/install; or TERRAFORM=<path>)"
)


def find_terraform() -> str | None:
    """The binary, if this machine has one."""
    return shutil.which(os.environ.get("TERRAFORM", "terraform"))


def checks(root: Path, module: Path, schemas: Sequence[Path], *, only_form: bool = False) -> list[Result]:
    """fmt, validate, and, if the module is valid, test; ``root`` is the tree that the module lies in.

    ``only_form`` ends after the first, which needs no provider.
    """
    terraform = find_terraform()
    if terraform is None:
        names = ("terraform fmt", "terraform validate", "terraform test")
        return [Result(name, skipped=NO_TERRAFORM) for name in names]
    with tempfile.TemporaryDirectory(prefix="etl-terraform-") as scratch, serving(schemas) as providers:
        (Path(scratch) / "rc").touch()
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
            **providers,
            # A third of its time would go into collecting garbage of a process that ends soon.
            "GOGC": os.environ.get("GOGC", "800"),
            "TF_DATA_DIR": str(Path(scratch) / "data"),
            "TF_CLI_CONFIG_FILE": str(Path(scratch) / "rc"),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        _copy(root, Path(scratch) / "tree")
        tool = _Tool(terraform, module, Path(scratch) / "tree" / module.relative_to(root), variables)
        results = [_fmt(tool)]
        if only_form:
            return results
        started = tool.run("init", "-input=false", "-backend=false", "-no-color")
        if started.returncode:
            problem = _of_text(module, started.stderr or started.stdout)
            return [*results, Result("terraform init", (problem,))]
        results.append(_validate(tool))
        if not results[-1].problems:
            results.append(_test(tool))
        return results


@dataclass(frozen=True)
class _Tool:
    """A terraform, the module it is asked about and the copy that it works on."""

    binary: str
    module: Path
    copy: Path
    variables: Mapping[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.binary, *arguments],
            cwd=self.copy,
            env=dict(self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def _copy(root: Path, target: Path) -> None:
    unwanted = shutil.ignore_patterns("__pycache__", ".build", ".terraform", "*.tfstate*", "*.tfvars")
    for folder in ("infra", "functions", "workflows", "runner_image"):
        shutil.copytree(root / folder, target / folder, ignore=unwanted)
    for path in sorted((root / "src").rglob("*.py")):
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(f"# {path.relative_to(root)}\n")
    for path in sorted(each for ending in _READ for each in (root / "src").rglob(f"*.{ending}")):
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def _fmt(tool: _Tool) -> Result:
    module = tool.module
    done = tool.run("fmt", "-check", "-diff", "-recursive", "-no-color")
    problems = []
    path = module
    for line in done.stdout.splitlines():
        if line.startswith("+++ "):
            path = module / line.removeprefix("+++ ").removeprefix("new/").split("\t")[0]
        elif match := re.match(r"@@ -(\d+)", line):
            problems.append(Problem(path, int(match[1]), "is not formatted: `terraform fmt -recursive`"))
    if done.returncode and not problems:
        problems.append(_of_text(module, done.stderr or done.stdout))
    return Result("terraform fmt", tuple(problems))


def _validate(tool: _Tool) -> Result:
    done = tool.run("validate", "-json")
    found = [_of_diagnostic(tool.module, each) for each in json.loads(done.stdout).get("diagnostics", [])]
    return Result("terraform validate", tuple(found))


def _test(tool: _Tool) -> Result:
    module = tool.module
    done = tool.run("test", "-json")
    problems, summary = [], ""
    for line in done.stdout.splitlines():
        event = json.loads(line)
        if event.get("type") == "diagnostic" and event["diagnostic"]["severity"] == "error":
            problems.append(_of_diagnostic(module, event["diagnostic"]))
        elif event.get("type") == "test_summary":
            summary = event["@message"].strip()
    if done.returncode and not problems:
        problems.append(_of_text(module, done.stderr or done.stdout))
    return Result("terraform test", tuple(dict.fromkeys(problems)), detail=f"{module.name}, {summary}")


def _of_diagnostic(module: Path, diagnostic: Mapping[str, Any]) -> Problem:
    place = diagnostic.get("range") or {}
    message = " ".join(f"{diagnostic['summary']}: {diagnostic.get('detail', '')}".split())
    return Problem(
        module / place.get("filename", ""),
        place.get("start", {}).get("line", 1),
        message,
    )


def _of_text(module: Path, text: str) -> Problem:
    return Problem(module, 1, " ".join(text.split()) or "terraform failed without a word")
