from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from etl_runner.logs import JsonFormatter, configure_logging, log_fields, trace_fields


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def line_of(formatter: logging.Formatter, level: int = logging.INFO, **extra: object) -> dict[str, object]:
    record = logging.LogRecord("etl", level, __file__, 1, "unit %s done", ("u1",), None)
    vars(record).update(extra)
    found: dict[str, object] = json.loads(formatter.format(record))
    return found


def test_a_line_has_severity_message_context_and_its_own_fields() -> None:
    line = line_of(JsonFormatter({"source_id": "orders", "task": None}), fields={"rows": 7})
    assert (line["severity"], line["message"], line["source_id"], line["rows"]) == (
        "INFO",
        "unit u1 done",
        "orders",
        7,
    )
    assert "task" not in line
    assert str(line["time"]).endswith("+00:00")


@pytest.mark.parametrize(
    "level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]
)
def test_severities_are_those_of_cloud_logging(level: int) -> None:
    assert line_of(JsonFormatter(), level)["severity"] == logging.getLevelName(level)


def test_all_lines_of_a_run_share_a_trace() -> None:
    first = line_of(JsonFormatter({"run_id": "r1", "task": 0}, "p"))
    second = line_of(JsonFormatter({"task": 1}, "p"), fields={"run_id": "r1"})
    other = line_of(JsonFormatter({"run_id": "r2"}, "p"))
    key = "logging.googleapis.com/trace"
    assert first[key] == second[key] != other[key]
    assert len(str(first[key]).removeprefix("projects/p/traces/")) == 32


def test_an_exception_is_in_the_message_for_error_reporting(logging_as_before: None) -> None:
    stream = io.StringIO()
    configure_logging({"run_id": "r"}, stream=stream)
    try:
        raise ValueError("no such thing")
    except ValueError:
        logging.getLogger("x").exception("it failed")
    (line,) = stream.getvalue().splitlines()
    message = json.loads(line)["message"]
    assert message.startswith("it failed\nTraceback")
    assert message.endswith("ValueError: no such thing")


def test_text_of_any_kind_stays_one_line(logging_as_before: None) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("x").info("a\nb \N{GRINNING FACE}")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "a\nb \N{GRINNING FACE}"


def test_libraries_are_quiet(logging_as_before: None) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("google.auth").info("token fetched")
    assert stream.getvalue() == ""


TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("headers", "span"),
    [
        ({"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}, "00f067aa0ba902b7"),
        ({"X-Cloud-Trace-Context": f"{TRACE_ID}/67667974448284343;o=1"}, "00f067aa0ba902b7"),
        ({"X-Cloud-Trace-Context": TRACE_ID.upper()}, None),
    ],
)
def test_lines_of_a_request_belong_to_its_trace(headers: dict[str, str], span: str | None) -> None:
    with log_fields({"run_id": "r1", **trace_fields(headers)}):
        line = line_of(JsonFormatter(project="p"), fields={"unit": "u00001"})
    assert line["logging.googleapis.com/trace"] == f"projects/p/traces/{TRACE_ID}"
    assert line.get("logging.googleapis.com/spanId") == span
    assert line["logging.googleapis.com/labels"] == {"etl_run_id": "r1", "etl_unit": "u00001"}
    assert line["logging.googleapis.com/operation"] == {"id": "r1", "producer": "etl-runner"}
    assert not [name for name in line if name.startswith("_")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"},
        {"traceparent": "nonsense"},
        {"X-Cloud-Trace-Context": "1; DROP"},
    ],
)
def test_a_header_that_names_no_trace_is_passed_over(headers: dict[str, str]) -> None:
    assert trace_fields(headers) == {}
