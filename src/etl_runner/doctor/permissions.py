"""The table of permissions, ``permissions.yaml``: Terraform grants it, docs/permissions.md shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import yaml

from etl_runner.doctor.things import Binding, Grant, Thing

AGENTS = {
    "pubsub-agent": "service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com",
    "storage-agent": "service-{number}@gs-project-accounts.iam.gserviceaccount.com",
}
"""Google's own accounts in the table, as https://cloud.google.com/iam/docs/service-agents names them."""
EXTERNAL = "external"
"""The function, and the account, that takes events of other clouds, where there is one."""
DATAFLOW = "dataflow"
"""The workers of the distributed engine, where there is one."""
BIGQUERY = "bigquery"
"""The condition that a source of BigQuery is read in the deployment's own name and at its cost."""
PUBLIC = "everybody"
"""Who may call the function that takes events of other clouds; it verifies every call itself."""
CONDITIONAL = "build-sources"
"""The target that is granted on the project, bound to names of buckets by a condition."""


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    who: str
    role: str
    kind: str
    name: str
    why: str
    when: frozenset[str]
    """``external``: only where events of other clouds are taken; ``dataflow``: only with that engine;
    ``bigquery``: see :data:`BIGQUERY`. All of them have to be so."""


@cache
def lines() -> tuple[Line, ...]:
    """The table."""
    text = (files("etl_runner.doctor") / "permissions.yaml").read_text(encoding="utf-8")
    found = []
    for grant in yaml.safe_load(text)["grants"]:
        kind, _, name = grant["target"].partition(":")
        when = grant.get("when", [])
        conditions = frozenset([when] if isinstance(when, str) else when)
        found.append(Line(grant["who"], grant["role"], kind, name, grant["why"], conditions))
    return tuple(found)


@dataclass(frozen=True)
class Accounts:
    """The names of a deployment's accounts and roles."""

    project: str
    number: str
    prefix: str
    named: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Addresses of parts whose account was made elsewhere."""

    def member(self, who: str) -> str:
        """``serviceAccount:<address>`` of a part or of one of Google's agents."""
        if who in AGENTS:
            return "serviceAccount:" + AGENTS[who].format(number=self.number)
        return f"serviceAccount:{self.address(who)}"

    def address(self, part: str) -> str:
        """The address of a part's account."""
        return self.named.get(part) or f"{self.prefix}-{part}@{self.project}.iam.gserviceaccount.com"

    def role(self, role: str) -> str:
        """A role's name in a policy."""
        if not role.startswith("custom:"):
            return role
        own = f"{self.prefix.replace('-', '_')}_{role.removeprefix('custom:')}"
        return f"projects/{self.project}/roles/{own}"


def parts(present: Iterable[str]) -> list[str]:
    """The parts that have an account of their own; ``present`` are the optional ones that are there."""
    there = set(present)
    return list(dict.fromkeys(line.who for line in lines() if line.when <= there and line.who not in AGENTS))


def grants(
    things: Iterable[Thing], accounts: Accounts, *, dataflow: bool = False, bigquery: bool = False
) -> list[Grant]:
    """The table for these things: a line about ``secret`` is one grant for each of them.

    ``dataflow`` says whether the distributed engine is part of the deployment; ``bigquery``, whether a source
    of BigQuery is read in its name and at its cost.
    """
    known = list(things)
    external = any(thing.kind == "function" and thing.name == EXTERNAL for thing in known)
    optional = ((EXTERNAL, external), (DATAFLOW, dataflow), (BIGQUERY, bigquery))
    present = {name for name, there in optional if there}
    found = []
    for line in lines():
        if not line.when <= present:
            continue
        kind = "project" if line.kind == CONDITIONAL else line.kind
        binding = Binding(
            accounts.role(line.role), accounts.member(line.who), conditional=line.kind == CONDITIONAL
        )
        found += [
            Grant(line.who, binding, thing, line.why)
            for thing in known
            if thing.kind == kind and line.name in ("", thing.name)
        ]
    # Terraform's one grant outside of the table: allUsers may stand nowhere else.
    found += [
        Grant(PUBLIC, Binding("roles/run.invoker", "allUsers"), thing, "S3 and Azure call it")
        for thing in known
        if (thing.kind, thing.name) == ("function", EXTERNAL)
    ]
    return found
