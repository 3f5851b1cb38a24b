"""The Terraform modules of this repository, and the providers whose schemas each is checked against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMA_FOLDER = ROOT / "tests" / "infra" / "schema"


@dataclass(frozen=True)
class Module:
    """A folder of ``*.tf``, relative to the repository."""

    path: str
    providers: tuple[str, ...]

    def folder(self, root: Path = ROOT) -> Path:
        """Its folder in a tree."""
        return root / self.path

    @property
    def schemas(self) -> tuple[Path, ...]:
        """The documents with its providers' schemas."""
        return tuple(SCHEMA_FOLDER / f"{name}.json" for name in self.providers)


GOOGLE = Module("infra/terraform", ("google", "archive"))
AWS = Module("infra/terraform/aws", ("aws",))
AZURE = Module("infra/terraform/azure", ("azurerm",))
MODULES = (GOOGLE, AWS, AZURE)
