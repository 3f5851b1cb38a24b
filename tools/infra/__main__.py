"""``python -m tools.infra``: every check that needs no cloud. Ends with 1 when one finds a problem."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.infra import dockerfile, flex_template, hcl_check, terraform, workflow
from tools.infra.modules import MODULES, ROOT
from tools.infra.report import Result


def results(root: Path = ROOT) -> list[Result]:
    """All checks of a tree, in order."""
    found = [
        *workflow.checks(root / "workflows" / "etl.yaml"),
        *dockerfile.checks(root / "runner_image" / "Dockerfile"),
        *flex_template.checks(root / "runner_image" / "template.json"),
    ]
    for module in MODULES:
        found += hcl_check.checks(module.folder(root), module.schemas)
        found += terraform.checks(root, module.folder(root), module.schemas)
    return found


def main(root: Path = ROOT) -> int:
    """Print how each check of a tree ended."""
    found = results(root)
    for result in found:
        sys.stdout.write("\n".join(result.lines(root)) + "\n")
    return 1 if any(result.problems for result in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
