"""One document at a time: from text to a valid model, with everything that is wrong said at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from etl_runner.config import names, rules
from etl_runner.config.base import Document, is_blank
from etl_runner.config.documents import (
    CONNECTION_MODELS,
    SOURCE_MODELS,
    AnySource,
    Connection,
    FileFormatOptions,
    FileSource,
)
from etl_runner.config.normalize import Normalized, normalize
from etl_runner.config.problems import dotted_path, problems_of_model, written_path
from etl_runner.config.resolved import ResolvedSource, secrets_of
from etl_runner.config.secrets import SecretRef, SecretValue
from etl_runner.config.text import Path, Raw, read_document
from etl_runner.config.types import DATABASE_TYPES, SourceType, source_type_of
from etl_runner.errors import ConfigError, Problem

MISSING = "is required"
M = TypeVar("M", bound=Document)


@dataclass(frozen=True)
class ParsedConnection:
    """A valid connection document. ``inline`` maps secret fields whose value is written in the document
    to their dotted paths there."""

    name: str
    connection: Connection
    warnings: tuple[str, ...] = ()
    inline: Mapping[str, str] = field(default_factory=dict)

    def stored(self) -> Connection:
        """The connection with its inline credentials replaced by references into the document, which must
        be one of the config bucket's."""
        updates = {key: SecretRef(document=self.name, field=path) for key, path in self.inline.items()}
        return self.connection.model_copy(update=updates)

    def served(self, source_id: str) -> Connection:
        """The same, of the document that the control plane serves for a source."""
        updates = {key: SecretRef(control_plane=source_id, field=path) for key, path in self.inline.items()}
        return self.connection.model_copy(update=updates)


@dataclass(frozen=True)
class ParsedSource:
    """A valid source document; ``connection`` is the one that it carries, None when it names one."""

    name: str
    source_id: str
    document: AnySource
    connection: ParsedConnection | None
    warnings: tuple[str, ...] = ()

    def resolve(self, connection: ParsedConnection | None = None, *, stored: bool = False) -> ResolvedSource:
        """The source with its connection: the one that it carries, else the one given.

        ``stored`` says that the documents' names are those of objects in the config bucket.

        Raises:
            ConfigError: the connection is missing or is of another source type.
        """
        used = self.connection or connection
        if used is None:
            problem = Problem("connection", "is not given along with the document", self.document.connection)
            raise ConfigError(self.name, (problem,))
        mismatch = type_mismatch(self.document.source_type, used)
        if mismatch is not None:
            raise ConfigError(self.name, (mismatch,))
        return ResolvedSource(
            document=self.document,
            connection=used.stored() if stored else used.connection,
            source_id=self.source_id,
            warnings=self.warnings + (() if used is self.connection else used.warnings),
        )


def parse_source(data: bytes | str | Mapping[str, Any], *, name: str, source_id: str) -> ParsedSource:
    """Validate one source document: text (JSON when ``name`` ends in ``.json``, else YAML) or its value.

    Raises:
        ConfigError: everything that is wrong in it.
    """
    attempt = SourceAttempt(name, source_id, read_raw(data, name))
    if attempt.problems or attempt.parsed is None:
        raise ConfigError(name, tuple(attempt.problems))
    return attempt.parsed


def parse_connection(data: bytes | str | Mapping[str, Any], *, name: str) -> ParsedConnection:
    """Validate one connection document.

    Raises:
        ConfigError: everything that is wrong in it.
    """
    raw = read_raw(data, name)
    problems: list[Problem] = []
    value = _mapping(raw, problems)
    source_type = None if value is None else _type(value.get("source_type"), "source_type", problems)
    parsed = None
    if value is not None and source_type is not None:
        parsed = _connection(value, source_type, name, (), problems)
    if problems or parsed is None:
        raise ConfigError(name, tuple(with_lines(problems, raw.lines)))
    return parsed


