"""Whether a deployment has what Dataflow needs, asked when a plan would use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from etl_runner import jsontypes
from etl_runner.errors import EtlError
from etl_runner.planning.workers import Fleet
from etl_runner.settings import Settings

if TYPE_CHECKING:
    from etl_runner.state.objects import ObjectStore


def dataflow_fleet(settings: Settings, bucket: Callable[[str], ObjectStore]) -> Fleet | str:
    """What a Dataflow job may use, or what is missing, as the middle of a sentence.

    One read: the template's spec, whose image the workers run too, so that the launcher and they are of
    one version. ``bucket`` opens a bucket by its name.
    """
    uri = settings.dataflow_template
    if uri is None:
        return "Dataflow is not part of this deployment (ETL_DATAFLOW_TEMPLATE is not set)"
    name, _, path = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not name or not path:
        return f"ETL_DATAFLOW_TEMPLATE does not name an object ({uri})"
    try:
        stored = bucket(name).read(path)
    except EtlError as error:
        return f"the template {uri} cannot be read ({error})"
    if stored is None:
        return f"the template {uri} does not exist (make template writes it)"
    try:
        image = str(jsontypes.loads(stored.data)["image"])
    except (ValueError, KeyError, TypeError):
        return f"the template {uri} does not name an image"
    return Fleet(settings.dataflow_machines, settings.dataflow_max_workers, settings.task_slots, image)
