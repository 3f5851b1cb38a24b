"""Whether a deployment has what Dataflow needs, asked when a plan would use it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from etl_runner import jsontypes
from etl_runner.errors import EtlError, PermanentError
from etl_runner.planning.workers import Fleet
from etl_runner.settings import Settings

if TYPE_CHECKING:
    from etl_runner.state.objects import ObjectStore


log = logging.getLogger(__name__)

Get = Callable[[str, str], tuple[int, Any]]
"""(endpoint of the settings or of Google, path) to (status, JSON body) of a GET as this process's account.

Raises:
    EtlError: no answer.
"""
DATAFLOW, COMPUTE = "https://dataflow.googleapis.com", "https://compute.googleapis.com"
_SUBNETWORK = re.compile(
    r"(?:https://www\.googleapis\.com/compute/v1/)?(?:projects/([a-z0-9:.-]+)/)?regions/([a-z0-9-]+)/subnetworks/([a-z0-9-]+)"
)


def dataflow_fleet(settings: Settings, bucket: Callable[[str], ObjectStore], get: Get) -> Fleet | str:
    """What a Dataflow job may use, or what is missing, as the middle of a sentence that names the setting.

    Three reads at most: the template's spec, whose image the workers run too, so that the launcher and they
    are of one version; whether Dataflow's API answers in the region; the subnetwork where one is named.

    Args:
        settings: the deployment.
        bucket: opens a bucket by its name.
        get: asks Google's APIs.

    Raises:
        RetryableError: Cloud Storage is unavailable.
    """
    fleet = _of_template(settings, bucket)
    if isinstance(fleet, str):
        return fleet
    return _no_subnetwork(settings, get) or _no_api(settings, get) or fleet


def _of_template(settings: Settings, bucket: Callable[[str], ObjectStore]) -> Fleet | str:
    uri = settings.dataflow_template
    if uri is None:
        return "Dataflow is not part of this deployment (ETL_DATAFLOW_TEMPLATE is not set)"
    name, _, path = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not name or not path:
        return f"ETL_DATAFLOW_TEMPLATE does not name an object ({uri})"
    try:
        stored = bucket(name).read(path)
    except PermanentError as error:
        return f"the template {uri} cannot be read ({error})"
    if stored is None:
        return f"the template {uri} does not exist (make template writes it)"
    try:
        image = str(jsontypes.loads(stored.data)["image"])
    except (ValueError, KeyError, TypeError):
        return f"the template {uri} does not name an image"
    return Fleet(settings.dataflow_machines, settings.dataflow_max_workers, settings.task_slots, image)


def _no_api(settings: Settings, get: Get) -> str | None:
    """Why Dataflow cannot be asked for jobs in the deployment's region."""
    path = f"/v1b3/projects/{settings.project}/locations/{settings.location}/jobs?pageSize=1&filter=ACTIVE"
    status, body = _asked(get, settings.dataflow_endpoint or DATAFLOW, path)
    if status in (400, 404):
        return f"Dataflow does not serve ETL_LOCATION, {settings.location} ({_message(body)})"
    return _disabled(status, body, "Dataflow", settings)


def _no_subnetwork(settings: Settings, get: Get) -> str | None:
    """Why the workers cannot be put into the subnetwork that the settings name."""
    name = settings.dataflow_subnetwork
    if name is None:
        return None
    match = _SUBNETWORK.fullmatch(name)
    if match is None:
        return f"ETL_DATAFLOW_SUBNETWORK is not regions/<region>/subnetworks/<name> or its URL ({name})"
    project, region, subnetwork = match.groups()
    if region != settings.location:
        return f"ETL_DATAFLOW_SUBNETWORK is in {region}, and ETL_LOCATION is {settings.location}"
    path = f"/compute/v1/projects/{project or settings.project}/regions/{region}/subnetworks/{subnetwork}"
    status, body = _asked(get, settings.admin_endpoint or COMPUTE, path)
    if status == 404:
        return f"the subnetwork {name} (ETL_DATAFLOW_SUBNETWORK) does not exist"
    if status == 200 and not body.get("privateIpGoogleAccess"):
        return (
            f"the subnetwork {name} (ETL_DATAFLOW_SUBNETWORK) has no Private Google Access, without which "
            "workers with private addresses reach no Google API"
        )
    return _disabled(status, body, "Compute Engine", settings)


def _asked(get: Get, endpoint: str, path: str) -> tuple[int, Any]:
    """Status 0 where nothing was answered: what cannot be asked is not said to be missing, and the launch
    tells in the end."""
    try:
        status, body = get(endpoint, path)
    except EtlError as error:
        log.warning("what Dataflow needs could not be looked at: %s", error)
        return 0, {}
    if status != 200:
        log.warning("%s%s answers %d: %s", endpoint, path, status, _message(body))
    return status, body if isinstance(body, dict) else {}


def _disabled(status: int, body: Any, api: str, settings: Settings) -> str | None:
    # https://cloud.google.com/apis/design/errors#error_info
    error = body.get("error") if status == 403 else None
    details = error.get("details") if isinstance(error, dict) else None
    if not any(isinstance(each, dict) and each.get("reason") == "SERVICE_DISABLED" for each in details or ()):
        return None
    host = (DATAFLOW if api == "Dataflow" else COMPUTE).removeprefix("https://")
    project = settings.project
    return (
        f"the {api} API is disabled in project {project} (ETL_PROJECT; gcloud services enable {host} "
        f"--project {project})"
    )


def _message(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("message") if isinstance(error, dict) else "no reason is told")
