"""Connectors: requests, long-running operations, errors; and the table against the discovery documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from local.workflows.connectors import METHODS
from local.workflows.errors import WorkflowError
from tests.workflow.running import run
from tests.workflow.servers import FakeClock, Reply, Script, ScriptedServer

DOCUMENTS = files("googleapiclient") / "discovery_cache" / "documents"
ETL = Path(__file__).parents[2] / "workflows" / "etl.yaml"
RUN_JOB = "googleapis.run.v2.projects.locations.jobs.run"
JOB = "projects/p/locations/l/jobs/j"
OPERATION = "projects/p/locations/l/operations/o"
WAITING = Reply(200, {"name": OPERATION, "done": False})
SUCCEEDED = Reply(200, {"name": OPERATION, "done": True, "response": {"name": f"{JOB}/executions/x"}})


@pytest.fixture
def script() -> Script:
    return Script({f"/v2/{JOB}:run": [WAITING], f"/v2/{OPERATION}": [SUCCEEDED]})


@pytest.fixture
def server(script: Script) -> Iterator[ScriptedServer]:
    server = ScriptedServer(script)
    yield server
    server.stop()


def call(server: ScriptedServer, method: str = RUN_JOB, clock: FakeClock | None = None, **args: Any) -> Any:
    step = {"call": method, "args": {"name": JOB, **args} if "jobId" not in args else args, "result": "r"}
    return run(
        json.dumps([{"a": step}, {"b": {"return": "${r}"}}]),
        clock=clock,
        endpoints={"run": server.url, "dataflow": server.url},
    )


def fails(*args: Any, **options: Any) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        call(*args, **options)
    return caught.value


def test_an_operation_is_polled_until_it_is_done(server: ScriptedServer, script: Script) -> None:
    script.replies[f"/v2/{OPERATION}"] = [WAITING, WAITING, SUCCEEDED]
    clock = FakeClock()
    assert call(server, clock=clock, body={"overrides": {"taskCount": 3}}) == {"name": f"{JOB}/executions/x"}
    assert server.requests[0].body == {"overrides": {"taskCount": 3}}
    assert server.requests[0].headers["Authorization"].startswith("Bearer ya29.")
    assert clock.sleeps == [1, 1.25, 1.5625]


def test_the_polling_policy_is_kept(server: ScriptedServer, script: Script) -> None:
    script.replies[f"/v2/{OPERATION}"] = [WAITING, WAITING, WAITING, SUCCEEDED]
    clock = FakeClock()
    policy = {"initial_delay": 2, "multiplier": 3, "max_delay": 10}
    call(server, clock=clock, connector_params={"polling_policy": policy})
    assert clock.sleeps == [2, 6, 10, 10]


def test_polling_can_be_skipped(server: ScriptedServer) -> None:
    assert call(server, connector_params={"skip_polling": True}) == {"name": OPERATION, "done": False}
    assert len(server.requests) == 1


def test_a_failed_operation_is_an_operation_error(server: ScriptedServer, script: Script) -> None:
    failed = {"name": OPERATION, "done": True, "error": {"code": 9, "message": "task 0 failed"}}
    script.replies[f"/v2/{OPERATION}"] = [Reply(200, failed)]
    assert fails(server).value == {
        "message": "task 0 failed",
        "tags": ["OperationError"],
        "operation": failed,
        "error": {"code": 9, "message": "task 0 failed"},
    }


@pytest.mark.parametrize(
    ("params", "seconds"), [({}, 1800), ({"timeout": 30}, 30), ({"timeout": 4000}, 4000)]
)
def test_an_operation_that_is_not_done_in_time(
    server: ScriptedServer, script: Script, params: dict[str, int], seconds: int
) -> None:
    script.replies[f"/v2/{OPERATION}"] = [WAITING]
    clock = FakeClock()
    started = clock.now()
    assert fails(server, clock=clock, connector_params=params).tags == ("TimeoutError",)
    assert clock.now() - started == seconds


def test_429_and_503_are_repeated_other_answers_to_a_post_are_not(
    server: ScriptedServer, script: Script
) -> None:
    script.replies[f"/v2/{JOB}:run"] = [Reply(503, {}), Reply(429, {}), WAITING]
    call(server)
    assert len([request for request in server.requests if request.method == "POST"]) == 3
    script.replies[f"/v2/{JOB}:run"] = [Reply(500, {"error": {"message": "no"}}), WAITING]
    assert fails(server).value["code"] == 500


def test_polls_are_repeated_as_any_get(server: ScriptedServer, script: Script) -> None:
    script.replies[f"/v2/{OPERATION}"] = [Reply(502, {}), None, SUCCEEDED]
    assert call(server) == {"name": f"{JOB}/executions/x"}


def test_an_answer_that_is_no_operation(server: ScriptedServer, script: Script) -> None:
    script.replies[f"/v2/{JOB}:run"] = [Reply(200, {"id": 1})]
    assert fails(server).tags == ("ResponseTypeError",)


def test_every_poll_counts_as_a_step(
    server: ScriptedServer, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.workflows.limits.STEPS", 20)
    script.replies[f"/v2/{OPERATION}"] = [WAITING]
    assert fails(server).tags == ("ResourceLimitError",)


def test_parameters_go_into_path_and_query(server: ScriptedServer, script: Script) -> None:
    script.replies["/v1b3/projects/p/locations/l/jobs/a%2Fb"] = [
        Reply(200, {"currentState": "JOB_STATE_DONE"})
    ]
    method = "googleapis.dataflow.v1b3.projects.locations.jobs.get"
    found = call(server, method, projectId="p", location="l", jobId="a/b", view="JOB_VIEW_SUMMARY")
    assert found == {"currentState": "JOB_STATE_DONE"}
    assert server.requests[0].path.endswith("?view=JOB_VIEW_SUMMARY")


def test_a_path_parameter_must_be_text(server: ScriptedServer) -> None:
    assert fails(server, name=None).tags == ("TypeError",)
    assert not server.requests


# -- against the discovery documents ----------------------------------------------------------------------


def discovery(connector: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The service's document, and the method's entry in it."""
    _, service, version, *resources, method = connector.split(".")
    document: dict[str, Any] = json.loads((DOCUMENTS / f"{service}.{version}.json").read_text())
    node = document
    for resource in resources:
        node = node["resources"][resource]
    return document, node["methods"][method]


