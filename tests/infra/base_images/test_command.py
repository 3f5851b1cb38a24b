"""python -m tools.base_images, make pin-images and make image: what they write, say and end with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.base_images.registry_server import Registry, index_of, registry, with_tokens
from tools.base_images.__main__ import DOCKERFILE, ROOT, main
from tools.base_images.dockerfile import uses
from tools.base_images.registry import Registries


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("NO_PROXY", "*")
    with registry() as started:
        yield started


@pytest.fixture
def file(tmp_path: Path, server: Registry) -> Path:
    written = tmp_path / "Dockerfile"
    written.write_text(
        f"FROM {server.host}/base:1 AS one\nFROM {server.host}/base:1\n"
        f"COPY --from={server.host}/tool:2 /a /a\n"
    )
    written.chmod(0o640)
    return written


def told(file: Path, *options: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and the object of --json."""
    code = main([str(file), "--json", *options], Registries(sleep=lambda _: None))
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert answer["exit_code"] == code
    return code, answer


def test_every_image_gets_its_digest_and_the_second_time_nobody_is_asked(
    server: Registry, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, tool = server.add("base:1"), server.add("tool:2")
    with_tokens(server)
    before = file.read_text()
    assert main([str(file), "--check"]) == 1
    assert "has no digest" in capsys.readouterr().err
    assert (file.read_text(), server.seen) == (before, [])

    assert main([str(file)]) == 0
    out = capsys.readouterr().out
    assert f"Dockerfile:3: {server.host}/tool:2\n  -> {server.host}/tool:2@{tool} (linux/amd64" in out
    after = before.replace("/base:1", f"/base:1@{base}").replace("/tool:2", f"/tool:2@{tool}")
    assert file.read_text() == after
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in file.parent.iterdir()] == ["Dockerfile"]
    assert server.asked().count("GET base") == 1, "an image that is named twice is looked up once"

    server.seen.clear()
    assert main([str(file), "--check"]) == 0
    assert main([str(file)]) == 0
    assert (file.read_text(), server.seen) == (after, [])


def test_a_tag_that_moved_is_followed_only_when_told_to(
    server: Registry, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, tool = server.add("base:1"), server.add("tool:2")
    assert told(file, capsys=capsys)[0] == 0
    new = server.add("base:1", index_of("moved"))
    code, answer = told(file, capsys=capsys)
    assert (code, answer["written"], {each["state"] for each in answer["images"]}) == (0, False, {"kept"})
    code, answer = told(file, "--update", capsys=capsys)
    assert [each["state"] for each in answer["images"]] == ["updated", "updated", "unchanged"]
    assert answer["images"][0]["old"].endswith(old)
    assert answer["images"][0]["new"].endswith(f"base:1@{new}")
    assert [use.image.digest for use in uses(file.read_text())] == [new, new, tool]


def test_all_or_nothing_is_written_and_every_fault_is_told(
    server: Registry, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add("base:1")
    before = file.read_text()
    code, answer = told(file, capsys=capsys)
    assert (code, answer["written"], file.read_text()) == (3, False, before)
    assert [each["state"] for each in answer["images"]] == ["pinned", "pinned", "failed"]
    assert "404" in answer["images"][2]["error"]
    assert main([str(file)], Registries(sleep=lambda _: None)) == 3
    assert f"{server.host}/tool:2: {server.host} has no such image or tag" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["FROM a:${TAG}\n", None])
def test_a_file_that_cannot_be_pinned_is_refused(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "Dockerfile"
    if content is not None:
        file.write_text(content)
    code, answer = told(file, capsys=capsys)
    assert code == 2
    assert str(file) in answer["message"]


def test_help_has_an_example_and_the_exit_codes() -> None:
    command = [sys.executable, "-m", "tools.base_images", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for word in ("--check", "--update", "--json", "example:", "exit codes:", "FROM python:3.11"):
        assert word in shown


def test_the_runner_images_dockerfile_can_be_pinned() -> None:
    found = uses(DOCKERFILE.read_text())
    assert [use.image.name for use in found] == [
        "docker/dockerfile",
        "ghcr.io/astral-sh/uv",
        "apache/beam_python3.11_sdk",
        "gcr.io/dataflow-templates-base/python311-template-launcher-base",
        "python",
        "python",
    ]


class Tree:
    """A folder with the Makefile, a Dockerfile of its own, and a docker that notes how it is called."""

    def __init__(self, folder: Path) -> None:
        self._tree = folder / "tree"
        self.file = self._tree / "runner_image" / "Dockerfile"
        self.file.parent.mkdir(parents=True)
        python = self._tree / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        # Not a link: Python would look for its environment beside the link.
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        shutil.copy(ROOT / "Makefile", self._tree)
        shutil.copytree(ROOT / "tools" / "base_images", self._tree / "tools" / "base_images")
        (self._tree / "tools" / "setup.py").write_text("")
        docker = folder / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text('#!/bin/sh\necho "docker $*"\n')
        for program in (python, docker):
            program.chmod(0o755)
        self._path = f"{docker.parent}:{os.environ['PATH']}"

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": self._path, "NO_PROXY": "*"}
        return subprocess.run(
            ["make", *arguments], cwd=self._tree, env=environ, capture_output=True, text=True, check=False
        )


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_make_image_builds_only_with_digests_or_when_told_otherwise(server: Registry, tree: Tree) -> None:
    written = f"FROM {server.host}/base:1\n"
    tree.file.write_text(written)
    refused = tree.make("image")
    assert refused.returncode != 0
    assert "docker build" not in refused.stdout
    assert f"{server.host}/base:1: {server.host} has no such image or tag" in refused.stderr
    assert "image: not built" in refused.stderr
    assert "UNPINNED=1" in refused.stderr
    assert tree.file.read_text() == written

    otherwise = tree.make("image", "UNPINNED=1", "IMAGE=r/i:1")
    assert otherwise.returncode == 0, otherwise.stderr
    assert "docker build -f runner_image/Dockerfile -t r/i:1 ." in otherwise.stdout
    assert tree.file.read_text() == written

    digest = server.add("base:1")
    built = tree.make("image")
    assert built.returncode == 0, built.stderr
    assert f"-> {server.host}/base:1@{digest}" in built.stdout
    assert built.stdout.index("->") < built.stdout.index("docker build -f")
    assert tree.file.read_text() == f"FROM {server.host}/base:1@{digest}\n"


def test_make_pin_images_takes_arguments(server: Registry, tree: Tree) -> None:
    tree.file.write_text(f"FROM {server.host}/base:1\n")
    checked = tree.make("pin-images", "PIN_ARGS=--check")
    assert checked.returncode != 0
    assert "has no digest" in checked.stderr
