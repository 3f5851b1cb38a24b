"""The document as written, made into the fields of its model.

Other spellings get the field's name, blanks become absent, the fields of other source types are let go
when blank (the flat form sends them so) and reported when not, unknown fields are reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from etl_runner.config.base import Document, is_blank
from etl_runner.config.problems import dotted_path, unknown_field
from etl_runner.config.text import Path
from etl_runner.errors import Problem


@dataclass
class Normalized:
    """``fields`` by the model's names; ``written`` maps their paths to the paths as written."""

    fields: dict[str, Any] = field(default_factory=dict)
    written: dict[Path, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def normalize(
    raw: Mapping[Any, Any],
    model: type[Document],
    *,
    elsewhere: Mapping[str, str] | None = None,
    at: Path = (),
) -> Normalized:
    """``elsewhere`` maps known fields of other models to the name of where they belong; ``at`` is the
    path of ``raw`` in the document."""
    others = elsewhere or {}
    result = Normalized()
    for key, value in raw.items():
        if not isinstance(key, str):
            result.problems.append(Problem(dotted_path(at), "has a field whose name is not text"))
            continue
        name = model.aliases.get(key, key)
        path = (*at, key)
        if name not in model.model_fields:
            if not (name in others and is_blank(value)):
                result.problems.append(unknown_field(path, model, others))
            continue
        if _absent(value, name, model):
            continue
        if (name,) in result.written:
            first = result.written[(name,)][-1]
            result.problems.append(Problem(dotted_path(path), f"says the same as {first}: write one of them"))
            continue
        result.fields[name] = value
        result.written[(name,)] = path
    return result


def _absent(value: Any, name: str, model: type[Document]) -> bool:
    if name in model.exact or name in model.secret_fields:
        return value is None or value == {} or (value == "" and name != "null_markers")
    return is_blank(value)
