"""What a session remembers of requests outside the store: its size is bounded, whatever the URLs."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable

import pytest
from aiohttp import ClientSession
from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.questions.remembered import MAX_CHARS, MAX_REMEMBERED, MAX_URL_CHARS, Remembered
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import UNREADABLE
from tests.backends.entries import make_entry
from tests.origin import Origin, answer

MEGABYTE = 1024 * 1024


def test_the_oldest_go_when_there_are_too_many() -> None:
    table = Remembered[int]()
    for number in range(MAX_REMEMBERED + 10):
        table.keep(f"/{number}", number)
    assert len(table) == MAX_REMEMBERED
    assert "/9" not in table
    assert table["/10"] == 10


def test_the_oldest_go_when_their_urls_weigh_too_much() -> None:
    table = Remembered[int]()
    fitting = MAX_CHARS // MAX_URL_CHARS
    for number in range(fitting + 10):
        for _ in range(2):  # an entry that is replaced counts once
            table.keep(URL(f"http://h/{number:0{MAX_URL_CHARS - 9}}"), number)
    assert len(table) == fitting
    assert list(table.values()) == list(range(10, fitting + 10))
    table.clear()
    table.keep("/", 1)
    assert len(table) == 1


def test_a_long_url_is_not_remembered() -> None:
    table = Remembered[int]()
    table.keep("x" * (MAX_URL_CHARS + 1), 1)
    assert not table


async def kept_mb(session: ClientSession, urls: Iterable[str], *, times: int) -> float:
    """By how much memory grows with *times* requests for each of *urls*."""
    gc.collect()
    tracemalloc.start()
    try:
        for url in urls:
            for _ in range(times):
                async with session.get(url) as response:
                    await response.read()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("long", ["/?q={n:012000}", "/{n}#{n:012000}"])
async def test_long_urls_weigh_nothing_beside_a_store(origin: Origin, long: str) -> None:
    for number in range(800):
        origin.on(f"/{number}", answer("text"))
    origin.on("/", answer("text"))
    urls = [origin.url + long.format(n=number) for number in range(800)]
    async with (
        ClientSession() as plain,
        CachedSession(cache=CacheBackend(max_bytes=MEGABYTE, expire_after=60)) as session,
    ):
        plain_mb = await kept_mb(plain, urls[:400], times=1)  # fills the caches of yarl, too
        origin.received.clear()
        assert await kept_mb(session, urls[400:], times=3) < plain_mb + 2
        assert origin.hits == 400


def test_what_is_looked_at_in_an_entry_is_not_kept() -> None:
    codec, large = EntryCodec(), MEGABYTE // 8
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(40):
            text = f"{number:0{large}}"
            for entry in (
                replace(make_entry("k"), url=f"http://h?{text}"),
                replace(make_entry("k"), method=text),
                replace(make_entry("k"), reason=text.encode()),
                replace(make_entry("k"), vary_fields=(text,), vary_digest=b"1"),
            ):
                item = codec.unpack(codec.pack(entry, "k"), "k")
                assert (item is UNREADABLE) is (entry.url == "http://origin.test/k")
                del item, entry
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < MEGABYTE
    finally:
        tracemalloc.stop()
