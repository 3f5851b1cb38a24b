"""The globs of ``file_pattern``: one meaning for listings and for events.

``*`` is any text without a slash, ``?`` one character but a slash, ``[abc]``, ``[a-z]`` and ``[!abc]`` one of
(or none of) those, ``**/`` any number of folders, also none, and ``**`` elsewhere any text at all. Everything
else stands for itself. A pattern is matched against the whole name below the connection's prefix, upper and
lower case told apart, as bucket names do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

_SPECIAL = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Glob:
    """A pattern. ``literal`` is the text that every match begins with: what a listing asks for."""

    pattern: str
    literal: str

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The pattern as a regular expression for the whole name; compiled when first needed, since an
        index of events holds thousands of patterns."""
        return re.compile(_translate(self.pattern), re.DOTALL)

    def matches(self, name: str) -> bool:
        """Whether ``name``, below the prefix, is one of the pattern's files."""
        return name.startswith(self.literal) and self.regex.fullmatch(name) is not None


@lru_cache(maxsize=10_000)
def compile_glob(pattern: str) -> Glob:
    """The glob of a pattern; a leading slash means nothing. Every text is a glob: an unclosed bracket is
    itself."""
    pattern = pattern.lstrip("/")
    special = _SPECIAL.search(pattern)
    return Glob(pattern, pattern if special is None else pattern[: special.start()])


def _translate(pattern: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            parts.append("(?:[^/]*/)*")
            at += 3
        elif character == "*":
            end = at
            while end < len(pattern) and pattern[end] == "*":
                end += 1
            parts.append(".*" if end - at > 1 else "[^/]*")
            at = end
        elif character == "?":
            parts.append("[^/]")
            at += 1
        elif character == "[" and (close := _closing(pattern, at)) > 0:
            parts.append(_set(pattern[at + 1 : close]))
            at = close + 1
        else:
            parts.append(re.escape(character))
            at += 1
    return "".join(parts)


def _closing(pattern: str, at: int) -> int:
    """Index of the bracket that closes the set opened at ``at``; -1 when nothing does."""
    start = at + 2 if pattern.startswith("!", at + 1) else at + 1
    # A bracket that comes first is one of the set.
    return pattern.find("]", start + 1)


def _set(inside: str) -> str:
    negated = inside.startswith("!")
    members = inside[1:] if negated else inside
    pieces: list[str] = []
    at = 0
    while at < len(members):
        low = members[at]
        if at + 2 < len(members) and members[at + 1] == "-" and low <= members[at + 2]:
            pieces.append(f"{re.escape(low)}-{re.escape(members[at + 2])}")
            at += 3
        else:
            pieces.append(re.escape(low))
            at += 1
    # A slash separates folders, whatever the set says.
    return f"(?!/)[{'^' if negated else ''}{''.join(pieces)}]"
