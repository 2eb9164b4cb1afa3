"""The near tier in front of a file: as fast as memory, and never stale when another process has written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.backends.sqlite.shared import generation
from aiohttp_cache_di.backends.sqlite.shared.generation import CHECK_S
from aiohttp_cache_di.backends.store import Found
from aiohttp_cache_di.backends.wrap.loop import Failed
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.processes import Peer


@pytest.fixture(autouse=True)
def long_belief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use copies for 20 s without a check, so that a stall between two lines of a test invalidates none."""
    monkeypatch.setattr(generation, "CHECK_S", 20.0)


@pytest.fixture
def usual_belief(long_belief: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use copies without a check for the package's own time."""
    monkeypatch.setattr(generation, "CHECK_S", CHECK_S)


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    storage = SQLiteCache(tmp_path / "cache", "responses")
    yield storage
    await storage.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    """A cache with its own connections to the same file, as in another process."""
    storage = SQLiteCache(tmp_path / "cache", "responses")
    yield storage
    await storage.close()


async def fetch(cache: SQLiteCache, key: str) -> StoredResponse | None:
    """Read as the engine does, so that a copy is kept."""
    found = await cache.stack.here().fetch(key)
    assert not isinstance(found, Failed)
    return found


def body_of(cache: SQLiteCache, key: str) -> bytes | None:
    entry = cache.peek(key)
    return None if entry is None else entry.body


async def test_what_was_written_or_read_is_at_hand(cache: SQLiteCache, other: SQLiteCache) -> None:
    entry = make_entry("k")
    await cache.write_entry(entry)
    assert cache.peek("k") == entry
    assert other.peek("k") is None
    await fetch(other, "k")
    assert other.peek("k") == entry


async def test_another_process_deletes_clears_and_writes_anew(cache: SQLiteCache, tmp_path: Path) -> None:
    with Peer(tmp_path / "cache") as peer:
        for key in ("deleted", "rewritten", "cleared"):
            await cache.write_entry(make_entry(key, b"old"))
            assert body_of(cache, key) == b"old"
        assert peer.do('cache.delete("deleted")') == "None"
        assert cache.peek("deleted") is None
        assert body_of(cache, "rewritten") == b"old"
        peer.do('cache.write_entry(make_entry("rewritten", b"new"))')
        assert cache.peek("rewritten") is None
        entry = await fetch(cache, "rewritten")
        assert entry is not None
        assert entry.body == b"new"
        assert body_of(cache, "rewritten") == b"new"
        peer.do("cache.clear()")
        assert cache.peek("cleared") is None
        assert cache.peek("rewritten") is None


async def test_writes_of_others_leave_what_they_did_not_touch(cache: SQLiteCache, other: SQLiteCache) -> None:
    await cache.write_entry(make_entry("mine"))
    for n in range(50):
        await other.write_entry(make_entry(f"other{n}"))
        assert cache.peek("mine") is not None
    await other.delete("other1")
    assert cache.peek("mine") is not None


async def test_own_writes_and_those_of_others_in_turn(cache: SQLiteCache, other: SQLiteCache) -> None:
    for n in range(30):
        first, second = (cache, other) if n % 2 else (other, cache)
        await first.write_entry(make_entry("k", b"%d" % n))
        assert body_of(first, "k") == b"%d" % n
        assert body_of(second, "k") is None
        await fetch(second, "k")
        assert body_of(second, "k") == b"%d" % n


async def test_an_entry_that_is_written_after_a_deletion_is_a_new_one(cache: SQLiteCache, other: SQLiteCache) -> None:
    await cache.write_entry(make_entry("a", b"old"))
    await cache.write_entry(make_entry("last"))
    assert body_of(cache, "a") == b"old"
    await other.delete("last")
    await other.write_entry(make_entry("a", b"new"))
    assert cache.peek("a") is None


async def test_after_more_changes_than_there_are_stripes_what_is_true_is_found(
    cache: SQLiteCache, other: SQLiteCache
) -> None:
    await cache.write_entry(make_entry("k", b"old"))
    await asyncio.gather(*(other.write_entry(make_entry(f"o{n}")) for n in range(5000)))
    await other.write_entry(make_entry("k", b"new"))
    assert cache.peek("k") is None
    await fetch(cache, "k")
    assert body_of(cache, "k") == b"new"


async def test_many_deletions_at_once_are_noticed(cache: SQLiteCache, other: SQLiteCache) -> None:
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{n}")) for n in range(700)))
    await cache.write_entry(make_entry("stays"))
    await other.bulk_delete({f"k{n}" for n in range(700)})
    assert all(cache.peek(f"k{n}") is None for n in range(700))
    assert cache.peek("stays") is not None or await fetch(cache, "stays") is not None
    assert cache.peek("stays") is not None


async def test_what_replaced_an_entry_is_noticed_even_if_it_has_expired_since(
    cache: SQLiteCache, other: SQLiteCache
) -> None:
    for key in ("k", "kept"):
        await cache.write_entry(make_entry(key))
    await other.write_entry(make_entry("o", store_until=time.time() - 1))
    assert body_of(cache, "kept") is not None
    await other.delete_expired(time.time())
    assert body_of(cache, "k") is not None, "what went was known"
    await other.write_entry(make_entry("k", b"new", store_until=time.time() - 1))
    await other.delete_expired(time.time())
    assert cache.peek("k") is None
    await fetch(cache, "kept")
    assert cache.peek("kept") is not None


async def test_what_another_evicts_is_not_held(cache: SQLiteCache, tmp_path: Path) -> None:
    other = SQLiteCache(tmp_path / "cache", "responses", max_entries=1)
    await cache.write_entry(make_entry("k"))
    await other.write_entry(make_entry("o"))
    async with asyncio.timeout(20):
        while not other.stack.stats.evicted:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.001)
    assert cache.peek("k") is None, "deletions that search the file do not find it any more"
    await other.close()


