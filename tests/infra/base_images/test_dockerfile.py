"""Which words of a Dockerfile are images of a registry, and what pinning leaves as it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.base_images.dockerfile import DockerfileError, rewritten, uses

DIGEST = "sha256:" + "ab" * 32


def found(text: str) -> list[str]:
    """``line image``, of each image without a digest."""
    return [f"{use.line} {text[use.start : use.end]}" for use in uses(text) if use.image.digest is None]


def pinned(text: str) -> str:
    return rewritten(text, {use: DIGEST for use in uses(text) if use.image.digest is None})


STAGES = """\
# syntax=docker/dockerfile:1
# A comment: FROM not:this
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv
from --platform=$BUILDPLATFORM python:3.11 as Build
COPY --from=uv /uv /bin/
COPY --chown=1:1 --from=busybox:1.36 /bin/sh /bin/
RUN --mount=type=cache,target=/c --mount=type=bind,from=alpine:3.20,target=/a --network=none \\
    # FROM not:this either
    echo FROM not:this \\

    && echo --mount=from=nor:this --from=nor:that
RUN <<EOF cat <<-'OTHER'
FROM not:this
EOF
FROM not:this
OTHER
COPY <<TEXT /a
FROM not:this
TEXT
FROM build AS other
COPY --from=BUILD /a /a
COPY --from=0 /a /a
COPY --from=scratch /a /a
FROM scratch
COPY --from=other /a /a
FROM localhost:5000/a/b
ONBUILD COPY --from=team/on:build /a /a
"""


def test_images_are_told_from_stages_comments_and_text() -> None:
    assert found(STAGES) == [
        "1 docker/dockerfile:1",
        "3 ghcr.io/astral-sh/uv:0.13.9",
        "4 python:3.11",
        "6 busybox:1.36",
        "7 alpine:3.20",
        "26 localhost:5000/a/b",
        "27 team/on:build",
    ]


def test_pinning_changes_these_words_and_no_other_character() -> None:
    after = pinned(STAGES)
    assert after.replace(f":latest@{DIGEST}", "").replace(f"@{DIGEST}", "") == STAGES
    assert f"from --platform=$BUILDPLATFORM python:3.11@{DIGEST} as Build\n" in after
    assert f"FROM localhost:5000/a/b:latest@{DIGEST}\n" in after
    assert f"--mount=type=bind,from=alpine:3.20@{DIGEST},target=/a" in after
    assert found(after) == []
    assert pinned(after) == after


def test_a_stage_hides_an_image_only_behind_its_name() -> None:
    assert found("FROM a:1 AS x\nFROM python AS python\nFROM python\n") == ["1 a:1", "2 python"]


@pytest.mark.parametrize(
    "argument",
    [
        "ARG BASE=python:3.11",
        'ARG OTHER BASE="python:3.11" MORE=1',
        "ARG BASE='python:3.11'",
        "ARG BASE=old:1\nARG BASE=python:3.11",
    ],
)
@pytest.mark.parametrize("variable", ["$BASE", "${BASE}"])
def test_an_image_of_an_argument_is_pinned_where_its_default_is(argument: str, variable: str) -> None:
    text = f"{argument}\nFROM {variable} AS one\nFROM {variable}\n"
    assert [each.split()[1] for each in found(text)] == ["python:3.11"]
    assert pinned(text) == text.replace("python:3.11", f"python:3.11@{DIGEST}")


@pytest.mark.parametrize(
    "text",
    [
        "ARG TAG=3.11\nFROM python:${TAG}\n",
        "ARG BASE\nFROM ${BASE}\n",
        "ARG BASE=\nFROM ${BASE}\n",
        "FROM ${BASE}\n",
        "FROM ${BASE:-python:3.11}\n",
        "FROM a:1\nARG BASE=python:3.11\nFROM ${BASE}\n",
        "ARG TAG=3.11\nARG BASE=python:$TAG\nFROM $BASE\n",
        "FROM a:1\nCOPY --from=$BASE /a /a\n",
        "FROM py\\\nthon:3.11\n",
        "FROM Python:3.11\n",
        "FROM\n",
        "FROM a:1@sha256:12\n",
    ],
)
def test_what_a_digest_cannot_be_written_to_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(DockerfileError, match=r"^line [1-3]: "):
        uses(text)


def test_an_argument_that_is_scratch_is_no_image() -> None:
    assert found("ARG BASE=scratch\nFROM $BASE\n") == []


def test_another_escape_and_other_line_ends_are_kept() -> None:
    text = "# escape=`\r\nFROM `\r\n  --platform=linux/amd64 `\r\n  a:1 AS x\r\nRUN echo a\\\r\nFROM b:2\r\n"
    assert found(text) == ["4 a:1", "6 b:2"]
    after = pinned(text)
    assert after.count("\r\n") == text.count("\r\n") == after.count("\n")
    assert after.replace(f"@{DIGEST}", "") == text


def test_a_directive_is_one_only_at_the_top() -> None:
    assert found("# a comment\n# syntax=docker/dockerfile:1\nFROM scratch\n") == []


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(/[a-z][a-z0-9]{0,8})?:[a-z0-9][a-z0-9.-]{0,8}", fullmatch=True)
NOISE = st.sampled_from(
    ["", "# FROM a:1", "RUN true \\\n  && FROM", "ENV FROM=a:1", "LABEL a=--from=b:2", "RUN <<E\nFROM a:1\nE"]
)


@settings(max_examples=30)
@given(st.lists(st.tuples(NAMES, NOISE, st.booleans()), min_size=1, max_size=6))
def test_pinned_stages_without_their_digests_are_the_same_text(stages: list[tuple[str, str, bool]]) -> None:
    text = "".join(
        f"FROM {image}{f' AS s{at}' if named else ''}\n{noise}\n"
        for at, (image, noise, named) in enumerate(stages)
    )
    assert [each.split()[1] for each in found(text)] == [image for image, _, _ in stages]
    after = pinned(text)
    assert after.replace(f"@{DIGEST}", "") == text
    assert [use.image.digest for use in uses(after)] == [DIGEST] * len(stages)
