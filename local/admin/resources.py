"""What the stand-in tells: a deployment as infra/terraform makes it.

Messages of the APIs' own types where their clients have them: a field that does not exist cannot be told.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from etl_runner.doctor.inventory import accounts_of, inventory
from etl_runner.doctor.permissions import grants
from etl_runner.doctor.reads import Reads
from etl_runner.doctor.things import Binding, Ref, Thing
from etl_runner.settings import Settings

NUMBER = "123456789012"
"""The project's."""
_CONDITION = {
    "title": "only the buckets of functions to be built",
    "expression": f'resource.name.startsWith("projects/_/buckets/gcf-v2-sources-{NUMBER}-")',
}
_OLD_NAMES = {"roles/bigquery.dataEditor": "WRITER", "roles/bigquery.dataViewer": "READER"}


@dataclass
class Resources:
    """Resource name to its JSON; what may be taken away while the server runs."""

    things: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, list[Any]] = field(default_factory=dict)
    """Of secrets."""
    policies: dict[str, list[Binding]] = field(default_factory=lambda: defaultdict(list))
    hidden: set[str] = field(default_factory=set)
    """Resources whose reading is refused."""

    @classmethod
    def of(
        cls,
        settings: Settings,
        urls: Mapping[str, str],
        documents: Mapping[str, Any] | None = None,
        schedules: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        event_buckets: Mapping[str, str] | None = None,
        reads: Reads | None = None,
        external: bool = False,
        key: str | None = None,
    ) -> Resources:
        """A complete deployment; ``urls`` are those of its functions."""
        accounts = accounts_of(settings, NUMBER)
        things = inventory(
            settings,
            accounts,
            documents or {},
            schedules or {},
            event_buckets=event_buckets,
            reads=reads,
            external=external,
            key=key,
        )
        made = cls()
        for bucket, location in (event_buckets or {}).items():
            made.things[f"b/{bucket}"] = {"name": bucket, "location": location}
        for thing in things:
            made.things[name_of(thing)] = message_of(thing, facts_of(thing, urls))
            if thing.kind == "function":  # which is a Cloud Run service, too, and has its policy there
                made.things[policy_name(thing)] = {"name": policy_name(thing)}
            if thing.kind in ("secret", "key"):
                made.versions[thing.resource] = [{"name": f"{thing.resource}/versions/1", "state": "ENABLED"}]
        dataflow, bigquery = settings.dataflow_template is not None, reads is not None and reads.billed
        for grant in grants(things, accounts, dataflow=dataflow, bigquery=bigquery):
            made.policies[policy_name(grant.thing)].append(grant.binding)
        made._tell_access(things)
        return made

    def bindings(self, name: str) -> list[dict[str, Any]]:
        """A policy's bindings as JSON, a role and condition each."""
        members: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for binding in self.policies.get(name, []):
            members[binding.role, binding.conditional].append(binding.member)
        return [
            {"role": role, "members": who, **({"condition": _CONDITION} if conditional else {})}
            for (role, conditional), who in members.items()
        ]

    def withdraw(self, thing: Thing, binding: Binding) -> None:
        """Take one member's role away."""
        self.policies[policy_name(thing)].remove(binding)
        self._tell_access([thing])

    def grant(self, thing: Thing, binding: Binding) -> None:
        """Give it back."""
        self.policies[policy_name(thing)].append(binding)
        self._tell_access([thing])

    def _tell_access(self, things: Iterable[Thing]) -> None:
        """A dataset's policy is part of it; service accounts stand there as users, roles by old names."""
        for thing in things:
            if thing.kind in ("dataset", "source-dataset"):
                self.things[name_of(thing)]["access"] = [
                    {
                        "role": _OLD_NAMES.get(binding.role, binding.role),
                        "userByEmail": binding.member.removeprefix("serviceAccount:"),
                    }
                    for binding in self.policies[policy_name(thing)]
                ]


def name_of(thing: Thing) -> str:
    """The path of a resource behind the API's version."""
    if thing.kind == "template":
        bucket, _, name = thing.resource.removeprefix("gs://").partition("/")
        return f"b/{bucket}/o/{quote(name, safe='')}"
    return f"b/{thing.resource}" if thing.kind in ("bucket", "source-bucket") else thing.resource


def policy_name(thing: Thing) -> str:
    """The path of the resource that has the thing's policy."""
    return name_of(thing).replace("/functions/", "/services/")


