"""What *.tf repeats of the code and of the workflow is what they say themselves."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import pytest
import yaml

from etl_runner.config import connections
from etl_runner.config.load import load_source
from etl_runner.config.types import SOURCE_TYPES, TYPE_ALIASES
from etl_runner.doctor import inventory, permissions, reads
from etl_runner.history.streams import STREAMS
from etl_runner.history.views import VIEWS
from etl_runner.settings import Settings
from etl_runner.state.memory import MemoryObjectStore
from tools.infra.modules import ROOT

MODULE = ROOT / "infra" / "terraform"
ETL = (ROOT / "workflows" / "etl.yaml").read_text()


def text_of(name: str) -> str:
    return (MODULE / name).read_text()


def list_of(file: str, name: str) -> list[str]:
    """The strings of a list in a file's locals."""
    match = re.search(rf"^  {name}\s*= \[(.*?)\]", text_of(file), re.MULTILINE | re.DOTALL)
    assert match is not None
    return re.findall(r'"([^"]+)"', match[1])


def test_the_environment_is_the_one_that_the_settings_read() -> None:
    given = set(re.findall(r"^ +(ETL_\w+) +=", text_of("main.tf"), re.MULTILINE))
    given |= set(re.findall(r"\{ (ETL_\w+) =", text_of("main.tf")))
    read = set(re.findall(r'"(ETL_\w+)"', (ROOT / "src" / "etl_runner" / "settings.py").read_text()))
    # Google's own endpoints are the default of those.
    assert given == {name for name in read if not name.endswith("_ENDPOINT")}
    settings = Settings.from_env(dict.fromkeys(given, "1"))
    assert settings.events_topic == "1"


def test_the_workflow_gets_the_variables_that_it_reads() -> None:
    block = re.search(r"user_env_vars = \{\n(.*?)\n  \}", text_of("workflow.tf"), re.DOTALL)
    assert block is not None
    given = set(re.findall(r"^ +(\w+) +=", block[1], re.MULTILINE))
    read = set(re.findall(r'sys\.get_env\("(\w+)"', ETL))
    assert given == {name for name in read if not name.startswith("GOOGLE_CLOUD_")}


@pytest.mark.parametrize("step", ["trigger", "plan"])
def test_a_function_lives_as_long_as_the_workflow_waits_for_it(step: str) -> None:
    waits = re.search(rf"url: \$\{{{step}_url\}}.*?timeout: (\d+)", ETL, re.DOTALL)
    lives = re.search(rf"{step} +=.*?timeout = (\d+)", text_of("functions.tf"))
    assert waits is not None
    assert lives is not None
    assert lives[1] == waits[1]


def test_finalize_lives_as_long_as_the_workflow_waits_for_it() -> None:
    definition = yaml.safe_load(ETL)
    ask = definition["finalize_until_done"]["steps"][0]["ask"]
    lives = re.search(r"finalize = \{ timeout = (\d+)", text_of("functions.tf"))
    assert lives is not None
    assert int(lives[1]) == ask["args"]["timeout"]


def connection_models() -> list[Any]:
    found = [each for each in vars(connections).values() if isinstance(each, type)]
    return [each for each in found if "source_type" in getattr(each, "model_fields", {})]


def test_each_credential_in_each_spelling_is_kept_out_of_the_bucket() -> None:
    known = set(list_of("sources.tf", "credential_fields"))
    assert len(connection_models()) == 6
    for model in connection_models():
        spelt = {alias for alias, name in model.aliases.items() if name in model.secret_fields}
        assert {*model.secret_fields, *spelt} <= known, model.__name__


def test_a_bucket_is_found_in_each_spelling_that_documents_may_have() -> None:
    aliases = connections.GcsConnection.aliases
    spelt = {alias for alias, name in aliases.items() if name == "bucket"}
    assert set(list_of("arrivals.tf", "bucket_fields")) == {"bucket", *spelt}


def test_the_source_types_are_those_that_documents_may_have() -> None:
    assert set(list_of("sources.tf", "source_types")) == {*SOURCE_TYPES, *TYPE_ALIASES}


def test_the_functions_are_those_of_the_repository_and_those_that_doctor_looks_for() -> None:
    block = text_of("functions.tf").split("functions = merge(")[1].split("\n  )\n")[0]
    made = set(re.findall(r"^ +([a-z-]+) += \{ timeout", block, re.MULTILINE))
    assert made == set(inventory.FUNCTIONS)
    assert {name.replace("-", "_") for name in made} == {
        path.parent.name for path in ROOT.glob("functions/*/main.py")
    }
    assert f"{{ {permissions.EXTERNAL} = {{ timeout" in block


