"""What the workflow sends to Dataflow to have a plan extracted.

https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.flexTemplates/launch
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from etl_runner import jsontypes
from etl_runner.errors import PermanentError
from etl_runner.planning.plan import PlanHeader
from etl_runner.settings import Settings

JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
"""Stricter than Dataflow, which takes up to 1,024 characters; the machines' names begin with a job's name."""
_PREFIX = "etl-"
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_ONE_PROCESS = "no_use_multiple_sdk_containers"
"""One worker process for a machine instead of one for each of its processors.
https://cloud.google.com/dataflow/docs/guides/troubleshoot-oom#one-sdk"""


@dataclass(frozen=True)
class Launch:
    """A request to flexTemplates.launch, in the API's own words."""

    job_name: str
    template: str
    """``gs://`` URI of the flex template's spec."""
    parameters: dict[str, str]
    """Those of runner_image/template.json."""
    environment: dict[str, Any]
    """FlexTemplateRuntimeEnvironment."""


def job_name(run_id: str) -> str:
    """The one name of a run's Dataflow job: whoever looks for it by this name finds what was started before.

    A workflow's execution id, a UUID, stands in it as it is; other ids are hashed.
    """
    name = f"{_PREFIX}{run_id}"
    if JOB_NAME.fullmatch(name):
        return name
    return f"{_PREFIX}{hashlib.sha256(run_id.encode()).hexdigest()[:32]}"


def launch_of(header: PlanHeader, plan_uri: str, settings: Settings) -> Launch | None:
    """The request for a plan whose engine is Dataflow; None for others.

    Raises:
        PermanentError: the deployment has lost its template since the plan was made.
    """
    workers = header.workers
    if header.engine != "dataflow" or workers is None:
        return None
    if settings.dataflow_template is None:
        raise PermanentError(
            f"run {header.run_id} was planned for Dataflow, and ETL_DATAFLOW_TEMPLATE is not set any more: "
            "run again"
        )
    temp = settings.dataflow_temp or f"gs://{settings.staging_bucket}/dataflow"
    experiments = [_ONE_PROCESS] if workers.processes == 1 else []
    environment = {
        "numWorkers": workers.count,
        "maxWorkers": workers.count,
        # The plan knows the work; growing by observation would take longer than many a job.
        "autoscalingAlgorithm": "AUTOSCALING_ALGORITHM_NONE",
        "machineType": workers.machine_type,
        "serviceAccountEmail": settings.dataflow_service_account,
        "subnetwork": settings.dataflow_subnetwork,
        "kmsKeyName": settings.dataflow_kms_key,
        "ipConfiguration": "WORKER_IP_PRIVATE" if settings.dataflow_subnetwork else None,
        "tempLocation": f"{temp}/temp",
        "stagingLocation": f"{temp}/staging",
        "additionalExperiments": experiments or None,
        "additionalUserLabels": _labels(header),
    }
    return Launch(
        job_name=job_name(header.run_id),
        template=settings.dataflow_template,
        parameters={
            "plan_uri": plan_uri,
            "settings": jsontypes.dumps(settings.to_env()).decode(),
            "sdk_container_image": workers.image,
            "number_of_worker_harness_threads": str(workers.threads),
        },
        environment={name: value for name, value in environment.items() if value is not None},
    )


def _labels(header: PlanHeader) -> dict[str, str]:
    """Labels by which costs and logs of the job are found; values that no label may have are left out."""
    wanted = {"etl_source": header.source_id.lower(), "etl_run": header.run_id.lower()}
    return {name: value for name, value in wanted.items() if _LABEL.fullmatch(value)}
