"""Small files are fetched before their turn, in bounded number, and their errors keep to their turn."""

from __future__ import annotations

from contextlib import closing

import pytest

from etl_runner.sources.files.ahead import AHEAD, SMALL, ahead, opened
from etl_runner.sources.files.store import FileReplaced
from tests.unit.files.memory import MemoryBucket


def test_contents_come_in_order_and_few_are_fetched_at_once() -> None:
    bucket = MemoryBucket()
    files = [bucket.put(f"{number:03}", b"%d" % number) for number in range(100)]
    with closing(ahead(bucket, files)) as fetched:
        for number, (file, content) in enumerate(zip(files, fetched, strict=True)):
            with opened(bucket, file, content, 0) as stream:
                assert stream.read() == b"%d" % number
            assert len(bucket.opened) <= number + 1 + AHEAD
    assert sorted(bucket.opened) == [file.name for file in files]


def test_large_files_are_opened_in_their_turn() -> None:
    bucket = MemoryBucket()
    files = [bucket.put("large", b"x" * (SMALL + 1)), bucket.put("small", b"abc")]
    with closing(ahead(bucket, files)) as fetched:
        large, small = next(fetched), next(fetched)
        assert large is None
        with opened(bucket, files[1], small, 1) as stream:
            assert stream.read() == b"bc"
        with opened(bucket, files[0], large, SMALL) as stream:
            assert stream.read() == b"x"


def test_a_file_that_was_replaced_is_noticed_in_its_turn() -> None:
    bucket = MemoryBucket()
    files = [bucket.put("a", b"a"), bucket.put("b", b"b")]
    bucket.put("b", b"new")
    with closing(ahead(bucket, files)) as fetched:
        with opened(bucket, files[0], next(fetched), 0) as stream:
            assert stream.read() == b"a"
        with pytest.raises(FileReplaced):
            opened(bucket, files[1], next(fetched), 0)


def test_giving_up_early_leaves_nothing_behind() -> None:
    bucket = MemoryBucket()
    files = [bucket.put(f"{number:03}", b"x") for number in range(100)]
    fetched = ahead(bucket, files)
    next(fetched)
    fetched.close()
    assert len(bucket.opened) <= AHEAD
