"""The whole examination of a deployment: its documents, its parts, who may do what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from etl_runner.config.load import load_source
from etl_runner.config.resolved import ResolvedSource
from etl_runner.doctor import commands
from etl_runner.doctor.examine import examine
from etl_runner.doctor.inventory import KEY_FACT, account_thing, accounts_of, inventory
from etl_runner.doctor.permissions import EXTERNAL, grants
from etl_runner.doctor.reads import Reads, billed_here, buckets_read, datasets_read, event_buckets
from etl_runner.doctor.things import Cloud, Finding, Thing
from etl_runner.errors import ConfigError, EtlError
from etl_runner.settings import Settings

if TYPE_CHECKING:
    from etl_runner.state.objects import ObjectStore

SCHEDULES = "schedules.yaml"
"""Object of the config bucket: what infra/terraform was given as schedules."""
_FOLDERS = ("sources/", "connections/")


@dataclass(frozen=True)
class Report:
    """What was looked at, and what was found."""

    things: int
    grants: int
    documents: int
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """``{"looked_at": {"things", "grants", "documents"}, "findings": [...]}``."""
        counts = {"things": self.things, "grants": self.grants, "documents": self.documents}
        return {"looked_at": counts, "findings": [finding.to_json() for finding in self.findings]}


def diagnose(settings: Settings, config: ObjectStore, cloud: Cloud) -> Report:
    """Look at everything. Nothing is written.

    Raises:
        PermanentError, RetryableError: not even the project can be read.
    """
    accounts = accounts_of(settings, cloud.project_number())
    findings: list[Finding] = []
    documents: Mapping[str, Any] = {}
    schedules: Mapping[str, Any] = {}
    sources: list[ResolvedSource] = []
    try:
        documents = _documents(config)
        schedules = _schedules(config)
        sources, wrong = _of_documents(config, documents)
        findings += wrong
    except EtlError as error:
        command = "etl-runner doctor"
        findings.append(Finding("the documents", f"they cannot be read: {error}", command))
    buckets = [Thing("bucket", name, name) for name in event_buckets(sources)]
    located, lost = _located(cloud, buckets, settings)
    findings += lost
    owner = f"projects/{settings.project}"
    datasets = [
        Thing("source-dataset", name, f"{owner}/datasets/{name}")
        for name in datasets_read(sources, settings.project)
    ]
    found, lost = _located(cloud, datasets, settings)
    findings += lost
    own = buckets_read(sources)
    reads = Reads(
        {name: location for name, location in located.items() if name in own},
        found,
        billed_here(sources, settings.project),
    )
    region = f"projects/{settings.project}/locations/{settings.location}"
    external = cloud.facts(Thing("function", EXTERNAL, f"{region}/functions/{accounts.prefix}-{EXTERNAL}"))
    things = inventory(
        settings,
        accounts,
        documents,
        schedules,
        event_buckets=located,
        reads=reads,
        # Either tells that it is wanted, so that the other one is missed.
        external=external is not None or cloud.facts(account_thing(accounts, EXTERNAL)) is not None,
        key=(external or {}).get(KEY_FACT),
    )
    dataflow = settings.dataflow_template is not None
    wanted = grants(things, accounts, dataflow=dataflow, bigquery=reads.billed)
    findings += examine(cloud, things, wanted, settings)
    return Report(len(things), len(wanted), len(documents), tuple(findings))


def _located(
    cloud: Cloud, things: Iterable[Thing], settings: Settings
) -> tuple[dict[str, str], list[Finding]]:
    """Where buckets and datasets lie that sources read; and those that cannot be seen."""
    located, findings = {}, []
    for thing in sorted(things, key=lambda each: each.name):
        try:
            facts = cloud.facts(thing)
        except EtlError as error:
            problem = f"it cannot be looked at: {error}"
            findings.append(Finding(thing.shown, problem, commands.show(thing, settings)))
            continue
        if facts is None:
            problem = "a source reads it, and it is not there."
            findings.append(Finding(thing.shown, problem, commands.create(thing, settings)))
        else:
            located[thing.name] = facts["location"]
    return located, findings


def _documents(config: ObjectStore) -> dict[str, Any]:
    """Name to content; None for what cannot be parsed, which is found later."""
    found: dict[str, Any] = {}
    for folder in _FOLDERS:
        for info in config.list(folder):
            stored = config.read(info.name)
            if stored is not None and info.name.endswith((".yaml", ".yml", ".json")):
                found[info.name] = _parsed(stored.data)
    return found


def _schedules(config: ObjectStore) -> dict[str, Any]:
    stored = config.read(SCHEDULES)
    read = None if stored is None else _parsed(stored.data)
    return (
        {key: value for key, value in read.items() if isinstance(value, dict)}
        if isinstance(read, dict)
        else {}
    )


def _of_documents(
    config: ObjectStore, documents: Mapping[str, Any]
) -> tuple[list[ResolvedSource], list[Finding]]:
    sources, findings = [], []
    for name in documents:
        folder, _, file = name.partition("/")
        if folder != "sources":
            continue
        try:
            sources.append(load_source(config, file.rsplit(".", 1)[0]))
        except ConfigError as error:
            findings.append(Finding(f"document {name}", str(error), f"etl-runner validate {name}"))
    return sources, findings


def _parsed(data: bytes) -> Any:
    try:
        return yaml.safe_load(data)
    except yaml.YAMLError:
        return None
