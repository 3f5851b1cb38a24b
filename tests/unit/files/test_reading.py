"""A stream over ranged requests gives the object's bytes, in whatever order they are read, whatever fails."""

from __future__ import annotations

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import RetryableError
from etl_runner.sources.files.store import FileReplaced
from etl_runner.sources.files.stores import reading

DATA = bytes(range(256)) * 13


class Remote:
    """Serves :data:`DATA` (or other bytes) and keeps the ranges that were asked for."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []
        self.fail: list[Exception | int] = []
        """What the next requests do: raise, or lose the connection after so many bytes."""
        self._lock = threading.Lock()

    def fetch(self, start: int, end: int) -> bytes:
        with self._lock:
            self.asked.append((start, end))
            wrong = self.fail.pop(0) if self.fail else None
        if isinstance(wrong, Exception):
            raise wrong
        return self.data[start:end] if wrong is None else self.data[start:end][:wrong]

    def open(self, start: int = 0) -> io.BufferedReader:
        return reading.open_stream(self.fetch, len(self.data), start, uri="gs://b/f", sleep=lambda _: None)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 3_000), st.just(0)),
        st.tuples(st.just("seek"), st.integers(0, len(DATA) + 50), st.just(io.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-len(DATA), 10), st.just(io.SEEK_END)),
    ),
    max_size=30,
)


@given(steps=STEPS, start=st.integers(0, len(DATA)))
def test_any_reads_and_jumps_are_those_of_the_bytes_themselves(
    steps: list[tuple[str, int, int]], start: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "FIRST_BYTES", 64)
        patch.setattr(reading, "PIECE_BYTES", 512)
        expected = io.BytesIO(DATA)
        expected.seek(start)
        with Remote().open(start) as stream:
            for action, number, whence in steps:
                if action == "read":
                    assert stream.read(number) == expected.read(number)
                else:
                    assert stream.seek(number, whence) == expected.seek(number, whence)
                assert stream.tell() == expected.tell()


def test_a_lost_connection_is_taken_up_again() -> None:
    remote = Remote()
    remote.fail = [RetryableError("reset"), 17, RetryableError("reset")]
    with remote.open() as stream:
        assert stream.read() == DATA


def test_a_connection_lost_again_and_again_is_an_error_to_retry_and_never_less_data() -> None:
    remote = Remote()
    remote.fail = [3] * reading.ATTEMPTS
    with remote.open() as stream, pytest.raises(RetryableError, match="gs://b/f"):
        stream.read()
    assert len(remote.asked) == reading.ATTEMPTS


def test_a_replaced_file_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FIRST_BYTES", 1_000)
    monkeypatch.setattr(reading, "PIECE_BYTES", 1_000)
    remote = Remote()
    with remote.open() as stream:
        assert stream.read(10) == DATA[:10]
        remote.fail = [FileReplaced("gs://b/f was replaced")] * 10
        with pytest.raises(FileReplaced):
            stream.read()
    assert len(remote.fail) >= 10 - 1 - reading.AHEAD  # and it was not asked for again


def test_memory_is_bounded_and_jumps_read_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FIRST_BYTES", 1 << 10)
    monkeypatch.setattr(reading, "PIECE_BYTES", 8 << 10)
    remote = Remote(bytes(1 << 20))
    with remote.open() as stream:
        stream.seek(-8, io.SEEK_END)
        stream.read(8)
        assert sum(end - start for start, end in remote.asked) <= 1 << 10
        stream.seek(0)
        while stream.read(1 << 14):
            held = max(end for _, end in remote.asked[1:]) - stream.tell()
            assert held <= (reading.AHEAD + 1) * (8 << 10) + (64 << 10)
    assert max(end - start for start, end in remote.asked) <= 8 << 10


def test_closing_asks_for_nothing_more() -> None:
    remote = Remote()
    stream = remote.open()
    stream.read(10)
    stream.close()
    count = len(remote.asked)
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)
    assert len(remote.asked) == count