class SourceAttempt:
    """One pass over a source document that collects instead of raising."""

    def __init__(self, name: str, source_id: str, raw: Raw) -> None:
        self.raw = raw
        self.parsed: ParsedSource | None = None
        self.source_type: SourceType | None = None
        self.connection_id: str | None = None
        problems: list[Problem] = []
        if not names.is_id(source_id):
            problems.append(Problem("source_id", "is not an id", allowed=names.ID_ALLOWED))
        value = _mapping(raw, problems)
        if value is not None:
            self._read(name, source_id, value, problems)
        self.problems = with_lines(problems, raw.lines)

    def _read(self, name: str, source_id: str, value: Mapping[str, Any], problems: list[Problem]) -> None:
        params = value.get("connection_params")
        inner = params.get("source_type") if isinstance(params, Mapping) else None
        outer_type = _type(value.get("source_type"), "source_type", problems)
        inner_type = None
        if not is_blank(inner):
            inner_type = _type(inner, "connection_params.source_type", problems)
        source_type = outer_type or inner_type
        if outer_type and inner_type and outer_type != inner_type:
            problems.append(
                Problem(
                    "connection_params.source_type",
                    f"is not the source's own source_type, {outer_type!r}",
                    found=repr(inner_type),
                )
            )
        if source_type is None:
            return
        self.source_type = source_type
        model = SOURCE_MODELS[source_type]
        normal = normalize(value, model, elsewhere=_elsewhere(source_type))
        problems += normal.problems
        normal.fields.pop("connection_params", None)
        normal.fields["source_type"] = source_type
        options = normal.fields.get("file_format_options")
        if isinstance(options, Mapping):
            _nest(normal, "file_format_options", options, FileFormatOptions, problems)
        connection = self._own_connection(name, params, normal, problems)
        document = _validated(model, normal, problems)
        if document is not None:
            told = {"file_format": document.file_format} if isinstance(document, FileSource) else {}
            warnings = tuple(rules.warnings({**normal.fields, **told}))
            if connection is not None:
                warnings += connection.warnings
            self.parsed = ParsedSource(name, source_id, document, connection, warnings)

    def _own_connection(
        self, name: str, params: Any, normal: Normalized, problems: list[Problem]
    ) -> ParsedConnection | None:
        named = normal.fields.get("connection")
        if isinstance(named, str) and names.is_id(named):
            self.connection_id = named
        if is_blank(params):
            if "connection" not in normal.fields:
                problems.append(
                    Problem("connection", "is required", allowed="a connection's id, or connection_params")
                )
            return None
        if not isinstance(params, Mapping):
            problems.append(
                Problem("connection_params", "must be an object of fields and values", allowed="an object")
            )
            return None
        if "connection" in normal.fields:
            problems.append(
                Problem(
                    "connection_params",
                    "and connection exclude each other",
                    allowed="connection, or connection_params",
                )
            )
        assert self.source_type is not None  # noqa: S101 - set before this is called
        return _connection(params, self.source_type, name, ("connection_params",), problems)


def read_raw(data: bytes | str | Mapping[str, Any], name: str) -> Raw:
    return Raw(data) if isinstance(data, Mapping) else read_document(data, name=name)


def _mapping(raw: Raw, problems: list[Problem]) -> Mapping[str, Any] | None:
    if isinstance(raw.value, Mapping):
        return raw.value
    empty = raw.value is None
    problems.append(
        Problem(
            "", "the document is empty" if empty else "the document must be an object of fields and values"
        )
    )
    return None


def _type(value: object, path: str, problems: list[Problem]) -> SourceType | None:
    found = source_type_of(value, path)
    if isinstance(found, Problem):
        problems.append(found)
        return None
    return found


