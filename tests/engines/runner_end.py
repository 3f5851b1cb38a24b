"""The runner's end of Beam's Fn API, as much of it as a worker needs to log."""

from __future__ import annotations

from collections.abc import Iterator

from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc


class LogCollector(beam_fn_api_pb2_grpc.BeamFnLoggingServicer):  # type: ignore[misc]
    """Keeps the lines that workers send."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def Logging(self, request_iterator: Iterator[object], context: object) -> Iterator[object]:
        for batch in request_iterator:
            self.lines += [entry.message for entry in batch.log_entries]  # type: ignore[attr-defined]
        yield beam_fn_api_pb2.LogControl()
