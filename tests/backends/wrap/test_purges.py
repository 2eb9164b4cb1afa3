"""What a stack knows of purges by tag: the cost of a lookup, and which copies are lost when."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import weakref
from collections.abc import Collection, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.memory.store import MemoryStore
from aiohttp_cache_di.backends.store import Found, Limits, Record, Written
from aiohttp_cache_di.backends.wrap import purges as module
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, StoreGuard
from aiohttp_cache_di.backends.wrap.marks import LAST_PURGE_KEY, purge_records, softened_by
from aiohttp_cache_di.backends.wrap.purges import PurgeCount
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse, Tagging
from tests.backends.entries import make_entry
from tests.backends.proof import ProofStore
from tests.interleaving import at_each_step, in_thread


class Counting(ProofStore):
    """A store that counts reads, has versions that grow with each write, and fails when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.versions: dict[str, int] = {}
        self.is_down = False

    def version(self, key: str) -> int | None:
        return self.versions.get(key, 1)

    def touch(self, key: str) -> None:
        """Nothing is evicted."""

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        if self.is_down:
            raise StorageError("down")
        self.asked += keys
        found = await super().get(keys)
        return [one and Found(one.item, self.versions.get(key, 1)) for key, one in zip(keys, found, strict=True)]

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        if self.is_down:
            raise StorageError("down")
        for record in records:
            self.versions[record.key] = self.versions.get(record.key, 1) + 1
        await super().put(records)
        return [self.versions[record.key] for record in records]

    async def delete(self, keys: Collection[str]) -> None:
        for key in keys:
            self.versions[key] = self.versions.get(key, 1) + 1
        await super().delete(keys)


def tagged(key: str, *tags: str, **fields: Any) -> StoredResponse:
    return replace(make_entry(key), tagging=Tagging(tags, **fields))


def other(stack: StoreStack) -> StoreStack:
    """A stack as another process has it on the same store."""
    return StoreStack(stack.store, near_bytes=1_000_000)


async def filled(*entries: StoredResponse) -> tuple[StoreStack, Counting]:
    store = Counting()
    stack = StoreStack(store, near_bytes=1_000_000)
    for entry in entries:
        stack.here().store(entry)
    await stack.settle()
    for entry in entries:
        assert await stack.here().fetch(entry.key) is not None
    await stack.settle()
    store.asked.clear()
    return stack, store


@pytest.mark.parametrize("is_here", [False, True])
async def test_what_is_deleted_after_its_tags_had_to_be_checked_is_not_used(*, is_here: bool) -> None:
    stack, store = await filled(tagged("k", "t"), tagged("other", "t"))
    here = stack.here()
    await upkeep.purge_tags(other(stack), ["u"])
    assert here.peek("k") is None
    await (stack.delete({"k"}) if is_here else store.delete({"k"}))
    assert here.peek("k") is None
    assert await here.fetch("k") is None


async def test_a_look_at_what_has_no_tags_asks_nothing_of_purges() -> None:
    stack, store = await filled(make_entry("plain"), tagged("a", "a"))
    await upkeep.purge_tags(other(stack), ["a"])
    store.asked.clear()
    assert stack.here().peek("plain") is not None
    assert store.asked == []


async def test_a_look_at_what_is_at_hand_asks_the_store_only_after_a_purge_and_once() -> None:
    stack, store = await filled(tagged("a", "x", "y"), tagged("b", "z"))
    here = stack.here()
    for _ in range(3):
        assert here.peek("a") is not None
        assert here.peek("b") is not None
    assert store.asked == []
    await upkeep.purge_tags(other(stack), ["z"])
    store.asked.clear()
    assert here.peek("b") is None
    assert await here.fetch("b") is None
    assert here.peek("a") is None
    assert await here.fetch("a") is not None
    assert "a" not in store.asked  # the copy is still valid
    assert store.asked.count(LAST_PURGE_KEY) == 1
    store.asked.clear()
    assert here.peek("a") is not None
    assert store.asked == []


async def test_a_purge_in_this_process_counts_before_it_is_written() -> None:
    stack, store = await filled(tagged("a", "g", groups=1, origin="o"))
    here = stack.here()
    store.is_down = True
    await here.purges.purge_groups(["g"], "other")
    await here.purges.purge_groups(["g"], "o")
    assert here.peek("a") is None
    assert await here.fetch("a") is None
    assert here.purges.reasons == {"a": "g"}
    store.is_down = False
    await stack.settle()


async def test_a_purge_that_begins_while_tags_are_checked_counts_for_the_next_look() -> None:
    class Hooked(Counting):
        may_purge = True

        async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
            found = await super().get(keys)
            if self.may_purge and not {"a", LAST_PURGE_KEY}.intersection(keys):
                self.may_purge = False
                await here.purges.purge_groups(["g"], "o")
                self.is_down = True  # so that the records of the purge cannot be written
            return found

    store = Hooked()
    store.limits = Limits(batch=10, parallel=4)
    stack = StoreStack(store, near_bytes=1_000_000)
    here = stack.here()
    here.store(tagged("a", "g", groups=1, origin="o"))
    await stack.settle()
    assert await here.fetch("a") is not None
    assert here.peek("a") is None
    assert await here.fetch("a") in (None, FAILED)


async def test_what_cannot_be_looked_at_is_not_used() -> None:
    stack, store = await filled(tagged("a", "x"), make_entry("plain"))
    here = stack.here()
    await upkeep.purge_tags(other(stack), ["y"])
    store.is_down = True
    assert here.peek("a") is None
    assert await here.fetch("a") is FAILED, "and not said to be missing"
    assert here.peek("plain") is not None
    store.is_down = False
    assert await StoreStack(store, guard=StoreGuard()).here().fetch("a") is not None


