"""permissions.yaml is the one place of grants; docs/permissions.md and *.tf follow it."""

from __future__ import annotations

import re

import yaml

from tools.permissions import PAGE, ROOT, SOURCE, current

MODULE = ROOT / "infra" / "terraform"
IAM = re.compile(r'^resource "(google_\w+_iam_\w+)" "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
EVERYBODY = re.compile(r"allUsers|allAuthenticatedUsers")
PRIMITIVE = {"roles/owner", "roles/editor", "roles/viewer"}
# Google's agents for the customer's key: no account of ours, so not in permissions.yaml.
ELSEWHERE = {("google_kms_crypto_key_iam_member", "agent")}


# The verified endpoint for events of other clouds, where it is asked for.
PUBLIC = ("google_cloud_run_v2_service_iam_member", "external")


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == current(), "run `python -m tools.permissions`"


def test_no_file_grants_anything_but_what_permissions_yaml_says() -> None:
    granting = [
        (path.name, kind, name, body)
        for path in sorted(MODULE.glob("*.tf"))
        for kind, name, body in IAM.findall(path.read_text())
    ]
    assert len(granting) > 8
    own = [
        f"{file}: {kind}.{name}"
        for file, kind, name, body in granting
        if (kind, name) not in {*ELSEWHERE, PUBLIC}
        and not (kind.endswith("_iam_custom_role") or "local.grants[" in body or "local.permissions." in body)
    ]
    assert own == []


def test_one_endpoint_and_nothing_else_is_granted_to_everybody() -> None:
    open_to_all = []
    for path in [*MODULE.glob("*.tf"), SOURCE]:
        text = path.read_text()
        granted = [(kind, name) for kind, name, body in IAM.findall(text) if EVERYBODY.search(body)]
        assert len(granted) == len(EVERYBODY.findall(text)), path.name
        open_to_all += granted
    assert open_to_all == [PUBLIC]


def test_each_account_is_one_of_the_parts_and_each_has_a_grant() -> None:
    accounts = set(
        re.findall(
            r"^    ([a-z-]+) += \"",
            (MODULE / "iam.tf").read_text().split("parts = merge({")[1].split("var.external_events")[0],
            re.M,
        )
    )
    grants = yaml.safe_load(SOURCE.read_text())["grants"]
    assert {grant["who"] for grant in grants} == {
        *accounts,
        "dataflow",
        "external",
        "pubsub-agent",
        "storage-agent",
    }
    assert not {grant["role"] for grant in grants} & PRIMITIVE


def test_only_what_carries_no_policy_of_its_own_is_granted_on_the_project() -> None:
    grants = yaml.safe_load(SOURCE.read_text())["grants"]
    on_project = {grant["role"] for grant in grants if grant["target"] == "project"}
    assert on_project == {
        "roles/bigquery.jobUser",
        "roles/bigquery.readSessionUser",
        "roles/logging.logWriter",
        "roles/workflows.invoker",
        "roles/eventarc.eventReceiver",
        "roles/dataflow.developer",
        "roles/dataflow.worker",
        "roles/dataflow.viewer",
        "roles/pubsub.publisher",
        "custom:read_jobs",
        "custom:check_dataflow",
        "custom:watch_operations",
    }
