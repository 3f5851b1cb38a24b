"""Lines of a Beam worker's log, with the run that they belong to."""

from __future__ import annotations

import logging

from apache_beam.runners.worker.log_handler import FnApiLogRecordHandler

from etl_runner.logs import NamedFormatter


def name_lines() -> None:
    """Let the lines that go to the runner name source, run, epoch and unit. Safe to repeat.

    Beam sends a line's text, severity, time and step, and no fields of a record's own
    (https://github.com/apache/beam/issues/26460), so the names are part of the text. Dataflow adds the job's
    id and name, which follows from the run's.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, FnApiLogRecordHandler) and not isinstance(handler.formatter, NamedFormatter):
            handler.setFormatter(NamedFormatter())