async def test_a_last_that_a_look_has_put_over_a_purges_hides_nothing() -> None:
    stack, store = await filled(tagged("a", "x"), tagged("b", "x"))
    here = stack.here()
    (found,) = await store.get([LAST_PURGE_KEY])
    assert found is not None
    await upkeep.purge_tags(other(stack), ["x"])
    last = purge_records([], 0, 1e12)[1]
    await store.put([Record(LAST_PURGE_KEY, last, 1e12)])
    assert await here.fetch("a") is None
    assert here.peek("b") is None
    number = await upkeep.purge_tags(other(stack), ["y"])
    assert number > here.purges.latest > 0


async def test_a_response_that_knows_of_a_later_purge_teaches_it() -> None:
    stack, _ = await filled()
    here = stack.here()
    far = 2**59
    here.store(tagged("a", "x", purges=far))
    await stack.settle()
    assert await here.fetch("a") is not None
    assert await upkeep.purge_tags(stack, ["x"]) == far + 1
    assert await here.fetch("a") is None


async def test_numbers_end_before_they_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, _ = await filled()
    for _ in range(2):
        stack.here().purges.latest = 2**60 - 1
        assert await upkeep.purge_tags(stack, ["x"]) == 2**60 - 1


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REASONS", 3)
    stack, _ = await filled()
    here = stack.here()
    await upkeep.purge_tags(stack, [str(number) for number in range(9)])
    for number in range(9):
        here.purges.remember(str(number), "x")
    assert (len(here.purges.reasons), len(stack.purge_count.recent)) == (3, 3)
    assert here.purges.has_purged(Tagging(("8",)))
    here.store(make_entry("8"))
    assert list(here.purges.reasons) == ["6", "7"]
    await stack.settle()


async def test_a_record_that_is_none_of_ours_says_nothing() -> None:
    stack, store = await filled(tagged("a", "x"))
    (mark,) = purge_records(["x"], 1, 1e12)[0]
    for body in (b"", b"\xff", b"\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc4\x00"):
        await store.put([Record(mark.key, replace(mark, body=body), 1e12), Record(LAST_PURGE_KEY, mark, 1e12)])
        assert await stack.here().fetch("a") is not None
    await store.put([Record(mark.key, "an alias", 1e12)])
    assert await StoreStack(store).here().fetch("a") is not None


async def test_loops_of_one_process_see_each_others_purges() -> None:
    store = MemoryStore()
    stack = StoreStack(store)
    for entry in (tagged("a", "x"), tagged("b", "y")):
        stack.here().store(entry)
    assert stack.here().peek("a") is not None
    seen: list[bool] = []

    async def purge() -> None:
        seen.append(stack.here().peek("a") is not None)
        await upkeep.purge_tags(stack, ["x"])

    thread = threading.Thread(target=lambda: asyncio.run(purge()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert seen == [True]
    assert stack.here().peek("a") is None
    assert stack.here().peek("b") is not None


async def test_each_loop_knows_which_purge_is_the_reason() -> None:
    stack = StoreStack(MemoryStore())
    here = stack.here()
    here.store(tagged("a", "x"))

    async def use() -> None:
        stack.here().store(tagged("b", "y"))

    await asyncio.to_thread(asyncio.run, use())
    await upkeep.purge_tags(stack, ["x"])
    assert here.peek("a") is None
    assert here.purges.reasons == {"a": "x"}


def test_a_store_in_memory_keeps_nothing_of_a_loop_that_has_ended() -> None:
    stack = StoreStack(MemoryStore())

    async def use() -> weakref.ref[object]:
        here = stack.here()
        here.store(tagged("a", "x"))
        assert here.peek("a") is not None
        await upkeep.purge_tags(stack, ["y"])
        return weakref.ref(here)

    here = asyncio.run(use())
    gc.collect()  # a loop refers to itself
    assert here() is None


async def test_a_soft_purge_makes_stale_what_a_later_one_drops() -> None:
    stack, _ = await filled(tagged("a", "x", "y"))
    here = stack.here()
    await upkeep.purge_tags(stack, ["y"], soft=True)
    stale = await here.fetch("a")
    assert isinstance(stale, StoredResponse)
    assert (stale.fresh_until < make_entry("a").received_at + 1e12, softened_by(stale)) == (True, "y")
    assert await stack.get("a") == stale or isinstance(await stack.get("a"), StoredResponse)
    await upkeep.purge_tags(stack, ["x"])
    assert await here.fetch("a") is None


async def test_what_says_to_have_tags_and_has_none_is_never_purged() -> None:
    stack, store = await filled(tagged("a"), tagged("b", "x"))
    await upkeep.purge_tags(other(stack), ["x"])
    assert await stack.here().fetch("a") is not None
    told = [info.key async for page in upkeep.infos(stack, lambda info: True) for info in page]
    assert told == ["a"]
    assert store.asked


def test_no_purge_looks_like_one_that_another_thread_has_begun_meanwhile() -> None:
    count, seen = PurgeCount(), list[object]()
    marks, _ = purge_records(["a"], 1, math.inf)

    def meanwhile() -> None:
        count.add(marks, 1)
        seen.append(count.token)  # as a response that is checked now remembers it

    with at_each_step(in_thread(meanwhile)):
        count.add(marks, 1)
    assert len(seen) == len(set(seen)) > 5
