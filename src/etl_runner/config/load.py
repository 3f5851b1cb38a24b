"""From the config bucket to a resolved source."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from etl_runner.config import names
from etl_runner.config.parse import (
    ParsedConnection,
    ParsedSource,
    SourceAttempt,
    parse_connection,
    parse_source,
    read_raw,
    type_mismatch,
    with_lines,
)
from etl_runner.config.problems import suggest
from etl_runner.config.resolved import ResolvedSource, secrets_of
from etl_runner.errors import ConfigError, Problem

if TYPE_CHECKING:
    from etl_runner.state.objects import ObjectStore

__all__ = [
    "ParsedConnection",
    "ParsedSource",
    "document_ids",
    "has_source",
    "load_connection",
    "load_inline",
    "load_source",
    "parse_connection",
    "parse_source",
]


def load_source(objects: ObjectStore, source_id: str) -> ResolvedSource:
    """Read and validate ``sources/<id>`` of the config bucket, and the connection that it names.

    Raises:
        ConfigError: a document is missing, there twice, or wrong: the problems of both documents.
        RetryableError, PermanentError: the bucket cannot be read.
    """
    if not names.is_id(source_id):
        raise ConfigError("source", (Problem("source_id", "is not an id", allowed=names.ID_ALLOWED),))
    if names.is_reserved(source_id):
        problem = Problem(
            "source_id", f"begins with {names.METADATA_PREFIX}, which the runner keeps for itself"
        )
        raise ConfigError("source", (problem,))
    name, data = _find(objects, "sources", source_id)
    attempt = SourceAttempt(name, source_id, read_raw(data, name))
    connection: ParsedConnection | None = None
    problems = list(attempt.problems)
    if attempt.connection_id is not None:
        try:
            connection_name, connection_data = _find(objects, "connections", attempt.connection_id)
            connection = parse_connection(connection_data, name=connection_name)
        except ConfigError as error:
            problems += [_in_document(error.document, problem) for problem in error.problems]
        if connection is not None and attempt.source_type is not None:
            mismatch = type_mismatch(attempt.source_type, connection)
            problems += [] if mismatch is None else with_lines([mismatch], attempt.raw.lines)
    if problems or attempt.parsed is None:
        raise ConfigError(name, tuple(problems))
    return attempt.parsed.resolve(connection, stored=True)


def has_source(objects: ObjectStore, source_id: str) -> bool:
    """Whether the config bucket has a document of this id."""
    return any(objects.read(f"sources/{source_id}{ending}") is not None for ending in names.DOCUMENT_ENDINGS)


def load_inline(objects: ObjectStore, value: Any, source_id: str) -> ResolvedSource:
    """Validate a source document that came with a request. Its connection is one of the config bucket, or
    needs no credential.

    Raises:
        ConfigError: everything that is wrong in it; a credential, or the name of one, in it. Whoever may send
            a document could otherwise have a secret of the deployment sent to a server of their own.
        RetryableError, PermanentError: the bucket cannot be read.
    """
    name = f"inline/{source_id}.json"
    if not isinstance(value, dict):
        raise ConfigError("request", (Problem("source", "is not a JSON object"),))
    parsed = parse_source(value, name=name, source_id=source_id)
    if parsed.connection is None:
        named = parsed.document.connection or ""
        connection = load_connection(objects, named)
        return parsed.resolve(replace(connection, connection=connection.stored(), inline={}), stored=True)
    for secret in secrets_of(parsed.connection.connection):
        problem = Problem(
            f"connection_params.{secret}",
            "is a credential, and a request carries none",
            allowed="connection: the id of a connection in the config bucket",
        )
        raise ConfigError(name, (problem,))
    return parsed.resolve()


def load_connection(objects: ObjectStore, connection_id: str) -> ParsedConnection:
    """Read and validate ``connections/<id>`` of the config bucket.

    Raises:
        ConfigError: it is missing, there twice, or wrong.
        RetryableError, PermanentError: the bucket cannot be read.
    """
    if not names.is_id(connection_id):
        problem = Problem("connection", "is not an id", allowed=names.ID_ALLOWED)
        raise ConfigError("connection", (problem,))
    name, data = _find(objects, "connections", connection_id)
    return parse_connection(data, name=name)


def document_ids(objects: ObjectStore, folder: str) -> list[str]:
    """The ids of all documents of ``connections`` or ``sources``, in order."""
    found = (info.name for info in objects.list(f"{folder}/"))
    return sorted(
        {
            _id_of(name)
            for name in found
            if name.endswith(names.DOCUMENT_ENDINGS) and names.is_id(_id_of(name))
        }
    )


def _in_document(document: str, problem: Problem) -> Problem:
    return replace(problem, path=f"{document}: {problem.path}" if problem.path else document)


def _find(objects: ObjectStore, folder: str, document_id: str) -> tuple[str, bytes]:
    """Name and bytes of the one document of this id."""
    candidates = [f"{folder}/{document_id}{ending}" for ending in names.DOCUMENT_ENDINGS]
    found = [(name, stored.data) for name in candidates if (stored := objects.read(name)) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(name for name, _ in found)
        raise ConfigError(candidates[0], (Problem("", f"there are two documents of one id: {both}"),))
    known = {_id_of(info.name) for info in itertools.islice(objects.list(f"{folder}/"), 1_000)}
    raise ConfigError(
        candidates[0],
        (
            Problem(
                "",
                f"no such document in the config bucket: {objects.uri(candidates[0])}",
                allowed=f"the endings {', '.join(names.DOCUMENT_ENDINGS)}",
                suggestion=suggest(document_id, sorted(known)),
            ),
        ),
    )


def _id_of(name: str) -> str:
    stem = name.rpartition("/")[2]
    for ending in names.DOCUMENT_ENDINGS:
        stem = stem.removesuffix(ending)
    return stem
