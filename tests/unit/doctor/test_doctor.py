"""Whatever is taken away of a complete deployment, doctor names exactly that, and what mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etl_runner.doctor.inventory import accounts_of, inventory
from etl_runner.doctor.permissions import grants, lines
from etl_runner.doctor.things import Grant, Thing
from local.admin.resources import NUMBER, name_of
from tests.unit.doctor.conftest import GRANTS, SETTINGS, SOURCE, THINGS, Deployed, grant_id, thing_id


def test_nothing_is_found_in_a_complete_deployment(deployed: Deployed) -> None:
    report = deployed.diagnose()
    assert report.findings == ()
    assert report.things == len(THINGS)
    assert report.grants == len(GRANTS)
    assert report.documents == 4


def test_every_line_of_the_table_is_looked_for() -> None:
    # Each secret is a grant of its own; here is one. One grant is not in the table: that anybody may call the
    # function that verifies every call.
    assert len(GRANTS) == len(lines()) + 1


@pytest.mark.parametrize(
    "thing",
    [each for each in THINGS if each.kind not in ("project", "source-bucket", "source-dataset")],
    ids=thing_id,
)
def test_a_thing_that_is_gone_is_the_one_finding(deployed: Deployed, thing: Thing) -> None:
    del deployed.resources.things[name_of(thing)]
    (finding,) = deployed.diagnose().findings
    assert finding.thing == thing.shown
    assert finding.problem == "it is not there."
    assert finding.command.startswith("make deploy PROJECT=my-project REGION=europe-west1 DATASET=warehouse")


@pytest.mark.parametrize("grant", GRANTS, ids=grant_id)
def test_a_grant_that_is_gone_is_the_one_finding(deployed: Deployed, grant: Grant) -> None:
    deployed.resources.withdraw(grant.thing, grant.binding)
    (finding,) = deployed.diagnose().findings
    assert finding.thing == grant.thing.shown
    assert finding.problem.startswith(f"{grant.who} lacks ")
    assert grant.why in finding.problem
    if not grant.binding.conditional:
        assert grant.binding.member in finding.command
        assert grant.binding.role in finding.command
        assert grant.thing.resource.rsplit("/", 1)[-1] in finding.command


@pytest.mark.parametrize(
    ("kind", "name", "change", "problem"),
    [
        ("function", "plan", ("account", "someone@x"), "account is someone@x, and has to be etl-plan@"),
        ("function", "plan", ("ingress", "ALLOW_ALL"), "ingress is ALLOW_ALL"),
        ("function", "plan", ("state", "FAILED"), "state is FAILED"),
        ("function", "plan", ("env ETL_DATASET", "other"), "env ETL_DATASET is other"),
        ("workflow", "", ("env PLAN_URL", "https://old.example"), "env PLAN_URL is https://old.example"),
        ("job", "", ("account", "default@x"), "account is default@x"),
        ("schedule", "orders", ("state", "PAUSED"), "state is PAUSED, and has to be ENABLED"),
        ("schedule", "orders", ("target", "https://example.com"), "target is https://example.com"),
        ("bucket", "state", ("public access", "inherited"), "public access is inherited"),
        ("bucket", "state", ("location", "US"), "location is US, and has to be EU"),
        ("trigger", "my-files", ("service", "other"), "service is other, and has to be etl-file-arrival"),
        ("subscription", "arrivals", ("pushed to", "https://x"), "pushed to is https://x"),
        ("dataset", "", ("location", "US"), "location is US, and has to be EU"),
        ("subscription", "events", ("dead letters", ""), "dead letters is not set"),
    ],
)
def test_a_fact_that_differs_is_the_one_finding(
    deployed: Deployed, kind: str, name: str, change: tuple[str, str], problem: str
) -> None:
    from local.admin.resources import facts_of, message_of
    from tests.unit.doctor.conftest import URLS

    (thing,) = [each for each in THINGS if (each.kind, each.name) == (kind, name)]
    told = message_of(thing, {**facts_of(thing, URLS), change[0]: change[1]})
    deployed.resources.things[name_of(thing)] |= told
    (finding,) = deployed.diagnose().findings
    assert finding.thing == thing.shown
    assert problem in finding.problem


def test_a_secret_without_a_value(deployed: Deployed) -> None:
    del deployed.resources.versions["projects/my-project/secrets/shop-password"]
    (finding,) = deployed.diagnose().findings
    assert (finding.thing, finding.problem) == ("secret shop-password", "it has no enabled version.")
    assert finding.command == "gcloud secrets versions add shop-password --data-file=- --project=my-project"


def test_a_shared_key_without_a_value(deployed: Deployed) -> None:
    del deployed.resources.versions["projects/my-project/secrets/event-key"]
    (finding,) = deployed.diagnose().findings
    assert (finding.thing, finding.problem) == ("secret event-key", "it has no enabled version.")
    assert finding.command == "gcloud secrets versions add event-key --data-file=- --project=my-project"


def test_workers_that_have_an_account_made_elsewhere_are_looked_for_under_its_name() -> None:
    own = replace(SETTINGS, dataflow_service_account="workers@other.iam.gserviceaccount.com")
    accounts = accounts_of(own, NUMBER)
    things = inventory(own, accounts, {}, {})
    (worker,) = [thing for thing in things if (thing.kind, thing.name) == ("account", "dataflow")]
    assert worker.resource == "projects/-/serviceAccounts/workers@other.iam.gserviceaccount.com"
    found = grants(things, accounts, dataflow=True)
    members = {grant.binding.member for grant in found if grant.who == "dataflow"}
    assert members == {"serviceAccount:workers@other.iam.gserviceaccount.com"}


def test_what_cannot_be_looked_at_is_said_once(deployed: Deployed) -> None:
    deployed.resources.hidden.add("b/my-project-etl-state")
    (finding,) = deployed.diagnose().findings
    assert finding.thing == "bucket my-project-etl-state"
    assert "it cannot be looked at" in finding.problem
    assert "Permission denied" in finding.problem


def test_a_document_that_is_wrong_is_a_finding(deployed: Deployed) -> None:
    deployed.config.create("sources/wrong.yaml", SOURCE.replace(b"load_type", b"load_typ"))
    (finding,) = deployed.diagnose().findings
    assert finding.thing == "document sources/wrong.yaml"
    assert "load_typ" in finding.problem


def test_without_events_of_other_clouds_nothing_of_them_is_missed(deployed: Deployed) -> None:
    from local.admin import Resources
    from tests.unit.doctor.conftest import BUCKETS, DOCUMENTS, READS, SCHEDULED, URLS

    made = Resources.of(SETTINGS, URLS, DOCUMENTS, SCHEDULED, event_buckets=BUCKETS, reads=READS)
    deployed.resources.things, deployed.resources.policies = made.things, made.policies
    assert deployed.diagnose().findings == ()


def test_a_bucket_that_a_source_reads_and_that_is_not_there(deployed: Deployed) -> None:
    del deployed.resources.things["b/my-files"]
    (finding,) = deployed.diagnose().findings
    assert (finding.thing, finding.problem) == ("bucket my-files", "a source reads it, and it is not there.")
    assert finding.command == "gcloud storage buckets create gs://my-files --location=EU"


def test_a_dataset_that_a_source_reads_and_that_is_not_there(deployed: Deployed) -> None:
    del deployed.resources.things["projects/my-project/datasets/sales"]
    (finding,) = deployed.diagnose().findings
    assert (finding.thing, finding.problem) == ("dataset sales", "a source reads it, and it is not there.")
    assert finding.command == "bq mk --dataset --location=EU my-project:sales"


def test_a_grant_on_a_source_is_given_where_the_source_lies(deployed: Deployed) -> None:
    (grant,) = [each for each in GRANTS if (each.who, each.thing.kind) == ("finalize", "source-dataset")]
    deployed.resources.withdraw(grant.thing, grant.binding)
    (finding,) = deployed.diagnose().findings
    assert "--location=EUROPE-WEST3" in finding.command
    assert "ON SCHEMA `my-project.sales`" in finding.command


@pytest.mark.parametrize(
    "change",
    [
        (b"project: my-project", b"project: bigquery-public-data, billing_project: elsewhere"),
        (b"use_runner_account: true", b"credentials: {secret_manager: projects/elsewhere/secrets/reader}"),
        (b"source_table_name: sales.orders", b"query: SELECT 1 AS a"),
    ],
)
def test_what_others_grant_is_not_missed(deployed: Deployed, change: tuple[bytes, bytes]) -> None:
    from local.admin import Resources
    from tests.unit.doctor.conftest import BUCKETS, DOCUMENTS, READS, SCHEDULED, URLS, WAREHOUSE

    stored = deployed.config.read("sources/sold.yaml")
    assert stored is not None
    deployed.config.replace("sources/sold.yaml", WAREHOUSE.replace(*change), stored.generation)
    # Only a query is still run at the deployment's cost.
    less = replace(READS, datasets={}, billed=b"query" in change[1])
    made = Resources.of(SETTINGS, URLS, DOCUMENTS, SCHEDULED, event_buckets=BUCKETS, reads=less)
    deployed.resources.things, deployed.resources.policies = made.things, made.policies
    assert deployed.diagnose().findings == ()


def test_a_schedule_that_was_never_made_is_missed(deployed: Deployed) -> None:
    stored = deployed.config.read("schedules.yaml")
    assert stored is not None
    deployed.config.replace("schedules.yaml", stored.data + b"more: {cron: '0 1 * * *'}\n", stored.generation)
    (finding,) = deployed.diagnose().findings
    assert (finding.thing, finding.problem) == ("schedule etl-more", "it is not there.")
