"""Which writes are pending, which of them are put next, and how many bytes they have."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from aiohttp_cache_di.backends.wrap.writing.backlog import MAX_BATCH_BYTES, MAX_PENDING_BYTES, Backlog
from aiohttp_cache_di.backends.wrap.writing.write import State, Write
from tests.backends.entries import make_entry


def pending(keys: str, size: int = 10) -> tuple[Backlog, list[Write]]:
    """A backlog with a write for each of *keys*."""
    backlog = Backlog()
    writes = [Write(make_entry(key, bytes(size)), None) for key in keys]
    for write in writes:
        assert backlog.add(write) == []
    return backlog, writes


def keys_of(writes: Iterable[Write]) -> str:
    return "".join(write.entry.key for write in writes)


def test_the_oldest_are_put_first_and_a_key_that_is_being_put_waits() -> None:
    backlog, _ = pending("abcd")
    first = backlog.take(2)
    backlog.add(Write(make_entry("a"), None))
    assert (keys_of(first), keys_of(backlog.take(2))) == ("ab", "cd")
    assert (backlog.may_take, backlog.take(2)) == (False, [])
    for write in first:
        backlog.end(write)
    backlog.put_back(first)
    assert keys_of(backlog.take(2)) == "a"


@pytest.mark.parametrize(("part", "together"), [(4, "abc"), (3, "ab"), (1, "a")])
def test_what_is_large_together_goes_in_several_and_what_is_too_large_goes_alone(part: int, together: str) -> None:
    backlog, _ = pending("abcd", size=MAX_BATCH_BYTES // part)
    assert keys_of(backlog.take(10)) == together


def test_a_put_that_was_cancelled_is_made_again_unless_its_key_was_deleted() -> None:
    backlog, (a, b) = pending("ab")
    batch = backlog.take(2)
    assert backlog.forget({"a"}) == [a]
    assert (a.state, list(backlog.entries)) == (State.BUSY, ["b"])
    backlog.put_back(batch)
    assert (a.state, b.state) == (State.OVER, State.READY)
    assert backlog.total_bytes == b.size


async def test_bytes_of_a_failed_write_are_counted_until_it_ends() -> None:
    backlog, (failed,) = pending("k")
    batch = backlog.take(1)
    backlog.rest(failed)
    backlog.put_back(batch)
    assert (failed.state, backlog.total_bytes) == (State.RESTING, failed.size)
    later = Write(make_entry("k", bytes(MAX_PENDING_BYTES)), None)
    assert backlog.add(later) == [later]
    assert (failed.state, later.state) == (State.OVER, State.OVER)
    assert (backlog.total_bytes, backlog.entries, backlog.is_empty) == (0, {}, True)
