"""The images that a Dockerfile takes from registries, with their places in its text.

The rules are those of https://docs.docker.com/reference/dockerfile/: images are named by FROM, by
``COPY --from=`` and ``RUN --mount=...,from=`` where the name is no stage, and by the directive ``# syntax=``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools.base_images.reference import Reference, parse

_DIRECTIVE = re.compile(r"#[ \t]*(syntax|escape|check)[ \t]*=[ \t]*(\S+)[ \t]*$", re.IGNORECASE)
_HEREDOC = re.compile(r"(?:^|\s)\d*<<-?([\"']?)([A-Za-z_][\w.-]*)\1")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_FLAG_FROM = re.compile(r"--from=(.+)")
_MOUNT_FROM = re.compile(r"--mount=(?:\S*,)?from=([^,\s]+)")


class DockerfileError(ValueError):
    """A line that names an image in a way that no digest can be written to. The message names the line."""


@dataclass(frozen=True)
class Use:
    """A place that names an image of a registry."""

    line: int
    """From 1."""
    start: int
    end: int
    """The image's characters in the text."""
    image: Reference


@dataclass(frozen=True)
class _Word:
    text: str
    places: tuple[int, ...]
    """Of each character in the file's text: a line may go on behind a backslash."""


def uses(text: str) -> list[Use]:
    """All places, in the order of the text; a place that two lines refer to (an ARG) is there once.

    Raises:
        DockerfileError: an image is named with a variable that no single ARG before the first FROM gives, or
            by what is no image's name.
    """
    found: dict[int, Use] = {}
    directives, start = _directives(text)
    for name, word in directives:
        if name == "syntax":
            found[word.places[0]] = _use(text, word)
    escape = next((word.text for name, word in directives if name == "escape"), "\\")
    stages: set[str] = set()
    arguments: dict[str, _Word] = {}
    for line in _lines(text, start, escape):
        keyword, rest = line[0].text.upper(), line[1:]
        if keyword == "ONBUILD" and rest:
            keyword, rest = rest[0].text.upper(), rest[1:]
        if keyword == "ARG" and not stages:
            arguments |= {name: value for name, value in map(_argument, rest) if value is not None}
        elif keyword == "FROM":
            names = [word for word in rest if not word.text.startswith("--")]
            if not names:
                raise DockerfileError(f"line {_number(text, line[0])}: FROM names no image")
            for use in _named(text, names[0], stages, arguments):
                found.setdefault(use.start, use)
            # A stage without a name counts as well: ARGs behind it are its own.
            stages.add(names[2].text.lower() if len(names) > 2 else str(len(stages)))
        else:
            for word in _taken(keyword, rest):
                for use in _named(text, word, stages, {}):
                    found.setdefault(use.start, use)
    return sorted(found.values(), key=lambda use: use.start)


def rewritten(text: str, digests: dict[Use, str]) -> str:
    """The text with these digests; everything else stays as it is, byte for byte."""
    for use, digest in sorted(digests.items(), key=lambda each: -each[0].start):
        text = text[: use.start] + use.image.at(digest) + text[use.end :]
    return text


def _named(text: str, word: _Word, stages: set[str], arguments: dict[str, _Word]) -> Iterator[Use]:
    if word.text == "scratch" or word.text.lower() in stages or word.text.isdecimal():
        return
    if "$" in word.text:
        variable = _VARIABLE.fullmatch(word.text)
        name = "" if variable is None else variable[1] or variable[2]
        if name not in arguments:
            raise DockerfileError(
                f"line {_number(text, word)}: {word.text} is not a whole image from an ARG with a default "
                "before the first FROM, so a digest has no place to go; write `ARG BASE=name:tag` there and "
                "`FROM ${BASE}`"
            )
        word = arguments[name]
        if word.text == "scratch":
            return
    yield _use(text, word)


def _number(text: str, word: _Word) -> int:
    return text.count("\n", 0, word.places[0]) + 1


def _use(text: str, word: _Word) -> Use:
    line = _number(text, word)
    start, end = word.places[0], word.places[-1] + 1
    if text[start:end] != word.text:
        raise DockerfileError(f"line {line}: {word.text} goes over more than one line; write it on one")
    try:
        return Use(line, start, end, parse(word.text))
    except ValueError as error:
        raise DockerfileError(f"line {line}: {error}") from error


def _argument(word: _Word) -> tuple[str, _Word | None]:
    name, equals, value = word.text.partition("=")
    quotes = 1 if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else 0
    first, last = len(name) + 1 + quotes, len(word.text) - quotes
    given = bool(equals) and last > first
    return name, _Word(word.text[first:last], word.places[first:last]) if given else None


def _taken(keyword: str, words: tuple[_Word, ...]) -> Iterator[_Word]:
    """What an instruction other than FROM takes files of."""
    pattern = {"COPY": _FLAG_FROM, "RUN": _MOUNT_FROM}.get(keyword)
    for word in words:
        if pattern is None or not word.text.startswith("--"):
            return
        if found := pattern.match(word.text):
            yield _Word(found[1], word.places[found.start(1) : found.end(1)])


def _directives(text: str) -> tuple[list[tuple[str, _Word]], int]:
    """The directives at the top, and where the rest begins."""
    found: list[tuple[str, _Word]] = []
    start = 0
    for line in text.splitlines(keepends=True):
        match = _DIRECTIVE.match(line.rstrip("\r\n"))
        if match is None:
            break
        places = tuple(range(start + match.start(2), start + match.end(2)))
        found.append((match[1].lower(), _Word(match[2], places)))
        start += len(line)
    return found, start


def _lines(text: str, start: int, escape: str) -> Iterator[tuple[_Word, ...]]:
    """Each instruction's words, continued lines joined; without comments, empty lines and here-documents."""
    joined: list[tuple[str, int]] = []
    ends: list[str] = []
    for line in text[start:].splitlines(keepends=True):
        content = line.rstrip("\r\n")
        if ends:
            if content.strip() == ends[0]:
                ends.pop(0)
        elif content.strip() and not content.lstrip().startswith("#"):
            goes_on = content.rstrip().endswith(escape)
            kept = content.rstrip()[:-1] if goes_on else content
            joined += [(character, start + at) for at, character in enumerate(kept)]
            if not goes_on:
                words = _words(joined)
                if words[0].text.upper() in ("RUN", "COPY", "ADD"):
                    ends = [found[2] for found in _HEREDOC.finditer("".join(each for each, _ in joined))]
                joined = []
                yield words
        start += len(line)
    if words := _words(joined):
        yield words


def _words(characters: list[tuple[str, int]]) -> tuple[_Word, ...]:
    text = "".join(character for character, _ in characters)
    return tuple(
        _Word(found[0], tuple(place for _, place in characters[found.start() : found.end()]))
        for found in re.finditer(r"\S+", text)
    )
