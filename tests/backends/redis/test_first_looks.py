"""A cold miss takes one round trip to the server before the origin is asked, and hits cost no more for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.engine.runtime import Runtime
from tests.backends.redis.turns import Relay
from tests.origin import Origin, Received, answer
from tests.stores import PATIENT_S
from tests.valkey import ValkeyServer

pytestmark = pytest.mark.shortcuts

numbers = itertools.count()


def backend_at(url: str, **options: Any) -> RedisBackend:
    """A backend that renews no lease and gives up no connection during a test, however slow the machine is."""
    name = f"looks-{next(numbers)}"
    return RedisBackend(name, address=url, autoclose=True, lease=600, socket_timeout=PATIENT_S, **options)


@pytest.fixture
async def relay(own_valkey: ValkeyServer) -> AsyncIterator[Relay]:
    async with Relay(own_valkey) as running:
        yield running


@pytest.fixture
async def session(own_valkey: ValkeyServer) -> AsyncIterator[CachedSession]:
    async with CachedSession(cache=backend_at(own_valkey.url)) as opened:
        yield opened


def commands(server: ValkeyServer) -> dict[str, int]:
    """How often each command has run since the statistics were reset, those in scripts included."""
    stats: dict[str, Any] = server.command("INFO", "commandstats")
    names = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
    return {name: count for name, count in names.items() if not name.startswith(("config", "info", "client", "hello"))}


def leases(server: ValkeyServer) -> list[bytes]:
    found: list[bytes] = server.command("KEYS", "*-lease:*")
    return found


async def text(session: ClientSession, url: str, **options: Any) -> str:
    async with session.get(url, **options) as response:
        return await response.text()


async def hit(session: CachedSession, url: str) -> None:
    """Store *url*, and let the fast lane learn its origin from a hit."""
    for _ in range(3):
        await text(session, url)
    await session.cache.settle()


@pytest.mark.parametrize("way", ["origin is known", "origin is new", "with credentials", "plain session"])
async def test_a_cold_miss_waits_for_one_round_trip(relay: Relay, origin: Origin, way: str) -> None:
    waited: list[int] = []

    async def script(request: Received) -> bytes:
        waited.append(relay.turns)
        return answer("b")

    backend = backend_at(relay.url)
    async with CachedSession(cache=backend) as cached:
        async with Origin() as another:  # opens the connection, and reads the secret
            await hit(cached, (origin if way == "origin is known" else another).on("/a", answer("a")))
        options = {"headers": {"Authorization": "Bearer x"}} if way == "with credentials" else {}
        before = relay.turns
        url = origin.on("/b", script)
        if way == "plain session":
            async with ClientSession(middlewares=(cached._cache_middleware,)) as plain:
                await text(plain, url, **options)
        else:
            await text(cached, url, **options)
        await backend.settle()
        assert waited == [before + 1]
        assert relay.turns == before + 2, "the lease goes back with the write"


async def test_a_hit_is_one_plain_command(session: CachedSession, own_valkey: ValkeyServer, origin: Origin) -> None:
    urls = [origin.on(f"/{n}", answer("a")) for n in range(5)]
    for url in urls:
        await hit(session, url)
    own_valkey.command("CONFIG", "RESETSTAT")
    for url in urls * 2:
        await text(session, url)
        await text(session, url, headers={"X-Any": "which is not for the fast lane"})
    assert commands(own_valkey) == {"get": 20}


async def test_what_others_have_stored_is_soon_had_by_plain_commands(own_valkey: ValkeyServer, origin: Origin) -> None:
    urls = [origin.on(f"/{n}", answer("a")) for n in range(10)]
    name = f"looks-{next(numbers)}"
    first, second = (RedisBackend(name, address=own_valkey.url, autoclose=True, lease=600) for _ in range(2))
    async with CachedSession(cache=first) as session:
        for url in urls:
            await text(session, url)
    own_valkey.command("CONFIG", "RESETSTAT")
    async with CachedSession(cache=second) as session:
        for url in urls:
            await text(session, url)
    assert origin.hits == 10
    told = commands(own_valkey)
    # The one GETRANGE reads the secret.
    assert (told.pop("get"), told) == (10, {"eval": 1, "strlen": 1, "getrange": 1})


async def test_many_keys_of_one_tick_go_in_few_pieces(relay: Relay, origin: Origin) -> None:
    waited: list[tuple[int, int]] = []
    all_have_asked = asyncio.Event()

    async def script(request: Received) -> bytes:
        """Answer when all requests have arrived, because writes are sent in further pieces."""
        waited.append((relay.turns, relay.pieces))
        if len(waited) == 64:
            all_have_asked.set()
        await all_have_asked.wait()
        return answer("b")

    backend = backend_at(relay.url)
    async with CachedSession(cache=backend) as session:
        await hit(session, origin.on("/a", answer("a")))
        turns, pieces = relay.turns, relay.pieces
        async with asyncio.timeout(60):
            await asyncio.gather(*(text(session, origin.on(f"/b{n}", script)) for n in range(64)))
        assert waited[0][0] <= turns + 2
        assert waited[-1][1] - pieces < 16
        await backend.settle()


async def test_equal_requests_of_one_tick_ask_for_one_lease(
    session: CachedSession, own_valkey: ValkeyServer, origin: Origin
) -> None:
    async def script(request: Received) -> bytes:
        """Answer when all others wait for it: one that starts to wait later would have to look again."""
        flight = Runtime.of(session.cache).flights.current(session.cache.create_key("GET", url))
        assert flight is not None
        while len(flight._waiters) < 49:  # noqa: ASYNC110  # there is no event for waiters
            await asyncio.sleep(0.001)
        return answer("b")

    await hit(session, origin.on("/a", answer("a")))
    own_valkey.command("CONFIG", "RESETSTAT")
    url = origin.on("/b", script)
    async with asyncio.timeout(60):
        assert await asyncio.gather(*(text(session, url) for _ in range(50))) == ["b"] * 50
    await session.cache.settle()
    assert origin.hits_of("/b") == 1
    assert commands(own_valkey)["eval"] == 2, "one takes the lease, and one gives it back"
    assert leases(own_valkey) == []


async def test_a_follower_in_another_process_learns_of_the_result(own_valkey: ValkeyServer, origin: Origin) -> None:
    name, may_answer = f"looks-{next(numbers)}", asyncio.Event()

    async def script(request: Received) -> bytes:
        await may_answer.wait()
        return answer("b")

    url = origin.on("/b", script)
    one, other = (RedisBackend(name, address=own_valkey.url, autoclose=True) for _ in range(2))
    async with CachedSession(cache=one) as leading, CachedSession(cache=other) as following:
        leader = asyncio.create_task(text(leading, url))
        await origin.arrival()
        follower = asyncio.create_task(text(following, url))
        async with asyncio.timeout(20):
            while commands(own_valkey).get("eval") != 2:  # noqa: ASYNC110  # the server gives no event
                await asyncio.sleep(0.001)
        may_answer.set()
        async with asyncio.timeout(20):
            assert [await leader, await follower] == ["b", "b"]
    assert origin.hits == 1
    assert other.stats.coalesced == 1


async def test_what_is_not_fetched_is_not_leased(
    session: CachedSession, own_valkey: ValkeyServer, origin: Origin
) -> None:
    await hit(session, origin.on("/a", answer("a")))
    own_valkey.command("CONFIG", "RESETSTAT")
    url = origin.on("/b", answer("b", headers={"Cache-Control": "no-store"}))
    async with session.get(url, only_if_cached=True) as response:
        assert response.status == 504
    await text(session, url, headers={"Cache-Control": "no-store"})
    await text(session, url, headers={"Range": "bytes=0-1"})
    async with session.disabled():
        await text(session, url)
    assert "eval" not in commands(own_valkey)
    session.cache.coalesce = False
    await text(session, url)
    assert "eval" not in commands(own_valkey)


async def test_a_request_that_comes_to_nothing_gives_its_lease_back(
    session: CachedSession, own_valkey: ValkeyServer, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hit(session, origin.on("/a", answer("a")))

    async def fail(*args: Any, **kwargs: Any) -> None:
        raise LookupError

    with monkeypatch.context() as patch:
        patch.setattr(ClientSession, "_request", fail)
        with pytest.raises(LookupError):
            await text(session, origin.on("/b", answer("b")))
    assert len(leases(own_valkey)) == 1, "it has asked for one"
    await session.cache.stack.here().tasks.finish(session.cache)
    assert leases(own_valkey) == []


async def test_a_look_that_is_cancelled_leaves_no_lease(
    session: CachedSession, own_valkey: ValkeyServer, origin: Origin
) -> None:
    await hit(session, origin.on("/a", answer("a")))
    for turns in range(12):
        asking = asyncio.create_task(text(session, origin.on(f"/b{turns}", answer("b"))))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
    await session.cache.settle()
    await session.cache.stack.here().tasks.finish(session.cache)
    await session.cache.stack.store.get(["none"])  # runs after all commands sent so far
    assert leases(own_valkey) == []


async def test_a_copy_of_what_a_first_look_has_found_hears_of_changes(own_valkey: ValkeyServer, origin: Origin) -> None:
    name, url = f"looks-{next(numbers)}", origin.on("/b", answer("b"))
    one = RedisBackend(name, address=own_valkey.url, autoclose=True)
    other = RedisBackend(name, address=own_valkey.url, autoclose=True, near_tier_s=60)
    async with CachedSession(cache=one) as session, CachedSession(cache=other) as near:
        await text(session, url)
        await one.settle()
        await text(near, url)
        assert (commands(own_valkey)["eval"], other.stats.hits) == (3, 1), "it was found by a first look"
        key = other.create_key("GET", url)
        assert other.stack.here().peek(key) is not None
        await one.delete(key)
        async with asyncio.timeout(20):
            while other.stack.here().peek(key) is not None:  # noqa: ASYNC110  # the message sets no event
                await asyncio.sleep(0.001)
