"""What doctor looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal[
    "function",
    "workflow",
    "job",
    "bucket",
    "source-bucket",
    "dataset",
    "source-dataset",
    "topic",
    "subscription",
    "secret",
    "key",
    "account",
    "repository",
    "schedule",
    "trigger",
    "template",
    "project",
]


@dataclass(frozen=True)
class Ref:
    """A fact of another thing, e.g. a function's URL."""

    kind: Kind
    name: str
    fact: str


@dataclass(frozen=True)
class Thing:
    """Something that a deployment consists of."""

    kind: Kind
    name: str
    """In permissions.yaml's words, e.g. ``trigger`` or ``state``."""
    resource: str
    """Full name in its API, e.g. ``projects/p/locations/l/functions/etl-trigger``; of a bucket, its name;
    of a flex template, its ``gs://`` URI."""
    expected: Mapping[str, str | Ref] = field(default_factory=dict, hash=False)
    """Facts that must be so; :mod:`etl_runner.gcp.admin` lists each kind's."""

    @property
    def shown(self) -> str:
        """For people: ``function etl-trigger``."""
        kind = self.kind.removeprefix("source-")
        kind = {"account": "service account", "key": "secret"}.get(kind, kind)
        return f"{kind} {self.resource.rsplit('/', 1)[-1]}"


@dataclass(frozen=True)
class Binding:
    """One member's role in a policy."""

    role: str
    member: str
    conditional: bool = False


@dataclass(frozen=True)
class Grant:
    """A line of the table of permissions, for one thing."""

    who: str
    binding: Binding
    thing: Thing
    why: str


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    thing: str
    problem: str
    """One sentence."""
    command: str
    """What mends it."""

    def to_json(self) -> dict[str, str]:
        """``{"thing", "problem", "command"}``."""
        return {"thing": self.thing, "problem": self.problem, "command": self.command}


class Cloud(Protocol):
    """What is there."""

    def project_number(self) -> str:
        """The project's number, which the names of Google's service agents hold.

        Raises:
            PermanentError, RetryableError: it cannot be read.
        """

    def facts(self, thing: Thing) -> Mapping[str, str] | None:
        """A thing's facts; None when there is no such thing.

        Raises:
            PermanentError, RetryableError: it cannot be read.
        """

    def policy(self, thing: Thing) -> frozenset[Binding] | None:
        """Who has which role on a thing itself; None when there is no such thing.

        Raises:
            PermanentError, RetryableError: it cannot be read.
        """
