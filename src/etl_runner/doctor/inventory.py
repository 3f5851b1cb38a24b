"""What a deployment has to consist of: its settings, and what its documents ask for.

The names are those that infra/terraform gives; tests/infra/test_agreement.py compares them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from etl_runner.doctor.permissions import DATAFLOW, EXTERNAL, Accounts, parts
from etl_runner.doctor.reads import Reads
from etl_runner.doctor.things import Ref, Thing
from etl_runner.settings import Settings

STEPS = ("trigger", "plan", "finalize")
"""Functions that the workflow calls."""
FUNCTIONS = (*STEPS, "file-arrival", "sweep")
"""Functions that every deployment has; nobody outside of the project reaches them."""
INTERNAL = "ALLOW_INTERNAL_ONLY"
KEY_FACT = "secret ETL_EVENT_KEYS"
"""The fact of a function that names the secret with the key that callers share."""
OBJECT_FINALIZED = "google.cloud.storage.object.v1.finalized"
_OWN_SECRET = re.compile(r"(?:projects/([^/]+)/secrets/)?([A-Za-z0-9_-]+)(?:/versions/[A-Za-z0-9_-]+)?")


def inventory(
    settings: Settings,
    accounts: Accounts,
    documents: Mapping[str, Any],
    schedules: Mapping[str, Mapping[str, Any]],
    *,
    event_buckets: Mapping[str, str] | None = None,
    reads: Reads | None = None,
    external: bool = False,
    key: str | None = None,
) -> list[Thing]:
    """Every thing, those first that others need.

    Args:
        documents: name to content of sources and connections in the config bucket.
        schedules: source id to its entry of schedules.yaml.
        event_buckets: bucket of Cloud Storage that a source reads to its location.
        reads: what sources read in the deployment's own name.
        external: whether events of other clouds are taken.
        key: the secret with the key that their callers share, where there is one.
    """
    project = f"projects/{settings.project}"
    region = f"{project}/locations/{settings.location}"
    prefix = accounts.prefix
    workflow = f"{region}/workflows/{settings.workflow}"
    environment = {f"env {name}": value for name, value in _environment(settings).items()}
    things = [
        Thing("project", "", project),
        *_accounts(settings, accounts, external),
        *(Thing("bucket", name, bucket, _bucket(settings)) for name, bucket in _buckets(settings).items()),
        Thing(
            "dataset",
            "",
            f"{project}/datasets/{settings.dataset}",
            {"location": settings.bigquery_location.upper()},
        ),
        Thing("repository", "", f"{region}/repositories/{prefix}"),
        *([Thing("template", "", settings.dataflow_template)] if settings.dataflow_template else []),
        *(_messages(settings, accounts, project)),
        *(
            Thing("secret", name, f"{project}/secrets/{name}", {"has a value": "yes"})
            for name in secret_names(documents, settings.project)
        ),
        *([Thing("key", "", f"{project}/secrets/{key}", {"has a value": "yes"})] if key else []),
        *(reads.things(settings.project) if reads else ()),
    ]
    for name in (*FUNCTIONS, *([EXTERNAL] if external else [])):
        ingress = "ALLOW_ALL" if name == EXTERNAL else INTERNAL
        account = {"account": accounts.address(name)}
        facts: dict[str, str | Ref] = {"state": "ACTIVE", "ingress": ingress, **account, **environment}
        if name == EXTERNAL and key:
            facts[KEY_FACT] = key
        things.append(Thing("function", name, f"{region}/functions/{prefix}-{name}", facts))
    job = {"account": accounts.address("runner"), **environment}
    things.append(Thing("job", "", f"{region}/jobs/{settings.job}", job))
    urls = {f"env {name.upper()}_URL": Ref("function", name, "url") for name in STEPS}
    calls: dict[str, str | Ref] = {"state": "ACTIVE", "account": accounts.address("workflow"), **urls}
    calls["env JOB_NAME"] = settings.job
    things.append(Thing("workflow", "", workflow, calls))
    sweep: dict[str, str | Ref] = {
        "target": Ref("function", "sweep", "url"),
        "account": accounts.address("scheduler"),
        "state": "ENABLED",
    }
    things.append(Thing("schedule", "sweep", f"{region}/jobs/{prefix}_sweep", sweep))
    for bucket, location in sorted((event_buckets or {}).items()):
        short = hashlib.sha256(bucket.encode()).hexdigest()[:12]
        resource = f"{project}/locations/{location.lower()}/triggers/{prefix}-{short}"
        facts = {
            "account": accounts.address("events"),
            "service": f"{prefix}-file-arrival",
            "filter type": OBJECT_FINALIZED,
            "filter bucket": bucket,
        }
        things.append(Thing("trigger", bucket, resource, facts))
    for source_id, entry in sorted(schedules.items()):
        facts = {
            "target": f"https://workflowexecutions.googleapis.com/v1/{workflow}/executions",
            "account": accounts.address("scheduler"),
            "cron": str(entry.get("cron", "")),
            "time zone": str(entry.get("time_zone", "Etc/UTC")),
            "state": "PAUSED" if entry.get("paused") else "ENABLED",
        }
        things.append(Thing("schedule", source_id, f"{region}/jobs/{prefix}-{source_id}", facts))
    return things


def secret_names(documents: Mapping[str, Any], project: str) -> list[str]:
    """The secrets of this project that documents refer to, by their short names."""
    found = set()
    for reference in _references(list(documents.values())):
        match = _OWN_SECRET.fullmatch(reference)
        if match is not None and match[1] in (None, project):
            found.add(match[2])
    return sorted(found)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        reference = value.get("secret_manager")
        if isinstance(reference, str):
            yield reference
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _buckets(settings: Settings) -> dict[str, str]:
    state = settings.state_bucket
    # Where the archives of the functions lie; named like its neighbours.
    code = {"code": state.removesuffix("-state") + "-code"} if state.endswith("-state") else {}
    return {"config": settings.config_bucket, "state": state, "staging": settings.staging_bucket, **code}


def _bucket(settings: Settings) -> dict[str, str]:
    location = settings.bigquery_location.upper()
    return {"location": location, "uniform access": "yes", "public access": "enforced"}


def accounts_of(settings: Settings, number: str) -> Accounts:
    """The accounts of a deployment in the project of that number."""
    worker = settings.dataflow_service_account
    return Accounts(settings.project, number, settings.workflow, {DATAFLOW: worker} if worker else {})


def account_thing(accounts: Accounts, part: str) -> Thing:
    """A part's service account."""
    project = "-" if part in accounts.named else accounts.project
    return Thing("account", part, f"projects/{project}/serviceAccounts/{accounts.address(part)}")


