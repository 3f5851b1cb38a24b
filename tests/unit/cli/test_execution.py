"""Reading the Executions API's answers, as the official client gives them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.api_core.exceptions import NotFound, ServiceUnavailable
from google.cloud.workflows.executions_v1.types import Execution as ApiExecution

from etl_runner.cli.execution import WorkflowExecutions
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.settings import Settings

SETTINGS = Settings("p", "europe-west1", "EU", "d", "c", "s", "t")
NAME = "projects/p/locations/europe-west1/workflows/etl/executions/r1"


class Client:
    """Answers as told, and notes what it was asked."""

    def __init__(self, answer: ApiExecution | Exception) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def create_execution(self, **request: Any) -> ApiExecution:
        return self._reply(request)

    def get_execution(self, **request: Any) -> ApiExecution:
        return self._reply(request)

    def _reply(self, request: dict[str, Any]) -> ApiExecution:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def answer(state: str, **fields: Any) -> ApiExecution:
    return ApiExecution(name=NAME, state=state, **fields)


def executions(client: Client) -> WorkflowExecutions:
    return WorkflowExecutions(SETTINGS, lambda: client)


def test_starting_gives_the_source_to_the_workflow() -> None:
    client = Client(answer("ACTIVE"))
    started = executions(client).start("orders")
    assert (started.run_id, started.state, started.error, started.result) == ("r1", "active", None, None)
    (request,) = client.asked
    assert request["parent"] == "projects/p/locations/europe-west1/workflows/etl"
    assert json.loads(request["execution"]["argument"]) == {"source_id": "orders"}


def test_a_result_is_read_as_json() -> None:
    client = Client(answer("SUCCEEDED", result='{"outcome": "ok"}'))
    done = executions(client).get(executions(client).start("orders"))
    assert (done.state, done.result) == ("succeeded", {"outcome": "ok"})


@pytest.mark.parametrize(
    ("payload", "message", "code"),
    [
        (
            json.dumps(
                {"message": "HTTP 400", "code": 400, "body": {"error": {"message": "no such source"}}}
            ),
            "no such source",
            400,
        ),
        (json.dumps({"message": "the run is abandoned"}), "the run is abandoned", None),
        (json.dumps("a plain text"), "a plain text", None),
        ("not json", "not json", None),
    ],
)
def test_the_error_is_its_own_sentence(payload: str, message: str, code: int | None) -> None:
    client = Client(answer("FAILED", error={"payload": payload, "context": "at step trigger"}))
    failed = executions(client).get(executions(client).start("orders"))
    assert (failed.state, failed.error, failed.error_code) == ("failed", message, code)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ServiceUnavailable, RetryableError), (NotFound, PermanentError)],
)
def test_the_clients_errors_become_the_projects(error: type[Exception], kind: type[Exception]) -> None:
    with pytest.raises(kind, match="workflows/etl"):
        executions(Client(error("said the service"))).start("orders")
