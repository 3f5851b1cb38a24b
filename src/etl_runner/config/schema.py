"""JSON Schemas of the documents, for editors: ``python -m etl_runner.config.schema [folder]``.

Generated from the models. What the flat form sends for unused fields (``""``, null, empty lists and
objects) is allowed as well, other spellings are marked deprecated. Rules between fields are not in the
schemas; ``etl-runner validate`` knows them all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from etl_runner.config.base import Document
from etl_runner.config.credentials import KEY_SCHEMA, SECRET_SCHEMA
from etl_runner.config.documents import CONNECTION_MODELS, SOURCE_MODELS, FileFormatOptions
from etl_runner.config.types import SOURCE_TYPES, TYPE_ALIASES, SourceType

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DEFAULT_FOLDER = Path("docs/schema")
_ABSENT: dict[str, Any] = {
    "description": "What programs write for a field that is not used; the same as leaving it out.",
    "enum": [None, "", [], {}],
}
_ABSENT_REF = {"$ref": "#/$defs/Absent"}
_SHARED = {"Secret": SECRET_SCHEMA, "ServiceAccountKey": KEY_SCHEMA}
_BOUNDS = {"ge": "minimum", "le": "maximum"}

SOURCE_EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "source_type": "postgresql",
        "connection": "warehouse",
        "schema_name": "sales",
        "source_table_name": "orders",
        "load_type": "transactional",
        "timestamp_column": "updated_at",
        "historical_start_date": "2024-01-01",
        "dest_table_name": "orders",
    },
    {
        "source_type": "gcs",
        "connection_params": {"source_type": "gcs", "bucket": "my-bucket", "credentials": {}},
        "load_type": "transactional",
        "dest_table_name": "raw_sales_data",
        "file_pattern": "*.csv",
        "file_format": "csv",
        "file_format_options": {"delimiter": ",", "encoding": "utf-8", "has_header": True},
        "selected_columns": [],
    },
)
CONNECTION_EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "source_type": "postgresql",
        "host": "db.example.com",
        "database": "shop",
        "username": "etl",
        "password": {"secret_manager": "projects/my-project/secrets/shop-password/versions/latest"},
        "sslmode": "verify-full",
        "sslrootcert": "/secrets/shop-ca/ca.pem",
        "max_connections": 4,
    },
    {
        "source_type": "gcs",
        "bucket": "gs://my-bucket/incoming/",
        "credentials": {"secret_manager": "my-reader"},
    },
)


def source_schema() -> dict[str, Any]:
    """The schema of source documents."""
    models = {**SOURCE_MODELS}
    foreign = {name for model in models.values() for name in model.model_fields}
    definitions = _definitions([*models.values(), FileFormatOptions, *CONNECTION_MODELS.values()])
    for source_type, model in models.items():
        definition = definitions[model.__name__]
        definition["properties"]["source_type"] = _type_property(source_type)
        for name in sorted(foreign - model.model_fields.keys()):
            definition["properties"].setdefault(name, {**_ABSENT_REF, "deprecated": True})
        inner = definitions[CONNECTION_MODELS[source_type].__name__]
        inner["properties"]["source_type"] = _type_property(source_type)
        inner["required"] = [name for name in inner["required"] if name != "source_type"]
    return _document("source", "What to load, from where, to where.", models, definitions, SOURCE_EXAMPLES)


def connection_schema() -> dict[str, Any]:
    """The schema of connection documents."""
    models = {**CONNECTION_MODELS}
    definitions = _definitions([*models.values()])
    for source_type, model in models.items():
        definitions[model.__name__]["properties"]["source_type"] = _type_property(source_type)
    return _document("connection", "How to reach a source.", models, definitions, CONNECTION_EXAMPLES)


def rendered() -> dict[str, str]:
    """File names and contents."""
    schemas = {"source.schema.json": source_schema(), "connection.schema.json": connection_schema()}
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in schemas.items()}


def write(folder: Path = DEFAULT_FOLDER) -> None:
    """Write both schemas into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (folder / name).write_text(text, encoding="utf-8")


def _document(
    name: str,
    description: str,
    models: Mapping[SourceType, type[Document]],
    definitions: dict[str, Any],
    examples: tuple[dict[str, Any], ...],
) -> dict[str, Any]:
    """A schema that chooses the model by source_type, so that an editor speaks of the right one only."""
    return {
        "$schema": DIALECT,
        "title": f"ETL Runner {name}",
        "description": description,
        "examples": list(examples),
        "type": "object",
        "required": ["source_type"],
        "properties": {"source_type": {"enum": [*SOURCE_TYPES, *TYPE_ALIASES]}},
        "allOf": [
            {
                "if": {
                    "properties": {"source_type": {"enum": _spellings(source_type)}},
                    "required": ["source_type"],
                },
                "then": {"$ref": f"#/$defs/{model.__name__}"},
            }
            for source_type, model in models.items()
        ],
        "$defs": {"Absent": _ABSENT, **_SHARED, **definitions},
    }


def _spellings(source_type: SourceType) -> list[str]:
    return [source_type, *(alias for alias, name in TYPE_ALIASES.items() if name == source_type)]


def _type_property(source_type: SourceType) -> dict[str, Any]:
    return {"description": "The kind of source.", "enum": _spellings(source_type)}


def _definitions(models: list[type[Document]]) -> dict[str, Any]:
    _, generated = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = generated["$defs"]
    for model in models:
        definitions[model.__name__] = _model(definitions[model.__name__], model)
    return definitions


def _model(definition: dict[str, Any], model: type[Document]) -> dict[str, Any]:
    """One model's schema with blanks and other spellings let in."""
    # The format of files can be told from the pattern.
    required = [name for name in definition.get("required", []) if name != "file_format"]
    properties: dict[str, Any] = {}
    for name, written in definition["properties"].items():
        schema = _plain(written)
        # A required field with another spelling may be blank, because the other one may be there.
        needed = name in required and name not in model.aliases.values()
        properties[name] = schema if needed else _optional(schema)
    spellings: dict[str, list[str]] = {}
    for alias, name in model.aliases.items():
        spellings.setdefault(name, [name]).append(alias)
        same = f"#/$defs/{model.__name__}/properties/{name}"
        properties[alias] = {"$ref": same, "description": f"The same as {name}.", "deprecated": True}
    plain = {
        "description": definition["description"],
        "type": "object",
        "properties": properties,
        "required": [name for name in required if name not in spellings],
        "additionalProperties": False,
    }
    choices = [
        {"anyOf": [{"required": [spelling]} for spelling in spellings[name]]}
        for name in required
        if name in spellings
    ]
    return {**plain, "allOf": choices} if choices else plain


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """The same field, blank or absent."""
    about = {key: schema[key] for key in ("description", "default") if schema.get(key) is not None}
    rest = {key: value for key, value in schema.items() if key not in ("description", "default")}
    options = rest["anyOf"] if set(rest) == {"anyOf"} else [rest]
    return {**about, "anyOf": [*(option for option in options if option != {"type": "null"}), _ABSENT_REF]}


def _plain(schema: Any) -> Any:
    """Without generated titles, and with bounds in JSON Schema's words."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    for name, shared in _SHARED.items():
        if schema == shared:
            return {"$ref": f"#/$defs/{name}"}
    result: dict[str, Any] = {
        _BOUNDS.get(str(key), str(key)): _plain(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
    if "maxLength" in result and "string" not in _types(result):
        limit = result.pop("maxLength")
        for option in result.get("anyOf", [result]):
            if option.get("type") == "array":
                option["maxItems"] = limit
    return result


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The value of ``type`` as a tuple."""
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else tuple(kind)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER)
