"""What is too large for a store is kept in chunks, and read as a whole or not at all."""

from __future__ import annotations

import math

from aiohttp_cache_di.backends.store import Limits, Record
from aiohttp_cache_di.backends.wrap.chunks import ChunkedStore
from aiohttp_cache_di.entries.codec import EntryCodec
from tests.backends.entries import make_entry
from tests.backends.proof import ProofStore
from tests.backends.store_contract import keep, look, walk

SMALL = make_entry("k", b"x" * 10)
LARGE = make_entry("k", b"x" * 5000)


def chunked(inner: ProofStore) -> ChunkedStore:
    inner.limits = Limits(batch=2, value_bytes=1000)
    return ChunkedStore(inner, EntryCodec())


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
