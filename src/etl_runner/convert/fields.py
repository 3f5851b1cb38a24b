"""A BigQuery column, as plain data.

The words are those of the BigQuery API's ``TableFieldSchema``
(https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema), with the standard
SQL type names (INT64, FLOAT64, BOOL, STRUCT), so that pure code needs no client library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["NULLABLE", "REQUIRED", "REPEATED"]

_STANDARD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}


@dataclass(frozen=True)
class BqField:
    """One column or nested field of a destination table."""

    name: str
    type: str
    """STRING BYTES INT64 FLOAT64 NUMERIC BIGNUMERIC BOOL DATE DATETIME TIME TIMESTAMP JSON GEOGRAPHY
    INTERVAL RANGE STRUCT."""
    mode: Mode = "NULLABLE"
    fields: tuple[BqField, ...] = ()
    precision: int | None = None
    scale: int | None = None
    max_length: int | None = None
    description: str | None = None
    range_element_type: str | None = None

    def to_api(self) -> dict[str, Any]:
        """The field as the API spells it; round trips through :meth:`from_api`."""
        api: dict[str, Any] = {"name": self.name, "type": self.type, "mode": self.mode}
        if self.fields:
            api["fields"] = [nested.to_api() for nested in self.fields]
        # The API's 64-bit integers are JSON strings.
        if self.precision is not None:
            api["precision"] = str(self.precision)
        if self.scale is not None:
            api["scale"] = str(self.scale)
        if self.max_length is not None:
            api["maxLength"] = str(self.max_length)
        if self.description is not None:
            api["description"] = self.description
        if self.range_element_type is not None:
            api["rangeElementType"] = {"type": self.range_element_type}
        return api

    @classmethod
    def from_api(cls, api: dict[str, Any]) -> BqField:
        """Read a TableFieldSchema; legacy type names become standard ones."""

        def number(key: str) -> int | None:
            return int(api[key]) if api.get(key) not in (None, "") else None

        kind = str(api["type"]).upper()
        element = api.get("rangeElementType")
        return cls(
            name=api["name"],
            type=_STANDARD.get(kind, kind),
            mode=api.get("mode") or "NULLABLE",
            fields=tuple(cls.from_api(nested) for nested in api.get("fields") or ()),
            precision=number("precision"),
            scale=number("scale"),
            max_length=number("maxLength"),
            description=api.get("description") or None,
            range_element_type=element["type"] if element else None,
        )
