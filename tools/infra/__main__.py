"""``python -m tools.infra``: every check that needs no cloud. Ends with 1 when one finds a problem."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tools.infra import dockerfile, hcl_check, terraform, workflow
from tools.infra.report import Result

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = tuple(ROOT / "tests" / "infra" / "schema" / f"{name}.json" for name in ("google", "archive"))


def results(root: Path = ROOT, schemas: Sequence[Path] = SCHEMAS) -> list[Result]:
    """All checks of a tree, in order."""
    module = root / "infra" / "terraform"
    return [
        *workflow.checks(root / "workflows" / "etl.yaml"),
        *dockerfile.checks(root / "runner_image" / "Dockerfile"),
        *hcl_check.checks(module, schemas),
        *terraform.checks(module, schemas),
    ]


def main() -> int:
    """Print how each check ended."""
    found = results()
    for result in found:
        sys.stdout.write("\n".join(result.lines(ROOT)) + "\n")
    return 1 if any(result.problems for result in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
