"""Dataflow: the part of the v1b3 API that launches flex templates and follows their jobs.

A job is the pipeline's real entry point with Beam's FnApiRunner, its workers real processes.
https://cloud.google.com/dataflow/docs/reference/rest
"""

from local.dataflow.job import Launcher
from local.dataflow.server import DataflowServer

__all__ = ["DataflowServer", "Launcher"]
