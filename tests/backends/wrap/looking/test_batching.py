"""Concurrent reads share a call of the store, and each ends as if it were alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence

import pytest

from aiohttp_cache_di.backends.store import Found, Limits, PartlyReadError
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.looking import batching
from aiohttp_cache_di.backends.wrap.looking.batching import BatchedReads, UnansweredError
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.errors import StorageError
from tests.backends.proof import ProofStore


class Noting(ProofStore):
    """Records reads, and answers when a test allows it."""

    def __init__(self, *, batch: int = 100, reads: int = 0, parallel: int = 1) -> None:
        super().__init__()
        self.limits = Limits(batch=batch, reads=reads, parallel=parallel)
        self.calls: list[list[str]] = []
        self.under_way = 0
        self.most = 0
        self.keys_under_way = 0
        self.most_keys = 0
        self.second_begun = asyncio.Event()
        self.large_begun = asyncio.Event()
        self.few_begun = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        self.calls.append(list(keys))
        if len(self.calls) == 2:
            self.second_begun.set()
        if len(keys) > 30:
            self.large_begun.set()
        elif self.large_begun.is_set():
            self.few_begun.set()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.keys_under_way += len(keys)
        self.most_keys = max(self.most_keys, self.keys_under_way)
        try:
            await self.may_answer.wait()
            await asyncio.sleep(0)
            if "bad" in keys:
                raise OSError("no such disk")
            if "lost" in keys:
                raise PartlyReadError([StorageError("no server") if key == "lost" else Found(key) for key in keys])
            return [Found(key) for key in keys]
        finally:
            self.under_way -= 1
            self.keys_under_way -= len(keys)


async def ask(reads: BatchedReads, *keys: str) -> list[object]:
    """Read all of *keys* concurrently."""
    found = await asyncio.gather(*map(reads.get, keys), return_exceptions=True)
    return [one.item if isinstance(one, Found) else one for one in found]


async def test_a_lone_read_goes_at_once_and_those_that_come_meanwhile_go_together() -> None:
    store = Noting()
    assert await ask(BatchedReads(store), *"abcd") == list("abcd")
    assert store.calls == [["a"], ["b", "c", "d"]]


async def test_a_batch_has_no_more_keys_than_the_store_takes_and_each_key_once() -> None:
    store = Noting(batch=2)
    assert await ask(BatchedReads(store), *"abbccdd") == list("abbccdd")
    assert store.calls == [["a"], ["b", "c"], ["d"]]


async def test_a_batch_is_smaller_where_the_store_reads_few_best() -> None:
    store = Noting(reads=2)
    assert await ask(BatchedReads(store), *"abcde") == list("abcde")
    assert store.calls == [["a"], ["b", "c"], ["d", "e"]]


async def test_a_read_that_queues_is_not_sent_if_its_answer_is_at_hand_by_then() -> None:
    store, known = Noting(), dict[str, Found]()
    reads = BatchedReads(store, at_hand=known.get)
    store.may_answer.clear()
    asked = asyncio.gather(*map(reads.get, "abbcd"))
    await asyncio.sleep(0)
    known |= {key: Found(f"known {key}") for key in "abc"}
    store.may_answer.set()
    found = await asked
    assert [one and one.item for one in found] == ["a", "known b", "known b", "known c", "d"]
    assert store.calls == [["a"], ["d"]]


async def test_a_read_that_was_cancelled_in_the_queue_is_not_answered() -> None:
    store, known = Noting(), dict[str, Found]()
    reads = BatchedReads(store, at_hand=known.get)
    store.may_answer.clear()
    asked = [asyncio.create_task(reads.get(key)) for key in "abb"]
    await asyncio.sleep(0)
    asked[1].cancel()
    known["b"] = Found("known b")
    store.may_answer.set()
    await asyncio.wait(asked, timeout=20)
    assert asked[1].cancelled()
    assert asked[2].result() == Found("known b")


@pytest.mark.parametrize("parallel", [1, 3])
async def test_as_many_calls_are_under_way_as_the_store_takes(parallel: int) -> None:
    store = Noting(batch=1, parallel=parallel)
    assert await ask(BatchedReads(store), *"abcdefgh") == list("abcdefgh")
    assert store.most == parallel


async def test_few_large_calls_are_under_way_together() -> None:
    store = Noting(batch=8, parallel=16)
    keys = [f"{number}" for number in range(200)]
    assert await ask(BatchedReads(store), *keys) == keys
    large = [call for call in store.calls if len(call) > 1]
    assert len(large) == (len(keys) - store.limits.parallel) / 8
    assert store.most_keys == batching.FULL * 8


async def test_few_reads_wait_for_a_large_batch_and_share_the_call_of_its_readers() -> None:
    store = Noting(parallel=3)
    reads = BatchedReads(store)
    large = [f"{number}" for number in range(40)]

    async def read_twice(key: str) -> None:
        await reads.get(key)
        await reads.get(key)

    async def read_late(key: str) -> None:
        await store.large_begun.wait()
        await reads.get(key)

    async with asyncio.timeout(20):
        await asyncio.gather(*map(read_twice, large), *map(read_late, "abc"))
    assert [len(call) for call in store.calls] == [1, 1, 1, 40, 40]


async def test_few_reads_wait_no_longer_than_a_moment_for_a_large_batch_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Noting(parallel=2)
    reads = BatchedReads(store)
    large = asyncio.create_task(ask(reads, *(f"{number}" for number in range(40))))
    await store.large_begun.wait()
    store.may_answer.clear()
    monkeypatch.setattr(batching, "MAX_HELD_S", 0.001)
    few = asyncio.create_task(ask(reads, "a", "b"))
    async with asyncio.timeout(20):
        await store.few_begun.wait()
    store.may_answer.set()
    await asyncio.gather(large, few)
    assert [len(call) for call in store.calls] == [1, 1, 38, 2]


async def test_reads_that_are_as_many_as_those_of_a_batch_are_sent_beside_it() -> None:
    store = Noting(batch=4, parallel=2)
    store.may_answer.clear()
    asking = asyncio.create_task(ask(BatchedReads(store), *"abcdefghij"))
    await store.second_begun.wait()
    store.most = 0
    store.may_answer.set()
    await asking
    assert [len(call) for call in store.calls] == [1, 1, 4, 4]
    assert store.most == 2


async def test_a_read_never_joins_one_that_has_begun() -> None:
    store, reads = Noting(), None
    reads = BatchedReads(store)
    await ask(reads, "a", "a", "a")
    assert store.calls == [["a"], ["a"]]


async def test_who_is_cancelled_takes_no_other_along() -> None:
    store = Noting()
    reads = BatchedReads(store)
    store.may_answer.clear()
    tasks = {key: asyncio.create_task(reads.get(key)) for key in "abcd"}
    await asyncio.sleep(0)
    for key in "ac":
        tasks[key].cancel()
    store.may_answer.set()
    found = await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False, True, False]


def reading(store: Noting) -> Callable[[str], Coroutine[None, None, object]]:
    return BatchedReads(store).get


def fetching(store: Noting) -> Callable[[str], Coroutine[None, None, object]]:
    return StoreStack(store, guard=StoreGuard(deadline_s=60)).here().fetch


@pytest.mark.parametrize("way", [reading, fetching])
async def test_a_batch_ends_when_none_waits_for_it_so_that_a_store_that_hangs_is_asked_anew(
    way: Callable[[Noting], Callable[[str], Coroutine[None, None, object]]],
) -> None:
    store = Noting()
    get = way(store)
    store.may_answer.clear()
    tasks = [asyncio.create_task(get(key)) for key in "abc"]
    for _ in range(3):
        await asyncio.sleep(0)
    tasks[0].cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert store.calls == [["a"], ["b", "c"]]
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0)
    assert store.under_way == 0
    store.may_answer.set()
    async with asyncio.timeout(10):
        await get("d")
    assert store.calls[2:] == [["d"]]


async def test_an_error_is_told_to_all_who_wait_and_the_next_read_is_asked_anew() -> None:
    reads = BatchedReads(Noting())
    found = await ask(reads, "a", "bad", "c")
    assert [type(one) for one in found] == [str, OSError, OSError]
    assert await ask(reads, "c") == ["c"]


DEADLINE_S = 0.1


class TestGuarded:
    @pytest.fixture
    def guard(self) -> StoreGuard:
        return StoreGuard(deadline_s=DEADLINE_S)

    async def test_the_time_for_which_others_are_answered_is_not_counted(self, guard: StoreGuard) -> None:
        class Slow(Noting):
            async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
                await asyncio.sleep(DEADLINE_S / 4)
                return await super().get(keys)

        reads = BatchedReads(Slow(batch=1), guard)
        keys = "abcdefghij"  # the last read is sent after more than two deadlines
        assert await ask(reads, *keys) == list(keys)
        assert not guard.stats.store_errors

    async def test_the_time_in_which_the_loop_uses_the_answers_to_others_is_not_counted(
        self, guard: StoreGuard
    ) -> None:
        class InTurn(Noting):
            """Answers one call after the other, as a connection does."""

            turn = asyncio.Lock()

            async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
                async with self.turn:
                    return await super().get(keys)

        async def read(key: str) -> bool:
            found = await reads.get(key)
            time.sleep(DEADLINE_S / 50)  # noqa: ASYNC251  # as a request does that uses the answer
            return found is not None

        reads = BatchedReads(InTurn(batch=16, parallel=16), guard)
        assert all(await asyncio.gather(*(read(f"{number}") for number in range(300))))
        assert not guard.stats.store_errors

    async def test_a_store_that_hangs_holds_none_for_longer_than_a_deadline(self, guard: StoreGuard) -> None:
        store = Noting(batch=1)
        store.may_answer.clear()
        reads, loop = BatchedReads(store, guard), asyncio.get_running_loop()
        begun_at = loop.time()
        found = await ask(reads, *"abcdefgh")
        assert [type(one) for one in found] == [UnansweredError] * 8
        assert loop.time() - begun_at < 8 * DEADLINE_S, "they wait together, not one after the other"
        assert store.calls == [["a"]]
        store.may_answer.set()
        assert await ask(reads, "i") == ["i"]

    async def test_one_that_hangs_takes_no_other_along(self, guard: StoreGuard) -> None:
        class Partly(Noting):
            async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
                await asyncio.sleep(DEADLINE_S / 2 if "hangs" not in keys else 60)
                return await super().get(keys)

        reads = BatchedReads(Partly(batch=1, parallel=2), guard)
        found = await ask(reads, "hangs", *"abcdef")
        assert type(found[0]) is UnansweredError
        assert found[1:] == list("abcdef")

    async def test_a_store_that_is_left_alone_is_not_asked_by_those_who_waited(self, guard: StoreGuard) -> None:
        reads = BatchedReads(store := Noting(batch=1), guard)
        for _ in range(3):
            await ask(reads, "bad")
        store.calls.clear()
        assert {type(one) for one in await ask(reads, *"abcdefgh")} == {UnansweredError}
        assert store.calls == []


async def test_a_server_of_several_that_fails_fails_its_own_readers_alone() -> None:
    reads = BatchedReads(Noting())
    first, *others = await ask(reads, "a", "b", "lost", "c")
    assert [first, others[0], others[2]] == ["a", "b", "c"]
    assert isinstance(others[1], StorageError)
    assert not isinstance(others[1], PartlyReadError)


async def test_a_server_of_several_that_fails_is_counted_and_opens_no_circuit() -> None:
    guard = StoreGuard()
    reads = BatchedReads(Noting(), guard)
    for _ in range(10):
        found = await ask(reads, "a", "b", "lost")
        assert found[:2] == ["a", "b"]
        assert isinstance(found[2], UnansweredError)
    assert not guard.is_open
    assert sum(guard.stats.store_errors.values()) == 10
