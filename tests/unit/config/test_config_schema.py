from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from etl_runner.config.documents import CONNECTION_MODELS, SOURCE_MODELS
from etl_runner.config.load import parse_connection, parse_source
from etl_runner.config.schema import (
    CONNECTION_EXAMPLES,
    SOURCE_EXAMPLES,
    connection_schema,
    rendered,
    source_schema,
)
from etl_runner.config.text import read_document
from etl_runner.errors import ConfigError

DOCS = Path(__file__).parents[3] / "docs"
SOURCES = Draft202012Validator(source_schema())
CONNECTIONS = Draft202012Validator(connection_schema())


def examples_of_docs() -> list[Any]:
    """The YAML and JSON blocks of the reference that are whole documents: their first line names a file."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(yaml|json)\n(.*?)```", text, flags=re.DOTALL)
    return [read_document(block, name=f"x.{language}").value for language, block in blocks]


def is_connection(document: dict[str, Any]) -> bool:
    return "load_type" not in document


def test_the_published_schemas_are_current() -> None:
    for name, text in rendered().items():
        assert (DOCS / "schema" / name).read_text(encoding="utf-8") == text, (
            f"docs/schema/{name} is old: run python -m etl_runner.config.schema"
        )


@pytest.mark.parametrize("schema", [source_schema(), connection_schema()])
def test_they_are_schemas(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


def test_every_field_is_described() -> None:
    for model in [*SOURCE_MODELS.values(), *CONNECTION_MODELS.values()]:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert "\n" not in field.description


@pytest.mark.parametrize("document", [*SOURCE_EXAMPLES, *CONNECTION_EXAMPLES, *examples_of_docs()], ids=str)
def test_examples_are_valid_for_editors_and_for_the_runner(document: dict[str, Any]) -> None:
    if is_connection(document):
        CONNECTIONS.validate(document)
        assert parse_connection(document, name="connections/c.yaml").warnings == ()
    else:
        SOURCES.validate(document)
        parse_source(document, name="sources/x.yaml", source_id="x")


def test_the_reference_has_examples_of_both() -> None:
    assert {is_connection(document) for document in examples_of_docs()} == {True, False}
    assert len(examples_of_docs()) >= 6


@pytest.mark.parametrize(
    "changes",
    [
        {"load_type": "append"}, {"source_table_nam": "x"}, {"unit_rows": 0}, {"clustering": ["a"] * 5},
        {"connection": "a/b"}, {"source_type": "mongodb"}, {"file_pattern": "*.csv"}, {"allow_empty": "on"},
        {"connection_params": {"source_type": "mysql"}}, {"connection_params": {"host": "x"}},
        {"connection_params": {"host": "h", "dbname": "d", "user": "u", "password": {"vault": "x"}}},
    ],
)  # fmt: skip
def test_editors_see_what_is_wrong(changes: dict[str, Any]) -> None:
    assert not SOURCES.is_valid({**SOURCE_EXAMPLES[0], **changes})


FIELD_NAMES = sorted(
    {name for model in SOURCE_MODELS.values() for name in (*model.model_fields, *model.aliases)}
)
WORDS = st.sampled_from(
    [
        "transactional",
        "catalog",
        "upsert",
        "evolve",
        "a",
        "b",
        "1h",
        "-5d",
        "2024-01-01",
        "DAY",
        "reject",
        "none",
    ]
)
BLANKS: st.SearchStrategy[Any] = st.sampled_from([None, "", [], {}])
VALUES = BLANKS | WORDS | st.booleans() | st.integers(0, 10) | st.lists(WORDS, max_size=2)
BASES = st.sampled_from(
    [
        *SOURCE_EXAMPLES,
        {"source_type": "s3", "connection": "c", "load_type": "catalog", "dest_table_name": "t",
         "file_pattern": "*.csv"},
        {"source_type": "mariadb", "load_type": "catalog", "dest_table_name": "t", "source_table_name": "t",
         "connection_params": {"hostname": "h", "dbname": "d", "user": "u", "passwd": "x", "port": ""}},
    ]
)  # fmt: skip


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(BASES, st.dictionaries(st.sampled_from(FIELD_NAMES), VALUES, max_size=3))
def test_what_the_runner_accepts_the_schema_accepts(base: dict[str, Any], changes: dict[str, Any]) -> None:
    document = {**base, **changes}
    try:
        parse_source(document, name="x.yaml", source_id="x")
    except ConfigError:
        return
    # Whole numbers in the place of text are read, but an editor may well ask for quotes.
    texts = {
        key: str(value) if type(value) is int and key not in NUMBERS else value
        for key, value in document.items()
    }
    SOURCES.validate(texts)


NUMBERS = ("unit_rows", "max_rejects", "settle_seconds")
