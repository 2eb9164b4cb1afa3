"""Selections and purges of a file: SQLite skips rows that cannot match, and the work is split into bounded steps."""

# ruff: noqa: S608  # the name of a table of ours
from __future__ import annotations

import asyncio
import math
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, Unpack, cast

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.operating import purging
from aiohttp_cache_di.backends.operating.selection import Selectors, selection
from aiohttp_cache_di.backends.sqlite import SQLiteBackend, store
from aiohttp_cache_di.backends.sqlite.file.schema import GENERATION, MAX_BATCH, Table
from aiohttp_cache_di.backends.sqlite.looking import walk
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.sqlite.writing import softening
from aiohttp_cache_di.backends.sqlite.writing.writes import Transaction
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.backends.store.inspecting import Clue, InfoRow, Purged, Selection
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.rfc9111.messages import StoredResponse, Tagging
from tests.backends.entries import make_entry

HOSTS = ["a.test", "A.test", "b.test:8080", "xn--9ca.test", "[::1]", "a.test.example", "b.tes"]
PATHS = ["", "/", "/a.test/", "/items", "/items/1", "/Items", "/%C3%A4", "/ä"]
QUERIES = ["", "?page=1", "?host=b.test", "?a=1&b=2"]
TAGS = ["users", "user:7", "ä", "a.test", "x" * 400]


def random_entry(rng: random.Random, number: int) -> StoredResponse:
    """An entry of any kind; some have more tags than fit in their own column."""
    now = time.time()
    tags = tuple(rng.sample(TAGS, rng.randrange(3)))
    if rng.random() < 0.05:
        tags = (*tags, *(f"{n}-{'y' * 900}" for n in range(8)))
    return replace(
        make_entry(f"{number:040x}", b"x" * rng.choice([0, 10, 3000])),
        method=rng.choice(["GET", "HEAD", "POST"]),
        url=f"http://{rng.choice(HOSTS)}{rng.choice(PATHS)}{rng.choice(QUERIES)}",
        tagging=Tagging(tags) if tags else None,
        created_at=now - rng.choice([0, 1000]),
        fresh_until=now + rng.choice([-10, 1000]),
    )


def random_selectors(rng: random.Random) -> Selectors:
    """Random selectors."""
    url = f"http://{rng.choice(HOSTS)}{rng.choice(PATHS)}{rng.choice(QUERIES)}"
    every: dict[str, Any] = {
        "url": url,
        "host": rng.choice([*HOSTS, "test", "ä.test", "É.test"]),
        "match": rng.choice(
            ["a.test/*", "*.test/items*", ["A.test/items", "b.test:8080/*"], "http://é.test/*", "*a.test/"]
        ),
        "tags": rng.choice([*TAGS, tuple(TAGS), [f"no-{n}" for n in range(20)]]),
        "older_than": 500,
        "larger_than": 100,
        "expired": True,
    }
    return cast("Selectors", {name: every[name] for name in rng.sample(sorted(every), rng.randrange(3))})


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SQLiteBackend]:
    made = SQLiteBackend(str(tmp_path / "cache"))
    yield made
    await made.close()


async def put(backend: SQLiteBackend, entries: Sequence[StoredResponse]) -> None:
    for first in range(0, len(entries), 128):
        await backend.stack.store.put([Record(e.key, e, math.inf) for e in entries[first : first + 128]])


async def keys_of(backend: SQLiteBackend, **selectors: Any) -> set[str]:
    return {info.key async for info in backend.entries(**selectors)}


async def test_what_sqlite_passes_over_is_what_is_not_selected(
    backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "PASSED_PER_PAGE", 50)
    monkeypatch.setattr(walk, "INFOS_PER_PAGE", 7)
    rng = random.Random(7)
    entries = [random_entry(rng, number) for number in range(300)]
    await put(backend, entries)
    found = 0
    for _ in range(120):
        selectors = random_selectors(rng)
        wanted = selection(selectors)
        expected = {entry.key for entry in entries if wanted(info_of(entry))}
        assert await keys_of(backend, **selectors) == expected, selectors
        found += len(expected)
    assert found > 300