async def test_what_is_read_while_another_deletes_it_is_not_held(cache: SQLiteCache, other: SQLiteCache) -> None:
    for n in range(30):
        await other.write_entry(make_entry("k", b"%d" % n))
        await cache.write_entry(make_entry("probe"))
        reading = asyncio.ensure_future(fetch(cache, "k"))
        await asyncio.sleep(0)
        await other.delete("k")
        cache.peek("probe")
        await reading
        assert cache.peek("k") is None


@pytest.mark.usefixtures("usual_belief")
async def test_a_file_that_was_replaced_is_noticed(
    cache: SQLiteCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cache.write_entry(make_entry("k"))
    async with asyncio.timeout(20):
        while cache.peek("k") is None:
            await fetch(cache, "k")
        os.unlink(tmp_path / "cache.sqlite")
        while cache.peek("k") is not None:
            pass  # in constant use, so that no check can run
    assert await fetch(cache, "k") is None
    monkeypatch.setattr(generation, "CHECK_S", 20.0)
    await cache.write_entry(make_entry("k"))
    assert cache.peek("k") is not None


@pytest.mark.usefixtures("usual_belief")
async def test_nothing_is_believed_when_the_file_cannot_be_asked(cache: SQLiteCache) -> None:
    await cache.write_entry(make_entry("k"))
    here = cache._store.database.here()
    assert here is not None
    begun, may_go_on = threading.Event(), threading.Event()

    def stall(_: sqlite3.Connection) -> None:
        begun.set()
        may_go_on.wait(60)

    async with asyncio.timeout(20):
        while cache.peek("k") is None:
            await fetch(cache, "k")
        here.connections.query(stall)  # from now on no check can run
        await asyncio.to_thread(begun.wait, 20)
    await asyncio.sleep(CHECK_S + 0.01)
    assert cache.peek("k") is None
    may_go_on.set()
    assert await fetch(cache, "k") is not None
    async with asyncio.timeout(20):
        while cache.peek("k") is None:
            await fetch(cache, "k")


async def test_of_many_reads_after_a_pause_one_goes_to_the_file(
    cache: SQLiteCache, other: SQLiteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"k{number}" for number in range(200)]
    for key in keys:
        await cache.write_entry(make_entry(key))
    assert all([await fetch(cache, key) for key in keys])
    await other.delete("k7")
    view, here = cache._store.database.generations.view, cache._store.database.here()
    assert view is not None
    assert here is not None
    view.good_until = 0.0  # as after a pause, in which checks have ended
    here.connections._stop_checking()
    read = cache._store.get
    asked: list[str] = []

    def note(keys: Sequence[str]) -> Coroutine[Any, Any, Sequence[Found | None]]:
        asked.extend(keys)
        return read(keys)

    monkeypatch.setattr(cache._store, "get", note)
    assert cache.peek("k0") is None
    found = await asyncio.gather(*(fetch(cache, key) for key in keys))
    assert [key for key, one in zip(keys, found, strict=True) if one is None] == ["k7"]
    assert len(asked) < 10, "the first, the deleted one, and those that share its counter"


async def test_once_it_is_closed_nothing_is_known(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache")
    await cache.write_entry(make_entry("k"))
    assert cache.peek("k") is not None
    await cache.close()
    assert cache.peek("k") is None


async def test_the_tier_can_be_switched_off(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", near_tier=False)
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    assert cache.peek("k") is None
    await cache.close()


@pytest.mark.parametrize("name", ["cache", ":memory:"])
async def test_a_change_that_nobody_waits_for_any_more_is_seen_too(tmp_path: Path, name: str) -> None:
    cache = SQLiteCache(name if name == ":memory:" else tmp_path / name)
    for change in (cache.write_entry(make_entry("k", b"new")), cache.delete("k")):
        await cache.write_entry(make_entry("k", b"old"))
        changing = asyncio.ensure_future(change)
        await asyncio.sleep(0)
        changing.cancel()
        await cache.delete("another")  # waits for the cancelled change
        held, stored = cache.peek("k"), await fetch(cache, "k")
        assert held is None or (stored is not None and stored.body == held.body)
        assert stored is None or stored.body == b"new"
    await cache.close()


async def test_the_tier_is_bounded_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", near_tier_bytes=100_000)
    await cache.write_entry(make_entry("hot", bytes(5000)))
    for n in range(40):
        await cache.write_entry(make_entry(f"k{n}", bytes(5000)))
        assert cache.peek("hot") is not None
    assert sum(cache.peek(f"k{n}") is not None for n in range(40)) in range(10, 20)
    await cache.write_entry(make_entry("huge", bytes(50_000)))
    assert cache.peek("huge") is None
    await cache.close()


MEDDLING = {
    "replaces": "INSERT OR REPLACE INTO \"cache:responses\" (key, used, frame) VALUES ('k', 0, x'00')",
    "updates": "UPDATE \"cache:responses\" SET frame = x'00' WHERE key = 'k'",
    "deletes": "DELETE FROM \"cache:responses\" WHERE key = 'k'",
    "deletes all": 'DELETE FROM "cache:responses"',
    "drops": 'DROP TABLE "cache:responses"',
}


@pytest.mark.usefixtures("usual_belief")
@pytest.mark.parametrize("statement", MEDDLING.values(), ids=MEDDLING.keys())
async def test_a_meddler_with_plain_sqlite_is_found_out_within_the_bound(
    cache: SQLiteCache, tmp_path: Path, statement: str
) -> None:
    await cache.write_entry(make_entry("k"))
    stop = time.monotonic() + CHECK_S
    while time.monotonic() < stop:  # while the copy is in constant use
        assert cache.peek("k") is not None or await fetch(cache, "k") is not None
        await cache.write_entry(make_entry("another"))  # own commits do not hide the change
    connection = sqlite3.connect(tmp_path / "cache.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()
    stop = time.monotonic() + CHECK_S
    while time.monotonic() < stop:
        cache.peek("k")
        with contextlib.suppress(StorageError):
            await cache.write_entry(make_entry("another"))
    assert cache.peek("k") is None
    assert not isinstance(await cache.stack.here().fetch("k"), StoredResponse)


async def test_own_commits_do_not_empty_the_tier(cache: SQLiteCache, other: SQLiteCache) -> None:
    keys = [f"hot{n}" for n in range(20)]
    for key in keys:
        await cache.write_entry(make_entry(key))
    async with asyncio.timeout(30):
        for n in range(300):
            await (cache if n % 2 else other).write_entry(make_entry(f"o{n % 10}"))
            await asyncio.sleep(0.005)
            assert sum(cache.peek(key) is not None for key in keys) >= 18  # some share a stripe with written keys
