"""What all documents have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator

from etl_runner.config.values import refusal
from etl_runner.errors import Problem


class Document(BaseModel):
    """A part of a document: immutable, no unknown fields, and errors that never repeat their input.

    ``aliases`` maps further accepted spellings to fields. ``exact`` names fields whose blanks mean
    something: everywhere else an empty text, list or object, and null, mean that the field is absent.
    ``secret_fields`` are never shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    aliases: ClassVar[Mapping[str, str]] = {}
    exact: ClassVar[frozenset[str]] = frozenset()
    secret_fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def rules(cls, fields: Mapping[str, Any]) -> Iterator[Problem]:
        """What is wrong between ``fields`` as written, by the model's names, blanks left out.

        Values of the wrong kind are passed over, so that this can speak together with the problems of
        single fields; a model that is built directly refuses with the first one.
        """
        del fields
        return iter(())

    @model_validator(mode="after")
    def _keeps_rules(self) -> Self:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        for problem in self.rules({name: value for name, value in given.items() if value is not None}):
            raise refusal(f"{problem.path}: {problem.message}", problem.allowed)
        return self


def is_blank(value: Any) -> bool:
    """Null, empty or white text, an empty list, an empty object."""
    if value is None or value == [] or value == {}:
        return True
    return isinstance(value, str) and not value.strip()
