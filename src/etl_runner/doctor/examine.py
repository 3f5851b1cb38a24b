"""Compare what should be there with what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from etl_runner.doctor import commands
from etl_runner.doctor.things import Binding, Cloud, Finding, Grant, Ref, Thing
from etl_runner.errors import EtlError
from etl_runner.settings import Settings

T = TypeVar("T")
_AT_ONCE = 8


def examine(
    cloud: Cloud, things: Iterable[Thing], grants: Iterable[Grant], settings: Settings
) -> list[Finding]:
    """Everything that is missing, different or not granted, in the order of the things.

    A thing that is not there is one finding: neither its facts nor its grants are missed separately, nor what
    an account that is gone was granted. One that cannot be looked at is a finding too.
    """
    known, wanted = list(things), list(grants)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        facts = dict(zip(known, pool.map(lambda each: _look(cloud.facts, each), known), strict=True))
        ruled = list(dict.fromkeys(grant.thing for grant in wanted))
        policies = dict(zip(ruled, pool.map(lambda each: _look(cloud.policy, each), ruled), strict=True))
    gone = {
        thing.resource.rsplit("/", 1)[-1] for thing in known if thing.kind == "account" and not facts[thing]
    }
    findings: list[Finding] = []
    for thing in known:
        seen = facts[thing]
        if isinstance(seen, Finding):
            findings.append(seen)
            continue
        if seen is None:
            findings.append(Finding(thing.shown, "it is not there.", commands.deploy(settings)))
            continue
        findings += _differences(thing, seen, facts, settings)
        findings += _not_granted(
            [each for each in wanted if each.thing == thing and _address(each) not in gone],
            policies.get(thing),
            settings,
        )
    return list(dict.fromkeys(findings))


def _address(grant: Grant) -> str:
    return grant.binding.member.removeprefix("serviceAccount:")


def _look(read: Callable[[Thing], T], thing: Thing) -> T | Finding:
    try:
        return read(thing)
    except EtlError as error:
        return Finding(
            thing.shown,
            f"it cannot be looked at: {error}",
            "etl-runner doctor, again, with roles/viewer and roles/iam.securityReviewer on the project",
        )


def _differences(
    thing: Thing,
    seen: Mapping[str, str],
    facts: Mapping[Thing, Mapping[str, str] | Finding | None],
    settings: Settings,
) -> Iterable[Finding]:
    for fact, expected in thing.expected.items():
        value = _resolve(expected, facts)
        found = seen.get(fact, "")
        if value is None or found == value:
            continue
        if thing.kind in ("secret", "key"):
            yield Finding(thing.shown, "it has no enabled version.", commands.set_secret(thing, settings))
            continue
        told = f"{fact} is {found or 'not set'}, and has to be {value}."
        yield Finding(thing.shown, told, commands.deploy(settings))


def _resolve(expected: str | Ref, facts: Mapping[Thing, Mapping[str, str] | Finding | None]) -> str | None:
    """An expected value; None when the thing that it comes from is not there, which is its own finding."""
    if isinstance(expected, str):
        return expected
    for thing, seen in facts.items():
        if (thing.kind, thing.name) == (expected.kind, expected.name) and isinstance(seen, Mapping):
            return seen.get(expected.fact)
    return None


def _not_granted(
    wanted: Iterable[Grant], policy: frozenset[Binding] | Finding | None, settings: Settings
) -> Iterable[Finding]:
    if isinstance(policy, Finding):
        yield policy
        return
    for grant in wanted:
        if policy is None or grant.binding in policy:
            continue
        shown = (
            grant.binding.role.rsplit("/", 1)[-1] if "/roles/" in grant.binding.role else grant.binding.role
        )
        told = f"{grant.who} lacks {shown} on it: {grant.why}."
        yield Finding(grant.thing.shown, told, commands.grant(grant, settings))
