"""The kinds of values that fields hold, with what they accept and what they say when refused.

Documents come from people, from YAML and from JSON that other programs wrote, so whole numbers may be
digits in text and text may be a whole number; nothing else is converted. A refusal carries what is
allowed, never the value: the problem list decides what may be shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from etl_runner.config import names, times

REFUSED = "refused"
"""The pydantic error type of every refusal made here; its context holds ``reason`` and ``allowed``."""


def refusal(reason: str, allowed: str | None = None) -> PydanticCustomError:
    """An error for a validator to raise: ``reason`` reads on from the field's name."""
    return PydanticCustomError(REFUSED, "{reason}", {"reason": reason, "allowed": allowed})


def _text(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool):
        raise refusal("must be text", "text; put the word in quotes")
    if not isinstance(value, str):
        raise refusal("must be text", "text")
    if "\x00" in value:
        raise refusal("holds a NUL character", "text without NUL characters")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal("must be a whole number", "a whole number")
    return value


def _truth(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise refusal("must be true or false", "true, false")
    return value


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _checked(check: Callable[[str], object], allowed: str) -> Callable[[str], str]:
    """A validator that keeps the text and refuses with the ValueError's words."""

    def validate(value: str) -> str:
        try:
            check(value)
        except ValueError as error:
            reason = str(error)
        else:
            return value
        raise refusal(reason, allowed)

    return validate


def _pattern(pattern: str, reason: str, allowed: str) -> Callable[[str], str]:
    compiled = re.compile(pattern[1:-1])

    def validate(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise refusal(reason, allowed)
        return value

    return validate


def _faultless(fault: Callable[[str], str | None], allowed: str) -> Callable[[str], str]:
    def validate(value: str) -> str:
        reason = fault(value)
        if reason is not None:
            raise refusal(reason, allowed)
        return value

    return validate


def _late(text: str) -> None:
    if late_number(text) is None:
        try:
            length = times.parse_duration(text)
        except ValueError:
            raise ValueError("is neither a duration nor a number") from None
        if length.days > MAX_LATE_DAYS:
            raise ValueError(f"is longer than {MAX_LATE_DAYS} days")


def late_number(text: str) -> Decimal | None:
    """A late window in key units: the number, or None when the text is not one."""
    if re.fullmatch(r"[0-9]{1,38}(\.[0-9]{1,38})?", text) is None:
        return None
    return Decimal(text)


def is_number(text: str) -> bool:
    """Whether ``text`` is a finite decimal number."""
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


MAX_LATE_DAYS = 366
TABLE_ALLOWED = (
    f"up to {names.TABLE_BYTES} bytes of letters, marks, digits, connectors such as _, dashes and spaces"
)
COLUMN_ALLOWED = "a letter or _, then letters, digits and _, 300 at most, without a reserved prefix"
HOST_ALLOWED = "a host name, an IP address or a socket's folder, without scheme, user or path"

Text = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=4_096)]
Whole = Annotated[int, BeforeValidator(_whole)]
Truth = Annotated[bool, BeforeValidator(_truth)]
TextOrNumber = Annotated[
    str, BeforeValidator(_text, json_schema_input_type=str | int), Field(max_length=4_096)
]
SourceName = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=300)]
SourceNames = Annotated[
    tuple[SourceName, ...], BeforeValidator(_names, json_schema_input_type=SourceName | list[SourceName])
]
DocumentId = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_pattern(names.ID_PATTERN, "is not an id", names.ID_ALLOWED)),
    Field(json_schema_extra={"pattern": names.ID_PATTERN}),
]
TableName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_faultless(names.table_fault, TABLE_ALLOWED)),
    Field(min_length=1),
]
ColumnName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_faultless(names.column_fault, COLUMN_ALLOWED)),
    Field(json_schema_extra={"pattern": names.COLUMN_PATTERN}),
]
ColumnNames = Annotated[
    tuple[ColumnName, ...], BeforeValidator(_names, json_schema_input_type=ColumnName | list[ColumnName])
]
DatasetName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(
        _pattern(
            names.DATASET_PATTERN, "is not a dataset's name", "1 to 1,024 letters, digits and _, no project"
        )
    ),
    Field(json_schema_extra={"pattern": names.DATASET_PATTERN}),
]
ProjectName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(
        _pattern(
            names.PROJECT_PATTERN,
            "is not a project's id",
            "6 to 30 lower-case letters, digits and -, beginning with a letter",
        )
    ),
    Field(json_schema_extra={"pattern": names.PROJECT_PATTERN}),
]
StartText = Annotated[
    str, BeforeValidator(_text), AfterValidator(_checked(times.parse_start, times.START_ALLOWED))
]
LateText = Annotated[
    str,
    BeforeValidator(_text, json_schema_input_type=str | int),
    AfterValidator(_checked(_late, f"{times.DURATION_ALLOWED}; for an incrementing_column a number")),
]
Host = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_pattern(r"^(?!.*://)[^\s@?#]{1,255}$", "is not a host", HOST_ALLOWED)),
]
