"""JSON Lines: one object a line, https://jsonlines.org/; lines without any character are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from etl_runner.formats.base import Block, FormatOptions, Limits, Opened, Part, Sample
from etl_runner.formats.blocks import AtFeeds, TextBlock, text_blocks
from etl_runner.formats.json_rows import JsonBlock, JsonRows, objects_seen
from etl_runner.formats.text import utf8_bytes
from etl_runner.planning.plan import PlannedColumn


class JsonLines:
    """The JSON Lines format."""

    def sample_schema(self, opened: Opened, options: FormatOptions, limits: Limits) -> Sample:
        """See :class:`~etl_runner.formats.base.Format`. Bad lines are left out of the sample; reading
        reports them."""
        small = replace(options, block_bytes=limits.bytes)
        blocks = text_blocks(opened.name, utf8_bytes(opened, small), small, AtFeeds())
        first = next(blocks, None)
        if first is None:
            return Sample(opened.name, {}, 0, complete=True)
        seen, rows, whole = objects_seen((record for _, record in _lines(first)), limits.rows)
        return Sample(opened.name, dict(seen.fields), rows, whole and next(blocks, None) is None)

    def read(
        self,
        opened: Opened,
        options: FormatOptions,
        columns: Sequence[PlannedColumn],
        part: Part | None = None,
    ) -> Iterator[Block]:
        """See :class:`~etl_runner.formats.base.Format`. A key that an object lacks is NULL; keys that are
        not planned are left out at the top, and refused within a STRUCT."""
        rows = JsonRows(opened.name, columns, options, 0 if part is None else part.start)
        for block in text_blocks(opened.name, utf8_bytes(opened, options, part), options, AtFeeds()):
            yield from rows.tables(JsonBlock(block.data, partial(_lines, block)))


def _lines(block: TextBlock) -> Iterator[tuple[int, bytes]]:
    for line, record in enumerate(block.data.split(b"\n"), block.line):
        if record.strip(b" \t\r"):
            yield line, record
