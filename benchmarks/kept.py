"""What docs/ keeps: the figures of each suite as it was last run, so that suites can be run one at a time."""

from __future__ import annotations

import datetime as dt
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.measure import Figures
from benchmarks.profile import Profile
from benchmarks.report import Suite, chart, introduction, peaks_markdown, profile_markdown, suite_markdown

DATA, PAGE, PICTURE = "benchmarks.json", "benchmarks.md", "benchmarks.svg"
NOTES = Path(__file__).with_name("notes.md")
"""Written by hand: what stands in the way of the targets; the page ends with it."""


@dataclass(frozen=True)
class Peak:
    """The peak memory of one runner task with two readers."""

    rows: int
    peak_mb: float


@dataclass(frozen=True)
class Part:
    """One suite's outcome."""

    command: str
    date: str
    load: float
    """Processes that were running or ready to, beside ours, when it began: 0 on a quiet machine."""
    suites: tuple[Suite, ...] = ()
    peaks: tuple[Peak, ...] = ()
    profiles: tuple[Profile, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Part:
        """Back from the file."""
        known = {each.name for each in fields(Figures)}
        suites = tuple(
            Suite(
                one["title"],
                one["rows"],
                one["rounds"],
                tuple(
                    Figures(**{key: value for key, value in line.items() if key in known})
                    for line in one["figures"]
                ),
            )
            for one in data["suites"]
        )
        peaks = tuple(Peak(**peak) for peak in data["peaks"])
        profiles = tuple(Profile(**profile) for profile in data["profiles"])
        return cls(data["command"], data["date"], data["load"], suites, peaks, profiles)


def today() -> str:
    """The date, for a part."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def load() -> float:
    """The machine's load of the last minute."""
    return round(os.getloadavg()[0], 1)


def keep(folder: Path, found: dict[str, Part], order: tuple[str, ...], notes: Path = NOTES) -> None:
    """Put the parts into the folder's data, and write page and picture from all that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / DATA
    kept = json.loads(data.read_text()) if data.exists() else {}
    kept |= {name: part.to_json() for name, part in found.items()}
    data.write_text(json.dumps({name: kept[name] for name in order if name in kept}, indent=1) + "\n")
    parts = {name: Part.from_json(kept[name]) for name in order if name in kept}
    (folder / PAGE).write_text(page(parts, notes))
    (folder / PICTURE).write_text(chart([suite for part in parts.values() for suite in part.suites]))


def page(parts: dict[str, Part], notes: Path) -> str:
    """The page of docs/."""
    lines = introduction()
    for part in parts.values():
        for suite in part.suites:
            lines += suite_markdown(suite)
        if part.peaks:
            lines += peaks_markdown([(peak.rows, peak.peak_mb) for peak in part.peaks])
        if part.profiles:
            lines += profile_markdown(part.profiles)
        lines += ["", f"`{part.command}`, {part.date}, load of the machine before it {part.load}."]
    if notes.exists():
        lines += ["", notes.read_text().strip()]
    return "\n".join(lines) + "\n"
