"""Limits of the service ("Quotas and limits", Workflows; sizes in bytes, times in seconds)."""

from __future__ import annotations

from typing import Final

SOURCE_BYTES: Final = 128 * 1024
"""A definition's source text."""
EXPRESSION_CHARACTERS: Final = 400
"""One ``${...}``."""
ASSIGNMENTS: Final = 50
"""Assignments of one assign step."""
CONDITIONS: Final = 50
"""Conditions of one switch."""
BRANCHES: Final = 10
"""Branches of one parallel step."""
CONCURRENCY: Final = 20
"""Branches and iterations of one execution that run at the same time."""
PARALLEL_DEPTH: Final = 2
"""Parallel steps inside one another."""
CALL_DEPTH: Final = 20
"""Subworkflows that wait for one another."""
STEPS: Final = 100_000
"""Steps of one execution, each poll of a long-running operation included."""
VARIABLES_BYTES: Final = 512 * 1024
"""Variables, arguments and events of one execution together."""
STRING_BYTES: Final = 256 * 1024
"""One string."""
RESPONSE_BYTES: Final = 2 * 1024 * 1024
"""One HTTP response."""
ARGUMENT_BYTES: Final = 32 * 1024
"""The argument of an execution."""
HTTP_TIMEOUT: Final = 1800
"""Longest time that an HTTP step may wait."""
HTTP_DEFAULT_TIMEOUT: Final = 300
CONNECTOR_DEFAULT_TIMEOUT: Final = 1800
CONNECTOR_TIMEOUT: Final = 31_536_000
"""Longest time that a connector may wait for a long-running operation (one year)."""
