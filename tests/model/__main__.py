"""Explore the protocols' models: ``python -m tests.model [--large] [--without RULE] [--model NAME]``.

``--large`` explores the larger bounds as well (minutes), ``--without commit.BURN_JOB_ID`` removes one rule
and prints the shortest way to the property that breaks, ``--rules`` lists the rules.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.model.explorer import Exploration, explore
from tests.model.scenarios import SUBJECTS, Subject

LIMIT = 20_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """0: as it should be; 1: a property broke (or, with ``--without``, none did)."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.model", description="Explore the protocols' models."
    )
    parser.add_argument("--large", action="store_true", help="larger bounds too")
    parser.add_argument("--model", choices=[subject.name for subject in SUBJECTS], help="only this model")
    parser.add_argument("--without", metavar="MODEL.RULE", help="remove one rule and print what breaks")
    parser.add_argument("--rules", action="store_true", help="list the rules")
    options = parser.parse_args(arguments)
    subjects = [subject for subject in SUBJECTS if options.model in (None, subject.name)]
    if options.rules:
        for subject in subjects:
            for rule in subject.rules:
                print(f"{subject.name}.{rule.name}: {rule.value}")
        return 0
    if options.without:
        return _without(options.without)
    broken = 0
    for subject in subjects:
        for scenario in (*subject.small, *(subject.large if options.large else ())):
            broken += _show(subject, scenario).violation is not None
    return 1 if broken else 0


def _without(name: str) -> int:
    model, _, rule_name = name.partition(".")
    for subject in SUBJECTS:
        for rule in subject.rules:
            if (subject.name, rule.name) == (model, rule_name):
                print(f"without: {rule.value}")
                found = _show(subject, subject.scenario_without(rule), frozenset({rule}))
                return 0 if found.violation else 1
    print(f"there is no rule {name}; --rules lists them", file=sys.stderr)
    return 2


def _show(subject: Subject, scenario: Any, without: frozenset[Any] = frozenset()) -> Exploration:
    begun = time.monotonic()
    found = explore(subject.build(scenario, without), limit=LIMIT)
    seconds = time.monotonic() - begun
    verdict = "a property breaks" if found.violation else "every property holds"
    print(f"{subject.name}: {scenario.name}: {found.states:,} states, {seconds:.1f} s, {verdict}", flush=True)
    if found.violation:
        print(found.violation)
    return found


if __name__ == "__main__":
    sys.exit(main())