def test_the_clues_of_a_selection_are_in_all_that_it_selects() -> None:
    def clues(**selectors: Unpack[Selectors]) -> tuple[Clue, ...]:
        return selection(selectors).clues

    # URLs are stored without the default port of their scheme.
    assert clues(host=" A.test:80") == (Clue((b"a.test",), any_case=True),)
    assert clues(host="ä.test") == (Clue((b"xn--4ca.test",), any_case=True),)
    assert clues(tags=["b", "ä"]) in [(Clue(pair),) for pair in ((b"b", "ä".encode()), ("ä".encode(), b"b"))]
    assert clues(match="http://API.test/v1/*") == (Clue((b"api.test",), any_case=True),)
    assert clues(url="http://a.test/items") == (Clue((b"/items",)),)
    unclear: tuple[Selectors, ...] = (
        {"url": "http://a.test/"},
        {"match": "*.test/x"},
        {"match": ["a.test/x", "a.test"]},
        {"match": "xn--9ca.test/"},
        {"match": "a.test:80/"},
        {"expired": True},
    )
    assert [selectors for selectors in unclear if selection(selectors).clues] == []


async def test_a_row_that_does_not_tell_is_looked_at_whatever_is_looked_for(
    backend: SQLiteBackend, tmp_path: Path
) -> None:
    long = ((b"Long", b"x" * 20_000),)
    entries = [replace(make_entry(f"{n:040x}"), url=f"http://a.test/{n}") for n in range(3)]
    await put(backend, [*entries, replace(entries[0], key=f"{3:040x}", raw_headers=long)])
    with closing(sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)) as other:
        table = Table("responses").sql
        for number, told in enumerate(["text", b"x" * 5000]):
            other.execute(f"UPDATE {table} SET info = ? WHERE key = ?", (told, number.to_bytes(20, "big")))
    assert await keys_of(backend, host="a.test") == {f"{n:040x}" for n in range(4)}


async def test_tags_that_only_header_fields_say_are_found_in_the_words_of_tags(backend: SQLiteBackend) -> None:
    """As stored by a version without tags; header values may contain spaces and unprintable characters."""
    lines = ((b"Content-Type", b"text/plain"), (b"Cache-Tag", b"one, t\x00wo"))
    await put(backend, [replace(make_entry("1" * 40), raw_headers=lines), make_entry("2" * 40)])
    assert await keys_of(backend, tags="one") == {"1" * 40}
    assert await keys_of(backend, tags="t\N{REPLACEMENT CHARACTER}wo") == {"1" * 40}


