"""Each check of ``make infra`` passes on the tree as it is, and finds a planted fault, with file and line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.infra import dockerfile, flex_template, hcl_check, terraform, workflow
from tools.infra.__main__ import main
from tools.infra.modules import AWS, AZURE, GOOGLE, MODULES, ROOT, Module
from tools.infra.report import Problem, Result

needs_terraform = pytest.mark.skipif(
    terraform.find_terraform() is None, reason="no terraform: *.tf are checked against the schema only"
)

GRANTS = "src/etl_runner/doctor/permissions.yaml"
Plant = Callable[[str, str, str], None]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the checks read."""
    return copy_of(tmp_path)


@pytest.fixture
def plant(tree: Path) -> Plant:
    """Replace a text that a file of the tree has exactly once."""
    return lambda file, old, new: replace_once(tree, file, old, new)


def copy_of(target: Path) -> Path:
    for folder in ("infra", "functions", "workflows", "runner_image"):
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    # A file stands for the package, one for what no archive holds: names and contents are another test's.
    (target / "src" / "etl_runner").mkdir(parents=True)
    (target / "src" / "etl_runner" / "settings.py").touch()
    (target / "src" / "etl_runner" / "cli").mkdir()
    (target / "src" / "etl_runner" / "cli" / "main.py").touch()
    for path in (each for ending in ("yaml", "json", "sql") for each in (ROOT / "src").rglob(f"*.{ending}")):
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return target


def replace_once(tree: Path, file: str, old: str, new: str) -> None:
    text = (tree / file).read_text()
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
    (tree / file).write_text(text.replace(old, new))


def line_of(tree: Path, file: str, text: str) -> int:
    return next(n for n, line in enumerate((tree / file).read_text().splitlines(), 1) if text in line)


def problems(results: list[Result]) -> list[Problem]:
    return [problem for result in results for problem in result.problems]


def found(tree: Path, results: list[Result], file: str, near: str, message: str) -> None:
    """One of the problems is in the file, at the line with ``near``, and says ``message``."""
    shown = [problem.show(tree) for problem in problems(results)]
    at = f"{file}:{line_of(tree, file, near)}: "
    assert any(each.startswith(at) and message in each for each in shown), (at, message, shown)


def schema_of(tree: Path, module: Module = GOOGLE) -> list[Result]:
    return hcl_check.checks(module.folder(tree), module.schemas)


def terraform_of(tree: Path, module: Module = GOOGLE) -> list[Result]:
    return terraform.checks(tree, module.folder(tree), module.schemas)


def workflow_of(tree: Path) -> list[Result]:
    return workflow.checks(tree / "workflows" / "etl.yaml")


def test_the_tree_has_no_problem_for_the_checks_without_terraform() -> None:
    assert [problems(schema_of(ROOT, module)) for module in MODULES] == [[], [], []]
    assert problems(workflow_of(ROOT)) == []
    assert problems(flex_template.checks(ROOT / "runner_image" / "template.json")) == []
    hadolint = dockerfile.checks(ROOT / "runner_image" / "Dockerfile")
    assert problems(hadolint) == []
    assert hadolint[0].skipped is None


@needs_terraform
def test_the_tree_has_no_problem_for_terraform() -> None:
    results = terraform_of(ROOT)
    assert problems(results) == []
    assert [result.name for result in results] == ["terraform fmt", "terraform validate", "terraform test"]
    assert results[-1].detail == "terraform, Success! 12 passed, 0 failed."


@needs_terraform
@pytest.mark.parametrize(("module", "tests"), [(AWS, 2), (AZURE, 3)], ids=["aws", "azure"])
def test_the_modules_of_other_clouds_have_no_problem(module: Module, tests: int) -> None:
    results = terraform_of(ROOT, module)
    assert problems(results) == []
    assert results[-1].detail.endswith(f"Success! {tests} passed, 0 failed.")


def test_without_terraform_the_skip_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRAFORM", "no-such-terraform")
    results = terraform_of(ROOT)
    assert len(results) == 3
    assert all(result.lines(ROOT)[0].startswith("SKIPPED  terraform") for result in results)


