"""Entries that are too large for a store are stored in chunks, and read as a whole or not at all."""

from __future__ import annotations

import math

import msgspec
import pytest

from aiohttp_cache_di.backends.store import UNREADABLE, Limits, Record
from aiohttp_cache_di.backends.wrap.chunks import ChunkedStore
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import Opaque
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.backends.proof import ProofStore
from tests.backends.store_contract import keep, look, walk

SMALL = make_entry("k", b"x" * 10)
LARGE = make_entry("k", b"x" * 5000)


def chunked(inner: ProofStore, *, largest: int = 1_000_000) -> ChunkedStore:
    inner.limits = Limits(batch=2, value_bytes=1000)
    return ChunkedStore(inner, EntryCodec(), lambda: largest)


async def test_a_small_item_is_kept_as_it_is() -> None:
    inner = ProofStore()
    await keep(chunked(inner), "k", SMALL)
    assert list(inner.data) == ["k"]


async def test_mixed_generations_are_a_miss() -> None:
    inner = ProofStore()
    store = chunked(inner)
    await keep(store, "k", LARGE)
    first = dict(inner.data)
    await keep(store, "k", make_entry("k", b"y" * 5000))
    for name in [name for name in first if name != "k"]:
        mixed = ProofStore(data={**inner.data, name: first[name]})
        assert await look(chunked(mixed), "k") is None
    missing = dict(inner.data)
    del missing[sorted(missing)[-1]]
    assert await look(chunked(ProofStore(data=missing)), "k") is None


@pytest.mark.parametrize("body", [b"", b"y" * 1500])
@pytest.mark.parametrize("who", ["the same store", "another store that has looked"])
async def test_a_smaller_entry_leaves_no_chunk_of_a_larger_one(body: bytes, who: str) -> None:
    inner, fresh = ProofStore(), ProofStore()
    store = chunked(inner)
    await keep(store, "k", LARGE)
    if who == "another store that has looked":
        store = chunked(inner)
        assert await look(store, "k") == LARGE
    await keep(store, "k", make_entry("k", body))
    await keep(chunked(fresh), "k", make_entry("k", body))
    assert set(inner.data) == set(fresh.data)
    await keep(store, "k", LARGE)
    assert await look(store, "k") == LARGE


async def test_a_deletion_leaves_no_chunk_and_a_walk_shows_none() -> None:
    inner = ProofStore()
    store = chunked(inner)
    await keep(store, "k", LARGE)
    assert len(inner.data) > 5
    assert list(await walk(store)) == ["k"]
    await store.delete(["k"])
    assert inner.data == {}


async def test_one_that_cannot_be_split_keeps_no_other_from_being_put() -> None:
    store = chunked(ProofStore())
    bad = make_entry("\ud800bad", b"x" * 5000)
    written = await store.put([Record("bad", bad, math.inf), Record("k", LARGE, math.inf)])
    assert [isinstance(one, int) for one in written] in ([False, True], [True, True])
    assert await look(store, "k") == LARGE


@pytest.mark.parametrize("count", [-1, 6, 1000, 2**40, 2**64 - 1])
async def test_a_head_that_tells_of_more_chunks_than_there_can_be_is_not_believed(count: int) -> None:
    inner = ProofStore()
    store = chunked(inner, largest=3500)
    await keep(store, "k", make_entry("k", b"x" * 3000))
    payload = b"\x00aiohttp-cache-di chunks\x00" + msgspec.msgpack.encode([b"x" * 8, count])
    await inner.put([Record("k", Opaque("k", payload), math.inf)])
    (found,) = await store.get(["k"])
    assert found is not None
    assert found.item is UNREADABLE
    rows = [row async for page in store.pages(items=True) for row in page]
    assert [(row.key, row.item) for row in rows] == [("k", UNREADABLE)]
    await store.delete(["k"])
    assert "k" not in inner.data


async def test_what_is_larger_than_anything_that_is_read_is_not_written() -> None:
    inner = ProofStore()
    store = chunked(inner, largest=4000)
    (written,) = await store.put([Record("k", LARGE, math.inf)])
    assert isinstance(written, StorageError)
    assert inner.data == {}
