"""The command that mends a finding. Each is complete: it can be copied as it stands."""

from __future__ import annotations

from shlex import quote

from etl_runner.doctor.things import Binding, Grant, Thing
from etl_runner.settings import Settings

_REGIONAL = {
    "function": "run services",  # a function of the second generation is a service of the same name
    "job": "run jobs",
    "repository": "artifacts repositories",
}
_GLOBAL = {
    "topic": "pubsub topics",
    "subscription": "pubsub subscriptions",
    "secret": "secrets",
    "key": "secrets",
    "account": "iam service-accounts",
}


def deploy(settings: Settings) -> str:
    """What makes everything that Terraform makes; it leaves alone what is there as it should be."""
    names = {"PROJECT": settings.project, "REGION": settings.location, "DATASET": settings.dataset}
    given = " ".join(f"{name}={value}" for name, value in names.items())
    return f"make deploy {given} SOURCES=<the folder of your documents>"


def set_secret(thing: Thing, settings: Settings) -> str:
    """Give a secret its value."""
    secret = thing.resource.rsplit("/", 1)[-1]
    return f"gcloud secrets versions add {secret} --data-file=- --project={settings.project}"


def show(thing: Thing, settings: Settings) -> str:
    """Look at a bucket or a dataset that a source reads."""
    if thing.kind == "source-dataset":
        return f"bq show --dataset {settings.project}:{thing.name}"
    return f"gcloud storage buckets describe gs://{thing.name}"


def create(thing: Thing, settings: Settings) -> str:
    """Make a bucket or a dataset that a source reads."""
    location = f"--location={settings.bigquery_location}"
    if thing.kind == "source-dataset":
        return f"bq mk --dataset {location} {settings.project}:{thing.name}"
    return f"gcloud storage buckets create gs://{thing.name} {location}"


def grant(grant: Grant, settings: Settings) -> str:
    """Give what lacks, on the thing itself."""
    thing, binding = grant.thing, grant.binding
    short = thing.resource.rsplit("/", 1)[-1]
    to = f"--member={binding.member} --role={binding.role}"
    project = f"--project={settings.project}"
    if thing.kind in ("bucket", "source-bucket"):
        return f"gcloud storage buckets add-iam-policy-binding gs://{short} {to}"
    if thing.kind in ("dataset", "source-dataset"):
        return _grant_on_dataset(thing, binding, settings)
    if thing.kind == "project":
        if binding.conditional:  # the condition names buckets by the project's number: Terraform knows it
            return deploy(settings)
        return f"gcloud projects add-iam-policy-binding {short} {to} --condition=None"
    if thing.kind in _REGIONAL:
        where = f"--{'location' if thing.kind == 'repository' else 'region'}={settings.location}"
        return f"gcloud {_REGIONAL[thing.kind]} add-iam-policy-binding {short} {to} {where} {project}"
    return f"gcloud {_GLOBAL[thing.kind]} add-iam-policy-binding {short} {to} {project}"


def _grant_on_dataset(thing: Thing, binding: Binding, settings: Settings) -> str:
    schema = f"`{settings.project}.{thing.resource.rsplit('/', 1)[-1]}`"
    # A source may lie elsewhere than the destination.
    location = thing.expected.get("location", settings.bigquery_location)
    statement = f'GRANT `{binding.role}` ON SCHEMA {schema} TO "{binding.member}"'
    return f"bq query --nouse_legacy_sql --location={location} {quote(statement)}"
