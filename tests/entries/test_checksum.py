"""Checksums: the same from each implementation, so that processes with either can share a store."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.entries.checksum import checksum_function, sum_in_pieces
from aiohttp_cache_di.entries.codec import EntryCodec


@pytest.fixture(autouse=True)
def _looked_for_anew() -> Iterator[None]:
    checksum_function.cache_clear()
    yield
    checksum_function.cache_clear()


@given(st.binary(max_size=100), st.integers(0, 2000), st.binary(max_size=100))
def test_a_checksum_is_the_crc_32_of_zlib(before: bytes, repeats: int, data: bytes) -> None:
    begun, data = zlib.crc32(before), data * repeats
    assert (
        checksum_function()(data, begun) == sum_in_pieces(checksum_function(), data, begun) == zlib.crc32(data, begun)
    )


def test_zlib_ng_computes_checksums_where_it_is_installed() -> None:
    zlib_ng = pytest.importorskip("zlib_ng.zlib_ng")
    assert checksum_function() is zlib_ng.crc32


def test_what_one_implementation_has_written_the_other_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zlib_ng.zlib_ng")
    frame = EntryCodec().encode("target", "key")
    checksum_function.cache_clear()
    monkeypatch.setitem(sys.modules, "zlib_ng.zlib_ng", None)
    assert checksum_function() is zlib.crc32
    codec = EntryCodec()
    assert codec.encode("target", "key") == frame
    assert codec.decode(frame, "key") == "target"
