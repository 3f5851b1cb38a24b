"""A credential, put in any place that takes one, in good documents and bad ones, is seen nowhere."""

from __future__ import annotations

import io
import json
import logging
import pickle
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl_runner.config.documents import CONNECTION_MODELS
from etl_runner.config.export import export_config
from etl_runner.config.load import load_source, parse_connection, parse_source
from etl_runner.config.resolved import ResolvedSource
from etl_runner.config.secrets import Secret
from etl_runner.errors import ConfigError
from etl_runner.planning.plan import Destination, PlanHeader, Window
from etl_runner.state.memory import MemoryObjectStore

# A marker that no name of this project holds, around anything that YAML or a formatter could trip over.
SECRETS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).map(
    lambda text: f"qZ7{text}7Zq"
)
CONNECTIONS: dict[str, dict[str, Any]] = {
    "postgresql": {"host": "db", "database": "shop", "username": "etl"},
    "mysql": {"host": "db", "database": "shop", "username": "etl"},
    "bigquery": {"project": "my-project"},
    "gcs": {"bucket": "my-bucket"},
    "s3": {"bucket": "my-bucket", "access_key_id": "a", "secret_access_key": "b"},
    "azure": {"bucket": "my-bucket", "account_name": "acc", "tenant_id": "t", "client_id": "c"},
}
PLACES = [(kind, name) for kind, model in CONNECTION_MODELS.items() for name in model.secret_fields]
BREAKAGES: list[dict[str, Any]] = [
    {},
    {"prot": 1},
    {"port": "no", "bucket": "!!", "project": "?"},
    {"anonymous": "perhaps", "use_runner_account": True},
    {"source_type": "mongodb"},
]


def written(kind: str, field: str, value: Any, breakage: dict[str, Any]) -> dict[str, Any]:
    connection = {"source_type": kind, **CONNECTIONS[kind], field: value, **breakage}
    source = {
        "source_type": kind,
        "load_type": "catalog",
        "dest_table_name": "t",
        "connection_params": connection,
    }
    database = kind in ("postgresql", "mysql", "bigquery")
    return {**source, **({"source_table_name": "t"} if database else {"file_pattern": "*.csv"})}


def key_with(secret: str) -> dict[str, str]:
    return {"type": "service_account", "client_email": "a@b", "token_uri": "https://t", "private_key": secret}


def everything_shown(error: BaseException) -> str:
    """All that a handler could print of an error, its causes and contexts included."""
    parts = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        parts += [str(seen), repr(seen), repr(seen.args)]
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, ConfigError):
        parts += [json.dumps(problem.to_json()) for problem in error.problems]
        parts.append(pickle.dumps(error.problems).decode("latin-1"))
    return "\n".join(parts)


def logged(*values: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for value in values:
        logger.warning("%s %r", value, value)
        logger.warning({"value": value})
    return stream.getvalue()


def all_shown(resolved: ResolvedSource) -> str:
    shown = (
        json.dumps(resolved.to_json(), ensure_ascii=False) + repr(resolved) + str(resolved) + resolved.hash()
    )
    header = PlanHeader(
        source_id="s", run_id="r", epoch=1, created="", config=resolved.to_json(),
        config_hash=resolved.hash(), source_type="x", engine="none", engine_reason="",
        disposition="append", window=Window("all"), columns=(), units=0, tasks=0, slots=1,
        destination=Destination("p", "d", "t", "EU", False, ()), estimated_rows=0, estimated_bytes=0,
        estimate_how="",
    )  # fmt: skip
    shown += repr(header) + pickle.dumps(header).decode("latin-1") + json.dumps(header.to_json())
    export = export_config(resolved, project="my-project")
    return shown + repr(export) + logged(resolved, resolved.connection, resolved.document, export)


@pytest.mark.parametrize(("kind", "field"), PLACES)
@settings(max_examples=40)
@given(secret=SECRETS, breakage=st.sampled_from(BREAKAGES), as_json=st.booleans(), as_key=st.booleans())
def test_an_inline_credential_is_seen_nowhere(
    kind: str, field: str, secret: str, breakage: dict[str, Any], as_json: bool, as_key: bool
) -> None:
    value: Any = secret
    if field == "credentials" and not as_key:
        value = json.dumps(key_with(secret)) if as_json else key_with(secret)
    name = f"sources/s.{'json' if as_json else 'yaml'}"
    document = json.dumps(written(kind, field, value, breakage), ensure_ascii=False)
    objects = MemoryObjectStore()
    objects.create(name, document.encode())
    try:
        resolved = load_source(objects, "s")
        parsed = parse_source(document, name=name, source_id="s")
    except ConfigError as error:
        assert "7Zq" not in everything_shown(error)
        return
    assert "7Zq" not in all_shown(resolved)
    unstored = parsed.resolve()
    shown = repr(parsed) + repr(unstored) + unstored.hash() + logged(parsed, unstored, unstored.connection)
    shown += unstored.connection.model_dump_json() + str(unstored.connection.model_dump())
    shown += repr(export_config(unstored, project="my-project"))
    assert "7Zq" not in shown
    with pytest.raises(Exception, match=r"not pickled|Secret Manager"):
        pickle.dumps((unstored, unstored.to_json()))


@pytest.mark.parametrize(
    "value",
    ["qZ7x7Zq", {"value": "qZ7x7Zq"}, {"qZ7x7Zq": None}, ["qZ7x7Zq"], {"env": "qZ7 7Zq"}, {"file": "qZ77Zq"},
     {"secret_manager": "qZ7 7Zq"}, {"env": "A", "value": "qZ77Zq"}, {"env": ["qZ77Zq"]}, {"type": "qZ77Zq"}],
)  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "field"), [*PLACES, ("postgresql", "pasword"), ("gcs", "private_key"), ("s3", "key")]
)
def test_a_credential_of_the_wrong_shape_or_under_the_wrong_name(kind: str, field: str, value: Any) -> None:
    for data in (
        written(kind, field, value, {"port": []}),
        {"password": value, **written(kind, field, value, {})},
    ):
        try:
            parsed = parse_source(data, name="sources/s.yaml", source_id="s")
        except ConfigError as error:
            assert "7Zq" not in everything_shown(error)
        else:
            assert "7Zq" not in repr(parsed)


@pytest.mark.parametrize("field", ["host", "port", "bucket", "project", "region", "endpoint", "database"])
@pytest.mark.parametrize("kind", CONNECTIONS)
def test_text_in_the_wrong_field_of_a_connection_is_not_repeated(kind: str, field: str) -> None:
    data = {"source_type": kind, **CONNECTIONS[kind], field: "scheme://user:qZ7 7Zq@host\x00"}
    with pytest.raises(ConfigError) as caught:
        parse_connection(data, name="c.yaml")
    assert "7Zq" not in everything_shown(caught.value)


def test_the_places_are_all_the_secret_fields() -> None:
    for model in CONNECTION_MODELS.values():
        annotated = {
            name for name, field in model.model_fields.items() if "SecretValue" in str(field.annotation)
        }
        assert annotated == set(model.secret_fields)
        assert Secret is not None
