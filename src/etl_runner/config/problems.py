"""From what is wrong in a document to sentences about it.

What stands in a field is shown only where it cannot be a credential: never in secret fields, never under
an unknown name, and in connections only where the field is one of a few words or a number.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from etl_runner.config.base import Document
from etl_runner.config.text import Path
from etl_runner.config.values import REFUSED
from etl_runner.errors import Problem

_FOUND_LENGTH = 60
_SYNONYMS = {
    "table": "source_table_name",
    "tablename": "source_table_name",
    "schema": "schema_name",
    "columns": "selected_columns",
    "fields": "selected_columns",
    "rename": "column_mapping",
    "mapping": "column_mapping",
    "primary_key": "primary_key_column",
    "key": "primary_key_column",
    "cursor": "timestamp_column",
    "cursor_column": "timestamp_column",
    "updated_at": "timestamp_column",
    "sql": "query",
    "start_date": "historical_start_date",
    "mode": "load_type",
    "strategy": "load_type",
    "type": "source_type",
    "dataset": "dest_dataset",
    "destination": "dest_table_name",
    "target_table": "dest_table_name",
    "glob": "file_pattern",
    "params": "connection_params",
    "login": "username",
    "pwd": "password",
}


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was probably meant, or None."""
    names = list(candidates)
    lowered = word.lower().replace("-", "_").replace(" ", "_")
    if _SYNONYMS.get(lowered) in names:
        return _SYNONYMS[lowered]
    by_lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(lowered, by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def unknown_field(path: Path, model: type[Document], elsewhere: Mapping[str, str]) -> Problem:
    """A field that the model does not have; ``elsewhere`` maps fields of other places to those places."""
    name = path[-1]
    dotted = dotted_path(path)
    if name in elsewhere:
        return Problem(dotted, f"is a field of {elsewhere[name]}, not of {_title(model)}")
    guess = suggest(name, model.model_fields)
    if guess is None:
        alias = suggest(name, model.aliases)
        guess = model.aliases[alias] if alias is not None else None
    allowed = None if guess else ", ".join(sorted(set(model.model_fields)))
    return Problem(dotted, f"is not a field of {_title(model)}", allowed=allowed, suggestion=guess)


def problems_of_model(
    error: ValidationError, model: type[Document], written: Mapping[Path, Path], raw: Mapping[str, Any]
) -> list[Problem]:
    """One problem for each thing that pydantic found, in the document's own spelling.

    ``written`` maps field paths to the paths as written, ``raw`` is what was validated.
    """
    return [
        _problem(details, model, written, raw)
        for details in error.errors(include_url=False, include_context=True, include_input=False)
    ]


def dotted_path(path: Path) -> str:
    """``connection_params.port``."""
    return ".".join(path)


def written_path(path: Path, written: Mapping[Path, Path]) -> Path:
    """The path in the document's own spelling."""
    for end in range(len(path), -1, -1):
        if path[:end] in written:
            return (*written[path[:end]], *path[end:])
    return path


def _title(model: type[Document]) -> str:
    name = getattr(model.model_fields.get("source_type"), "annotation", None)
    kind = typing.get_args(name)[0] if name is not None else "file_format_options"
    if name is None:
        return kind
    return f"{kind} {'connections' if model.__name__.endswith('Connection') else 'sources'}"


def _problem(
    details: ErrorDetails, model: type[Document], written: Mapping[Path, Path], raw: Mapping[str, Any]
) -> Problem:
    location = details["loc"]
    # pydantic marks a mapping's key by a last step of this name
    path = tuple(str(step) for step in location if step != "[key]")
    shown = dotted_path(written_path(path, written))
    owner, field, secret = _field(model, path)
    value = _at(raw, path)
    context = details.get("ctx", {})
    kind = details["type"]
    words = _words(field)
    found = None if secret else _found(value, plain=not _is_connection(owner) or bool(words))
    if kind == "missing":
        return Problem(shown, "is required", allowed=", ".join(words) or None)
    if kind == REFUSED:
        return Problem(shown, str(context["reason"]), found=found, allowed=context.get("allowed"))
    if kind == "literal_error":
        guess = suggest(value, words) if isinstance(value, str) and not secret else None
        return Problem(
            shown, "is not one of the allowed words", found=found, allowed=", ".join(words), suggestion=guess
        )
    message, allowed = _plain(kind, context, field)
    return Problem(shown, message, found=found, allowed=allowed)


def _plain(kind: str, context: Mapping[str, Any], field: FieldInfo | None) -> tuple[str, str | None]:
    """Message and allowed values of pydantic's own checks."""
    if kind in ("greater_than_equal", "less_than_equal"):
        return "is out of bounds", _bounds(field)
    if kind in ("string_too_short", "too_short"):
        return "is empty", None
    if kind == "string_too_long":
        return "is too long", f"{context['max_length']} characters at most"
    if kind == "too_long":
        return "has too many entries", f"{context['max_length']} at most"
    if kind in ("tuple_type", "list_type"):
        return "must be a list of names", "one name, or a list"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return "must be an object of fields and values", "an object"
    if kind == "string_type":
        return "must be text", "text"
    if kind == "string_unicode":
        return "holds characters that are not Unicode text", "text"
    return "is not valid", None


def _bounds(field: FieldInfo | None) -> str | None:
    low = high = None
    for item in _metadata(field):
        low = getattr(item, "ge", low)
        high = getattr(item, "le", high)
    return None if low is None or high is None else f"{low:,} to {high:,}"


def _metadata(field: FieldInfo | None) -> list[Any]:
    """A field's constraints, those inside ``X | None`` included."""
    if field is None:
        return []
    found = list(field.metadata)
    for option in typing.get_args(field.annotation):
        for item in getattr(option, "__metadata__", ()):
            found += item.metadata if isinstance(item, FieldInfo) else [item]
    return found


def _words(field: FieldInfo | None) -> list[str]:
    """The values of a field that takes one of a few words."""
    if field is None:
        return []
    for option in (field.annotation, *typing.get_args(field.annotation)):
        if typing.get_origin(option) is Literal:
            return [str(word) for word in typing.get_args(option)]
    return []


def _field(model: type[Document], path: Path) -> tuple[type[Document], FieldInfo | None, bool]:
    """The model that owns the path's field, the field, and whether the path is in a secret."""
    owner = model
    for depth, step in enumerate(path):
        field = owner.model_fields.get(step)
        if step in owner.secret_fields:
            return owner, field, True
        inner = _model_in(field)
        if field is None or inner is None or depth == len(path) - 1:
            return owner, field, False
        owner = inner
    return owner, None, False


def _model_in(field: FieldInfo | None) -> type[Document] | None:
    if field is None:
        return None
    for option in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(option, type) and issubclass(option, Document):
            return option
    return None


def _is_connection(model: type[Document]) -> bool:
    return model.__name__.endswith("Connection")


def _at(raw: Any, path: Path) -> Any:
    for step in path:
        if isinstance(raw, Mapping):
            raw = raw.get(step)
        elif isinstance(raw, list) and step.isdecimal() and int(step) < len(raw):
            raw = raw[int(step)]
        else:
            return None
    return raw


def _found(value: Any, *, plain: bool) -> str | None:
    """What stands there, shortened; only its kind where the text itself is not to be shown."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else "a number"
    if isinstance(value, str):
        if not plain:
            return "text"
        return repr(value) if len(value) <= _FOUND_LENGTH else f"{value[:_FOUND_LENGTH]!r}..."
    return "a list" if isinstance(value, list) else "an object"
