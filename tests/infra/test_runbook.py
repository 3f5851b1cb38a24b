"""Each alert has its section in the runbook, and each section its alert."""

from __future__ import annotations

import re

from tools.infra.modules import ROOT

MONITORING = (ROOT / "infra" / "terraform" / "monitoring.tf").read_text()
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


def alerts() -> dict[str, str]:
    """Key to title."""
    block = MONITORING.split("  alerts = {\n")[1].split("\n  }\n}")[0]
    return dict(re.findall(r'^    (\w+) = \{\n +title +?= "([^"]+)"', block, re.MULTILINE))


def test_the_alerts_are_found() -> None:
    assert {"run_failed", "rejects", "arrivals_backlog", "dead_letters"} <= set(alerts())


def test_each_alert_has_a_section_under_its_title() -> None:
    sections = re.findall(r"^## (.+)\n\n\*Alert `(\w+)`", RUNBOOK, re.MULTILINE)
    told = {key: title for title, key in sections}
    no_run = told.pop("no_run", None)
    assert told == alerts()
    assert no_run is not None
    assert 'resource "google_monitoring_alert_policy" "no_run"' in MONITORING


def test_every_link_within_the_runbook_leads_to_a_section() -> None:
    titles = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK)) <= anchors
