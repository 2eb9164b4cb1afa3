"""The table of entries: in order, in pages, in bounded memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from aiohttp_cache_di.admin import hosts as hosts_module
from aiohttp_cache_di.admin import listing as listing_module
from aiohttp_cache_di.admin.hosts import Surveys
from aiohttp_cache_di.admin.listing import Listings, Query, Sort, collect
from aiohttp_cache_di.admin.messages import AdminError
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import StorageError

COUNT = 5_321


def info(number: int) -> EntryInfo:
    at = float(random.Random(number).randrange(1_000_000))  # no secret
    return EntryInfo(
        key=f"{number:040x}",
        method="GET",
        url=f"https://h{number % 7}.test/items/{number}",
        status=200 + number % 3,
        content_type="text/html" if number % 2 else "application/json",
        body_bytes=number * 13 % 4096,
        stored_at=at,
        validated_at=at,
        fresh_until=at + 1e10 if number % 4 else float("-inf"),
        tags=(f"tag-{number % 5}",),
        partition="3f2a0000" if number % 6 == 0 else "",
    )


ENTRIES = [info(number) for number in range(COUNT)]


async def entries(of: list[EntryInfo] = ENTRIES) -> AsyncGenerator[EntryInfo]:
    for each in of:
        yield each


VALUES: dict[Sort, Callable[[EntryInfo], Any]] = {
    "url": lambda one: one.url,
    "status": lambda one: one.status,
    "size": lambda one: one.body_bytes,
    "stored": lambda one: one.stored_at,
    "fresh": lambda one: one.fresh_until,
}


@pytest.mark.parametrize("sort", VALUES)
async def test_entries_come_in_order_both_ways(sort: Sort) -> None:
    down = await collect(entries(), Query(sort=sort, order="desc"))
    up = await collect(entries(), Query(sort=sort, order="asc"))
    value = VALUES[sort]
    assert (len(down), down.total, down.body_bytes) == (COUNT, COUNT, sum(one.body_bytes for one in ENTRIES))
    expected = sorted(map(value, ENTRIES))
    assert [value(one) for one in up.page(0, COUNT)] == expected
    assert [value(one) for one in down.page(0, COUNT)] == expected[::-1]
    assert sorted(one.key for one in up.page(0, COUNT)) == sorted(one.key for one in ENTRIES)


async def test_a_page_is_cut_out_and_the_last_one_is_short() -> None:
    listing = await collect(entries(), Query(sort="url", order="asc"))
    whole = listing.page(0, COUNT)
    assert listing.page(1200, 100) == whole[1200:1300]
    assert listing.page(COUNT - 5, 100) == whole[-5:]
    assert listing.page(COUNT, 100) == []


async def test_words_state_and_principal_select() -> None:
    async def keys(query: Query) -> set[str]:
        return {one.key for one in (await collect(entries(), query)).page(0, COUNT)}

    assert await keys(Query(words=("h3.test", "tag-2"))) == {
        one.key for one in ENTRIES if "h3.test" in one.url and "tag-2" in one.tags
    }
    assert await keys(Query(state="stale")) == {one.key for one in ENTRIES if one.fresh_until < 0}
    assert await keys(Query(state="fresh")) == {one.key for one in ENTRIES if one.fresh_until > 0}
    assert await keys(Query(partition="3f2a0000")) == {one.key for one in ENTRIES if one.partition}
    assert await keys(Query(partition="-")) == {one.key for one in ENTRIES if not one.partition}
    assert await keys(Query(words=("nowhere",))) == set()


async def test_of_more_than_are_kept_those_that_come_first_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "MAX_ROWS", 1500)
    listing = await collect(entries(), Query(sort="size", order="desc"))
    assert (len(listing), listing.total) == (1500, COUNT)
    expected = sorted((one.body_bytes for one in ENTRIES), reverse=True)[:1500]
    assert [one.body_bytes for one in listing.page(0, COUNT)] == expected


async def test_the_loop_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    is_done = False

    async def others() -> None:
        nonlocal turns
        while not is_done:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await collect(entries(), Query())
    is_done = True
    await beside
    assert turns >= 2 * COUNT // 250


async def test_a_walk_that_takes_too_long_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = 0

    async def endless() -> AsyncGenerator[EntryInfo]:
        nonlocal walks
        walks += 1
        while True:
            yield ENTRIES[3]

    monkeypatch.setattr(listing_module, "WITHIN_S", 0.05)
    monkeypatch.setattr(hosts_module, "WITHIN_S", 0.05)
    listings = Listings()
    listing = await listings.get(Query(), endless)
    assert not listing.is_all
    assert listing.page(0, 1) == [ENTRIES[3]]
    listings.close()
    surveys, walks = Surveys(), 0
    found = await surveys.get(endless)
    assert (found.is_all, [one.host for one in found.largest]) == (False, ["h3.test"])
    assert await surveys.get(endless) is found  # the page asks every few seconds, which must not keep the store busy
    assert walks == 1
    monkeypatch.undo()
    assert (await collect(entries(), Query())).is_all
    assert (await hosts_module.survey(entries())).is_all


async def test_a_search_that_finds_few_entries_in_time_shows_these(monkeypatch: pytest.MonkeyPatch) -> None:
    async def few() -> AsyncGenerator[EntryInfo]:
        yield ENTRIES[3]
        await asyncio.sleep(60)  # the store is searched for more

    monkeypatch.setattr(listing_module, "WITHIN_S", 0.05)
    monkeypatch.setattr(hosts_module, "WITHIN_S", 0.05)
    listings = Listings()
    listing = await asyncio.wait_for(listings.get(Query(), few), 10)
    assert (listing.is_all, listing.page(0, 2)) == (False, [ENTRIES[3]])
    listings.close()
    assert not (await asyncio.wait_for(hosts_module.survey(few()), 10)).is_all


async def test_pages_of_one_listing_walk_once() -> None:
    walks = 0

    def walk() -> AsyncGenerator[EntryInfo]:
        nonlocal walks
        walks += 1
        return entries()

    listings = Listings()
    first, same = await asyncio.gather(listings.get(Query(), walk), listings.get(Query(), walk))
    assert first is same
    assert await listings.get(Query(), walk, first.id) is first
    assert await listings.get(Query(), walk, "another worker's") is first
    assert walks == 1
    assert await listings.get(Query(sort="url"), walk, first.id) is not first
    assert walks == 2
    listings.forget()
    assert await listings.get(Query(), walk, first.id) is not first
    listings.close()


async def test_few_listings_are_kept_and_none_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    listings, most = Listings(), listing_module.MAX_KEPT
    for number in range(2 * most):
        await listings.get(Query(words=(f"h{number}",)), entries)
        assert len(listings._kept) == min(number + 1, most)
    monkeypatch.setattr(listing_module, "IDLE_S", 0.0)
    await listings.get(Query(words=("last",)), entries)
    gone = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, gone.set)
    await gone.wait()
    assert listings._kept == {}


async def test_only_so_many_walks_are_made_at_a_time() -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncGenerator[EntryInfo]:
        await go_on.wait()
        yield ENTRIES[0]

    listings = Listings()
    waiting = [asyncio.create_task(listings.get(Query(words=(word,)), slow)) for word in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(AdminError, match="searched for other requests") as refusal:
        await listings.get(Query(words=("c",)), slow)
    assert (refusal.value.status, refusal.value.headers["Retry-After"]) == (503, "1")
    go_on.set()
    await asyncio.gather(*waiting)
    listings.close()


async def test_one_who_leaves_takes_no_other_along_and_the_end_ends_all() -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncGenerator[EntryInfo]:
        await go_on.wait()
        yield ENTRIES[0]

    listings = Listings()
    leaving, staying = (asyncio.create_task(listings.get(Query(), slow)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    go_on.set()
    assert len(await staying) == 1
    go_on.clear()
    last = asyncio.create_task(listings.get(Query(words=("x",)), slow))
    await asyncio.sleep(0)
    listings.close()
    with pytest.raises(StorageError, match="the list of entries was closed before it was ready"):
        await last
