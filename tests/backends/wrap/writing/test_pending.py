"""Pending writes: they can be read, are retried until they succeed, and are bounded in memory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import pytest

from aiohttp_cache_di.backends.store import Lease, Limits, Record, Written
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.loop import LoopStack
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.backends.wrap.writing import write
from aiohttp_cache_di.backends.wrap.writing.backlog import MAX_PENDING_BYTES
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import CacheStats
from tests.backends.entries import make_entry
from tests.backends.proof import ProofStore


class SlowStore(ProofStore):
    """A store that puts when a test allows it, and fails as often as the test says."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__()
        self.limits = limits or Limits(batch=10)
        self.may_put = asyncio.Event()
        self.may_put.set()
        self.has_begun = asyncio.Event()
        self.refusals: list[Exception] = []
        self.batches: list[list[str]] = []

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        self.batches.append([record.key for record in records])
        self.has_begun.set()
        await self.may_put.wait()
        if self.refusals:
            raise self.refusals.pop()
        return await super().put(records)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pause before a retry."""
    monkeypatch.setattr(write, "FIRST_REST_S", 0.001)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def stack(store: SlowStore) -> StoreStack:
    return StoreStack(store, guard=StoreGuard(CacheStats()))


@pytest.fixture
async def here(stack: StoreStack) -> LoopStack:
    return stack.here()


async def written(stack: StoreStack) -> None:
    """Wait until no write is pending."""
    async with asyncio.timeout(20):
        while stack.here().pending.entries:
            await stack.settle()
            await asyncio.sleep(0.001)


async def put_begins(store: SlowStore) -> None:
    """Wait until *store* is putting."""
    async with asyncio.timeout(20):
        await store.has_begun.wait()


async def test_an_entry_is_read_while_it_is_written(here: LoopStack, store: SlowStore) -> None:
    store.may_put.clear()
    here.store(entry := make_entry("k"))
    assert here.peek("k") is entry
    await put_begins(store)
    assert here.peek("k") is entry
    store.may_put.set()
    await here.pending.settle({"k"})
    assert here.peek("k") is None
    assert await here.fetch("k") == entry


async def test_what_runs_next_is_not_delayed_by_the_put(here: LoopStack, store: SlowStore) -> None:
    loop = asyncio.get_running_loop()
    here.store(make_entry("k"))
    begun: asyncio.Future[bool] = loop.create_future()
    loop.call_soon(lambda: begun.set_result(store.has_begun.is_set()))  # as the caller, who has the whole body now
    assert not await begun
    await put_begins(store)


async def test_what_comes_together_is_put_together(here: LoopStack, store: SlowStore, stack: StoreStack) -> None:
    for number in range(25):
        here.store(make_entry(f"{number}"))
    await written(stack)
    assert [len(batch) for batch in store.batches] == [10, 10, 5]
    assert stack.stats.stored == 25


async def test_the_newest_of_two_entries_is_read_and_written_last(here: LoopStack, store: SlowStore) -> None:
    store.may_put.clear()
    outcomes: list[str] = []
    here.store(make_entry("k", b"old"), lambda done: outcomes.append(f"old {done}"))
    await put_begins(store)
    here.store(make_entry("k", b"newer"), lambda done: outcomes.append(f"newer {done}"))
    here.store(new := make_entry("k", b"newest"), lambda done: outcomes.append(f"newest {done}"))
    assert here.peek("k") is new
    store.may_put.set()
    await here.pending.settle()
    assert await here.fetch("k") == new
    assert store.batches == [["k"], ["k"]]
    assert outcomes == ["old True", "newer True", "newest True"]


async def test_a_store_that_refuses_the_first_writes_loses_none(stack: StoreStack, store: SlowStore) -> None:
    here, outcomes = stack.here(), list[bool]()
    store.refusals = [OSError("not now"), OSError("not yet")]
    for number in range(30):
        here.store(make_entry(f"{number}"), outcomes.append)
    await written(stack)
    assert sorted(store.data) == sorted(f"{number}" for number in range(30))
    assert stack.stats.stored == 30
    assert stack.stats.store_errors == {"OSError": 2}
    assert outcomes.count(True) == 30
    assert outcomes.count(False) > 0


async def test_what_cannot_be_written_yet_is_read_and_not_waited_for(here: LoopStack, store: SlowStore) -> None:
    store.refusals = [OSError("no such disk")] * 2
    here.store(entry := make_entry("k"))
    await here.pending.settle({"k"})
    assert here.peek("k") is entry


async def test_a_dead_store_is_tried_as_seldom_as_its_circuit_allows(store: SlowStore) -> None:
    clock = Clock()
    stack = StoreStack(store, guard=StoreGuard(CacheStats(), clock=clock))
    here = stack.here()
    store.refusals = [OSError("down")] * 1000
    for number in range(100):
        here.store(make_entry(f"{number}"))
    await asyncio.sleep(0.05)
    assert len(store.batches) <= 4
    here.store(make_entry("another"))
    await asyncio.sleep(0.05)
    assert len(store.batches) <= 4
    store.refusals.clear()
    clock.now += 1
    async with asyncio.timeout(20):
        await written(stack)
    assert len(store.data) == 101


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_store_that_has_recovered_early_is_written_at_once(store: SlowStore, *, is_closed: bool) -> None:
    guard = StoreGuard(CacheStats(), clock=Clock())
    here = StoreStack(store, guard=guard).here()
    store.refusals = [OSError("down")] * 3
    for _ in range(3):
        await guard.run("write", partial(store.put, []), None)
    here.store(make_entry("while it is down"))
    if is_closed:
        guard.note_success("write")
    else:
        guard.retry_now("write")
    here.store(make_entry("after that"))
    async with asyncio.timeout(0.25):  # the circuit would be tried after half a second
        await here.pending.settle()
    assert list(store.data) == ["while it is down", "after that"]


async def test_what_waits_for_more_is_not_waited_for_while_the_circuit_is_open(store: SlowStore) -> None:
    store.limits = Limits(batch=10, linger_s=60)
    guard = StoreGuard(CacheStats(), clock=Clock())
    here = StoreStack(store, guard=guard).here()
    here.store(make_entry("k"))
    store.refusals = [OSError("down")] * 3
    for _ in range(3):
        await guard.run("write", partial(store.put, []), None)
    async with asyncio.timeout(0.25):
        await here.pending.settle()
    assert "k" in here.pending.entries


async def test_closing_writes_what_a_cancelled_worker_has_left(stack: StoreStack, store: SlowStore) -> None:
    async def use() -> None:
        stack.here().store(make_entry("k"))
        try:
            await asyncio.Event().wait()
        finally:
            store.may_put.set()
            await stack.close()

    store.may_put.clear()
    user = asyncio.create_task(use())
    await put_begins(store)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # as `asyncio.run` does at its end
        task.cancel()
    await asyncio.wait([user])
    assert list(store.data) == ["k"]
    assert stack.stats.store_errors == {}


async def cancel_others() -> None:
    """Cancel all other tasks, as `asyncio.run` does at its end, and wait for them."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.wait(others)


