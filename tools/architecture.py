"""Draws docs/architecture.svg, a deployment's parts and who calls whom: ``python -m tools.architecture``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.svg"
WIDTH, HEIGHT = 980, 560
_STYLE = """
rect { fill: #ffffff; stroke: #5f6b7a; stroke-width: 1.2 }
rect.store { fill: #eef4fb } rect.outside { fill: #f6f3ea; stroke-dasharray: 4 3 }
text { font: 13px sans-serif; fill: #1d2733; text-anchor: middle }
text.small { font-size: 11px; fill: #4a5563 }
path { stroke: #5f6b7a; fill: none; marker-end: url(#arrow) }
"""


@dataclass(frozen=True)
class Box:
    """A part, with what it is on a second line; ``kind`` is a style."""

    x: int
    y: int
    title: str
    under: str
    kind: str = ""
    width: int = 150
    height: int = 52

    def draw(self) -> str:
        middle = self.x + self.width // 2
        return (
            f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="6"/>'
            f'<text x="{middle}" y="{self.y + 22}">{escape(self.title)}</text>'
            f'<text class="small" x="{middle}" y="{self.y + 40}">{escape(self.under)}</text>'
        )


BOXES = {
    "scheduler": Box(20, 20, "Cloud Scheduler", "a cron line a source"),
    "command": Box(20, 100, "etl-runner run", "by hand", "outside"),
    "objects": Box(20, 250, "Objects arrive", "GCS, S3, Azure", "outside"),
    "workflow": Box(220, 60, "Workflow", "etl.yaml, the chain"),
    "eventarc": Box(220, 220, "Eventarc", "a trigger a bucket"),
    "external": Box(220, 290, "external", "verifies S3 and Azure"),
    "trigger": Box(430, 10, "trigger", "takes the slot"),
    "plan": Box(430, 75, "plan", "window, units, engine"),
    "finalize": Box(430, 140, "finalize", "one commit, then state"),
    "arrival": Box(430, 250, "file_arrival", "notes, loads batches"),
    "sweep": Box(430, 330, "sweep", "takes up what was left"),
    "job": Box(640, 60, "Cloud Run Job", "tasks read units"),
    "dataflow": Box(640, 130, "Dataflow", "the same image"),
    "source": Box(820, 90, "Source", "database or files", "outside", 140),
    "config": Box(220, 440, "Config bucket", "documents", "store"),
    "state": Box(400, 440, "State bucket", "state.json, commits", "store"),
    "staging": Box(580, 440, "Staging bucket", "plan, shards, manifests", "store"),
    "bigquery": Box(760, 440, "BigQuery", "one job makes it visible", "store", 200),
    "events": Box(640, 250, "Pub/Sub", "run events, arrivals"),
}
CALLS = (
    ("scheduler", "workflow"),
    ("command", "workflow"),
    ("workflow", "trigger"),
    ("workflow", "plan"),
    ("workflow", "finalize"),
    ("workflow", "job"),
    ("workflow", "dataflow"),
    ("objects", "eventarc"),
    ("objects", "external"),
    ("eventarc", "arrival"),
    ("external", "arrival"),
    ("arrival", "events"),
    ("source", "job"),
    ("source", "dataflow"),
    ("job", "staging"),
    ("dataflow", "staging"),
    ("sweep", "state"),
    ("arrival", "state"),
    ("staging", "bigquery"),
)


def _line(start: Box, end: Box) -> str:
    """From the side of a box that faces the other one."""
    x, y = start.x + start.width // 2, start.y + start.height // 2
    to_x, to_y = end.x + end.width // 2, end.y + end.height // 2
    if start.x + start.width <= end.x:
        x, to_x = start.x + start.width, end.x
    elif end.x + end.width <= start.x:
        x, to_x = start.x, end.x + end.width
    else:
        y, to_y = (start.y + start.height, end.y) if start.y < end.y else (start.y, end.y + end.height)
    return f'<path d="M{x} {y}L{to_x} {to_y}"/>'


def parts() -> Iterator[str]:
    """The drawing, element by element."""
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    yield "<title>The parts of a deployment and who calls whom</title>"
    yield f"<style>{_STYLE}</style>"
    yield '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    yield 'orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#5f6b7a;stroke:none;marker-end:none"/>'
    yield "</marker></defs>"
    yield f'<rect x="0" y="0" width="{WIDTH}" height="{HEIGHT}" style="stroke:none"/>'
    for start, end in CALLS:
        yield _line(BOXES[start], BOXES[end])
    for box in BOXES.values():
        yield box.draw()
    yield (
        '<text class="small" x="490" y="530">Every box of the upper part can die, be repeated or run twice; '
        "what is true stands in the lower row.</text>"
    )
    yield "</svg>"


def drawing() -> str:
    """The file's text."""
    return "\n".join(parts()) + "\n"


def main() -> int:
    """Write it."""
    PAGE.write_text(drawing())
    sys.stdout.write(f"written: {PAGE.name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