def _connection(
    value: Mapping[str, Any], source_type: SourceType, name: str, at: Path, problems: list[Problem]
) -> ParsedConnection | None:
    """The connection in ``value``, or None after adding to ``problems``."""
    model = CONNECTION_MODELS[source_type]
    sources = SOURCE_MODELS[source_type].model_fields.keys() - model.model_fields.keys()
    normal = normalize(value, model, elsewhere=dict.fromkeys(sources, "the source document"), at=at)
    problems += normal.problems
    normal.fields["source_type"] = source_type
    before = len(problems)
    connection = _validated(model, normal, problems, at=at)
    if connection is None or len(problems) > before:
        return None
    inline = {
        key: dotted_path(normal.written[(key,)])
        for key, secret in secrets_of(connection).items()
        if isinstance(secret, SecretValue)
    }
    warnings = [
        f"{path} is a credential written in {name}; put it into Secret Manager and name it there "
        "(etl-runner export-config does it)"
        for path in inline.values()
    ]
    if source_type in ("bigquery", "gcs") and not normal.fields.keys() & {
        "credentials",
        "use_runner_account",
    }:
        where = dotted_path((*at, "credentials"))
        warnings.append(
            f"{where} is empty: the source is read with the runner's own account; "
            "write use_runner_account: true if that is meant"
        )
    return ParsedConnection(name, connection, tuple(warnings), inline)


def _nest(
    normal: Normalized, key: str, value: Mapping[str, Any], model: type[Document], problems: list[Problem]
) -> None:
    """Normalize an object inside the document."""
    inner = normalize(value, model, at=normal.written[(key,)])
    problems += inner.problems
    normal.fields[key] = inner.fields
    normal.written.update({(key, *path): written for path, written in inner.written.items()})


def _validated(model: type[M], normal: Normalized, problems: list[Problem], at: Path = ()) -> M | None:
    """The model, or None after adding what is wrong: single fields first, then rules between fields."""
    found: list[Problem] = []
    document: M | None = None
    try:
        document = model.model_validate(normal.fields)
    except ValidationError as error:
        found = problems_of_model(error, model, _placed(normal, at), normal.fields)
    # The model stops at the first broken rule, and looks only when each field is right by itself.
    found = [problem for problem in found if problem.path != dotted_path(at)]
    spoken = {problem.path for problem in found}
    for problem in model.rules(normal.fields):
        path = dotted_path(written_path((problem.path,), _placed(normal, at)))
        if not any(other == path or other.startswith(f"{path}.") for other in spoken):
            found.append(replace(problem, path=path))
    problems += found
    return None if found else document


def _placed(normal: Normalized, at: Path) -> dict[Path, Path]:
    """Paths as written, for fields that are missing too."""
    return normal.written if not at else {**normal.written, (): at}


def _elsewhere(source_type: SourceType) -> dict[str, str]:
    """Known fields that a source of this type does not have, with the place that has them."""
    own = SOURCE_MODELS[source_type].model_fields.keys()
    places = dict.fromkeys(CONNECTION_MODELS[source_type].model_fields, "the connection")
    for other, model in SOURCE_MODELS.items():
        kind = "database sources" if other in DATABASE_TYPES else "file sources"
        places |= dict.fromkeys(model.model_fields, kind)
    return {key: place for key, place in places.items() if key not in own}


def type_mismatch(source_type: str, connection: ParsedConnection) -> Problem | None:
    other = connection.connection.source_type
    if other == source_type:
        return None
    return Problem(
        "connection",
        f"is of another type than the source, which is {source_type!r}",
        f"{connection.name}: {other!r}",
    )


def with_lines(problems: list[Problem], lines: Mapping[Path, int]) -> list[Problem]:
    """The problems in the order of the document's lines; a required field that is there under a misspelt
    name is one problem, not two."""
    meant = {_sibling(problem) for problem in problems if problem.suggestion}
    placed = [
        replace(problem, line=_line(problem.path, lines))
        for problem in problems
        if not (problem.message.startswith(MISSING) and problem.path in meant)
    ]
    return sorted(placed, key=lambda problem: problem.line or 0)


def _sibling(problem: Problem) -> str:
    """The path of the field that a misspelt one was probably meant to be."""
    parent, _, _ = problem.path.rpartition(".")
    return f"{parent}.{problem.suggestion}" if parent else str(problem.suggestion)


def _line(path: str, lines: Mapping[Path, int]) -> int | None:
    """The line of the path, or of the nearest part around it that the document has."""
    steps = tuple(path.split(".")) if path else ()
    while steps:
        if steps in lines:
            return lines[steps]
        steps = steps[:-1]
    return None
