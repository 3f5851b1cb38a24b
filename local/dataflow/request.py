"""A launch of a flex template, and the command line that the template's launcher makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etl_runner.jsontypes import JsonObject

_OPTIONS = {
    "numWorkers": "num_workers",
    "maxWorkers": "max_num_workers",
    "machineType": "machine_type",
    "network": "network",
    "subnetwork": "subnetwork",
    "serviceAccountEmail": "service_account_email",
    "tempLocation": "temp_location",
    "stagingLocation": "staging_location",
    "sdkContainerImage": "sdk_container_image",
    "kmsKeyName": "dataflow_kms_key",
}
"""Fields of FlexTemplateRuntimeEnvironment to the pipeline's options.
https://cloud.google.com/dataflow/docs/reference/pipeline-options"""
_AUTOSCALING = {"AUTOSCALING_ALGORITHM_NONE": "NONE", "AUTOSCALING_ALGORITHM_BASIC": "THROUGHPUT_BASED"}


@dataclass(frozen=True)
class Request:
    """A launch, after the checks."""

    project: str
    location: str
    name: str
    image: str
    parameters: Mapping[str, str]
    environment: JsonObject


def launcher_arguments(request: Request) -> list[str]:
    """The options that the launcher passes to the template's program, but for ``--template_location``."""
    environment = request.environment
    options: dict[str, Any] = {
        "runner": "DataflowRunner",
        "project": request.project,
        "region": request.location,
        "job_name": request.name,
        **{option: environment[field] for field, option in _OPTIONS.items() if field in environment},
        **request.parameters,
    }
    if "autoscalingAlgorithm" in environment:
        options["autoscaling_algorithm"] = _AUTOSCALING[environment["autoscalingAlgorithm"]]
    if environment.get("additionalUserLabels"):
        options["labels"] = json.dumps(environment["additionalUserLabels"])
    return [
        *(f"--{name}={value}" for name, value in options.items()),
        *(["--no_use_public_ips"] if environment.get("ipConfiguration") == "WORKER_IP_PRIVATE" else []),
        *(f"--experiments={name}" for name in environment.get("additionalExperiments") or ()),
    ]