def test_what_doctor_names_is_named_so_by_terraform() -> None:
    whole = "\n".join(path.read_text() for path in sorted(MODULE.glob("*.tf")))
    for name in (
        'substr(sha256(each.key), 0, 12)}"',  # a trigger
        '"${var.name}_sweep"',
        '"${var.name}-${each.key}"',  # a schedule, a function
        '"${var.project}-${var.name}-${each.key}"',  # a bucket
        'dead = "run-events-dead"',
        f'value     = "{inventory.OBJECT_FINALIZED}"',
    ):
        assert name in whole
    for who, agent in permissions.AGENTS.items():
        address = agent.replace("{number}", "${data.google_project.this.number}")
        assert re.search(rf'"{who}" += "serviceAccount:{re.escape(address)}"', whole)


def test_what_sources_read_is_told_by_doctor_as_terraform_grants_it() -> None:
    folder = MODULE / "tests" / "reads"
    store = MemoryObjectStore()
    for path in sorted(folder.glob("*/*.yaml")):
        store.create(path.relative_to(folder).as_posix(), path.read_bytes())
    sources = [load_source(store, path.stem) for path in sorted(folder.glob("sources/*.yaml"))]
    assert len(sources) == 9
    granted = (MODULE / "tests" / "policy.tftest.hcl").read_text()
    for resource, fact, found in (
        ("google_bigquery_dataset_iam_member", "dataset_id", reads.datasets_read(sources, "my-project")),
        ("google_storage_bucket_iam_member", "bucket", reads.buckets_read(sources)),
    ):
        expected = re.search(rf"for m in {resource}\.source : m\.{fact}\]\) == toset\(\[(.*?)\]\)", granted)
        assert expected is not None
        assert found == set(re.findall(r'"([^"]+)"', expected[1]))
    triggers = re.search(r'c\.attribute == "bucket"\]\)\]\) == toset\(\[(.*?)\]\)', granted)
    assert triggers is not None
    assert reads.event_buckets(sources) == set(re.findall(r'"([^"]+)"', triggers[1]))
    assert reads.billed_here(sources, "my-project")
    assert not reads.billed_here(
        [each for each in sources if each.source_id in ("stations", "keyed")], "my-project"
    )


def test_the_history_is_made_as_the_code_makes_it() -> None:
    text = text_of("bigquery.tf")
    made = {
        name: tuple(re.findall(r'"(\w+)"', keys))
        for name, keys in re.findall(r"^ +(etl_\w+) += \{ clustering = \[(.*?)\]", text, re.MULTILINE)
    }
    assert made == {stream.table: stream.clustering for stream in STREAMS}
    assert {stream.partition_field for stream in STREAMS} == set(re.findall(r'field = "(\w+)"', text))
    listed = re.search(r"toset\(\[(.*?)\]\)", text)
    assert listed is not None
    assert tuple(re.findall(r'"(\w+)"', listed[1])) == VIEWS


def test_the_events_environment_is_what_the_settings_read() -> None:
    given = set(re.findall(r"^ +(ETL_\w+) +=", text_of("arrivals.tf"), re.MULTILINE))
    given |= set(re.findall(r'key +?= "(ETL_\w+)"', text_of("functions.tf")))
    read = set(
        re.findall(r'"(ETL_\w+)"', (ROOT / "src" / "etl_runner" / "events" / "settings.py").read_text())
    )
    assert given == {"ETL_SNS_TOPICS", "ETL_ENTRA_TENANT", "ETL_ENTRA_AUDIENCE", "ETL_EVENT_KEYS"}
    assert given <= read


def test_a_schedule_calls_the_executions_api_as_its_discovery_document_says() -> None:
    documents = files("googleapiclient") / "discovery_cache" / "documents"
    api = json.loads((documents / "workflowexecutions.v1.json").read_text())
    create = api["resources"]["projects"]["resources"]["locations"]["resources"]["workflows"]["resources"]
    method = create["executions"]["methods"]["create"]
    uri = re.search(r'uri +.*?"(.*)"', text_of("schedules.tf"))
    assert uri is not None
    workflow = "${google_workflows_workflow.this.id}"
    assert uri[1] == api["rootUrl"] + method["path"].replace("{+parent}", workflow)
    assert f'http_method = "{method["httpMethod"]}"' in text_of("schedules.tf")
    assert api["schemas"][method["request"]["$ref"]]["properties"]["argument"]["type"] == "string"
    scope = re.search(r'scope +.*?"(.*)"', text_of("schedules.tf"))
    assert scope is not None
    assert scope[1] in method["scopes"]