async def test_a_later_write_tells_the_outcome_of_one_that_a_cancelled_worker_has_left(
    here: LoopStack, store: SlowStore
) -> None:
    first, second = list[bool](), list[bool]()
    store.may_put.clear()
    here.store(make_entry("k", b"first"), first.append)
    await put_begins(store)
    here.store(make_entry("k", b"second"), second.append)
    await cancel_others()
    store.may_put.set()
    await here.pending.settle()
    assert (first, second) == ([False, True], [True])


async def test_a_key_that_was_deleted_while_a_cancelled_worker_put_it_is_not_used(
    stack: StoreStack, here: LoopStack, store: SlowStore
) -> None:
    told = list[bool]()
    store.may_put.clear()
    here.store(make_entry("k"), told.append)
    await put_begins(store)
    here.invalidate_from_afar({"k"})
    await cancel_others()
    assert told == [False]
    assert "k" in stack.tombstones, "the put may have arrived after the deletion"


async def test_what_is_withdrawn_while_it_is_put_is_not_used_after_that(
    stack: StoreStack, here: LoopStack, store: SlowStore
) -> None:
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    store.may_put.clear()
    here.store(make_entry("k"), told.set_result)
    await put_begins(store)
    here.withdraw({"k"})
    store.may_put.set()
    assert not await told
    assert await stack.get("k") is None


