"""How figures, times and watermarks are written for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

_OUTCOME_STYLES = {"ok": "green", "failed": "red", "abandoned": "yellow", "skipped": "yellow"}


def count(value: float | None) -> str:
    """``336,776``; nothing for None."""
    return "" if value is None else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes in binary units: ``318.2 MiB``."""
    if value is None:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def duration(seconds: float | None) -> str:
    """``2.4 s``, ``3 min 20 s``, ``1 h 5 min``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(text: str | None) -> str:
    """An RFC 3339 instant as ``2026-11-22 14:03:05Z``; text that is none, as it is."""
    if not text:
        return ""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return text
    if value.tzinfo is None:
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def seconds_between(started: str | None, finished: str | None) -> float | None:
    """Seconds from one RFC 3339 instant to another."""
    if not started or not finished:
        return None
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def watermark(value: dict[str, Any] | None) -> str:
    """A watermark in one line: each part that says something."""
    if not value:
        return ""
    if isinstance(value.get("value"), str):
        return str(value["value"])  # the cursor; the rest is the source's own
    parts = [
        f"{key}={item}" for key, item in value.items() if item is not None and not isinstance(item, dict)
    ]
    return ", ".join(parts)


def window(value: dict[str, Any] | None) -> str:
    """A window in one line: ``(low, high]``, ``whole table``, ``3 new of 12 matching files``."""
    if not value:
        return ""
    if value.get("kind") == "files":
        return files(value.get("detail") or {}, value.get("low"), value.get("high"))
    if value.get("kind") == "all" or (value.get("column") is None and value.get("high") is None):
        return "whole table"
    low = value.get("low") or "beginning"
    high = value.get("high") or "end"
    return f"({low}, {high}]"


def covered(receipt: dict[str, Any]) -> str:
    """A receipt's window in one line."""
    value = receipt.get("window")
    if value and receipt.get("files"):
        value = {**value, "kind": "files", "detail": receipt["files"]}
    return window(value)


def files(detail: dict[str, Any], first: str | None, last: str | None) -> str:
    """Which files a run is about: how many of how many, and when the first and last of them were modified."""
    text = f"{count(detail.get('files', 0))} new of {count(detail.get('matching', 0))} matching files"
    if detail.get("ignored"):
        text += f", {count(detail['ignored'])} overwritten ones ignored"
    return f"{text}, modified {moment(first)} to {moment(last)}" if first and last else text


def outcome(value: str | None) -> Text:
    """An outcome in its colour."""
    return Text(value or "", style=_OUTCOME_STYLES.get(value or "", ""))


def facts() -> Table:
    """An empty two-column table for name and value."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def receipt_facts(receipt: dict[str, Any]) -> Table:
    """A receipt as a page."""
    table = facts()
    table.add_row("outcome", outcome(receipt.get("outcome")))
    rows: list[tuple[str, str]] = [
        ("reason", str(receipt.get("reason") or "")),
        ("source, run", f"{receipt.get('source_id', '')}  {receipt.get('run_id', '')}"),
        ("window", covered(receipt)),
        ("engine", f"{receipt.get('engine') or ''}"),
        ("units", count(receipt.get("units"))),
        ("rows", count(receipt.get("rows_loaded"))),
        ("rejects", count(receipt.get("rejects")) if receipt.get("rejects") else ""),
        ("bytes", size(receipt.get("bytes"))),
        ("seconds", duration(seconds_between(receipt.get("started"), receipt.get("finished")))),
        ("destination", str(receipt.get("destination") or "")),
        ("jobs", "\n".join(receipt.get("jobs") or ())),
        ("watermark", watermark(receipt.get("watermark_after"))),
        ("notes", "\n".join(receipt.get("notes") or ())),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, Text(value))
    return table
