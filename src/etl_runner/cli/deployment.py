"""The deployment that a command speaks to."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from etl_runner.cli.execution import Executions, WorkflowExecutions
from etl_runner.errors import ConfigError, Problem
from etl_runner.settings import Settings
from etl_runner.state.objects import ObjectStore

if TYPE_CHECKING:
    import typer

    from etl_runner.cancel import Engines
    from etl_runner.commit.finalize import Finalizer
    from etl_runner.config.resolved import ResolvedSource
    from etl_runner.config.secrets import SecretResolver
    from etl_runner.gcp.jobs import GcpBigQueryJobs
    from etl_runner.history.drain import Target
    from etl_runner.history.history import History
    from etl_runner.planning.planner import Planner
    from etl_runner.rejects.service import Rejects
    from etl_runner.sources.base import Source
    from etl_runner.sources.files.store import FileStore

LOCAL_SETTINGS = Path(".local/settings.env")


class Deployment(Protocol):
    """What commands read, and the one thing that they start."""

    @property
    def settings(self) -> Settings:
        """Names, limits, endpoints."""

    @property
    def secrets(self) -> SecretResolver:
        """Where references to secrets are resolved."""

    @property
    def config(self) -> ObjectStore:
        """The config bucket."""

    @property
    def state(self) -> ObjectStore:
        """The state bucket."""

    @property
    def staging(self) -> ObjectStore:
        """The staging bucket."""

    @property
    def executions(self) -> Executions:
        """The workflow's executions."""

    @property
    def engines(self) -> Engines:
        """What extracts."""

    def open_files(self, resolved: ResolvedSource) -> FileStore:
        """The bucket of a source of files."""

    def finalizer(self, source_id: str) -> Finalizer:
        """The committing steps of a source."""

    @property
    def history(self) -> History:
        """The run history in BigQuery."""

    @property
    def history_target(self) -> Target:
        """Where the history's tables are."""

    @property
    def jobs(self) -> GcpBigQueryJobs:
        """BigQuery jobs and tables."""

    def rejects(self, source_id: str) -> Rejects:
        """The rejected rows of a source."""

    def planner(self) -> Planner:
        """Makes plans and writes none."""

    def open_source(self, resolved: ResolvedSource) -> Source:
        """The source type's own code for a document."""


def open_deployment(context: typer.Context, file: Path | None, local: bool) -> Deployment:
    """The deployment that the command line names; one that the caller put into ``context.obj`` wins.

    Raises:
        ConfigError: the settings file is missing, or a setting is.
    """
    if context.obj is not None:
        given: Deployment = context.obj
        return given
    return cloud_deployment(read_settings(file, local))


def cloud_deployment(settings: Settings) -> Deployment:
    """The deployment behind the settings, through Google's clients."""
    # Imported here: a command that needs no cloud (--help, validate, local) starts without its libraries.
    from etl_runner.gcp import clients
    from etl_runner.gcp.deployment import Deployment as Parts

    class WithWorkflow(Parts):
        @cached_property
        def executions(self) -> Executions:
            return WorkflowExecutions(self.settings, lambda: clients.executions_client(self.settings))

    return WithWorkflow(settings)


def read_settings(file: Path | None, local: bool) -> Settings:
    """The settings of ``--settings`` or ``--local``, else of the environment.

    The variables of a file are put into the environment too: the Pub/Sub client looks there for its
    emulator, and so does a source document for credentials named by ``env``.
    """
    if local and file is None:
        file = LOCAL_SETTINGS
        if not file.exists():
            raise _problem(str(file), "there is no local topology here: `etl-runner local up` starts it")
    if file is not None:
        os.environ.update(read_variables(file))
    try:
        return Settings.from_env()
    except ConfigError as error:
        hint = Problem(
            "", "name the deployment with --settings FILE, or --local for the topology on this machine"
        )
        raise ConfigError(error.document if file is None else str(file), (*error.problems, hint)) from error


def read_variables(file: Path) -> dict[str, str]:
    """The ``KEY=VALUE`` lines of a settings file; ``#`` begins a comment line.

    Raises:
        ConfigError: the file cannot be read, or a line is something else.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _problem(str(file), f"cannot be read: {error}") from error
    variables: dict[str, str] = {}
    problems: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.removeprefix("export ").partition("=")
        if not equals or not key.strip().isidentifier():
            # The text itself may be half of a secret: only its place is told.
            problems.append(Problem("", f"line {number} is not KEY=VALUE", line=number))
            continue
        variables[key.strip()] = value.strip().strip("\"'")
    if problems:
        raise ConfigError(str(file), tuple(problems))
    return variables


def _problem(subject: str, message: str) -> ConfigError:
    return ConfigError(subject, (Problem("", message),))
