"""What the command's exit codes mean. Scripts rely on them: a number never changes its meaning."""

from __future__ import annotations

from enum import IntEnum

from etl_runner.errors import ConfigError, EtlError, RetryableError


class Exit(IntEnum):
    """The exit codes of ``etl-runner``."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    SKIPPED = 4
    RETRY = 5
    BLOCKED = 6
    BUG = 70
    INTERRUPTED = 130


MEANING: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "the run failed; its receipt says why",
    Exit.USAGE: "the command line is wrong",
    Exit.CONFIGURATION: "a document or a setting is wrong; every problem is listed",
    Exit.SKIPPED: "another run of the source holds the slot; who and until when is said",
    Exit.RETRY: "not reachable or busy; the same command can succeed later",
    Exit.BLOCKED: "a person is needed: the source is paused, a permission or an object is missing",
    Exit.BUG: "an error nobody foresaw; please report it (ETL_TRACEBACK=1 shows where)",
    Exit.INTERRUPTED: "interrupted; a run that was started goes on",
}


def exit_of(error: EtlError) -> Exit:
    """The exit code of a command that ended with this error."""
    if isinstance(error, ConfigError):
        return Exit.CONFIGURATION
    if isinstance(error, RetryableError):
        return Exit.RETRY
    return Exit.BLOCKED


def table() -> str:
    """All codes and meanings, one a line, for ``--help``."""
    return "\n".join(f"* {code.value}: {MEANING[code]}" for code in Exit)