def facts_of(thing: Thing, urls: Mapping[str, str]) -> dict[str, str]:
    """A thing's facts when all is well."""
    return {
        fact: urls[expected.name] if isinstance(expected, Ref) else expected
        for fact, expected in thing.expected.items()
    } | ({"url": urls[thing.name]} if thing.kind == "function" else {})


def message_of(thing: Thing, facts: Mapping[str, str]) -> dict[str, Any]:
    """The JSON with which a thing's API tells these facts."""
    env = {name.removeprefix("env "): value for name, value in facts.items() if name.startswith("env ")}
    if thing.kind == "function":
        from google.cloud.functions_v2 import Function, ServiceConfig

        service = ServiceConfig(
            service_account_email=facts["account"],
            uri=facts["url"],
            ingress_settings=getattr(ServiceConfig.IngressSettings, facts["ingress"]),
            environment_variables=env,
            secret_environment_variables=[
                {"key": name.removeprefix("secret "), "secret": value, "version": "latest"}
                for name, value in facts.items()
                if name.startswith("secret ")
            ],
        )
        return _json(
            Function,
            name=thing.resource,
            state=getattr(Function.State, facts["state"]),
            service_config=service,
        )
    if thing.kind == "workflow":
        from google.cloud.workflows_v1 import Workflow

        state = getattr(Workflow.State, facts["state"])
        account = f"projects/-/serviceAccounts/{facts['account']}"
        return _json(Workflow, name=thing.resource, state=state, service_account=account, user_env_vars=env)
    if thing.kind == "job":
        from google.cloud.run_v2 import Job

        container = {"image": "runner", "env": [{"name": key, "value": value} for key, value in env.items()]}
        template = {"template": {"service_account": facts["account"], "containers": [container]}}
        return _json(Job, name=thing.resource, template=template)
    if thing.kind == "schedule":
        from google.cloud.scheduler_v1 import Job as Schedule

        target = {"uri": facts["target"], "oauth_token": {"service_account_email": facts["account"]}}
        if "workflowexecutions" not in facts["target"]:
            target["oidc_token"] = target.pop("oauth_token")
        return _json(
            Schedule,
            name=thing.resource,
            schedule=facts.get("cron", "*/5 * * * *"),
            time_zone=facts.get("time zone", "Etc/UTC"),
            state=getattr(Schedule.State, facts["state"]),
            http_target=target,
        )
    if thing.kind == "trigger":
        from google.cloud.eventarc_v1 import Trigger

        filters = [
            {"attribute": name.removeprefix("filter "), "value": value}
            for name, value in facts.items()
            if name.startswith("filter ")
        ]
        return _json(
            Trigger,
            name=thing.resource,
            service_account=facts["account"],
            destination={"cloud_run": {"service": facts["service"]}},
            event_filters=filters,
        )
    return _plain(thing, facts)


def _plain(thing: Thing, facts: Mapping[str, str]) -> dict[str, Any]:
    """Messages with hardly a field that is looked at."""
    if thing.kind == "source-bucket":
        return {"name": thing.resource, "location": facts["location"]}
    if thing.kind == "bucket":
        iam = {
            "uniformBucketLevelAccess": {"enabled": facts["uniform access"] == "yes"},
            "publicAccessPrevention": facts["public access"],
        }
        return {"name": thing.resource, "location": facts["location"], "iamConfiguration": iam}
    if thing.kind in ("dataset", "source-dataset"):
        _, project, _, dataset = thing.resource.split("/")
        reference = {"projectId": project, "datasetId": dataset}
        return {"kind": "bigquery#dataset", "datasetReference": reference, "location": facts["location"]}
    if thing.kind == "subscription":
        told: dict[str, Any] = {"name": thing.resource, "topic": facts["topic"]}
        if "dead letters" in facts:
            told["deadLetterPolicy"] = {"deadLetterTopic": facts["dead letters"]}
        if "pushed to" in facts:
            token = {"serviceAccountEmail": facts["pushed as"]}
            told["pushConfig"] = {"pushEndpoint": facts["pushed to"], "oidcToken": token}
        return told
    if thing.kind == "template":
        bucket, _, name = thing.resource.removeprefix("gs://").partition("/")
        return {"kind": "storage#object", "bucket": bucket, "name": name}
    if thing.kind == "account":
        return {"name": thing.resource, "email": thing.resource.rsplit("/", 1)[-1]}
    if thing.kind == "project":
        return {
            "name": f"projects/{NUMBER}",
            "projectId": thing.resource.rsplit("/", 1)[-1],
            "state": "ACTIVE",
        }
    return {"name": thing.resource}


def _json(kind: Any, **fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(kind.to_json(kind(**fields), use_integers_for_enums=False))
    return told
