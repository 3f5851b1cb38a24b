"""Tables and a chart of what was measured. Absolute figures are the machine's; the ratios are what counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from benchmarks.measure import Figures
from benchmarks.profile import Profile
from benchmarks.profile import markdown as profile_table


@dataclass(frozen=True)
class Suite:
    """One table of the report; ``reader_ratio`` compares with the limit of as many readers."""

    title: str
    rows: int
    rounds: int
    figures: tuple[Figures, ...]

    def of_limit(self, line: Figures) -> float | None:
        """The rate over that of the limit with as many readers."""
        limit = next((f for f in self.figures if f.kind == "limit" and f.readers == line.readers), None)
        return None if limit is None else line.rows_per_second / limit.rows_per_second

    def ours_over(self, line: Figures) -> float | None:
        """How many times faster than a peer ours is, with as many readers."""
        if line.kind != "peer":
            return None
        same = [f for f in self.figures if f.kind == "ours" and f.readers == line.readers]
        best = same or [f for f in self.figures if f.kind == "ours"]
        return best[0].rows_per_second / line.rows_per_second if best else None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        lines = [
            {**asdict(line), "of_limit": self.of_limit(line), "ours_over": self.ours_over(line)}
            for line in self.figures
        ]
        return {"title": self.title, "rows": self.rows, "rounds": self.rounds, "figures": lines}


def table(suite: Suite) -> str:
    """The suite for people."""
    lines = [
        f"{suite.title}, {suite.rows:,} rows; medians of {suite.rounds} interleaved rounds, whole processes",
        f"{'':48}{'rows/s':>12}{'CPU s':>7}{'peak MB':>9}{'MB out':>8}{'of limit':>10}{'ours is':>10}",
    ]
    for line in suite.figures:
        limit, over = suite.of_limit(line), suite.ours_over(line)
        lines.append(
            f"{line.label:48}{line.rows_per_second:12,.0f}{line.cpu_seconds:7.2f}{line.peak_mb:9.0f}"
            f"{f'{line.mb_out:.0f}' if line.mb_out >= 1 else '':>8}"
            f"{'' if limit is None else f'{limit:.2f}':>10}{'' if over is None else f'{over:.1f}x':>10}"
        )
    return "\n".join(lines)


def introduction() -> list[str]:
    """The page's first lines."""
    return [
        "# What was measured",
        "",
        "Client and server share one machine, every run is a process of its own, rounds are interleaved,",
        "medians are shown. Other machines give other figures; compare the ratios. `CPU s` is the processor",
        "time of the process for a million rows, without the server's; it depends least on what else the",
        "machine does.",
        "`make bench` runs everything; each table names the command that printed it. In the picture the bar",
        "of a limit far beyond all ways is cut off.",
        "",
        "![rows a second, by way](benchmarks.svg)",
    ]


def suite_markdown(suite: Suite) -> list[str]:
    """A suite on the page."""
    lines = ["", f"## {suite.title}", "", f"{suite.rows:,} rows, {suite.rounds} rounds.", ""]
    lines += ["| way | rows/s | CPU s | peak MB | of the limit | ours is |", "|---|---:|---:|---:|---:|---:|"]
    for line in suite.figures:
        limit, over = suite.of_limit(line), suite.ours_over(line)
        lines.append(
            f"| {line.label} | {line.rows_per_second:,.0f} | {line.cpu_seconds:.2f} | {line.peak_mb:.0f} "
            f"| {'' if limit is None else f'{limit:.2f}'} | {'' if over is None else f'{over:.1f}x'} |"
        )
    return lines


def peaks_markdown(peaks: Sequence[tuple[int, float]]) -> list[str]:
    """Peak memory by rows, on the page."""
    lines = ["", "## Peak memory of one runner task", "", "PostgreSQL, 2 readers.", ""]
    lines += ["| rows | peak MB |", "|---:|---:|"]
    return lines + [f"| {rows:,} | {peak:.0f} |" for rows, peak in peaks]


def profile_markdown(profiles: Sequence[Profile]) -> list[str]:
    """Where the time goes, on the page."""
    return [
        "",
        "## Where the processor's time goes",
        "",
        "A task with 1 reader.",
        "",
        *profile_table(profiles),
    ]


_COLOURS = {"limit": "#9aa5b1", "ours": "#1a73e8", "peer": "#e8a33d"}
_WIDTH, _LEFT, _BAR, _GAP = 860, 300, 18, 8


def _scale(suite: Suite) -> float:
    """The rate of the longest bar. A limit far beyond all ways would hide what is between them: its bar is
    cut off at half as much again as the fastest way."""
    ways = max((line.rows_per_second for line in suite.figures if line.kind != "limit"), default=0.0)
    limits = [line.rows_per_second for line in suite.figures if line.kind == "limit"]
    return (
        max([ways, *(min(rate, 1.5 * ways) if ways and rate > 4 * ways else rate for rate in limits)]) or 1.0
    )


def chart(suites: Sequence[Suite]) -> str:
    """Horizontal bars of rows a second, one group a suite, each scaled to its own longest bar; an SVG."""
    body: list[str] = []
    y = 12
    for suite in suites:
        y += 22
        title = escape(f"{suite.title}, {suite.rows:,} rows: rows a second")
        body.append(f'<text x="12" y="{y}" font-size="15" font-weight="bold">{title}</text>')
        y += 12
        longest = _scale(suite)
        for line in suite.figures:
            width = max(1.0, min(1.0, line.rows_per_second / longest) * (_WIDTH - _LEFT - 110))
            middle = y + _BAR - 5
            fill = _COLOURS[line.kind]
            body.append(
                f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{escape(line.label)}</text>'
                f'<rect x="{_LEFT}" y="{y}" width="{width:.0f}" height="{_BAR}" fill="{fill}"/>'
                f'<text x="{_LEFT + width + 6:.0f}" y="{middle}">{line.rows_per_second:,.0f}</text>'
            )
            y += _BAR + _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 12}" '
        f'viewBox="0 0 {_WIDTH} {y + 12}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *body, "</svg>", ""])
