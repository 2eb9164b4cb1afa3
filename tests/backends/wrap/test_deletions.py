"""`Deletions`: which keys were deleted while a request was under way."""

from __future__ import annotations

import asyncio

from aiohttp_cache_di.backends.memory.store import MemoryStore
from aiohttp_cache_di.backends.wrap.deletions import MAX_KEYS, Deletions
from aiohttp_cache_di.backends.wrap.loop import LoopStack
from aiohttp_cache_di.backends.wrap.stack import StoreStack


def test_a_key_that_was_deleted_meanwhile_is_told_from_others() -> None:
    deletions = Deletions()
    deletions.note({"a"})
    before = deletions.count
    assert not deletions.has("a", after=before)
    deletions.note({"b", "c"})
    assert [deletions.has(key, after=before) for key in "abcd"] == [False, True, True, False]


def test_a_deletion_of_everything_is_one_of_each_key() -> None:
    deletions = Deletions()
    before = deletions.count
    deletions.note(None)
    assert deletions.has("a", after=before)
    assert not deletions.has("a", after=deletions.count)


def test_no_deletion_is_missed_however_many_there_are() -> None:
    deletions = Deletions()
    before = deletions.count
    for number in range(2 * MAX_KEYS):
        deletions.note({str(number)})
        assert deletions.has(str(number), after=deletions.count - 1)
    assert all(deletions.has(str(number), after=before) for number in range(2 * MAX_KEYS))
    deletions.note({str(number) for number in range(MAX_KEYS + 1)})
    assert deletions.has("0", after=deletions.count - 1)
    assert len(deletions._latest) <= MAX_KEYS


def test_a_key_is_deleted_anew_as_long_as_one_of_its_deletions_lasts() -> None:
    deletions = Deletions()
    with deletions.during({"a", "b"}):
        with deletions.during({"a"}):
            assert [deletions.is_under_way(key) for key in "abc"] == [True, True, False]
        assert [deletions.has(key, after=deletions.count) for key in "abc"] == [True, True, False]
    assert not any(deletions.has(key, after=deletions.count) for key in "abc")
    before = deletions.count
    with deletions.during(None):
        assert deletions.has("c", after=deletions.count)
    assert not deletions.is_under_way("c")
    assert deletions.has("c", after=before)


def test_a_deletion_whose_loop_was_closed_is_over_in_the_others() -> None:
    stack = StoreStack(MemoryStore())

    async def delete() -> None:
        with stack.deleting({"a"}):
            await asyncio.get_running_loop().create_future()

    async def part() -> LoopStack:
        return stack.here()

    left, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        there = other.run_until_complete(part())
        deletion = delete()
        task = left.create_task(deletion)
        left.run_until_complete(asyncio.sleep(0))
        other.run_until_complete(asyncio.sleep(0))
        assert there.deletions.is_under_way("a")
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        left.close()
        deletion.close()  # as if it were freed
        other.run_until_complete(asyncio.sleep(0))
        assert not there.deletions.is_under_way("a")
    finally:
        left.close()
        other.close()


async def test_a_deletion_that_is_the_first_use_in_a_loop_is_known_there() -> None:
    stack = StoreStack(MemoryStore())
    with stack.deleting({"a"}):
        assert stack.here().deletions.is_under_way("a")
    assert not stack.here().deletions.is_under_way("a")