def test_the_command_fails_with_file_and_line_also_where_there_is_no_terraform(
    tree: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERRAFORM", "no-such-terraform")
    assert main(tree) == 0
    assert capsys.readouterr().out.count("SKIPPED  terraform") == 3 * len(MODULES)
    plant(BUCKETS, "uniform_bucket_level_access = true", "uniform_bucket_level_acess = true")
    plant(ETL, "                  name: ${job}\n", "                  job: ${job}\n")
    assert main(tree) == 1
    told = capsys.readouterr().out
    for file, near in ((BUCKETS, "uniform_bucket_level_acess"), (ETL, "job: ${job}")):
        assert f"  {file}:{line_of(tree, file, near)}: " in told


# -- faults in *.tf ---------------------------------------------------------------------------------------

BUCKETS = "infra/terraform/storage.tf"
SCHEDULES = "infra/terraform/schedules.tf"
RUNNER = "infra/terraform/runner.tf"

# file, what is replaced, by what, where the problem is, what the schema alone says, what terraform says
FAULTS = {
    "misspelt argument": (
        *(BUCKETS, "uniform_bucket_level_access = true", "uniform_bucket_level_acess = true"),
        *("uniform_bucket_level_acess", "did you mean 'uniform_bucket_level_access'", "Unsupported argument"),
    ),
    "missing argument": (
        *("infra/terraform/registry.tf", '  format        = "DOCKER"\n', ""),
        *('resource "google_artifact', "the argument 'format' is missing", "Missing required argument"),
    ),
    "missing block": (
        "infra/terraform/secrets.tf",
        """      content {
        replicas {
          location = var.region
          customer_managed_encryption {
            kms_key_name = user_managed.value
          }
        }
      }
""",
        "      content { # nothing\n      }\n",
        *("content { # nothing", "the block 'replicas' is missing", "Insufficient replicas blocks"),
    ),
    "misspelt block": (
        *("infra/terraform/monitoring.tf", 'dynamic "conditions" {', 'dynamic "condition" {'),
        *(
            'dynamic "condition" {',
            "no block 'condition', did you mean 'conditions'",
            "Unsupported block type",
        ),
    ),
    "argument of the second block of a name": (
        *(
            BUCKETS,
            '"AbortIncompleteMultipartUpload"\n',
            '"AbortIncompleteMultipartUpload"\n        kind = "x"\n',
        ),
        *('kind = "x"', "no argument 'kind'", "Unsupported argument"),
    ),
    "argument of a nested block": (
        *(RUNNER, "max_retries     = var", "retries         = var"),
        *("retries         = var", "no argument 'retries'", "Unsupported argument"),
    ),
    "reference to nothing": (
        *(SCHEDULES, "google_workflows_workflow.this.id", "google_workflows_workflow.that.id"),
        *("workflow.that.id", "is declared nowhere", "Reference to undeclared resource"),
    ),
    "reference to a wrong attribute": (
        *(SCHEDULES, "google_workflows_workflow.this.id", "google_workflows_workflow.this.url"),
        *("workflow.this.url", "has no attribute 'url'", "Unsupported attribute"),
    ),
    "unknown type": (
        *(SCHEDULES, 'resource "google_cloud_scheduler_job"', 'resource "google_cloud_schedule_job"'),
        *(
            '"google_cloud_schedule_job"',
            "did you mean 'google_cloud_scheduler_job'",
            "Invalid resource type",
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_the_schema_alone(tree: Path, plant: Plant, fault: str) -> None:
    file, old, new, near, message, _ = FAULTS[fault]
    plant(file, old, new)
    found(tree, schema_of(tree), file, near, message)


@needs_terraform
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_terraform(tree: Path, plant: Plant, fault: str) -> None:
    file, old, new, near, _, message = FAULTS[fault]
    plant(file, old, new)
    found(tree, terraform_of(tree), file, near, message)


def test_a_file_that_is_no_hcl_is_found_with_its_line(tree: Path, plant: Plant) -> None:
    plant(BUCKETS, "force_destroy               = var.destroy_data", "force_destroy = = 1")
    found(tree, schema_of(tree), BUCKETS, "force_destroy = = 1", "is not HCL")


@needs_terraform
def test_a_file_that_is_not_formatted_is_found(tree: Path, plant: Plant) -> None:
    plant(BUCKETS, "    enabled = each.value.versioned", "  enabled =   each.value.versioned")
    formatting = terraform.checks(tree, GOOGLE.folder(tree), GOOGLE.schemas, only_form=True)
    assert [result.name for result in formatting] == ["terraform fmt"]
    assert [problem.path.name for problem in problems(formatting)] == ["storage.tf"]


@needs_terraform
def test_a_value_of_a_wrong_type_is_found(tree: Path, plant: Plant) -> None:
    plant(SCHEDULES, "    retry_count          = 3", '    retry_count          = "three"')
    found(tree, terraform_of(tree), SCHEDULES, "three", "a number is required")


# -- what no provider would refuse: the policies ----------------------------------------------------------

POLICY = "infra/terraform/tests/policy.tftest.hcl"
POLICIES = {
    "public bucket": (
        *(BUCKETS, '"enforced"', '"inherited"'),
        *('b.public_access_prevention == "enforced"', "a bucket is not uniform, or could be made public"),
    ),
    "schedule without identity": (
        *(SCHEDULES, "    oauth_token {\n", "    oidc_token {\n"),
        *("oauth_token[0].service_account_email", "a schedule calls its target without an identity"),
    ),
    "function open to the world": (
        *("infra/terraform/functions.tf", '"ALLOW_INTERNAL_ONLY"', '"ALLOW_ALL"'),
        *("service_config[0].ingress_settings ==", "a function can be reached from outside"),
    ),
    "lifecycle rule over commit records": (
        *(BUCKETS, '["/state.json"]', '["/state.json", ".json"]'),
        *('matches_suffix == tolist(["/state.json"])', "commit records must outlive every rule"),
    ),
    "primitive role": (
        *(GRANTS, "scheduler, role: roles/workflows.invoker", "scheduler, role: roles/editor"),
        *('["roles/owner", "roles/editor", "roles/viewer"]', "grants a primitive role"),
    ),
    "all secrets at once": (
        GRANTS,
        'target: secret, why: "connects to the source"}\n  - {who: plan,',
        'target: project, narrower: x, why: "x"}\n  - {who: plan,',
        'contains(["secret", "key"], g.target)',
        "grants all secrets at once",
    ),
    "grant to everybody": (
        "infra/terraform/iam.tf",
        "part => google_service_account.this[part].member }",
        'part => part == "plan" ? "allUsers" : google_service_account.this[part].member }',
        'startswith(m, "serviceAccount:")',
        "grants something to others than service accounts",
    ),
    "arrivals pushed without identity": (
        "infra/terraform/events.tf",
        """    oidc_token {
      service_account_email = google_service_account.this["events"].email
      audience              = google_cloudfunctions2_function.this["file-arrival"].service_config[0].uri
    }
""",
        "",
        "push_config[0].oidc_token[0].service_account_email",
        "arrivals are pushed without an identity",
    ),
    "deliveries that are not repeated": (
        "infra/terraform/arrivals.tf",
        '  matching_criteria {\n    attribute = "bucket"',
        '  retry_policy {\n    max_attempts = 1\n  }\n\n  matching_criteria {\n    attribute = "bucket"',
        "length(t.retry_policy) == 0",
        "a trigger does not repeat deliveries",
    ),
    "public function that nobody asked for": (
        "infra/terraform/iam.tf",
        'for_each = toset(var.external_events == null ? [] : ["external"])',
        'for_each = toset(["plan"])',
        "length(google_cloud_run_v2_service_iam_member.external) == 0",
        "there is a public function that nobody asked for",
    ),
    "template that nobody may read who plans": (
        *(GRANTS, "{who: plan, when: dataflow, role: roles", "{who: plan, when: external, role: roles"),
        *('if m.name == "code"', "who plans cannot read the template"),
    ),
    "workers that may more than work": (
        *(GRANTS, "roles/dataflow.worker", "roles/storage.admin"),
        *('if g.who == "dataflow"]) && length', "the workers may more in the project"),
    ),
    "workflow that acts as more than the workers": (
        *(GRANTS, "roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator"),
        *('== ["roles/iam.serviceAccountUser"]', "or as more than them"),
    ),
    "dataset that is read with a key": (
        *(
            "infra/terraform/reads.tf",
            '["credentials", "service_account", "credentials_json"]',
            '["service_account"]',
        ),
        *('toset(["sales", "crm"])', "or one that is not read so, or to others"),
    ),
    "sources that their readers may change": (
        *(
            GRANTS,
            "{who: sweep, role: roles/bigquery.dataViewer",
            "{who: sweep, role: roles/bigquery.dataOwner",
        ),
        *('m.role == "roles/bigquery.dataViewer"', "a source may be more than read"),
    ),
    "template of another image": (
        *("infra/terraform/dataflow.tf", "    image    = var.image\n", '    image    = "other:1"\n'),
        *("content).image == var.image", "the template starts another image than the job"),
    ),
    "workers' account that is not the named one": (
        "infra/terraform/iam.tf",
        'dataflow = "serviceAccount:${local.dataflow_named}"',
        'dataflow = "serviceAccount:workers@elsewhere"',
        'local.members["dataflow"] ==',
        "the workers' account is not the one that is named",
    ),
    "service that may not use the key": (
        *("infra/terraform/kms.tf", "    eventarc  =", "    eventarcs ="),
        *("google_kms_crypto_key_iam_member.agent)) == toset", "may not use the key"),
    ),
    "Dataflow without the key": (
        *(
            "infra/terraform/main.tf",
            "ETL_DATAFLOW_KMS_KEY         = var.kms_key",
            "ETL_DATAFLOW_KMS_KEY         = null",
        ),
        *('"ETL_DATAFLOW_KMS_KEY"], null) == var.kms_key', "Dataflow does not encrypt with the key"),
    ),
    "control plane that nobody is told": (
        *(
            "infra/terraform/main.tf",
            "ETL_CONTROL_PLANE_URL = var.control_plane.url",
            'ETL_CONTROL_PLANE_URL = ""',
        ),
        *('environment_variables["ETL_CONTROL_PLANE_URL"] ==', "a function is not told the control plane"),
    ),
    "alert that is gone": (
        *(
            "infra/terraform/monitoring.tf",
            "    rejects_kept = {\n      title",
            "    rejects_lost = {\n      title",
        ),
        *("toset(keys(google_monitoring_alert_policy.this)) ==", "an alert is missing"),
    ),
    "metric that raises no alert": (
        "infra/terraform/monitoring.tf",
        'user/${google_logging_metric.this["rejects_kept"].name}',
        'user/${google_logging_metric.this["runs_mismatching"].name}',
        'google_logging_metric.this["rejects_kept"], google',
        "a metric of rejects, budget or files set aside raises no alert",
    ),
    "log of the public function that nobody counts": (
        *("infra/terraform/monitoring.tf", "(file-arrival|sweep|external)$", "(file-arrival|sweep)$"),
        *('strcontains(m.filter, "external")', "what a function logs is counted by no metric"),
    ),
    "dead letters that are soon gone": (
        *("infra/terraform/events.tf", '"2678400s"', '"86400s"'),
        *('message_retention_duration == "2678400s"', "for no stated time"),
    ),
    "archive with the command in it": (
        *("infra/terraform/functions.tf", "(cli/|doctor/|", "(doctor/|"),
        *('startswith(file, "etl_runner/cli/")', "holds the command, doctor or the Beam pipeline"),
    ),
    "smaller runner": (
        *("infra/terraform/variables.tf", 'optional(string, "8Gi")', 'optional(string, "2Gi")'),
        *('memory = "8Gi"', "the runner's default is 4 CPU and 8 GiB"),
    ),
}


@needs_terraform
@pytest.mark.parametrize("fault", POLICIES)
def test_a_policy_that_is_broken_is_found(broken: tuple[Path, list[Result]], fault: str) -> None:
    _, _, _, near, message = POLICIES[fault]
    found(*broken, POLICY, near, message)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Result]]:
    """A tree with every policy broken: a run of ``terraform test`` lists all that fail."""
    tree = copy_of(tmp_path_factory.mktemp("broken"))
    (tree / "infra" / "terraform" / "tests" / "refusals.tftest.hcl").unlink()
    for file, old, new, _, _ in POLICIES.values():
        replace_once(tree, file, old, new)
    # The scope of a token goes with its kind.
    scope = '      scope                 = "https://www.googleapis.com/auth/cloud-platform"\n'
    replace_once(tree, SCHEDULES, scope, "")
    return tree, terraform_of(tree)


# In the modules of the other clouds: module, file, what is replaced, by what, where, what is said.
ELSEWHERE: dict[str, tuple[Module, str, str, str, str, str]] = {
    "topic open to other accounts": (
        *(AWS, "topic.tf", '{ "aws:SourceAccount" = data.aws_caller_identity.this.account_id }', "{}"),
        *('"aws:SourceAccount"', "a bucket of another account could publish"),
    ),
    "messages without signature": (
        *(AWS, "topic.tf", "raw_message_delivery = false", "raw_message_delivery = true"),
        *("raw_message_delivery", "messages are not signed"),
    ),
    "deliveries without a token": (
        *(
            AZURE,
            "events.tf",
            "active_directory_tenant_id     = var.tenant_id",
            'active_directory_tenant_id = ""',
        ),
        *("active_directory_tenant_id", "deliveries carry no token"),
    ),
    "events of every container": (
        *(AZURE, "events.tf", "containers/${container}/blobs/${prefix}", "containers/"),
        *("string_begins_with", "events of other containers are sent"),
    ),
}


@needs_terraform
@pytest.mark.parametrize("fault", ELSEWHERE)
def test_a_policy_that_is_broken_in_another_cloud_is_found(tree: Path, plant: Plant, fault: str) -> None:
    module, file, old, new, near, message = ELSEWHERE[fault]
    plant(f"{module.path}/{file}", old, new)
    found(tree, terraform_of(tree, module), f"{module.path}/tests/policy.tftest.hcl", near, message)


@pytest.mark.parametrize(
    ("module", "file", "old", "new"),
    [
        (AWS, "notifications.tf", "filter_prefix = each", "prefix = each"),
        (AZURE, "events.tf", "event_time_to_live ", "time_to_live "),
    ],
    ids=["aws", "azure"],
)
def test_the_schema_finds_a_fault_in_another_cloud(
    tree: Path, plant: Plant, module: Module, file: str, old: str, new: str
) -> None:
    plant(f"{module.path}/{file}", old, new)
    found(tree, schema_of(tree, module), f"{module.path}/{file}", new, f"no argument {new.split()[0]!r}")


@needs_terraform
@pytest.mark.parametrize(
    ("sentence", "resource"),
    [
        ("source_type is one of", "document"),
        ("load_type is one of", "document"),
        ("dest_table_name, the destination's table, is missing", "document"),
        ("there is no connections/shopp.yaml", "document"),
        ("password holds the credential itself", "document"),
        ("there is no sources/invoices.yaml", "this"),
        ("cron of invoices has five fields", "this"),
        ("invoices has unknown fields: timezone", "this"),
    ],
)
def test_documents_that_are_wrong_are_refused_with_a_sentence(
    refusals: list[Problem], sentence: str, resource: str
) -> None:
    file = "sources.tf" if resource == "document" else "schedules.tf"
    assert any(problem.path.name == file and sentence in problem.message for problem in refusals)


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> list[Problem]:
    """What is said of the wrong documents when nobody expects them to be refused."""
    root = copy_of(tmp_path_factory.mktemp("refusals"))
    tests = root / "infra" / "terraform" / "tests"
    (tests / "policy.tftest.hcl").unlink()
    text = (tests / "refusals.tftest.hcl").read_text()
    head, _, _ = text.partition('run "wrong_variables"')
    _, name, last = text.partition('run "wrong_documents"')
    expected = (
        "\n  expect_failures = [google_storage_bucket_object.document, google_cloud_scheduler_job.this]\n"
    )
    assert expected in last
    (tests / "refusals.tftest.hcl").write_text(head + name + last.replace(expected, ""))
    return problems(terraform_of(root))


# -- faults in the workflow and the Dockerfile ------------------------------------------------------------

ETL = "workflows/etl.yaml"
CALLS = {
    "argument that does not exist": (
        *("                  name: ${job}\n", "                  job: ${job}\n", "job: ${job}"),
        "takes no argument 'job'",
    ),
    "method that does not exist": ("jobs.run\n", "jobs.start\n", "jobs.start", "has no such method"),
    "service that does not exist": (
        "googleapis.run.v2",
        "googleapis.run.v9",
        "run.v9",
        "there is no API run v9",
    ),
    "field of the body that does not exist": (
        *("taskCount: ${planned.tasks}", "task_count: ${planned.tasks}", "task_count: "),
        "'task_count' was unexpected",
    ),
    "call that waits as long as it likes": (
        *("                    timeout: ${math.max(1,", "                    exit: ${math.max(1,"),
        *("googleapis.run.v2", "has no connector_params.timeout of its own"),
    ),
}


@pytest.mark.parametrize("fault", CALLS)
def test_a_wrong_connector_call_is_found(tree: Path, plant: Plant, fault: str) -> None:
    old, new, near, message = CALLS[fault]
    plant(ETL, old, new)
    found(tree, workflow_of(tree), ETL, near, message)


def test_a_required_argument_of_a_connector_is_asked_for(tree: Path, plant: Plant) -> None:
    plant(ETL, "                  name: ${job}\n", "")
    found(tree, workflow_of(tree), ETL, "googleapis.run.v2", "needs the argument 'name'")


def test_a_step_of_an_unknown_kind_is_found(tree: Path, plant: Plant) -> None:
    plant(ETL, "    - by_status:\n        switch:", "    - by_status:\n        swich:")
    found(tree, workflow_of(tree), ETL, "swich:", "swich")


def test_the_public_schema_is_used_when_it_is_named(
    tree: Path, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = {"type": "object", "properties": {"call": {"type": "string"}}}
    main = {"properties": {"steps": {"items": {"additionalProperties": step}}}}
    public = {"properties": {"main": main, "post": {"properties": {"params": {"maxItems": 3}}}}}
    (tmp_path / "schema.json").write_text(json.dumps(public))
    monkeypatch.setenv(workflow.SCHEMA_VARIABLE, str(tmp_path / "schema.json"))
    assert problems(workflow_of(tree)) == []
    plant(ETL, "params: [url, body, timeout]", "params: [url, body, timeout, more]")
    found(tree, workflow_of(tree), ETL, "params: [url, body, timeout, more]", "post.params")


SYNTAX = {
    "field of a retry": ("          max_retries: 8\n", "          max_attempts: 8\n", "max_attempts: 8"),
    "value of a type": ("          max_retries: 8\n", "          max_retries: [8]\n", "max_retries: [8]"),
    "kind of a token": ("              type: OIDC\n", "              type: JWT\n", "type: JWT"),
}


@pytest.mark.parametrize("fault", SYNTAX)
def test_the_packaged_public_schema_finds_a_fault(tree: Path, plant: Plant, fault: str) -> None:
    old, new, near = SYNTAX[fault]
    plant(ETL, old, new)
    found(tree, [workflow_of(tree)[1]], ETL, near, "post.steps.0.send")


def test_without_the_package_the_skip_of_the_public_schema_is_shown(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "packaged_schema", lambda: None)
    assert workflow_of(tree)[1].skipped is not None


def test_a_rule_of_dockerfiles_that_is_broken_is_found(tree: Path, plant: Plant) -> None:
    file = "runner_image/Dockerfile"
    plant(file, "WORKDIR /app\n", "WORKDIR app\n")
    found(tree, dockerfile.checks(tree / file), file, "WORKDIR app", "DL3000")


@pytest.mark.parametrize(
    ("old", "new", "near", "message"),
    [
        ('"streaming": false', '"streams": false', '"streams"', "'streams' was unexpected"),
        ('"streaming": false', '"streaming": "no"', '"streaming"', "is not of type 'boolean'"),
    ],
    ids=["unknown field", "wrong type"],
)
def test_a_fault_of_the_flex_template_is_found(
    tree: Path, plant: Plant, old: str, new: str, near: str, message: str
) -> None:
    file = "runner_image/template.json"
    plant(file, old, new)
    found(tree, flex_template.checks(tree / file), file, near, message)
