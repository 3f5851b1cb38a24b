"""make deploy and make destroy: what they run, in which order, what they say is missing."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tools.deploy import MODULE, ROOT, Command, Machine, commands, external_events, image_tag, main, missing

ENVIRON = {
    "PROJECT": "my-project",
    "REGION": "europe-west1",
    "DATASET": "warehouse",
    "SOURCES": str(MODULE / "example"),
}
IMAGE = "europe-west1-docker.pkg.dev/my-project/etl/runner:0123abc"


class Fake:
    """A machine with everything, that only notes what it is asked to run."""

    def __init__(
        self, environ: dict[str, str], *, lacks: str = "", fails: str = "", login: bool = True
    ) -> None:
        self.ran: list[Command] = []
        self.prepared: list[Command] = []
        """Commands of Python, which come before all others."""
        self._fails = fails
        self.machine = Machine(
            environ, lambda tool: None if tool == lacks else f"/bin/{tool}", self.run, lambda: login
        )

    def run(self, command: Command) -> int:
        if command[1:2] == ["-m"]:
            assert not self.ran
            self.prepared.append(command)
        else:
            self.ran.append(command)
        return 7 if self._fails in command else 0


def words(command: Command) -> str:
    return " ".join([Path(command[0]).name, *command[1:]])


def test_the_registry_is_made_before_the_image_and_the_rest_after_it() -> None:
    fake = Fake(ENVIRON)
    assert main(["deploy"], fake.machine) == 0
    order = [words(command).split(" -var=")[0] for command in fake.ran]
    terraform = f"terraform -chdir={MODULE}"
    assert order[0].startswith("etl-runner validate ")
    assert order[1:4] == [f"{terraform} init -input=false", f"{terraform} apply", order[3]]
    assert order[3].startswith("gcloud auth configure-docker europe-west1-docker.pkg.dev")
    assert order[4].startswith("docker build")
    assert order[5].startswith("docker push europe-west1-docker.pkg.dev/my-project/etl/runner:")
    assert order[6] == f"{terraform} apply"
    assert [word for word in fake.ran[2] if word.startswith("-target=")] == [
        "-target=google_project_service.this",
        "-target=google_artifact_registry_repository.this",
    ]
    assert not any(word.startswith("-target=") for word in fake.ran[6])


def test_the_module_gets_its_five_variables_and_the_image_that_was_pushed() -> None:
    fake = Fake(ENVIRON)
    main(["deploy"], fake.machine)
    pushed = fake.ran[5][-1]
    assert {
        "-var=project=my-project",
        "-var=region=europe-west1",
        "-var=dataset=warehouse",
        f"-var=image={pushed}",
        f"-var=sources_folder={MODULE / 'example'}",
    } <= set(fake.ran[6])


def test_an_image_that_is_given_is_not_built() -> None:
    fake = Fake({**ENVIRON, "IMAGE": IMAGE}, lacks="docker")
    assert main(["deploy"], fake.machine) == 0
    assert len(fake.ran) == 3
    assert f"-var=image={IMAGE}" in fake.ran[-1]


def test_it_stops_at_the_first_command_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake(ENVIRON, fails="push")
    assert main(["deploy"], fake.machine) == 7
    assert fake.ran[-1][:2] == ["docker", "push"]
    assert "ended with 7" in capsys.readouterr().err


def test_base_images_are_pinned_before_the_tag_is_made_of_the_content() -> None:
    fake = Fake(ENVIRON)
    assert main(["deploy"], fake.machine, lambda: f"tag{len(fake.prepared)}") == 0
    assert [command[1:] for command in fake.prepared] == [["-m", "tools.base_images"]]
    assert fake.ran[5][-1].endswith(":tag1")


@pytest.mark.parametrize("more", [{"IMAGE": IMAGE}, {"UNPINNED": "1"}])
def test_nothing_is_pinned_where_nothing_is_built_or_tags_are_to_be_taken(more: dict[str, str]) -> None:
    fake = Fake({**ENVIRON, **more})
    assert main(["deploy"], fake.machine) == 0
    assert fake.prepared == []


def test_without_digests_nothing_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake(ENVIRON, fails="tools.base_images")
    assert main(["deploy"], fake.machine) == 7
    assert fake.ran == []
    assert "-m tools.base_images` ended with 7" in capsys.readouterr().err


BELIEVED = {
    "SNS_TOPICS": "arn:aws:sns:eu-west-1:111122223333:a, arn:aws:sns:eu-west-1:111122223333:b",
    "AZURE_TENANT": "11112222-0000-0000-0000-000000000000",
    "AZURE_AUDIENCE": "api://etl",
    "EVENT_KEY": "event-key",
}


def test_events_of_other_clouds_are_told_to_the_module_and_their_address_is_shown() -> None:
    fake = Fake({**ENVIRON, **BELIEVED, "IMAGE": IMAGE})
    assert main(["deploy"], fake.machine) == 0
    (given,) = [word for word in fake.ran[-2] if word.startswith("-var=external_events=")]
    assert json.loads(given.removeprefix("-var=external_events=")) == {
        "sns_topics": ["arn:aws:sns:eu-west-1:111122223333:a", "arn:aws:sns:eu-west-1:111122223333:b"],
        "azure_tenant": "11112222-0000-0000-0000-000000000000",
        "azure_audience": "api://etl",
        "key_secret": "event-key",
    }
    assert fake.ran[-1][-2:] == ["output", "external_events"]
    assert any(
        word.startswith("-var=external_events=") for word in commands({**ENVIRON, **BELIEVED}, "destroy")[-1]
    )


def test_without_events_of_other_clouds_the_module_is_told_nothing_of_them() -> None:
    assert not [
        word for command in commands(ENVIRON, "deploy") for word in command if "external_events" in word
    ]


def test_a_tenant_without_an_audience_is_named() -> None:
    (lacks,) = missing(Fake({**ENVIRON, "AZURE_TENANT": "t"}).machine, "deploy")
    assert lacks.startswith("AZURE_TENANT and AZURE_AUDIENCE")


def test_terraform_understands_the_variable_as_it_is_given() -> None:
    declared = re.search(
        r'variable "external_events" \{.*?object\(\{(.*?)\}\)', (MODULE / "variables.tf").read_text(), re.S
    )
    assert declared is not None
    assert set(external_events(BELIEVED)) == set(re.findall(r"(\w+) += optional", declared[1]))


@pytest.mark.parametrize("what", ["deploy", "destroy"])
def test_with_nothing_there_nothing_is_run_and_all_that_lacks_is_said(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake({}, lacks="terraform", login=False)
    assert main([what], fake.machine) == 2
    assert fake.ran == []
    told = capsys.readouterr().out
    for each in ("PROJECT", "REGION", "DATASET", "SOURCES", "terraform: 1.11", "credentials: `gcloud auth"):
        assert f"  - {each}" in told
    assert f"terraform -chdir={MODULE}" in told


@pytest.mark.parametrize("tool", ["terraform", "docker", "gcloud"])
def test_each_tool_that_lacks_is_named(tool: str) -> None:
    lacks = missing(Fake(ENVIRON, lacks=tool).machine, "deploy")
    assert [each.split(":")[0] for each in lacks] == [tool]


def test_a_folder_without_sources_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    environ = {**ENVIRON, "SOURCES": str(tmp_path), "TFVARS": str(tmp_path / "no.tfvars")}
    lacks = missing(Fake(environ).machine, "destroy")
    assert [each.split(":")[0] for each in lacks] == ["SOURCES", "TFVARS"]


def test_data_is_destroyed_only_when_told_to() -> None:
    kept = commands(ENVIRON, "destroy")
    assert [command[2] for command in kept] == ["init", "destroy"]
    gone = commands({**ENVIRON, "DATA": "1"}, "destroy")
    assert [command[2] for command in gone] == ["init", "apply", "destroy"]
    assert "-var=destroy_data=true" in gone[1]


def test_terraform_asks_unless_told_not_to(tmp_path: Path) -> None:
    assert not any("-auto-approve" in command for command in commands(ENVIRON, "deploy"))
    more = tmp_path / "my.tfvars"
    silent = commands({**ENVIRON, "APPROVE": "1", "TFVARS": str(more)}, "deploy")[-1]
    assert {"-auto-approve", f"-var-file={more}"} <= set(silent)


def test_the_tag_follows_the_image_and_nothing_else(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "uv.lock", "runner_image/Dockerfile", "src/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    first = image_tag(tmp_path)
    (tmp_path / "src" / "__pycache__").mkdir()
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_text("x")
    (tmp_path / "README.md").write_text("x")
    assert image_tag(tmp_path) == first
    (tmp_path / "src" / "a.py").write_text("changed")
    assert image_tag(tmp_path) != first


def test_the_image_holds_what_the_tag_is_made_of() -> None:
    copied = {
        word.removeprefix("./").split("/")[0]
        for line in (ROOT / "runner_image" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert copied == {"pyproject.toml", "uv.lock", "src", "runner_image"}


@pytest.mark.parametrize("target", ["deploy", "destroy"])
def test_make_has_the_targets(target: str) -> None:
    told = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"-m tools.deploy {target}" in told
