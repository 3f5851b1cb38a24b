"""What is deployed, and who may do what, through Google's administrative APIs. Reads only.

All of them are spoken to over REST. With ``settings.admin_endpoint`` one server stands for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from etl_runner.doctor.things import Binding, Thing
from etl_runner.errors import PermanentError
from etl_runner.settings import Settings

Facts = dict[str, str]
T = TypeVar("T")
# Roles on a dataset that BigQuery shows by their old names.
# https://cloud.google.com/bigquery/docs/access-control-basic-roles#dataset-basic-roles
_DATASET_ROLES = {
    "READER": "roles/bigquery.dataViewer",
    "WRITER": "roles/bigquery.dataEditor",
    "OWNER": "roles/bigquery.dataOwner",
}
_POLICY_VERSION = 3
"""From this version on, conditions are shown. https://cloud.google.com/iam/docs/policies#versions"""


class GoogleCloud:
    """Implements :class:`etl_runner.doctor.things.Cloud`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._facts: dict[str, Callable[[Thing], Facts]] = {
            "function": self._function,
            "workflow": self._workflow,
            "job": self._job,
            "bucket": self._bucket,
            "source-bucket": self._bucket,
            "dataset": self._dataset,
            "source-dataset": self._dataset,
            "topic": self._topic,
            "subscription": self._subscription,
            "secret": self._secret,
            "key": self._secret,
            "account": self._account,
            "repository": self._repository,
            "schedule": self._schedule,
            "trigger": self._trigger,
            "template": self._template,
            "project": self._project,
        }

    def project_number(self) -> str:
        project = self._asked(
            lambda: self._projects.get_project(name=f"projects/{self._settings.project}").name
        )
        if project is None:
            raise PermanentError(f"there is no project {self._settings.project}, or you may not see it.")
        return str(project).rsplit("/", 1)[-1]

    def facts(self, thing: Thing) -> Facts | None:
        return self._asked(lambda: self._facts[thing.kind](thing), thing.shown)

    def policy(self, thing: Thing) -> frozenset[Binding] | None:
        return self._asked(lambda: frozenset(self._bindings(thing)), thing.shown)

    def _asked(self, ask: Callable[[], T], what: str = "the project") -> T | None:
        from google.api_core.exceptions import NotFound

        from etl_runner.gcp.faults import translated

        with translated(f"reading {what}"):
            try:
                return ask()
            except NotFound:
                return None

    # -- facts ----------------------------------------------------------------------------------------

    def _function(self, thing: Thing) -> Facts:
        from google.cloud.functions_v2 import FunctionServiceClient

        function = self._client(FunctionServiceClient).get_function(name=thing.resource)
        service = function.service_config
        return {
            "state": function.state.name,
            "ingress": service.ingress_settings.name,
            "account": service.service_account_email,
            "url": service.uri,
            **{f"env {name}": value for name, value in service.environment_variables.items()},
            **{f"secret {each.key}": each.secret for each in service.secret_environment_variables},
        }

    def _workflow(self, thing: Thing) -> Facts:
        from google.cloud.workflows_v1 import WorkflowsClient

        workflow = self._client(WorkflowsClient).get_workflow(name=thing.resource)
        return {
            "state": workflow.state.name,
            "account": workflow.service_account.rsplit("/", 1)[-1],
            **{f"env {name}": value for name, value in workflow.user_env_vars.items()},
        }

    def _job(self, thing: Thing) -> Facts:
        task = self._run_jobs.get_job(name=thing.resource).template.template
        env = {item.name: item.value for container in task.containers for item in container.env}
        return {"account": task.service_account, **{f"env {name}": value for name, value in env.items()}}

    def _bucket(self, thing: Thing) -> Facts:
        configuration = self._storage.get_bucket(thing.resource)
        iam = configuration.iam_configuration
        return {
            "location": configuration.location or "",
            "uniform access": "yes" if iam.uniform_bucket_level_access_enabled else "no",
            "public access": iam.public_access_prevention or "",
        }

    def _dataset(self, thing: Thing) -> Facts:
        return {"location": (self._read_dataset(thing).location or "").upper()}

    def _topic(self, thing: Thing) -> Facts:
        return {"name": self._publisher.get_topic(topic=thing.resource).name}

    def _subscription(self, thing: Thing) -> Facts:
        subscription = self._subscriber.get_subscription(subscription=thing.resource)
        return {
            "topic": subscription.topic,
            "dead letters": subscription.dead_letter_policy.dead_letter_topic,
            "pushed to": subscription.push_config.push_endpoint,
            "pushed as": subscription.push_config.oidc_token.service_account_email,
        }

    def _secret(self, thing: Thing) -> Facts:
        # The secret itself first: of one that is not there, versions are a different error.
        self._secrets.get_secret(name=thing.resource)
        enabled = self._secrets.list_secret_versions(
            request={"parent": thing.resource, "filter": "state:ENABLED", "page_size": 1}
        )
        return {"has a value": "yes" if any(True for _ in enabled) else "no"}

    def _account(self, thing: Thing) -> Facts:
        return {"address": str(self._iam("GET", thing.resource)["email"])}

    def _repository(self, thing: Thing) -> Facts:
        return {"name": self._registry.get_repository(name=thing.resource).name}

    def _schedule(self, thing: Thing) -> Facts:
        from google.cloud.scheduler_v1 import CloudSchedulerClient

        job = self._client(CloudSchedulerClient).get_job(name=thing.resource)
        target = job.http_target
        return {
            "state": job.state.name,
            "cron": job.schedule,
            "time zone": job.time_zone,
            "target": target.uri,
            "account": target.oauth_token.service_account_email or target.oidc_token.service_account_email,
        }

    def _trigger(self, thing: Thing) -> Facts:
        from google.cloud.eventarc_v1 import EventarcClient

        trigger = self._client(EventarcClient).get_trigger(name=thing.resource)
        filters = {each.attribute: each.value for each in trigger.event_filters}
        return {
            "account": trigger.service_account,
            "service": trigger.destination.cloud_run.service,
            **{f"filter {name}": value for name, value in filters.items()},
        }

    def _template(self, thing: Thing) -> Facts:
        bucket, _, name = thing.resource.removeprefix("gs://").partition("/")
        blob = self._storage.bucket(bucket).blob(name)
        blob.reload()
        return {"name": blob.name}

    def _project(self, thing: Thing) -> Facts:
        return {"name": self._projects.get_project(name=thing.resource).name}

    # -- policies -------------------------------------------------------------------------------------

    def _bindings(self, thing: Thing) -> Iterable[Binding]:
        if thing.kind in ("bucket", "source-bucket"):
            policy = self._storage.bucket(thing.resource).get_iam_policy(
                requested_policy_version=_POLICY_VERSION
            )
            return _of_mappings(policy.bindings)
        if thing.kind in ("dataset", "source-dataset"):
            return self._dataset_bindings(thing)
        if thing.kind == "function":
            from google.cloud.run_v2 import ServicesClient

            service = thing.resource.replace("/functions/", "/services/")
            return _of_messages(self._client(ServicesClient).get_iam_policy(request={"resource": service}))
        if thing.kind == "account":
            query = f"?options.requestedPolicyVersion={_POLICY_VERSION}"
            return _of_mappings(
                self._iam("POST", f"{thing.resource}:getIamPolicy{query}").get("bindings", [])
            )
        clients: dict[str, Any] = {
            "job": lambda: self._run_jobs,
            "topic": lambda: self._publisher,
            "subscription": lambda: self._subscriber,
            "secret": lambda: self._secrets,
            "key": lambda: self._secrets,
            "repository": lambda: self._registry,
            "project": lambda: self._projects,
        }
        request: dict[str, Any] = {"resource": thing.resource}
        if thing.kind == "project":
            request["options"] = {"requested_policy_version": _POLICY_VERSION}
        return _of_messages(clients[thing.kind]().get_iam_policy(request=request))

    def _dataset_bindings(self, thing: Thing) -> Iterable[Binding]:
        for entry in self._read_dataset(thing).access_entries:
            if entry.role is None:
                continue
            role = _DATASET_ROLES.get(entry.role, entry.role)
            if entry.entity_type == "userByEmail":
                yield Binding(role, f"serviceAccount:{entry.entity_id}")
            elif entry.entity_type == "iamMember":
                yield Binding(role, str(entry.entity_id))

    def _read_dataset(self, thing: Thing) -> Any:
        _, project, _, dataset = thing.resource.split("/")
        return self._bigquery.get_dataset(f"{project}.{dataset}")

    # -- clients --------------------------------------------------------------------------------------

    def _client(self, client: type[Any]) -> Any:
        return client(transport="rest", **self._options)

    def _messages_client(self, client: type[Any]) -> Any:
        # A transport of its own: where PUBSUB_EMULATOR_HOST is set, the client would go there by gRPC.
        transport = client.get_transport_class("rest")
        endpoint = self._settings.admin_endpoint
        if endpoint is None:
            return client(transport=transport())
        scheme, _, host = endpoint.partition("://")
        credentials = self._options["credentials"]
        return client(transport=transport(host=host, url_scheme=scheme, credentials=credentials))

    def _iam(self, method: str, path: str) -> dict[str, Any]:
        """A call of the IAM API, whose own client speaks gRPC only."""
        from google.api_core.exceptions import from_http_response

        endpoint = self._settings.admin_endpoint or "https://iam.googleapis.com"
        response = self._session.request(method, f"{endpoint}/v1/{path}", timeout=60)
        if not response.ok:
            raise from_http_response(response)  # type: ignore[no-untyped-call]
        answer: dict[str, Any] = response.json()
        return answer

    @cached_property
    def _session(self) -> Any:
        from google.auth import default
        from google.auth.transport.requests import AuthorizedSession

        credentials = self._options.get("credentials")
        if credentials is None:
            credentials, _ = default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    @cached_property
    def _options(self) -> dict[str, Any]:
        from etl_runner.gcp.clients import client_options

        return client_options(self._settings.admin_endpoint)

    @cached_property
    def _storage(self) -> Any:
        from google.cloud.storage import Client

        return Client(project=self._settings.project, **self._options)

    @cached_property
    def _bigquery(self) -> Any:
        from google.cloud.bigquery import Client

        return Client(project=self._settings.project, **self._options)

    @cached_property
    def _run_jobs(self) -> Any:
        from google.cloud.run_v2 import JobsClient

        return self._client(JobsClient)

    @cached_property
    def _publisher(self) -> Any:
        from google.pubsub_v1 import PublisherClient

        return self._messages_client(PublisherClient)

    @cached_property
    def _subscriber(self) -> Any:
        from google.pubsub_v1 import SubscriberClient

        return self._messages_client(SubscriberClient)

    @cached_property
    def _secrets(self) -> Any:
        from google.cloud.secretmanager import SecretManagerServiceClient

        return self._client(SecretManagerServiceClient)

    @cached_property
    def _registry(self) -> Any:
        from google.cloud.artifactregistry_v1 import ArtifactRegistryClient

        return self._client(ArtifactRegistryClient)

    @cached_property
    def _projects(self) -> Any:
        from google.cloud.resourcemanager_v3 import ProjectsClient

        return self._client(ProjectsClient)


def _of_mappings(bindings: Iterable[Mapping[str, Any]]) -> Iterable[Binding]:
    for each in bindings:
        for member in each["members"]:
            yield Binding(each["role"], member, bool(each.get("condition")))


def _of_messages(policy: Any) -> Iterable[Binding]:
    for each in policy.bindings:
        for member in each.members:
            yield Binding(each.role, member, bool(each.condition.expression))
