"""Draws docs/architecture.svg, a deployment's parts and who calls whom: ``python -m tools.architecture``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.svg"
WIDTH, HEIGHT = 1030, 610
_STYLE = """
rect { fill: #ffffff; stroke: #5f6b7a; stroke-width: 1.2 }
rect.store { fill: #eef4fb } rect.outside { fill: #f6f3ea; stroke-dasharray: 4 3 }
rect.frame { fill: none; stroke-dasharray: 4 3 }
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
    "scheduler": Box(20, 60, "Cloud Scheduler", "a cron line a source"),
    "command": Box(20, 140, "etl-runner run", "by hand", "outside"),
    "workflow": Box(215, 100, "Workflow", "etl.yaml, the chain"),
    "trigger": Box(420, 20, "trigger", "takes the slot"),
    "plan": Box(420, 90, "plan", "window, units, engine"),
    "finalize": Box(420, 160, "finalize", "one commit, then state"),
    "job": Box(640, 20, "Cloud Run Job", "tasks read units"),
    "dataflow": Box(640, 100, "Dataflow", "the same image"),
    "source": Box(860, 60, "Source", "database or files", "outside"),
    "objects": Box(20, 300, "Objects arrive", "GCS, S3, Azure", "outside"),
    "eventarc": Box(215, 265, "Eventarc", "a trigger a bucket"),
    "external": Box(215, 335, "external", "verifies S3 and Azure"),
    "arrival": Box(420, 265, "file_arrival", "notes, loads batches"),
    "wake": Box(420, 335, "Pub/Sub", "arrivals, run events"),
    "sweep": Box(420, 405, "sweep", "every few minutes"),
    "config": Box(20, 500, "Config bucket", "documents", "store"),
    "state": Box(520, 500, "State bucket", "state.json, commits", "store"),
    "staging": Box(690, 500, "Staging bucket", "plan, shards, manifests", "store"),
    "bigquery": Box(860, 500, "BigQuery", "one job shows it all", "store"),
}

ENGINES = (628, 8, 174, 156)
"""x, y, width and height of the frame around the engines: both write to the staging bucket."""
Point = tuple[int, int]
# Lines run between the boxes, never behind one; the last point bears the arrow.
LINES: tuple[tuple[Point, ...], ...] = (
    ((170, 86), (215, 118)),  # Scheduler, command: workflow
    ((170, 166), (215, 134)),
    ((365, 126), (420, 46)),  # workflow: functions
    ((365, 126), (420, 116)),
    ((365, 126), (420, 186)),
    ((290, 152), (290, 236), (606, 236), (606, 46), (640, 46)),  # workflow: engines
    ((606, 126), (640, 126)),
    ((860, 78), (790, 46)),  # source: engines
    ((860, 94), (790, 126)),
    ((170, 318), (215, 291)),  # objects: file_arrival
    ((170, 334), (215, 361)),
    ((365, 291), (420, 291)),
    ((365, 361), (420, 361)),
    ((495, 335), (495, 317)),
    ((570, 291), (596, 291), (596, 500)),  # what takes events: state
    ((570, 431), (596, 431), (596, 500)),
    ((715, 164), (715, 500)),  # engines: staging
    ((840, 526), (860, 526)),
)


def _line(points: tuple[Point, ...]) -> str:
    return f'<path d="M{"L".join(f"{x} {y}" for x, y in points)}"/>'


def parts() -> Iterator[str]:
    """The drawing, element by element."""
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    yield "<title>The parts of a deployment and who calls whom</title>"
    yield f"<style>{_STYLE}</style>"
    yield '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    yield 'orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#5f6b7a;stroke:none;marker-end:none"/>'
    yield "</marker></defs>"
    yield f'<rect x="0" y="0" width="{WIDTH}" height="{HEIGHT}" style="stroke:none"/>'
    x, y, width, height = ENGINES
    yield f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'
    for points in LINES:
        yield _line(points)
    for box in BOXES.values():
        yield box.draw()
    yield (
        '<text class="small" x="515" y="588">Every box of the upper part can die, be repeated or run twice: '
        "what is true stands in the lower row. All functions read documents and keep state there.</text>"
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
