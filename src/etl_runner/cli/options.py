"""The options that every command has, and the wrapper that turns errors into messages and exit codes."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from etl_runner.cli.exits import Exit, exit_of
from etl_runner.cli.output import Output
from etl_runner.errors import EtlError, PermanentError, RetryableError

AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="Deployment to speak to, as KEY=VALUE lines [default: environment].",
    ),
]
Local = Annotated[bool, typer.Option("--local", help="Speak to the local topology (.local/settings.env).")]

P = ParamSpec("P")
R = TypeVar("R")


def reporting(command: Callable[P, R]) -> Callable[P, R]:
    """Let a command end with a message and an exit code instead of a traceback."""
    signature = inspect.signature(command)

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        output = Output(bool(signature.bind(*args, **kwargs).arguments.get("as_json", False)))
        try:
            return command(*args, **kwargs)
        except EtlError as error:
            output.failure(error, exit_of(error))
            raise typer.Exit(exit_of(error)) from error
        except KeyboardInterrupt as error:
            output.say("interrupted; a run that was started goes on, `etl-runner status` shows it")
            raise typer.Exit(Exit.INTERRUPTED) from error
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            if os.environ.get("ETL_TRACEBACK"):
                raise
            known = _of_google(error)
            if known is not None:
                output.failure(known, exit_of(known))
                raise typer.Exit(exit_of(known)) from error
            output.failure(RuntimeError(f"unforeseen {type(error).__name__}: {error}"), Exit.BUG)
            raise typer.Exit(Exit.BUG) from error

    return wrapped


def _of_google(error: Exception) -> EtlError | None:
    """A Google client's own error in the project's words; None for any other error."""
    if not type(error).__module__.startswith("google."):
        return None
    # Google's libraries are loaded already then; commands that need none start without them.
    from google.auth.exceptions import DefaultCredentialsError

    from etl_runner.gcp.faults import retryable

    if isinstance(error, DefaultCredentialsError):
        return PermanentError(
            "no Google credentials: run `gcloud auth application-default login`, or use --local for the "
            "topology on this machine"
        )
    if retryable(error):
        return RetryableError(f"not reachable, or busy: {error}")
    return PermanentError(f"refused: {error}")