@pytest.mark.parametrize("connector", sorted(METHODS))
def test_the_table_says_what_the_discovery_document_says(connector: str) -> None:
    method = METHODS[connector]
    _, entry = discovery(connector)
    assert method.verb == entry["httpMethod"]
    assert method.path == entry["path"]
    parameters = entry["parameters"]
    required = {name for name, parameter in parameters.items() if parameter.get("required")}
    assert method.required() == required
    assert set(method.query) <= {name for name, p in parameters.items() if p["location"] == "query"}
    assert method.body == ("request" in entry)
    if method.operations is not None:
        assert entry["response"]["$ref"] == "GoogleLongrunningOperation"


def closed_schema(document: dict[str, Any], root: str) -> dict[str, Any]:
    """JSON Schema of a discovery schema that refuses unknown fields; any value may be an expression."""

    def convert(node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            return {"$ref": f"#/$defs/{node['$ref']}"}
        built: dict[str, Any] = {
            key: node[key] for key in ("type", "enum") if key in node and node[key] != "any"
        }
        if "items" in node:
            built["items"] = convert(node["items"])
        if "properties" in node:
            built["properties"] = {key: convert(value) for key, value in node["properties"].items()}
            built["additionalProperties"] = False
        return {"anyOf": [built, {"type": "string", "pattern": r"^\$\{"}]}

    return {
        "$ref": f"#/$defs/{root}",
        "$defs": {name: convert(schema) for name, schema in document["schemas"].items()},
    }


def connector_steps(node: Any) -> list[dict[str, Any]]:
    """Every connector call of a definition."""
    found = []
    if isinstance(node, dict):
        if str(node.get("call", "")).startswith("googleapis."):
            found.append(node)
        for value in node.values():
            found += connector_steps(value)
    elif isinstance(node, list):
        for value in node:
            found += connector_steps(value)
    return found


def test_the_bodies_of_etl_yaml_have_the_fields_of_the_discovery_documents() -> None:
    steps = connector_steps(yaml.safe_load(ETL.read_text()))
    bodies = [(step, *discovery(step["call"])) for step in steps if "body" in step["args"]]
    assert len(bodies) >= 3
    for step, document, entry in bodies:
        schema = closed_schema(document, entry["request"]["$ref"])
        jsonschema.Draft202012Validator(schema).validate(step["args"]["body"])
        first = next(iter(step["args"]["body"]))
        wrong = {f"{first}_": step["args"]["body"][first]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate(wrong)
