"""Copies in memory are used exactly as long as the store can tell that they are current."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from aiohttp_cache_di.backends.store import Found
from aiohttp_cache_di.backends.tasks import FREED_AT_A_TIME
from aiohttp_cache_di.backends.wrap.loop import LoopStack
from aiohttp_cache_di.backends.wrap.near import ENTRY_OVERHEAD_BYTES, NearTier
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from tests.backends.entries import make_entry
from tests.backends.proof import ProofStore

MEGABYTE = 1024 * 1024


class FakeVersioned(ProofStore):
    """A store whose versions a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, int | None] = {}
        self.touched: list[str] = []

    def version(self, key: str) -> int | None:
        return self.versions.get(key, 1)

    def touch(self, key: str) -> None:
        self.touched.append(key)

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        versions = [self.version(key) or 0 for key in keys]
        return [
            one and Found(one.item, version) for one, version in zip(await super().get(keys), versions, strict=True)
        ]


def near_tier(store: FakeVersioned, max_bytes: int) -> NearTier:
    """Copies that no time, pending write or tag outdates."""
    return NearTier(store, max_bytes, math.inf, pending={}, doubted=(), is_current=lambda _: False)


class FakeForgetful(FakeVersioned):
    """A store that knows no version after a pause, until it is asked for a record."""

    def __init__(self) -> None:
        super().__init__()
        self.knows = True
        self.asked: list[list[str]] = []

    def forget(self) -> None:
        self.knows = False
        self.asked.clear()

    def version(self, key: str) -> int | None:
        return super().version(key) if self.knows else None

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        self.knows = True
        self.asked.append(list(keys))
        return await super().get(keys)


class FakeChanging(ProofStore):
    """A store whose notifications a test sends; reads wait until the test allows them."""

    def __init__(self) -> None:
        super().__init__()
        self.tell: Callable[[Collection[str] | None], None] = lambda keys: None
        self.may_read = asyncio.Event()
        self.may_read.set()

    def on_change(self, listener: Callable[[Collection[str] | None], None]) -> None:
        self.tell = listener

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        found = await super().get(keys)
        await self.may_read.wait()
        return found


async def filled(store: Any, *keys: str, **options: Any) -> LoopStack:
    """A stack whose store holds *keys*, all of which have been read."""
    stack = StoreStack(store, near_bytes=MEGABYTE, **options)
    here = stack.here()
    for key in keys:
        here.store(make_entry(key))
    await stack.settle()
    for key in keys:
        assert await here.fetch(key) is not None
    return here


class TestVersioned:
    async def test_a_copy_is_good_until_the_version_of_its_key_grows(self) -> None:
        store = FakeVersioned()
        here = await filled(store, "k", "other")
        assert here.peek("k") is here.peek("k") is not None
        store.versions["k"] = 2
        assert here.peek("k") is None
        assert here.peek("other") is not None

    async def test_while_no_version_is_known_no_copy_is_believed(self) -> None:
        store = FakeVersioned()
        here = await filled(store, "k")
        store.versions["k"] = None
        assert here.peek("k") is None
        store.versions["k"] = 1
        assert here.peek("k") is not None

    async def test_after_a_pause_the_first_read_makes_the_copies_of_all_others_good(self) -> None:
        store = FakeForgetful()
        keys = [f"k{number}" for number in range(100)]
        here = await filled(store, *keys)
        copies = [await here.fetch(key) for key in keys]
        store.forget()
        store.versions["k7"] = 2
        found = await asyncio.gather(*map(here.fetch, keys))
        assert store.asked == [["k0"], ["k7"]]
        assert [one is copy for one, copy in zip(found, copies, strict=True)].count(False) == 2
        assert [here.peek(key) is one for key, one in zip(keys, found, strict=True)] == [True] * 100

    async def test_what_is_written_here_is_held_from_the_version_that_it_got(self) -> None:
        tier = near_tier(store := FakeVersioned(), MEGABYTE)
        store.versions["k"] = 7
        tier.wrote(make_entry("k"), 7)
        assert tier.peek("k") is not None
        tier.wrote(make_entry("k"), 6)
        assert tier.peek("k") is None, "another one has written since"
        tier.wrote(make_entry("k"), 0)
        assert tier.peek("k") is None

    async def test_a_use_is_told_to_a_store_that_keeps_an_order_of_use(self) -> None:
        store = FakeVersioned()
        here = await filled(store, "k")
        here.peek("k")
        here.peek("missing")
        assert store.touched == ["k"]


