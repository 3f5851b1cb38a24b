"""Choosing files that are to be loaded again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import ConfigError
from etl_runner.sources.files.again import chosen_again, parse_again
from etl_runner.sources.files.store import FileVersion

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def _file(name: str, modified: datetime) -> FileVersion:
    return FileVersion(f"gs://b/in/{name}", f"in/{name}", "1", 1, modified.isoformat())


@given(written=MOMENTS, start=MOMENTS, length=st.timedeltas(timedelta(microseconds=1), timedelta(days=9)))
def test_the_window_holds_its_first_moment_and_not_its_last(
    written: datetime, start: datetime, length: timedelta
) -> None:
    again = parse_again(start.isoformat(), (start + length).isoformat(), None)
    chosen = list(chosen_again([_file("a.csv", written)], again, "in/"))
    assert bool(chosen) == (start <= written < start + length)


def test_names_and_times_narrow_each_other() -> None:
    files = [_file(name, datetime(2026, 1, day, tzinfo=UTC)) for day, name in enumerate("abc", start=1)]
    files.append(_file("deep/a", datetime(2026, 1, 1, tzinfo=UTC)))

    def names(start: str | None, end: str | None, only: str | None, uris: list[str] | None = None) -> str:
        again = parse_again(start, end, only, uris)
        return " ".join(file.name.removeprefix("in/") for file in chosen_again(files, again, "in/"))

    assert names("2026-01-02", None, None) == "b c"
    assert names(None, "2026-01-02 00:00+00", None) == "a deep/a"
    assert names(None, None, "[ac]") == "a c"
    assert names(None, None, "**/a") == "a deep/a"
    assert names("2026-01-02", None, "[ac]") == "c"
    assert names(None, None, None, ["gs://b/in/b", "gs://b/in/gone"]) == "b"


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        (None, None, "give --from, --to or --only"),
        ("soon", None, "--from: is no time"),
        (None, "2026-13-01", "--to: is no time"),
        ("2026-01-02", "2026-01-02", "--to: does not lie after --from"),
    ],
)
def test_what_chooses_nothing_is_refused(start: str | None, end: str | None, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_again(start, end, None)
