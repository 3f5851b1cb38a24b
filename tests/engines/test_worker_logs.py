"""A worker's lines as Beam's runner gets them, over Beam's own logging protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.worker.log_handler import FnApiLogRecordHandler

from etl_runner import jsontypes
from etl_runner.errors import PermanentError
from etl_runner.execution.beam.dofns import ExtractUnit, ReadPlan
from tests.conftest import fresh_name
from tests.engines.runner_end import LogCollector
from tests.engines.scripted import make_parts, memory_store
from tests.unit.execution.worlds import PLAN_NAME, make_plan, stored


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the runner has got, once the test's part is over; see :func:`ended`."""
    collector = LogCollector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    handler = FnApiLogRecordHandler(endpoints_pb2.ApiServiceDescriptor(url=f"127.0.0.1:{port}"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield collector.lines
    root.setLevel(level)
    root.removeHandler(handler)
    server.stop(5)


def ended(lines: list[str]) -> list[str]:
    """All lines: the handler sends what it has when it is closed."""
    (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, FnApiLogRecordHandler))
    handler.close()
    return lines


def test_every_line_of_a_worker_names_source_run_and_unit(lines: list[str], tmp_path: Path) -> None:
    key = fresh_name("store")
    with memory_store(key) as store:
        plan = make_plan(3)
        stored(plan, store)
        script = {"u00001": ("fail",), "u00002": ("refuse",)}
        parts = make_parts(key, tmp_path, script)
        units = list(ReadPlan(parts, PLAN_NAME).process((0, 1)))
        extract = ExtractUnit(parts, PLAN_NAME)
        extract.setup()
        for unit in units:
            if jsontypes.loads(unit)["id"] == "u00002":
                with pytest.raises(PermanentError):
                    extract.process(unit)
            else:
                extract.process(unit)
        extract.teardown()
    logging.getLogger("other").info("of no run")
    header = plan.header
    run = f"source_id={header.source_id} run_id={header.run_id} epoch={header.epoch}"
    found = ended(lines)
    assert f"3 of 3 units are to be done [{run}]" in found
    (done,) = (line for line in found if line.startswith("unit u00000 done: 10 rows"))
    assert done.endswith(f"[{run} unit=u00000]")
    (again,) = (line for line in found if line.startswith("unit u00001 failed and is tried again"))
    assert again.endswith(f"[{run} unit=u00001]")
    assert not [line for line in found if line.startswith("unit ") and run not in line]
    assert "of no run" in found