async def test_a_key_whose_second_deletion_is_cancelled_is_not_used(
    stack: StoreStack, here: LoopStack, store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_deleting = asyncio.Event()

    async def hang(keys: Collection[str]) -> None:
        is_deleting.set()
        await asyncio.Event().wait()

    store.may_put.clear()
    here.store(make_entry("k"))
    await put_begins(store)
    here.invalidate_from_afar({"k"})
    monkeypatch.setattr(store, "delete", hang)
    store.may_put.set()
    await is_deleting.wait()
    await cancel_others()
    assert "k" in store.data
    assert "k" in stack.tombstones


async def test_an_entry_that_is_at_fault_keeps_no_other_from_being_written(store: SlowStore, stack: StoreStack) -> None:
    class Picky(SlowStore):
        async def put(self, records: Sequence[Record]) -> Sequence[Written]:
            if any(record.key == "bad" for record in records):
                raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")
            return await super().put(records)

    picky, outcomes = Picky(), list[bool]()
    stack = StoreStack(picky)
    here = stack.here()
    for key in ("a", "bad", "c", "d"):
        here.store(make_entry(key), outcomes.append if key == "bad" else None)
    await written(stack)
    assert sorted(picky.data) == ["a", "c", "d"]
    assert outcomes[-1] is False
    assert set(stack.stats.store_errors) == {"UnicodeEncodeError"}


async def test_a_record_that_the_store_does_not_take_is_given_up(stack: StoreStack, store: SlowStore) -> None:
    class Small(SlowStore):
        async def put(self, records: Sequence[Record]) -> Sequence[Written]:
            await super().put(records)
            return [StorageError("too large") if record.key == "large" else 0 for record in records]

    stack, outcomes = StoreStack(Small()), dict[str, bool]()
    for key in ("small", "large"):
        stack.here().store(make_entry(key), lambda done, key=key: outcomes.update({key: done}))  # type: ignore[misc]  # a key each
    await written(stack)
    assert outcomes == {"small": True, "large": False}
    assert (stack.stats.stored, stack.stats.store_errors) == (1, {"StorageError": 1})


async def test_a_backlog_is_bounded(here: LoopStack, store: SlowStore, stack: StoreStack) -> None:
    store.may_put.clear()
    large = bytes(MAX_PENDING_BYTES // 2)
    for key in "abc":
        here.store(make_entry(key, large))
    assert [here.peek(key) is None for key in "abc"] == [False, True, True]
    assert stack.stats.store_errors["backlog"] == 2
    store.may_put.set()
    await written(stack)


async def test_what_has_failed_for_the_longest_makes_room(store: SlowStore) -> None:
    stack = StoreStack(store, guard=StoreGuard(CacheStats(), clock=Clock()))
    here, outcomes = stack.here(), list[str]()
    store.refusals = [OSError("down")] * 10
    third = bytes(MAX_PENDING_BYTES // 3 - 4096)
    for key in "abc":
        here.store(make_entry(key, third), lambda done, key=key: outcomes.append(f"{key} {done}"))  # type: ignore[misc]  # a key each
        await here.pending.settle()
    here.store(make_entry("d", third))
    assert [here.peek(key) is None for key in "abcd"] == [True, False, False, False]
    assert stack.stats.store_errors["backlog"] == 1
    assert outcomes[-1] == "a False"


async def test_what_is_deleted_is_neither_read_nor_written(
    here: LoopStack, store: SlowStore, stack: StoreStack
) -> None:
    store.may_put.clear()
    for key in ("begun", "a", "b"):
        here.store(make_entry(key))
        await put_begins(store)
    here.invalidate({"a"})
    assert [here.peek(key) is None for key in ("begun", "a", "b")] == [False, True, False]
    here.invalidate(None)
    assert [here.peek(key) is None for key in ("begun", "a", "b")] == [True, True, True]
    store.may_put.set()
    await here.pending.settle()
    assert sorted(store.data) == ["begun"], "what the store was putting already is deleted by those who asked for it"


async def test_the_lease_of_a_write_that_is_not_made_is_released() -> None:
    class Leasing(SlowStore):
        async def acquire(self, key: str, ttl_s: float) -> Lease:
            return Lease.GRANTED

        async def renew(self, key: str, ttl_s: float) -> bool:
            return True

        async def release(self, key: str) -> None:
            held.discard(key)

    held = {"deleted", "too large"}
    stack = StoreStack(store := Leasing())
    here = stack.here()
    here.store(make_entry("deleted"))
    here.store(make_entry("too large"))
    here.release_lease("deleted", owner=stack)
    here.release_lease("too large", owner=stack)
    here.pending.forget({"deleted"})
    here.store(make_entry("too large", bytes(MAX_PENDING_BYTES)))
    await here.tasks.finish()
    assert store.batches == []
    assert held == set()


async def test_a_put_that_outlives_a_deletion_is_deleted_again(store: SlowStore) -> None:
    stack = StoreStack(store, guard=StoreGuard(CacheStats(), deadline_s=0.05))
    store.may_put.clear()
    outcomes: list[bool] = []
    stack.here().store(make_entry("k"), outcomes.append)
    await put_begins(store)
    await stack.delete({"k"})  # waits for no longer than a deadline
    store.may_put.set()
    await stack.settle()
    assert store.data == {}
    assert (outcomes, stack.stats.stored) == ([False], 0)


async def test_a_failed_write_is_replaced_while_another_of_its_batch_is_deleted_again(
    store: SlowStore, stack: StoreStack
) -> None:
    here, outcomes, has_failed, may_delete = stack.here(), list[str](), asyncio.Event(), asyncio.Event()

    async def delete(keys: Collection[str]) -> None:
        await may_delete.wait()

    def note_old(is_written: bool) -> None:
        outcomes.append(f"old {is_written}")
        has_failed.set()

    store.delete = delete  # type: ignore[method-assign]  # a deletion that takes long
    store.may_put.clear()
    store.refusals = [OSError("not now")]
    here.store(make_entry("deleted"))
    here.store(make_entry("k", b"old"), note_old)
    await asyncio.sleep(0)
    here.invalidate_from_afar({"deleted"})
    store.may_put.set()
    await has_failed.wait()
    here.store(make_entry("k", b"new"), lambda done: outcomes.append(f"new {done}"))
    may_delete.set()
    await written(stack)
    assert outcomes == ["old False", "old True", "new True"]


async def test_what_is_left_is_tried_again_at_the_end_for_a_moment(stack: StoreStack, store: SlowStore) -> None:
    store.refusals = [OSError("not now")]
    stack.here().store(make_entry("k"))
    await stack.close()
    assert list(store.data) == ["k"]


async def test_the_end_does_not_wait_for_a_store_that_is_gone(
    store: SlowStore, stack: StoreStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiohttp_cache_di.backends.wrap.loop.FINISH_WITHIN_S", 0.05)
    outcomes: list[bool] = []
    store.refusals = [OSError("gone")] * 1000
    stack.here().store(make_entry("k"), outcomes.append)
    async with asyncio.timeout(20):
        await stack.close()
    assert outcomes[-1] is False
    assert stack.stats.store_errors["unwritten"] == 1
    assert stack.here().peek("k") is None


async def test_a_storage_that_waits_for_the_writes_waits_for_none_of_its_own() -> None:
    class Waiting(SlowStore):
        stack: Any = None

        async def put(self, records: Sequence[Record]) -> Sequence[Written]:
            await self.stack.settle()
            return await super().put(records)

    store = Waiting()
    store.stack = stack = StoreStack(store)
    stack.here().store(make_entry("k"))
    async with asyncio.timeout(20):
        await written(stack)
    assert list(store.data) == ["k"]


async def test_a_tombstone_is_gone_once_its_key_is_written(here: LoopStack, stack: StoreStack) -> None:
    stack.tombstones.add({"k"})
    here.store(entry := make_entry("k"))
    assert here.peek("k") is entry
    await here.pending.settle()
    assert "k" not in stack.tombstones


@pytest.mark.skipif(sys.version_info < (3, 12), reason="has no eager tasks")
async def test_with_eager_tasks_what_comes_as_a_worker_ends_is_written(here: LoopStack, store: SlowStore) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009  # mypy looks as 3.11 does

    def store_another(_: bool) -> None:
        loop.call_soon(here.store, make_entry("b"))

    store.may_put.clear()
    here.store(make_entry("a"), store_another)
    store.may_put.set()
    async with asyncio.timeout(5):
        while "b" not in store.data:
            await asyncio.sleep(0)
            await here.pending.settle()
    assert store.batches == [["a"], ["b"]]


def test_another_loop_writes_its_own(store: SlowStore) -> None:
    stack = StoreStack(ProofStore())

    async def store_one(key: str) -> StoredResponse | object:
        stack.here().store(make_entry(key))
        await stack.settle()
        return await stack.here().fetch(key)

    assert [isinstance(asyncio.run(store_one(key)), StoredResponse) for key in "ab"] == [True, True]
