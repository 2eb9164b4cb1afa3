"""What is told of an entry without its body: of all of it, of what was kept beside it, and of its beginning."""

from __future__ import annotations

import math
import random
import tracemalloc
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import info_of, pack_info, short_id, unpack_info
from aiohttp_cache_di.entries.items import Opaque
from aiohttp_cache_di.entries.outline import OUTLINE_BYTES, outline, outline_apart
from aiohttp_cache_di.entries.tags import MAX_TAGS, tags_in
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry

CODECS = {"plain": EntryCodec(), "signed": EntryCodec(secret_key="secret")}


def varied(body: bytes = b"body") -> StoredResponse:
    lines = ((b"content-TYPE", b"text/html"), (b"Set-Cookie", b"id=hunter2"), (b"Cache-Tag", b"a, b"))
    return replace(
        make_entry("k", body),
        raw_headers=lines,
        partition="tenant-7",
        vary_fields=("accept", "cookie"),
        vary_digest=b"\x01\x02\x03\x04\x05",
        fresh_until=-math.inf,
    )


def test_nothing_is_told_that_could_be_a_secret() -> None:
    info = info_of(varied())
    assert (info.content_type, info.tags, info.variant) == ("text/html", ("a", "b"), "accept, cookie 01020304")
    assert info.partition == short_id("tenant-7")
    assert short_id("") == ""
    for secret in ("hunter2", "tenant-7", "body'"):
        assert secret not in repr(info)


def test_what_was_kept_beside_an_entry_is_told_with_the_key_it_was_found_under() -> None:
    info = info_of(varied())
    assert unpack_info(pack_info(info), "k") == info
    assert unpack_info(pack_info(info), "other") == replace(info, key="other")
    for data in (None, b"", b"\x00", b"\x93abc", "text", pack_info(info)[:-1]):
        assert unpack_info(data, "k") is None


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, 500_000])
def test_the_beginning_of_a_frame_tells_what_the_whole_does(codec: str, size: int) -> None:
    entry = varied(b"\0" * size)
    frame = CODECS[codec].pack(entry, "k")
    assert outline(frame[:OUTLINE_BYTES], len(frame), "k") == info_of(entry)


@pytest.mark.parametrize("codec", CODECS)
def test_a_frame_whose_body_is_apart_tells_what_the_whole_does(codec: str) -> None:
    entry = varied(b"x" * 1000)
    frame, body = CODECS[codec].pack_apart(entry, "k")
    assert body == entry.body
    assert outline_apart(frame, len(entry.body), "k") == info_of(entry)
    for data in (
        None,
        "text",
        b"",
        frame[:50],
        CODECS[codec].encode("to", "k"),
        frame.replace(b"http", b"\r\n\0:"),
    ):
        assert outline_apart(data, 1000, "k") is None


def test_a_beginning_that_lacks_some_of_the_head_tells_nothing() -> None:
    entry = varied(b"x" * 10_000)
    frame = CODECS["plain"].pack(entry, "k")
    told = [outline(frame[:length], len(frame), "k") for length in range(0, 400)]
    expected = info_of(entry)
    assert {None, expected} == set(told)
    first = told.index(expected)
    assert set(told[first:]) == {expected}


def test_what_is_no_frame_of_a_response_tells_nothing() -> None:
    codec = CODECS["plain"]
    for data in (b"", b"x" * 100, codec.encode("to", "k"), codec.encode(Opaque("", b"data"), "k")):
        assert outline(data, len(data), "k") is None


def test_no_bytes_at_all_make_it_fail() -> None:
    frame = CODECS["plain"].pack(varied(b"x" * 3000), "k")
    luck = random.Random(7)
    for _ in range(2000):
        data = bytearray(frame[:OUTLINE_BYTES])
        for _ in range(luck.randrange(1, 6)):
            data[luck.randrange(len(data))] = luck.randrange(256)
        outline(bytes(data), luck.choice([len(frame), len(data), 0, 20]), "k")


@pytest.mark.parametrize(
    ("name", "value", "tags"),
    [
        (b"surrogate-key", b" a  b\tc ", ("a", "b", "c")),
        (b"xkey", b"a a b", ("a", "b")),
        (b"cache-tag", b"a, b c ,,d", ("a", "b c", "d")),
        (b"cache-groups", b'"eShop", "scripts";x=1', ("eShop", "scripts")),
        (b"cache-groups", rb'"a \"quoted\" one", token, 3', ('a "quoted" one',)),
        (b"cache-groups", b'"a", "not closed', ()),
        (b"x-other", b"a b", ()),
    ],
)
def test_tags_are_read_from_the_fields_that_hold_them(name: bytes, value: bytes, tags: tuple[str, ...]) -> None:
    assert tags_in([(name, value)]) == tags


def test_tags_are_bounded() -> None:
    many = b" ".join(b"t%d" % n for n in range(1000))
    assert len(tags_in([(b"surrogate-key", many), (b"xkey", b"x" * 5000)])) == MAX_TAGS


def test_nothing_is_told_that_a_terminal_would_obey() -> None:
    lines = ((b"Content-Type", b"text/html\x1b[2J"), (b"Cache-Tag", b"a\x07, b\xff"))
    info = info_of(replace(make_entry("k"), raw_headers=lines))
    assert (info.content_type, info.tags) == ("text/html\ufffd[2J", ("a\ufffd", "b\ufffd"))
    assert unpack_info(pack_info(info), "k") == info
    fields: list[dict[str, Any]] = [
        *({name: "a\x1b[2J"} for name in ("method", "url", "content_type", "variant", "partition")),
        {"tags": ("a\r",)},
        {"kept_until": math.nan},
    ]
    for changes in fields:
        assert unpack_info(pack_info(replace(info, **changes)), "k") is None


def test_the_beginning_of_what_is_larger_than_any_entry_tells_nothing() -> None:
    frame = CODECS["plain"].pack(varied(b"x" * 3000), "k")
    tracemalloc.start()
    try:
        assert outline(frame[:OUTLINE_BYTES], 900_000_000, "k") is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
