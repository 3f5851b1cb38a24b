"""A deployment's parts, put together: what each function and command works with.

Everything is built on first use, so that a function starts fast and opens only what it needs.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from etl_runner.commit.close import Closer, RunEvents
from etl_runner.commit.open_run import Opener
from etl_runner.errors import PermanentError
from etl_runner.gcp import clients
from etl_runner.settings import Settings
from etl_runner.state.ledger import Ledger
from etl_runner.state.receipts import Receipts
from etl_runner.state.records import CommitRecords, Originals
from etl_runner.state.requests import Requests
from etl_runner.state.store import StateStore

if TYPE_CHECKING:
    from google.cloud.storage import Client as StorageClient

    from etl_runner.commit.finalize import Finalizer
    from etl_runner.config.connections import BigQueryConnection
    from etl_runner.config.inline import InlineDocuments
    from etl_runner.config.resolved import ResolvedSource
    from etl_runner.config.secrets import SecretResolver
    from etl_runner.controlplane.client import ControlPlane
    from etl_runner.controlplane.reports import ControlPlaneReports
    from etl_runner.gcp.engines import AllEngines
    from etl_runner.gcp.jobs import GcpBigQueryJobs
    from etl_runner.gcp.objects import GcsObjectStore
    from etl_runner.history.drain import Target
    from etl_runner.history.history import History
    from etl_runner.planning.planner import Planner
    from etl_runner.planning.workers import Fleet
    from etl_runner.planning.write_plan import PlanWriter
    from etl_runner.rejects.service import Rejects
    from etl_runner.sources.base import Source
    from etl_runner.sources.bigquery.access import Warehouse
    from etl_runner.sources.files.store import FileStore
    from etl_runner.state.document import State


class Deployment:
    """The collaborators of one deployment."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def config(self) -> GcsObjectStore:
        """The config bucket."""
        return self._bucket(self.settings.config_bucket)

    @cached_property
    def state(self) -> GcsObjectStore:
        """The state bucket."""
        return self._bucket(self.settings.state_bucket)

    @cached_property
    def staging(self) -> GcsObjectStore:
        """The staging bucket."""
        return self._bucket(self.settings.staging_bucket)

    @cached_property
    def jobs(self) -> GcpBigQueryJobs:
        """BigQuery jobs and tables."""
        from etl_runner.gcp.jobs import GcpBigQueryJobs

        return GcpBigQueryJobs(lambda: clients.bigquery_client(self.settings))

    @cached_property
    def secrets(self) -> SecretResolver:
        """Where references to secrets are resolved."""
        from etl_runner.gcp.secrets import secret_resolver

        return secret_resolver(self.settings, self.config, self.control_plane)

    @cached_property
    def control_plane(self) -> ControlPlane | None:
        """The control plane, where the deployment has one."""
        if self.settings.control_plane_url is None:
            return None
        from etl_runner.controlplane.wiring import control_plane

        return control_plane(self.settings)

    @cached_property
    def reports(self) -> ControlPlaneReports | None:
        """What the control plane is told, where there is one."""
        if self.control_plane is None:
            return None
        from etl_runner.controlplane.wiring import reports

        return reports(self.control_plane, self.state)

    @cached_property
    def inline(self) -> InlineDocuments:
        """Documents that came with a request."""
        from etl_runner.config.inline import InlineDocuments

        return InlineDocuments(self.config, self.state)

    @cached_property
    def events(self) -> RunEvents:
        """Where finished runs are told."""
        if self.reports is None:
            return self._published
        from etl_runner.controlplane.wiring import BothEvents

        return BothEvents(self.reports, self._published)

    @property
    def _published(self) -> RunEvents:
        from etl_runner.events.run_events import NoRunEvents, PubSubRunEvents

        topic = self.settings.events_topic
        if topic is None:
            return NoRunEvents()
        settings = self.settings
        return PubSubRunEvents(lambda: clients.publisher(settings), settings.project, topic)

    @cached_property
    def engines(self) -> AllEngines:
        """What extracts, to be stopped."""
        from etl_runner.gcp.engines import AllEngines, CloudRunExecutions, DataflowJobs

        settings = self.settings
        return AllEngines(
            (
                CloudRunExecutions(settings, lambda: clients.job_executions_client(settings)),
                DataflowJobs(settings, lambda: clients.dataflow_jobs_client(settings)),
            )
        )

    @cached_property
    def history(self) -> History:
        """The run history in BigQuery."""
        from etl_runner.history.history import History

        return History(self.state, self.staging, lambda: self.jobs, self.history_target)

    @property
    def history_target(self) -> Target:
        """Where the history's tables are: in the deployment's dataset."""
        from etl_runner.history.drain import Target

        settings = self.settings
        return Target(settings.project, settings.dataset, settings.bigquery_location)

    def store(self, source_id: str) -> StateStore:
        """A source's state."""
        return StateStore(self.state, source_id)

    def receipts(self, source_id: str) -> Receipts:
        """A source's receipts."""
        return Receipts(self.state, source_id)

    def load_source(self, source_id: str, run_id: str | None = None) -> ResolvedSource:
        """A source: from the document that its run was opened with, else from the config bucket, else from
        the control plane.

        Raises:
            ConfigError: there is none, or it is wrong.
        """
        from etl_runner.config.load import has_source, load_source

        found = None if run_id is None else self.inline.load(source_id, run_id)
        if found is None and self.control_plane is not None and not has_source(self.config, source_id):
            from etl_runner.controlplane.documents import load_source as served

            found = served(self.control_plane, source_id)
        return load_source(self.config, source_id) if found is None else found

    def open_source(self, resolved: ResolvedSource) -> Source:
        """The source type's own code for a document."""
        from etl_runner.sources.registry import build_source

        return build_source(
            resolved,
            self.secrets,
            storage_endpoint=self.settings.storage_endpoint,
            open_warehouse=self.open_warehouse,
        )

    def open_warehouse(self, connection: BigQueryConnection, source_id: str) -> Warehouse:
        """BigQuery as the identity that a connection names."""
        from etl_runner.commit.jobs import label_value
        from etl_runner.gcp.warehouse import GcpWarehouse

        settings = self.settings
        secret = connection.credentials
        key = None if secret is None else self.secrets.reveal(secret)
        billing = connection.billing_project or settings.project
        return GcpWarehouse(
            lambda: clients.source_bigquery_client(settings, billing, key),
            lambda: clients.bigquery_read_client(settings, key),
            billing_project=billing,
            runner_project=settings.project,
            labels={"etl_source": label_value(source_id)},
        )

    def open_files(self, resolved: ResolvedSource) -> FileStore:
        """The bucket of a source of files.

        Raises:
            PermanentError: the source has none.
        """
        from etl_runner.config.connections import BucketConnection
        from etl_runner.sources.files.stores import open_store

        if not isinstance(resolved.connection, BucketConnection):
            raise PermanentError(f"source {resolved.source_id} reads no files")
        endpoint = self.settings.storage_endpoint
        return open_store(resolved.connection, self.secrets, storage_endpoint=endpoint)

    def closer(self, source_id: str) -> Closer:
        """The closing steps."""
        return Closer(self.store(source_id), self.receipts(source_id), self.events)

    def finalizer(self, source_id: str) -> Finalizer:
        """The committing steps."""
        from etl_runner.commit.close import utc_now
        from etl_runner.commit.counted import CountedJobs
        from etl_runner.commit.finalize import Finalizer
        from etl_runner.events.budget import TableOperations
        from etl_runner.execution.collect import collect_verified

        return Finalizer(
            self.store(source_id),
            CommitRecords(self.state, source_id),
            self.staging,
            CountedJobs(self.jobs, TableOperations(self.state, utc_now).note),
            self.closer(source_id),
            collect_verified,
            Ledger(self.state, source_id),
            self._changed_file,
        )

    def _changed_file(self, originals: Originals) -> str | None:
        from etl_runner.config.resolved import ResolvedSource
        from etl_runner.sources.files.direct import changed_file

        return changed_file(self.open_files(ResolvedSource.from_json(originals.config)), originals.files)

    def opener(self, source_id: str) -> Opener:
        """The opening steps."""

        def roll_forward(key: object) -> object:
            return self.finalizer(source_id).finalize(key)  # type: ignore[arg-type]

        return Opener(self.store(source_id), self.receipts(source_id), self.closer(source_id), roll_forward)

    def planner(self) -> Planner:
        """The planner."""
        from etl_runner.planning.planner import Planner

        return Planner(
            self.settings,
            self.jobs,
            self.open_source,
            self._known_files,
            self._fleet,
            adopted_files=lambda source_id, state: Ledger(self.state, source_id).adopted(state),
        )

    def plan_writer(self, source_id: str, run_id: str | None = None) -> PlanWriter:
        """The planning step; of a run that may have a document of its own, by its id."""
        from etl_runner.planning.write_plan import PlanWriter

        def load(wanted: str) -> ResolvedSource:
            return self.load_source(wanted, run_id)

        return PlanWriter(
            self.store(source_id),
            self.staging,
            self.planner(),
            load,
            self.settings,
            requests=Requests(self.state, source_id),
        )

    def _fleet(self) -> Fleet | str:
        from etl_runner.gcp.dataflow import dataflow_fleet

        return dataflow_fleet(self.settings, self._bucket, clients.get_json)

    def _known_files(self, source_id: str, state: State) -> set[tuple[str, str]]:
        return Ledger(self.state, source_id).known(state)

    def _bucket(self, name: str) -> GcsObjectStore:
        # Google's client takes half a second to import: a function is up before that.
        from etl_runner.gcp.objects import GcsObjectStore

        return GcsObjectStore(self._storage, name)

    def rejects(self, source_id: str) -> Rejects:
        """The rejected rows of a source."""
        from etl_runner.commit.close import utc_now
        from etl_runner.gcp.rejects import GcpRejectsTable
        from etl_runner.rejects.replay import ReplayPlanner
        from etl_runner.rejects.service import Rejects

        planner = ReplayPlanner(
            self.settings,
            self.jobs,
            GcpRejectsTable(lambda: clients.bigquery_client(self.settings)),
            self.staging,
            self.state,
            self.open_source,
            utc_now,
        )
        return Rejects(
            self.load_source(source_id),
            self.settings,
            planner,
            self.jobs,
            self.opener(source_id),
            self.finalizer(source_id),
            self.store(source_id),
        )

    @cached_property
    def _storage(self) -> StorageClient:
        return clients.storage_client(self.settings)
