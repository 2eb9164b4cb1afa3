"""Purges by tag: equal on all stores, also for responses in flight, and seen by every process in its next request."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.store import is_mark
from aiohttp_cache_di.backends.store.inspecting import Purged
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.backends.wrap.marks import KEPT_S, LAST_PURGE_KEY, LONG_LIVED_KEY, purge_records
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.rfc9111.messages import StoredResponse, Tagging
from tests.backends.entries import make_entry
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend, ProofBackend
from tests.stores import SHARED, STORES, Store, new_store

MakeBackend = Callable[..., CacheBackend]
OWN: dict[str, MakeBackend] = {"proof": ProofBackend, "custom": CustomBackend}
"""Backends of the shape that users write."""


@pytest.fixture(params=[*STORES, *OWN])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeBackend:
    """Makes backends that share one store."""
    return OWN.get(request.param) or new_store(request.param, request, tmp_path).backend


@pytest.fixture
async def backend(make: MakeBackend) -> AsyncIterator[CacheBackend]:
    made = make(cache_control=True)
    yield made
    await made.close()


@pytest.fixture
async def others(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[CacheBackend, CacheBackend]]:
    """Two backends on one store, as two processes have them."""
    store: Store = new_store(request.param, request, tmp_path)
    pair = store.backend(cache_control=True), store.backend(cache_control=True)
    yield pair
    for each in pair:
        await each.close()


def tagged(key: str, *tags: str, **fields: Any) -> StoredResponse:
    return replace(make_entry(key, b"body"), tagging=Tagging(tags, **fields))


def counted(headers: dict[str, str | None] | None = None) -> Callable[[Received], bytes]:
    return lambda request: answer(f"{request.number}", headers=headers)


async def read(session: CachedSession, url: str, **options: Any) -> tuple[str, bool]:
    async with session.get(url, **options) as response:
        return await response.text(), bool(response.from_cache)


async def keys_of(backend: CacheBackend, **selectors: Any) -> set[str]:
    return {info.key async for info in backend.entries(**selectors)}


# ---- what a purge does


async def test_what_has_a_tag_is_gone_and_the_rest_stays(origin: Origin, backend: CacheBackend) -> None:
    urls = [origin.on(f"/{n}", counted()) for n in range(4)]
    async with CachedSession(cache=backend) as session:
        for url, tags in zip(urls, (["user:7"], ["user:7", "x"], "user:8", ()), strict=True):
            await read(session, url, tags=tags)
        await backend.settle()
        assert await backend.purge(tags="user:7", dry_run=True) == Purged(2, 2)
        assert [await read(session, url) for url in urls] == [("1", True)] * 4
        assert await backend.purge(tags=["user:7", "nothing"], count_within_s=math.inf) == Purged(2, 2)
        assert [await read(session, url) for url in urls] == [("2", False), ("2", False), ("1", True), ("1", True)]
        assert [await read(session, url) for url in urls] == [("2", True), ("2", True), ("1", True), ("1", True)]
        # They were fetched again without the tag.
        assert await backend.purge(tags="user:7", count_within_s=math.inf) == Purged(0, 0)


async def test_a_purge_has_its_effect_though_nothing_is_dropped(backend: CacheBackend) -> None:
    for key in ("a", "b"):
        await backend.write(tagged(key, key))
    await backend.write(make_entry("plain"))
    assert await keys_of(backend) == {"a", "b", "plain"}
    await upkeep.purge_tags(backend.stack, ["a"])
    assert await backend.get_response("a") is None
    assert await backend.get_response("b") is not None
    assert await keys_of(backend) == {"b", "plain"}
    assert await keys_of(backend, tags="a") == set()
    assert await backend.purge(tags="a", dry_run=True) == Purged(0, 0)
    assert not await backend.is_kept({"a"})
    assert await backend.is_kept({"a", "b"})
    await backend.write(tagged("a", "a", purges=await backend.stack.here().purges.observe()))
    assert await keys_of(backend) == {"a", "b", "plain"}


async def test_what_is_purged_softly_is_confirmed_by_the_origin(origin: Origin, backend: CacheBackend) -> None:
    def confirmed(request: Received) -> bytes:
        headers: dict[str, str | None] = {"ETag": '"1"', "Surrogate-Key": "a b"}
        status = 304 if "If-None-Match" in request.headers else 200
        return answer("" if status == 304 else "body", status=status, headers=headers)

    url = origin.on("/x", confirmed)
    async with CachedSession(cache=backend) as session:
        await read(session, url)
        await backend.settle()
        assert await backend.purge(tags="a", soft=True, count_within_s=math.inf) == Purged(1, 4)
        assert await backend.purge(tags="a", soft=True, count_within_s=math.inf) == Purged(0, 0)
        (info,) = [info async for info in backend.entries(tags="a")]
        assert info.fresh_until <= time.time()
        async with session.get(url) as response:
            assert (await response.text(), response.from_cache) == ("body", True)
            assert 'fwd=stale; fwd-status=304; purged="a"' in response.cache_status
            assert "tag a was purged" in response.cache_decision.because
        assert await read(session, url) == ("body", True)
        assert [request.headers.get("If-None-Match") for request in origin.received] == [None, '"1"']
        await backend.settle()
        assert await backend.purge(tags="b", count_within_s=math.inf) == Purged(1, 4)
        assert await read(session, url) == ("body", False)


async def test_a_response_that_was_asked_for_before_a_purge_counts_as_purged(
    origin: Origin, backend: CacheBackend
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: Received) -> bytes:
        if request.number == 1:
            arrived.set()
            await go_on.wait()
        return answer(f"{request.number}", headers={"Cache-Tag": "a, b"})

    url = origin.on("/x", slowly)
    async with CachedSession(cache=backend) as session, asyncio.timeout(30):
        first = asyncio.create_task(read(session, url))
        await arrived.wait()
        late = asyncio.create_task(read(session, url))
        await backend.purge(tags="b")
        go_on.set()
        assert await first == ("1", False)
        assert (await late)[0] == "2"
        await backend.settle()
        assert await read(session, url) == ("2", True)


async def test_records_of_purges_are_shown_nowhere(backend: CacheBackend) -> None:
    await backend.write(tagged("a", "a", "b"))
    await backend.get_response("a")
    await upkeep.purge_tags(backend.stack, ["b"], soft=True)
    await upkeep.purge_tags(backend.stack, ["c"])
    await backend.settle()
    assert await keys_of(backend) == {"a"}
    if not isinstance(backend, CustomBackend):  # its storages list every record
        assert [key async for key in backend.responses.keys()] == ["a"]  # noqa: SIM118  # not a dict's
        assert (await backend.responses.size(), (await backend.usage()).entries) == (1, 1)
    assert [row.key async for page in backend.stack.pages(items=False) for row in page] == ["a"]
    await backend.clear()
    assert (await backend.usage()).entries == 0


async def test_a_purge_that_does_not_wait_for_the_count_drops_what_it_concerns_all_the_same(
    backend: CacheBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, met, drop = asyncio.Event(), asyncio.Event(), backend.stack.delete

    async def slowly(keys: Collection[str]) -> None:
        met.set()
        await over.wait()
        await drop(keys)

    monkeypatch.setattr(backend.stack, "delete", slowly)
    for key in ("a", "b"):
        await backend.write(tagged(key, "a"))
    async with asyncio.timeout(30):
        purged = await backend.purge(tags="a", count_within_s=0.01)
        assert not purged.is_whole
        assert await keys_of(backend) == set()
        await met.wait()
        over.set()
        await backend.stack.here().tasks.finish(backend)
    assert [row async for page in backend.stack.pages(items=False) for row in page] == []


def walk_without_end(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let no walk over a store end; the event is set when one has begun."""
    is_walking = asyncio.Event()

    async def endless(*args: Any, **kwargs: Any) -> Any:
        is_walking.set()
        await asyncio.Event().wait()
        yield {}

    monkeypatch.setattr(upkeep, "infos", endless)
    return is_walking


