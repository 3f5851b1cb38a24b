"""The parts of a deployment that events need, put together; built on first use, as the deployment's are."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from etl_runner import jsontypes
from etl_runner.commit.close import RunKey, utc_now
from etl_runner.commit.open_run import Opener
from etl_runner.errors import RetryableError
from etl_runner.events.arrivals import Arrivals
from etl_runner.events.batch import Gatherer
from etl_runner.events.budget import TableOperations
from etl_runner.events.cloud_storage import WAKE
from etl_runner.events.index import IndexEntry
from etl_runner.events.index_store import IndexStore
from etl_runner.events.load import ArrivalLoader
from etl_runner.events.receive import Receiver
from etl_runner.events.settings import EventSettings
from etl_runner.events.turns import Turns
from etl_runner.events.unreadable import UnreadableEvents
from etl_runner.gcp import clients
from etl_runner.gcp.deployment import Deployment
from etl_runner.state.ledger import Ledger

if TYPE_CHECKING:
    from etl_runner.sources.files.store import FileStore

_FETCH_SECONDS = 10
_MAX_FETCHED = 1 << 20


class EventParts:
    """What the functions file_arrival and sweep, and the commands about files, work with."""

    def __init__(self, deployment: Deployment, settings: EventSettings) -> None:
        self.deployment = deployment
        self.settings = settings
        self.turns = Turns()

    @cached_property
    def receiver(self) -> Receiver:
        """Verifies and reads requests."""
        return Receiver(self.settings, fetch)

    @cached_property
    def index(self) -> IndexStore:
        """Which sources an object concerns."""
        names = self.deployment.settings
        return IndexStore(self.deployment.config, self.deployment.state, names.project, names.dataset)

    @cached_property
    def unreadable(self) -> UnreadableEvents:
        """Events that could not be read."""
        return UnreadableEvents(self.deployment.state)

    @cached_property
    def operations(self) -> TableOperations:
        """What was used of each table's day."""
        return TableOperations(self.deployment.state, utc_now)

    def arrivals(self, source_id: str) -> Arrivals:
        """A source's arrivals."""
        return Arrivals(self.deployment.state, source_id)

    def gatherer(self, entry: IndexEntry) -> Gatherer:
        """What gathers a source's arrivals into batches."""
        deployment, source_id = self.deployment, entry.source_id

        def open_store() -> FileStore:
            from etl_runner.config.connections import BucketConnection
            from etl_runner.errors import PermanentError
            from etl_runner.sources.files.stores import open_store as open_bucket

            connection = deployment.load_source(source_id).connection
            if not isinstance(connection, BucketConnection):
                raise PermanentError(f"source {source_id} is no source of files any more")
            endpoint = deployment.settings.storage_endpoint
            return open_bucket(connection, deployment.secrets, storage_endpoint=endpoint)

        ledger = Ledger(deployment.state, source_id)
        return Gatherer(entry, self.arrivals(source_id), ledger, open_store, self.settings, utc_now)

    def loader(self, entry: IndexEntry) -> ArrivalLoader:
        """What loads a source's arrivals."""
        from etl_runner.config.resolved import ResolvedSource
        from etl_runner.events.steps import InProcessSteps
        from etl_runner.planning.write_plan import PlanWriter

        deployment, source_id = self.deployment, entry.source_id
        store, closer = deployment.store(source_id), deployment.closer(source_id)
        finalizer = deployment.finalizer(source_id)
        lease = timedelta(seconds=self.settings.lease_seconds)
        plans = PlanWriter(
            store,
            deployment.staging,
            deployment.planner(),
            deployment.load_source,
            deployment.settings,
            utc_now,
            renew=False,
        )
        steps = InProcessSteps(
            plans,
            finalizer,
            deployment.staging,
            lambda header: deployment.open_source(ResolvedSource.from_json(header.config)),
            self.start_workflow,
            self.settings,
            utc_now,
        )
        return ArrivalLoader(
            entry,
            store,
            self.arrivals(source_id),
            self.gatherer(entry),
            Opener(store, deployment.receipts(source_id), closer, finalizer.finalize, lease),
            closer,
            steps,
            self.operations,
            self.settings,
        )

    def start_workflow(self, key: RunKey) -> None:
        """Start the workflow for a run that is open already; started twice, both go on with the one run.

        Raises:
            RetryableError, PermanentError: Workflows did not take it.
        """
        from etl_runner.gcp.faults import translated

        settings = self.deployment.settings
        parent = f"projects/{settings.project}/locations/{settings.location}/workflows/{settings.workflow}"
        argument = jsontypes.dumps({"source_id": key.source_id, "run_id": key.run_id}).decode()
        with translated(f"starting {parent}"):
            client: Any = clients.executions_client(settings)
            client.create_execution(parent=parent, execution={"argument": argument})

    def wake(self, source_id: str) -> bool:
        """Have somebody else look at a source's arrivals. False: there is no topic for it; the sweep will.

        Raises:
            RetryableError, PermanentError: Pub/Sub did not take it.
        """
        from etl_runner.gcp.faults import translated

        settings = self.deployment.settings
        topic = settings.wake_topic
        if topic is None:
            return False
        path = topic if topic.startswith("projects/") else f"projects/{settings.project}/topics/{topic}"
        attributes = {"ce-specversion": "1.0", "ce-type": WAKE, "ce-subject": source_id}
        with translated(f"publishing to {path}"):
            clients.publisher(settings).publish(path, b"{}", **attributes).result(timeout=20)
        return True


def fetch(url: str) -> bytes:
    """GET of a key set, a certificate or a confirmation; redirects are not followed.

    Raises:
        RetryableError: no answer, or not 200.
    """
    import requests

    try:
        answer = requests.get(url, timeout=_FETCH_SECONDS, allow_redirects=False, stream=True)
        data = answer.raw.read(_MAX_FETCHED, decode_content=True)
    except (requests.RequestException, OSError) as error:
        raise RetryableError(f"{url.partition('?')[0]} does not answer: {type(error).__name__}") from error
    if answer.status_code != 200:
        raise RetryableError(f"{url.partition('?')[0]} answered {answer.status_code}")
    return bytes(data)
