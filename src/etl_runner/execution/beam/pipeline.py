"""The pipeline: a plan's name, its pending units, spread over the workers, each done where it lands.

Linear and without outputs: what a unit yields are objects in the staging bucket, so a unit that is done
twice, at once or again, changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions

from etl_runner.config.resolved import ResolvedSource
from etl_runner.errors import ConfigError
from etl_runner.execution.beam.dofns import ExtractUnit, MakeParts, ReadPlan
from etl_runner.execution.beam.options import EtlOptions, plan_place, settings_of
from etl_runner.execution.lease import keep_slot
from etl_runner.execution.worker import Parts
from etl_runner.gcp.deployment import Deployment
from etl_runner.settings import Settings

log = logging.getLogger(__name__)

SUBMITTED, FINAL = 0, 65
_DATAFLOW = "DataflowRunner"


def build(root: beam.Pipeline, plan_name: str, make_parts: MakeParts, shares: int = 1) -> None:
    """Put the steps on a pipeline. The reshuffle is what spreads the units: without it, they would all be
    done where the plan is read."""
    _ = (
        root
        | "Plan" >> beam.Create([(index, shares) for index in range(shares)])
        | "Read units" >> beam.ParDo(ReadPlan(make_parts, plan_name))
        | "Spread" >> beam.Reshuffle()
        | "Extract" >> beam.ParDo(ExtractUnit(make_parts, plan_name))
    )


def deployed_parts(settings: Settings) -> Parts:
    """A worker's collaborators in a deployment."""
    import pyarrow as pa

    # As in a task: memory that is freed is given back at once.
    pa.set_memory_pool(pa.system_memory_pool())
    deployment = Deployment(settings)
    return Parts(
        objects=deployment.staging,
        open_source=lambda plan: deployment.open_source(ResolvedSource.from_json(plan.config)),
        keep_slot=lambda plan: keep_slot(deployment.store(plan.source_id), plan),
    )


def run(options: PipelineOptions) -> Any:
    """Submit the pipeline, or run it; Beam's result.

    On Dataflow this returns when the job is accepted: the machine of the launcher is given back, and the
    workflow follows the job. Elsewhere it returns at the job's end.

    Raises:
        ConfigError: an option is missing or wrong.
        Exception: what Beam raises for a pipeline that failed.
    """
    own = options.view_as(EtlOptions)
    bucket, name = plan_place(own.plan_uri)
    settings = replace(settings_of(own.settings), staging_bucket=bucket)
    # The code is in the image; a pickled __main__ would only bring another version of it.
    options.view_as(SetupOptions).save_main_session = False
    pipeline = beam.Pipeline(options=options)
    build(pipeline, name, partial(deployed_parts, settings), max(1, own.shares))
    result = pipeline.run()
    if str(options.view_as(StandardOptions).runner).rpartition(".")[2] != _DATAFLOW:
        result.wait_until_finish()
    return result


def main(arguments: Sequence[str]) -> int:
    """The entry point: 0 when the job was submitted (Dataflow) or is done, 65 for options that are wrong.

    Raises:
        Exception: what Beam raises for a pipeline that failed; Python ends with 1.
    """
    logging.getLogger().setLevel(logging.INFO)
    try:
        run(PipelineOptions(list(arguments)))
    except ConfigError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return FINAL
    return SUBMITTED
