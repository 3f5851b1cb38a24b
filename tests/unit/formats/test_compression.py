"""Compressed files: whole, in constant memory, or one error that says where they end."""

from __future__ import annotations

import bz2
import gzip
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_runner.errors import PermanentError
from etl_runner.formats.compression import Codec, by_magic, by_name, plain_bytes
from tests.unit.formats.files import opened

ENDINGS: dict[Codec, str] = {"none": "", "gzip": ".gz", "zstd": ".zst", "bz2": ".bz2"}
COMPRESSED: tuple[Codec, ...] = ("gzip", "zstd", "bz2")
NOISE = random.Random(1).randbytes(200_000)


def compress(codec: Codec, data: bytes) -> bytes:
    if codec == "gzip":
        return gzip.compress(data)
    if codec == "bz2":
        return bz2.compress(data)
    if codec == "zstd":
        out = pa.BufferOutputStream()
        with pa.CompressedOutputStream(out, "zstd") as stream:
            stream.write(data)
        return bytes(out.getvalue().to_pybytes())
    return data


@given(
    codec=st.sampled_from(["none", *COMPRESSED]),
    members=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    piece=st.integers(1, 40),
    told=st.booleans(),
)
def test_all_members_are_read(codec: Codec, members: list[bytes], piece: int, told: bool) -> None:
    data = b"".join(compress(codec, member) for member in members)
    if codec == "none":
        data = b"," + data
        members = [b",", *members]
    name = "x.csv" if told else "x.csv" + ENDINGS[codec]
    read = plain_bytes(opened(data, name, piece), codec if told else "auto")
    assert b"".join(read) == b"".join(members)


@pytest.mark.parametrize("codec", COMPRESSED)
def test_the_first_bytes_tell_when_the_name_does_not(codec: Codec) -> None:
    assert b"".join(plain_bytes(opened(compress(codec, b"a,b\n"), "x.csv"), "auto")) == b"a,b\n"
    assert by_magic(compress(codec, b"")) == codec
    assert by_name("x.CSV" + ENDINGS[codec].upper()) == codec


@pytest.mark.parametrize("codec", COMPRESSED)
def test_every_truncation_is_an_error(codec: Codec) -> None:
    data = compress(codec, b"some text, some text, some text\n" * 3)
    for size in range(len(data)):
        with pytest.raises(PermanentError, match=rf"'x.dat' is truncated: its {codec} stream .* byte {size}"):
            list(plain_bytes(opened(data[:size]), codec))


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_truncated_large_file_is_an_error_after_what_could_be_read(codec: Codec) -> None:
    data = compress(codec, NOISE)[:100_000]
    with pytest.raises(PermanentError, match="after byte 100000, where the file ends"):
        list(plain_bytes(opened(data), codec))


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_damaged_file_is_an_error(codec: Codec) -> None:
    # Of a zstd frame without a checksum only the structure can be found damaged.
    data = bytearray(compress(codec, NOISE if codec != "zstd" else bytes(range(256)) * 1000))
    for place in range(4 if codec == "zstd" else len(data) // 2, len(data) // 2 + 50):
        data[place] ^= 0x55
    with pytest.raises(PermanentError, match=f"is damaged: its {codec} stream"):
        list(plain_bytes(opened(bytes(data)), codec))


@pytest.mark.parametrize("codec", COMPRESSED)
def test_what_follows_a_stream_is_not_dropped(codec: Codec) -> None:
    with pytest.raises(PermanentError, match=r"is damaged|goes on with something"):
        list(plain_bytes(opened(compress(codec, b"text") + b"more text"), codec))


def test_zeros_after_gzip_are_padding() -> None:
    data = gzip.compress(b"a") + b"\0" * 1000 + gzip.compress(b"b") + b"\0" * 512
    assert b"".join(plain_bytes(opened(data, piece=100), "gzip")) == b"ab"


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_name_that_contradicts_the_content_is_refused(codec: Codec) -> None:
    with pytest.raises(PermanentError, match=f"is named like {codec} but does not begin like it"):
        list(plain_bytes(opened(b"a,b\n1,2\n", "x.csv" + ENDINGS[codec]), "auto"))
    other: Codec = "bz2" if codec != "bz2" else "gzip"
    with pytest.raises(PermanentError, match=f"but begins like {codec}"):
        list(plain_bytes(opened(compress(codec, b"x"), "x" + ENDINGS[other]), "auto"))


@pytest.mark.parametrize("codec", COMPRESSED)
def test_pieces_are_small_even_when_compression_is_extreme(codec: Codec) -> None:
    data = compress(codec, b"\0" * (32 << 20))
    sizes = [len(piece) for piece in plain_bytes(opened(data), codec)]
    assert sum(sizes) == 32 << 20
    assert max(sizes) <= 1 << 20