class TestChanging:
    async def test_a_copy_goes_when_its_key_changes(self) -> None:
        store = FakeChanging()
        here = await filled(store, "a", "b", "c")
        store.tell({"a", "missing"})
        assert [here.peek(key) is None for key in "abc"] == [True, False, False]
        store.tell(None)
        assert [here.peek(key) is None for key in "abc"] == [True, True, True]

    async def test_a_change_that_is_heard_while_the_key_is_read_voids_the_copy(self) -> None:
        store = FakeChanging()
        here = await filled(store, "k", "other")
        for keys in ({"k"}, None):
            store.tell(None)
            store.may_read.clear()
            reading = asyncio.create_task(here.fetch("k"))
            for _ in range(5):
                await asyncio.sleep(0)
            store.tell(keys)
            store.may_read.set()
            assert await reading is not None
            assert here.peek("k") is None
        assert await here.fetch("k") is not None
        assert here.peek("k") is not None

    async def test_a_read_is_not_answered_from_one_that_began_before_a_change_that_is_heard_later(self) -> None:
        store = FakeChanging()
        here = StoreStack(store, near_bytes=MEGABYTE).here()
        store.data["k"] = store.codec.pack(make_entry("k", b"old"), "k")
        store.may_read.clear()
        earlier = asyncio.create_task(here.fetch("k"))
        for _ in range(5):
            await asyncio.sleep(0)
        store.data["k"] = store.codec.pack(new := make_entry("k", b"new"), "k")
        later = asyncio.create_task(here.fetch("k"))
        await asyncio.sleep(0)
        store.may_read.set()
        assert await earlier != new
        assert await later == new

    async def test_a_copy_is_believed_for_its_lifetime_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        here = await filled(FakeChanging(), "k", near_lifetime_s=60)
        assert here.peek("k") is not None
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 61)
        assert here.peek("k") is None

    async def test_what_is_written_or_deleted_here_is_asked_for_again(self) -> None:
        stack = StoreStack(FakeChanging(), near_bytes=MEGABYTE)
        here = stack.here()
        await here.fetch("k")
        here.store(make_entry("k", b"new"))
        await here.pending.settle()
        assert here.peek("k") is None
        assert await here.fetch("k") is here.peek("k") is not None
        await stack.delete({"k"})
        assert here.peek("k") is None
        assert await here.fetch("k") is None


class TestBounds:
    async def test_very_many_copies_go_at_once_and_give_their_memory_back_in_turns(self) -> None:
        tier = near_tier(FakeVersioned(), 64 * MEGABYTE)
        entries = [make_entry(str(number)) for number in range(3 * FREED_AT_A_TIME)]
        alone = {sys.getrefcount(entry) for entry in entries}
        for number in range(len(entries)):
            tier.wrote(entries[number], 7)
        assert len(tier) == len(entries)
        tier.drop(None)
        assert len(tier) == tier.total_bytes == 0
        assert tier.peek("0") is None
        counts = list[int]()
        for _ in range(4):
            counts.append(sum(sys.getrefcount(entry) not in alone for entry in entries))
            await asyncio.sleep(0)
        assert counts == [2 * FREED_AT_A_TIME, FREED_AT_A_TIME, 0, 0]

    def test_what_is_not_used_goes_first(self) -> None:
        tier = near_tier(FakeVersioned(), 100 * (ENTRY_OVERHEAD_BYTES + 1500))
        for number in range(200):
            tier.wrote(make_entry(f"{number:03}", bytes(1000)), 1)
            tier.peek("000")
            assert tier.total_bytes <= tier.max_bytes
        assert tier.peek("000") is not None
        assert 90 < len(tier) < 200
        tier.drop([f"{number:03}" for number in range(200)])
        assert (len(tier), tier.total_bytes) == (0, 0)

    def test_one_large_body_does_not_push_out_all_the_others(self) -> None:
        tier = near_tier(FakeVersioned(), MEGABYTE)
        tier.wrote(make_entry("small"), 1)
        tier.wrote(make_entry("large", bytes(MEGABYTE // 8)), 1)
        assert tier.peek("small") is not None
        assert tier.peek("large") is None
