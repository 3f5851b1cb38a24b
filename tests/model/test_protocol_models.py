"""The protocols hold in every reachable state, and each single rule of theirs is needed."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from tests.model.explorer import explore
from tests.model.scenarios import ARRIVALS, COMMIT, DEADLINE, EXTRACT, SNAPSHOT, SUBJECTS, WINDOW, Subject


def scenarios_of(subject: Subject) -> pytest.MarkDecorator:
    """One test a scenario of the suite's bounds."""
    return pytest.mark.parametrize("scenario", subject.small, ids=lambda scenario: scenario.name)


def holds(subject: Subject, scenario: Any) -> None:
    """Explore, and show the way to whatever breaks."""
    found = explore(subject.build(scenario, frozenset()))
    assert found.violation is None, f"\n{found.violation}"
    assert found.states > 1


@scenarios_of(COMMIT)
def test_commit_protocol_holds(scenario: Any) -> None:
    holds(COMMIT, scenario)


@scenarios_of(WINDOW)
def test_window_rule_holds(scenario: Any) -> None:
    holds(WINDOW, scenario)


@scenarios_of(ARRIVALS)
def test_arrivals_hold(scenario: Any) -> None:
    holds(ARRIVALS, scenario)


@scenarios_of(EXTRACT)
def test_extraction_holds(scenario: Any) -> None:
    holds(EXTRACT, scenario)


@scenarios_of(SNAPSHOT)
def test_snapshot_plans_hold(scenario: Any) -> None:
    holds(SNAPSHOT, scenario)


@scenarios_of(DEADLINE)
def test_deadlines_hold(scenario: Any) -> None:
    holds(DEADLINE, scenario)


@pytest.mark.parametrize(
    ("subject", "rule"),
    [
        pytest.param(subject, rule, id=f"{subject.name}.{rule.name}")
        for subject in SUBJECTS
        for rule in subject.rules
    ],
)
def test_no_rule_can_be_left_out(subject: Subject, rule: Enum) -> None:
    """``python -m tests.model --without <id>`` prints the trace."""
    found = explore(subject.build(subject.scenario_without(rule), frozenset({rule})))
    assert found.violation is not None, f"nothing breaks without: {rule.value}"


def test_without_any_rule_rows_are_lost_or_doubled() -> None:
    found = explore(WINDOW.build(WINDOW.usual, frozenset(WINDOW.rules)))
    assert found.violation is not None
    assert "loaded 2 times" in found.violation.what or "lost" in found.violation.what
