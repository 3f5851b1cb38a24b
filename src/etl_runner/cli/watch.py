"""A run's progress on a terminal: a bar where there is one, else a line whenever something changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from etl_runner.cli import show
from etl_runner.cli.progress import Progress

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Watch(Protocol):
    """Shows looks at runs, one after the other; a context manager."""

    def update(self, progress: Progress) -> None:
        """Show this look."""

    def __enter__(self) -> Watch: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def watch_on(console: Console, clock: Clock = utc_now) -> Watch:
    """The watch that suits the console."""
    return LiveWatch(console, clock) if console.is_terminal else PlainWatch(console, clock)


def sentence(progress: Progress, now: datetime) -> str:
    """One look in one line: ``extracting, 3/7 units, 150,000 rows, 210,000 rows/s, 1.2 s left``."""
    parts: list[str] = [progress.phase]
    if progress.units is not None:
        parts.append(f"{progress.units_done}/{progress.units} units")
        parts.append(f"{show.count(progress.rows)} rows")
    if progress.rejects:
        parts.append(f"{show.count(progress.rejects)} rejects")
    if progress.phase == "extracting":
        rate, left = progress.rate(now), progress.remaining(now)
        if rate is not None:
            parts.append(f"{show.count(rate)} rows/s")
        if left:
            parts.append(f"{show.duration(left)} left")
    return ", ".join(parts)


class PlainWatch:
    """A line a change, for logs and pipes."""

    def __init__(self, console: Console, clock: Clock = utc_now) -> None:
        self._console = console
        self._clock = clock
        self._seen: dict[str, tuple[str, int]] = {}

    def update(self, progress: Progress) -> None:
        key = (progress.phase, progress.units_done)
        if self._seen.get(progress.run_id) != key:
            self._seen[progress.run_id] = key
            line = f"{progress.source_id}: {sentence(progress, self._clock())}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> PlainWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""


class LiveWatch:
    """A bar a run, for terminals."""

    def __init__(self, console: Console, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._bars = Bars(
            TextColumn("{task.fields[source]}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, int] = {}

    def update(self, progress: Progress) -> None:
        task = self._tasks.get(progress.run_id)
        if task is None:
            task = self._bars.add_task("", total=None, source=progress.source_id)
            self._tasks[progress.run_id] = task
        self._bars.update(
            task,  # type: ignore[arg-type]
            total=progress.units,
            completed=progress.units_done,
            description=sentence(progress, self._clock()),
        )

    def __enter__(self) -> LiveWatch:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
