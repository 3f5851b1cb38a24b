"""The pipeline's own options."""

from __future__ import annotations

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

from etl_runner import jsontypes
from etl_runner.errors import ConfigError, Problem
from etl_runner.settings import Settings


class EtlOptions(PipelineOptions):
    """``--plan_uri`` and ``--settings``, the parameters of the flex template (template.json)."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--plan_uri", help="gs://<staging bucket>/runs/.../plan.jsonl")
        parser.add_argument(
            "--shares",
            type=int,
            default=1,
            help="Parts that the plan is read in. Runners that do not spread elements at a reshuffle (Dask) "
            "spread these.",
        )
        parser.add_argument(
            "--settings",
            default="{}",
            help="The deployment's ETL_* variables as a JSON object: a worker has no environment of its own.",
        )


def plan_place(uri: str | None) -> tuple[str, str]:
    """Bucket and object name of ``--plan_uri``.

    Raises:
        ConfigError: it names no object of Cloud Storage.
    """
    bucket, _, name = (uri or "").removeprefix("gs://").partition("/")
    if not (uri or "").startswith("gs://") or not bucket or not name:
        problem = Problem("plan_uri", "does not name a plan", repr(uri), "gs://<bucket>/<object>")
        raise ConfigError("pipeline options", (problem,))
    return bucket, name


def settings_of(text: str) -> Settings:
    """The deployment of ``--settings``.

    Raises:
        ConfigError: it is not a JSON object of texts, or the settings are incomplete.
    """
    try:
        found = jsontypes.loads(text.encode())
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        problem = Problem("settings", "is not a JSON object of ETL_* variables")
        raise ConfigError("pipeline options", (problem,))
    return Settings.from_env(found)