async def test_a_file_of_another_encoding_is_looked_through_all_the_same(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as other:
        other.execute("PRAGMA encoding = 'UTF-16'")
        other.execute("CREATE TABLE theirs (x)")
    backend = SQLiteBackend(str(tmp_path / "cache"))
    try:
        await put(backend, [replace(make_entry(key), url=f"http://{key}.test/") for key in ("a", "b")])
        assert await keys_of(backend, host="A.test") == {"a"}
    finally:
        await backend.close()


async def test_a_walk_ends_though_more_is_written_all_the_time(
    backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "PASSED_PER_PAGE", 8)
    await put(backend, [replace(make_entry(f"{n}"), url="http://a.test/") for n in range(20)])
    met = 0
    async with aclosing(backend.entries(host="a.test")) as infos:
        async for _ in infos:
            met += 1
            await put(backend, [replace(make_entry(f"more-{met}"), url="http://b.test/")])
            assert met < 100
    assert met == 20


# ---- purges


@pytest.mark.shortcuts  # without shortcuts each row takes a step of its own
async def test_a_purge_has_no_step_in_which_all_is_done(
    backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work of one callback of the loop, and of one job of a thread, does not grow with the purge."""
    count, walked, lots, softened = 3000, list[int](), list[int](), list[int]()
    stack, infos_page, soften = backend.stack, walk.infos_page, softening.soften
    stack_soften, stack_delete = upkeep.soften, stack.delete

    def noting_page(*args: Any, **kwargs: Any) -> tuple[list[InfoRow], int | None]:
        page = infos_page(*args, **kwargs)
        walked.append(len(page[0]))
        return page

    def noting_step(transaction: Transaction, keys: Sequence[bytes | str], at: float) -> list[str]:
        softened.append(len(keys))
        return soften(transaction, keys, at)

    async def noting_soften(stack: StoreStack, keys: Collection[str], at: float) -> Collection[str]:
        lots.append(len(keys))
        return await stack_soften(stack, keys, at)

    async def noting_delete(keys: Collection[str]) -> None:
        lots.append(len(keys))
        await stack_delete(keys)

    monkeypatch.setattr(store, "infos_page", noting_page)
    monkeypatch.setattr(store, "soften", noting_step)
    monkeypatch.setattr(upkeep, "soften", noting_soften)
    monkeypatch.setattr(stack, "delete", noting_delete)
    await put(backend, [replace(make_entry(f"{n:040x}"), url=f"http://a.test/{n}") for n in range(count)])

    assert (await backend.purge(host="a.test", soft=True)).entries == count
    assert (sum(softened), max(softened)) == (count, MAX_BATCH)
    assert (await backend.purge(host="a.test")).entries == count

    most = purging.PURGED_AT_A_TIME + walk.INFOS_PER_PAGE
    assert (sum(walked), max(walked)) == (2 * count, walk.INFOS_PER_PAGE)
    assert sum(lots) == 2 * count
    assert purging.PURGED_AT_A_TIME <= max(lots) < most  # nor one by one


@pytest.mark.parametrize("soft", [True, False])
async def test_a_rehearsal_counts_what_the_purge_does(backend: SQLiteBackend, soft: bool) -> None:
    rng = random.Random(11)
    await put(backend, [random_entry(rng, number) for number in range(200)])
    for _ in range(20):
        selectors: Any = random_selectors(rng)
        if not any(selectors.values()):
            continue
        told = await backend.purge(soft=soft, dry_run=True, **selectors)
        if set(selectors) == {"tags"}:  # purged without a walk, and counted meanwhile
            assert (await backend.purge(soft=soft, count_within_s=math.inf, **selectors)).entries == told.entries
        else:
            assert await backend.purge(soft=soft, **selectors) == told
        if not soft:
            assert await keys_of(backend, **selectors) == set()


async def test_what_is_made_stale_is_the_same_but_for_its_lifetime(backend: SQLiteBackend, tmp_path: Path) -> None:
    rng = random.Random(3)
    entries = {entry.key: entry for entry in (random_entry(rng, number) for number in range(200))}
    await put(backend, list(entries.values()))
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as other:
        what = "id, key, store_until, used, leads_on, info, frame"
        beside = f"SELECT {what} FROM {Table('responses').sql} WHERE typeof(key) = 'blob'"
        before = other.execute(beside).fetchall()
        begun = time.time()
        await backend.purge(all=True, soft=True)
        assert other.execute(beside).fetchall() == before

    at = {entry.fresh_until for entry in [await read(backend, key) for key in entries]} - {
        entry.fresh_until for entry in entries.values()
    }
    assert len(at) == 1
    assert begun <= min(at) <= time.time()
    for key, entry in entries.items():
        assert await read(backend, key) == replace(entry, fresh_until=min(entry.fresh_until, *at))
    async for info in backend.entries():
        assert info == replace(info_of(entries[info.key]), fresh_until=min(entries[info.key].fresh_until, *at))


async def read(backend: SQLiteBackend, key: str) -> StoredResponse:
    found = await backend.responses.read_entry(key)
    assert found is not None
    return found


async def test_what_is_stored_while_others_are_made_stale_is_not_lost(backend: SQLiteBackend) -> None:
    """A soft purge must not read an entry and write it back over one that was stored or deleted meanwhile."""
    keys = [f"{n:040x}" for n in range(400)]
    await put(backend, [make_entry(key, b"old") for key in keys])
    purge = asyncio.create_task(backend.purge(all=True, soft=True))
    for key in reversed(keys[::2]):
        await put(backend, [make_entry(key, b"new")])
    for key in keys[1::2]:
        await backend.stack.delete([key])
    await purge
    assert await keys_of(backend) == set(keys[::2])
    assert {(await read(backend, key)).body for key in keys[::2]} == {b"new"}


async def test_copies_in_memory_of_what_was_made_stale_are_void_everywhere(tmp_path: Path) -> None:
    ours, theirs = (SQLiteBackend(str(tmp_path / "cache")) for _ in range(2))
    try:
        await put(ours, [make_entry("k")])
        for backend in (ours, theirs):
            await read(backend, "k")
            fetched = await backend.stack.here().fetch("k")
            assert isinstance(fetched, StoredResponse)
        assert await ours.purge(all=True, soft=True) == Purged(1, len(make_entry("k").body))
        for backend in (theirs, ours):
            seen = backend.responses.peek("k")
            assert seen is None or seen.fresh_until <= time.time()
            assert (await read(backend, "k")).fresh_until <= time.time()
    finally:
        await ours.close()
        await theirs.close()


def cutoffs(directory: Path) -> list[tuple[int, float]]:
    with closing(sqlite3.connect(directory / "cache.sqlite")) as other:
        return other.execute(f"SELECT * FROM {Table('responses').cutoffs}").fetchall()


async def test_a_row_is_fresh_again_when_it_is_written_after_a_soft_purge(
    backend: SQLiteBackend, tmp_path: Path
) -> None:
    await put(backend, [make_entry("a"), make_entry("b")])
    await backend.purge(all=True, soft=True)
    again = make_entry("a", b"again")
    await put(backend, [again])
    assert await read(backend, "a") == again
    assert (await read(backend, "b")).fresh_until <= time.time()
    assert await keys_of(backend, expired=True) == {"b"}
    assert {entry.key: entry.fresh_until <= time.time() async for entry in walked(backend)} == {"a": False, "b": True}
    assert [row for row, _ in cutoffs(tmp_path)] == [1, 2]


async def walked(backend: SQLiteBackend) -> AsyncIterator[StoredResponse]:
    async for page in backend.stack.pages(items=True):
        for row in page:
            assert isinstance(row.item, StoredResponse)
            yield row.item


async def test_a_second_soft_purge_does_not_make_longer_what_the_first_has_ended(backend: SQLiteBackend) -> None:
    await put(backend, [make_entry("a")])
    for at in (1000.0, 2000.0, 500.0):
        await upkeep.soften(backend.stack, ["a"], at)
    assert (await read(backend, "a")).fresh_until == 500.0


async def test_marks_go_with_their_rows(
    backend: SQLiteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CUTOFFS_KEPT_S", -1.0)
    gone = replace(make_entry("gone"), store_until=1.0)
    await backend.stack.store.put([Record("gone", gone, 1.0), Record("kept", make_entry("kept"), math.inf)])
    await backend.purge(all=True, soft=True)
    assert [row for row, _ in cutoffs(tmp_path)] == [1, 2]
    kept_store = backend.stack.store
    assert isinstance(kept_store, SQLiteStore)
    await kept_store.delete_expired(time.time())
    assert [row for row, _ in cutoffs(tmp_path)] == [2]
    for _ in range(3):  # the cutoffs are swept occasionally, too
        await put(backend, [make_entry("kept")])
        await upkeep.soften(backend.stack, ["kept"], 5.0)
    assert [row for row, _ in cutoffs(tmp_path)] == [5]
    await backend.clear()
    assert cutoffs(tmp_path) == []


@pytest.mark.parametrize("cutoff", ["'text'", "x'00'", "-1.0", "-1e999", "zeroblob(100000)"])
async def test_a_mark_that_is_none_of_ours_makes_no_more_than_stale(
    backend: SQLiteBackend, tmp_path: Path, cutoff: str
) -> None:
    entries = [make_entry("a"), make_entry("b")]
    await put(backend, entries)
    with closing(sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)) as other:
        other.execute(f"INSERT INTO {Table('responses').cutoffs} VALUES (1, {cutoff}), (2, 1e999)")
        other.execute(f"UPDATE {GENERATION} SET softened = 'x'")
    found = await backend.stack.store.get(["a", "b"])
    assert [each and each.item for each in found] == [replace(entries[0], fresh_until=0.0), entries[1]]
    assert await keys_of(backend, expired=True) == {"a"}


def test_a_selection_stays_one_where_more_is_asked_for() -> None:
    infos = [
        info_of(replace(make_entry("k"), url=f"http://{host}.test/", status=s)) for host in "ab" for s in (200, 404)
    ]
    clue = Clue((b"a.test",))
    only_a = Selection(lambda info: "a.test" in info.url, (clue,))
    found = only_a.having(lambda info: info.status == 404)
    assert found.clues == (clue,)
    assert list(map(found, infos)) == [False, True, False, False]
