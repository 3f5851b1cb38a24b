"""Every error that this project raises on purpose.

::

    EtlError
    ├── RetryableError      503  a later attempt can succeed: ask again
    ├── PermanentError      422  repeating will not help: a person or a change is needed
    │   ├── FileError            one file cannot be loaded: .uri and .version say which
    │   │   └── UnplannedColumns     it has columns that the plan does not know
    │   ├── JobRefused           BigQuery refused a job and did not create it
    │   └── CorruptStateError    a state object says something that it never should
    ├── ConfigError         400  a document is wrong: all of its problems, at once
    ├── RefusedCall         401  the caller is not shown to be who may call
    │   └── ForbiddenCall   403  the caller is known and may not, or the call is a forged or an old one
    └── IgnoredEvent        204  an event that concerns nobody

    StoreConflict                what a compare-and-swap loop handles and never lets out
    ├── ObjectExists             a create-only write found the name taken
    └── GenerationMismatch       a conditional write found another generation

A message never holds a credential or a row's value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


class EtlError(Exception):
    """Base of all errors that the caller is meant to read."""

    http_status = 500


class RetryableError(EtlError):
    """A later attempt can succeed; Workflows and the job service repeat the step."""

    http_status = 503


class PermanentError(EtlError):
    """Repeating does not help."""

    http_status = 422


class JobRefused(PermanentError):  # noqa: N818 - the field's word
    """BigQuery answered a job submission with a final 4xx: no job of that id was created by it."""


class FileError(PermanentError):
    """One file of a source cannot be loaded; without it the others can.

    ``uri`` and ``version`` (generation or etag) name it, as ledger and arrivals do; both are empty where
    whoever raises does not know them yet.
    """

    def __init__(self, message: str, uri: str = "", version: str = "") -> None:
        super().__init__(message)
        self.uri = uri
        self.version = version


class UnplannedColumns(FileError):  # noqa: N818 - the next plan knows them, so nothing is broken
    """A file turned out to have ``columns`` that were in no sample; the next plan looks at it closely."""

    def __init__(self, message: str, uri: str, version: str, columns: tuple[str, ...]) -> None:
        super().__init__(message, uri, version)
        self.columns = columns


class CorruptStateError(PermanentError):
    """A state object cannot be read or contradicts the protocol."""


class RefusedCall(EtlError):  # noqa: N818 - the caller's fault
    """A call from outside without a valid token, key or signature."""

    http_status = 401


class ForbiddenCall(RefusedCall):
    """A call that proves who it is from and is not allowed, or whose proof is forged or too old."""

    http_status = 403


class IgnoredEvent(EtlError):  # noqa: N818 - no failure
    """An event that no source wants; acknowledged and forgotten."""

    http_status = 204


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one document.

    ``path`` is the field's dotted path (``connection_params.port``), ``found`` what stands there (never
    a secret), ``allowed`` what may stand there, ``suggestion`` the name that was probably meant, ``line``
    the document's line, counted from 1, where it is known.
    """

    path: str
    message: str
    found: str | None = None
    allowed: str | None = None
    suggestion: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path} (line {self.line})"
        text = f"{place}: {self.message}" if self.path else self.message
        if self.found is not None:
            text += f" (found {self.found})"
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        if self.suggestion is not None:
            text += f"; did you mean {self.suggestion!r}?"
        return text

    def to_json(self) -> dict[str, Any]:
        """The problem as a JSON object, absent parts left out."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass
class ConfigError(EtlError):
    """A document that cannot be used, with every problem found in it."""

    document: str
    problems: Sequence[Problem] = field(default_factory=tuple)

    http_status = 400

    def __post_init__(self) -> None:
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{self.document}: {count} problem{'s' if count != 1 else ''}"]
        lines += [f"  - {problem}" for problem in self.problems]
        return "\n".join(lines)


class StoreConflict(Exception):  # noqa: N818 - a signal inside compare-and-swap loops, not a failure
    """Somebody else wrote first."""


class ObjectExists(StoreConflict):
    """A create-only write found the name taken."""


class GenerationMismatch(StoreConflict):
    """A conditional write found another generation than the one that was read."""


def problems_of(error: EtlError) -> Iterable[Problem]:
    """The problems of a ConfigError; of any other error, its message as the one problem."""
    if isinstance(error, ConfigError):
        return error.problems
    return (Problem(path="", message=str(error)),)