def _accounts(settings: Settings, accounts: Accounts, external: bool) -> Iterator[Thing]:
    optional = ((EXTERNAL, external), (DATAFLOW, settings.dataflow_template is not None))
    for part in parts(name for name, there in optional if there):
        yield account_thing(accounts, part)


def _messages(settings: Settings, accounts: Accounts, project: str) -> Iterator[Thing]:
    if settings.events_topic is None:
        return
    topics = {"events": settings.events_topic, "dead": f"{settings.events_topic}-dead"}
    for name, topic in topics.items():
        yield Thing("topic", name, f"{project}/topics/{topic}")
    full = {name: f"{project}/topics/{topic}" for name, topic in topics.items()}
    if settings.wake_topic is not None:
        arrivals = f"{project}/topics/{settings.wake_topic}"
        yield Thing("topic", "arrivals", arrivals)
        pushed: dict[str, str | Ref] = {
            "topic": arrivals,
            "dead letters": full["dead"],
            "pushed to": Ref("function", "file-arrival", "url"),
            "pushed as": accounts.address("events"),
        }
        yield Thing("subscription", "arrivals", f"{project}/subscriptions/{settings.wake_topic}", pushed)
    facts = {"topic": full["events"], "dead letters": full["dead"]}
    yield Thing("subscription", "events", f"{project}/subscriptions/{topics['events']}", facts)
    yield Thing("subscription", "dead", f"{project}/subscriptions/{topics['dead']}", {"topic": full["dead"]})


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "ETL_PROJECT": settings.project,
        "ETL_LOCATION": settings.location,
        "ETL_BIGQUERY_LOCATION": settings.bigquery_location,
        "ETL_DATASET": settings.dataset,
        "ETL_CONFIG_BUCKET": settings.config_bucket,
        "ETL_STATE_BUCKET": settings.state_bucket,
        "ETL_STAGING_BUCKET": settings.staging_bucket,
        "ETL_WORKFLOW": settings.workflow,
        "ETL_JOB": settings.job,
        **({"ETL_WAKE_TOPIC": settings.wake_topic} if settings.wake_topic else {}),
    }