async def test_a_purge_that_waits_for_another_walk_ends_when_the_cache_is_closed(
    backend: CacheBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_walking = walk_without_end(monkeypatch)
    purges = [asyncio.create_task(backend.purge(tags="a", count_within_s=math.inf))]
    await is_walking.wait()
    purges += [asyncio.create_task(backend.purge(tags=tag, count_within_s=math.inf)) for tag in "bc"]
    async with asyncio.timeout(10):
        while len(backend._tag_sweeps.here()._waiting) < 2:  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(0.001)
        await Runtime.of(backend).cancel(backend)
        assert [purged.is_whole for purged in await asyncio.gather(*purges)] == [False, False, False]
    monkeypatch.undo()
    await backend.write(tagged("k", "d"))
    assert await backend.purge(tags="d", count_within_s=math.inf) == Purged(1, 4, True)


async def test_a_soft_purge_whose_count_is_cancelled_takes_effect(
    backend: CacheBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.write(tagged("k", "a"))
    is_walking = walk_without_end(monkeypatch)
    purge = asyncio.create_task(backend.purge(tags="a", soft=True, count_within_s=math.inf))
    async with asyncio.timeout(10):
        await is_walking.wait()
        await Runtime.of(backend).cancel(backend)
        assert not (await purge).is_whole
    found = await backend.stack.entry("k")
    assert found is not None
    assert found.fresh_until < time.time()


async def test_many_purges_at_once_share_a_walk_over_the_store(
    backend: CacheBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks, walk = 0, upkeep.infos

    def counted_walk(*args: Any, **kwargs: Any) -> Any:
        nonlocal walks
        walks += 1
        return walk(*args, **kwargs)

    await asyncio.gather(*(backend.write(tagged(f"k{number}", f"t{number}", "all")) for number in range(40)))
    await backend.write(tagged("other", "other"))
    monkeypatch.setattr(upkeep, "infos", counted_walk)
    purged = await asyncio.gather(
        *(backend.purge(tags=f"t{number}", count_within_s=math.inf) for number in range(40)),
        backend.purge(tags=["t3", "nothing"], count_within_s=math.inf),
    )
    assert sum(each.entries for each in purged) == backend.stats.purged == 40
    assert all(each.is_whole for each in purged)
    assert walks <= 5
    assert {row.key async for page in backend.stack.pages(items=False) for row in page} == {"other"}
    assert await backend.purge(tags="other", count_within_s=math.inf) == Purged(1, 4, True)


async def test_entries_of_an_earlier_version_are_dropped_by_what_their_headers_say(backend: CacheBackend) -> None:
    await backend.write(replace(make_entry("old"), raw_headers=((b"Surrogate-Key", b"a b"),)))
    assert await backend.purge(tags="b", count_within_s=math.inf) == Purged(1, len(make_entry("old").body))
    assert await keys_of(backend) == set()


async def test_entries_of_an_earlier_version_are_made_stale_by_what_their_headers_say(backend: CacheBackend) -> None:
    await backend.write(replace(make_entry("old"), raw_headers=((b"Surrogate-Key", b"a b"),)))
    assert (await backend.purge(tags="b", soft=True, count_within_s=math.inf)).entries == 1
    (info,) = [info async for info in backend.entries()]
    assert info.fresh_until <= time.time()


# ---- other processes


@pytest.mark.parametrize("others", SHARED, indirect=True)
@pytest.mark.parametrize("soft", [False, True])
async def test_another_process_sees_a_purge_with_its_next_request(
    origin: Origin, others: tuple[CacheBackend, CacheBackend], soft: bool
) -> None:
    serving, purging = others
    urls = {tag: origin.on(f"/{tag}", counted()) for tag in ("a", "b")}
    async with CachedSession(cache=serving) as session:
        for number in (1, 2, 3):
            for tag, url in urls.items():
                await read(session, url, tags=tag)
                await serving.settle()
                assert await read(session, url) == (f"{number if tag == 'a' else 1}", True)
            purged = await purging.purge(tags="a", soft=soft, count_within_s=math.inf)
            assert purged.entries == 1
            assert (await read(session, urls["b"]))[1] is True
        assert await read(session, urls["a"]) == ("4", False)


@pytest.mark.parametrize("others", SHARED, indirect=True)
async def test_a_purge_by_another_process_beats_a_response_on_its_way(
    origin: Origin, others: tuple[CacheBackend, CacheBackend]
) -> None:
    serving, purging = others
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: Received) -> bytes:
        if request.number == 1:
            arrived.set()
            await go_on.wait()
        return answer(f"{request.number}")

    url = origin.on("/x", slowly)
    async with CachedSession(cache=serving) as session, asyncio.timeout(30):
        first = asyncio.create_task(read(session, url, tags="a"))
        await arrived.wait()
        await purging.purge(tags="a")
        go_on.set()
        assert await first == ("1", False)
        await serving.settle()
        assert await read(session, url, tags="a") == ("2", False)
        await serving.settle()
        assert await read(session, url, tags="a") == ("2", True)


@pytest.mark.parametrize("others", SHARED, indirect=True)
async def test_a_process_that_has_just_begun_stores_what_was_purged_before(
    origin: Origin, others: tuple[CacheBackend, CacheBackend]
) -> None:
    serving, purging = others
    await purging.purge(tags="a")
    url = origin.on("/x", counted({"xkey": "a"}))
    async with CachedSession(cache=serving) as session:
        assert await read(session, url) == ("1", False)
        await serving.settle()
        assert await read(session, url) == ("1", True)


@pytest.mark.parametrize("others", SHARED, indirect=True)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_purge_by_another_process_before_a_request_does_not_concern_its_response(
    origin: Origin, others: tuple[CacheBackend, CacheBackend], method: str
) -> None:
    serving, purging = others
    urls = [origin.on(path, counted({"Cache-Tag": "a", "Content-Location": path})) for path in ("/0", "/1", "/2")]
    async with CachedSession(cache=serving) as session:
        for url in urls:
            await purging.purge(tags="a")
            async with session.request(method, url) as response:
                assert (await response.text(), response.from_cache) == ("1", False)
            await serving.settle()
            assert await read(session, url) == ("1", True)


@pytest.mark.parametrize("others", SHARED, indirect=True)
async def test_the_groups_of_an_origin_are_outdated_for_all(
    origin: Origin, others: tuple[CacheBackend, CacheBackend]
) -> None:
    serving, posting = others
    url = origin.on("/list", counted({"Cache-Groups": '"items", "all"'}))
    changing = origin.on("/change", answer(headers={"Cache-Group-Invalidation": '"items"'}))
    async with CachedSession(cache=serving) as session, CachedSession(cache=posting) as other:
        await read(session, url)
        await serving.settle()
        assert await read(session, url) == ("1", True)
        async with other.post(changing):
            pass
        assert await read(session, url) == ("2", False)


# ---- clocks, and lost records of purges


async def test_no_clock_decides_what_a_purge_is_about(backend: CacheBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    for number, skew_s in enumerate((3600, -3600, 0, -7200)):
        monkeypatch.setattr("time.time_ns", lambda skew_s=skew_s: now + skew_s * 10**9)
        purges = await backend.stack.here().purges.observe()
        await backend.write(tagged(f"k{number}", "a", purges=purges))
        assert await backend.get_response(f"k{number}") is not None
        await upkeep.purge_tags(backend.stack, ["a"])
        assert await backend.get_response(f"k{number}") is None


async def test_a_purge_is_remembered_for_as_long_as_what_it_is_about_can_be_kept(backend: CacheBackend) -> None:
    async def until() -> float:
        await upkeep.purge_tags(backend.stack, ["a"])
        (mark,) = purge_records(["a"], 1, 1.0)[0]
        (found,) = await backend.stack.store.get([mark.key])
        assert found is not None
        entry = backend.stack.packing.entry_of(found.item, mark.key)
        assert entry is not None
        return entry.store_until

    now = time.time()
    await backend.write(replace(tagged("a", "a"), store_until=now + KEPT_S / 2, fresh_until=now + 60))
    assert now + KEPT_S <= await until() < now + KEPT_S + 600
    await backend.write(replace(tagged("a", "a"), store_until=now + 2 * KEPT_S, fresh_until=now + 60))
    await backend.settle()
    assert await until() > now + 100 * KEPT_S


async def test_a_lost_record_of_the_last_purge_makes_nothing_usable_again(backend: CacheBackend) -> None:
    await backend.write(tagged("a", "a"))
    await backend.write(tagged("b", "b"))
    assert await backend.get_response("a") is not None
    await upkeep.purge_tags(backend.stack, ["a"])
    await backend.stack.delete([LAST_PURGE_KEY, LONG_LIVED_KEY])
    assert await backend.get_response("a") is None
    assert await backend.get_response("b") is not None
    await backend.settle()
    assert await backend.get_response("a") is None


def test_the_keys_of_records_are_none_of_a_request() -> None:
    marks, last = purge_records(["a", "b", "a"], 1, 1.0)
    groups, _ = purge_records(["a"], 1, 1.0, origin="http://a.test:80")
    others, _ = purge_records(["a"], 1, 1.0, origin="http://b.test:80")
    soft, _ = purge_records(["a"], 1, 1.0, soft=True)
    keys = [mark.key for mark in (*marks, *groups, *others, *soft)]
    assert len(marks) == 2
    assert len(set(keys)) == 5
    assert all(map(is_mark, (*keys, last.key, LONG_LIVED_KEY)))
    assert not is_mark(make_entry("a").key)
