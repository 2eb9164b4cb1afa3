"""Coalescing: one request per key to the origin at a time, and no caller waits in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientTimeout, TCPConnector
from aiohttp.typedefs import StrOrURL
from msgspec.structs import replace

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.flights import Flights, Outcome
from aiohttp_cache_di.engine.hits_for_miss import KEPT_S
from aiohttp_cache_di.testing.clock import CacheClock
from tests.clients import Client, Clients, is_hit
from tests.origin import CLOSE, CUT, Origin, Received, Script, answer, chunked
from tests.stores import SHARED, new_store
from tests.test_response import entry


class TestFlights:
    async def test_only_a_flight_with_a_leader_is_current(self) -> None:
        flights = Flights()
        flights.start("key")
        assert flights.current("key") is None
        flight = flights.lead("key")
        assert flights.current("key") is flight
        flight.end(Outcome.UNSHARED)
        assert flights.current("key") is None

    async def test_what_was_invalidated_meanwhile_may_not_be_stored(self) -> None:
        flights = Flights()
        joined, alone = flights.lead("key"), flights.start("key")
        flights.invalidate({"key"})
        assert (joined.store_allowed, alone.store_allowed, joined.outcome is not None) == (False, False, True)
        other = flights.lead("other")
        flights.invalidate(None)
        assert not other.store_allowed

    async def test_nothing_remains_of_what_was_invalidated(self) -> None:
        flights = Flights()
        flight = flights.lead("k")
        flights.invalidate({"k"})
        assert flight.outcome is not None
        assert flights.current("k") is None
        other = flights.start("k")
        flights.invalidate(None)
        other.end(Outcome.UNSHARED)
        assert not flights._fetching

    async def test_a_key_that_cannot_be_shared_is_remembered_for_a_while(self) -> None:
        with CacheClock() as clock:
            flights = Flights()
            flights.end_unshared(flights.start("key"))
            clock.advance(KEPT_S - 1)
            assert flights.hits_for_miss.has("key")
            clock.advance(2)
            assert not flights.hits_for_miss.has("key")
            assert not flights.hits_for_miss


def slow(seconds: float, body: str = "text", **options: Any) -> Script:
    """A script that answers after a delay."""

    async def script(request: Received) -> bytes:
        await asyncio.sleep(seconds)
        return answer(body, **options)

    return script


async def flood(client: Client, url: str, count: int, **options: Any) -> list[object]:
    """Send *count* concurrent requests for *url*; return their texts, or the errors that they raised."""

    async def ask() -> str:
        async with client.session.get(url, **options) as response:
            return await response.text()

    return await asyncio.gather(*(ask() for _ in range(count)), return_exceptions=True)


CHUNKED = answer(headers={"Content-Length": None, "Transfer-Encoding": "chunked"})


def many() -> dict[str, Any]:
    """Arguments of a session without a limit on its connections."""
    return {"connector": TCPConnector(limit=0)}


async def test_500_identical_cold_requests_are_one_at_the_origin(origin: Origin, clients: Clients) -> None:
    client, url = clients(session=many()), origin.on("/", slow(0.05))
    assert await flood(client, url, 500) == ["text"] * 500
    assert origin.hits == 1
    assert client.backend.stats.coalesced == 499


async def test_get_does_not_wait_for_a_head_of_its_url(origin: Origin, clients: Clients) -> None:
    head_is_there, may_head_end = asyncio.Event(), asyncio.Event()

    async def script(request: Received) -> bytes:
        if request.method == "HEAD":
            head_is_there.set()
            await may_head_end.wait()
        return answer(str(request.number), headers={"Cache-Control": "max-age=0", "ETag": f'"{request.number}"'})

    client, url = clients(cache_control=True), origin.on("/", script)
    assert await flood(client, url, 1) == ["1"]
    head = asyncio.create_task(client.session.head(url))
    await head_is_there.wait()
    async with asyncio.timeout(5):
        assert await flood(client, url, 1) == ["3"]
    may_head_end.set()
    (await head).release()


async def test_coalescing_can_be_switched_off(origin: Origin, clients: Clients) -> None:
    client, url = clients(coalesce=False), origin.on("/", slow(0.05))
    await flood(client, url, 5)
    assert origin.hits == 5


CROWD = 20
"""How many ask at once, where each must be answered by the origin."""


async def once_all_ask(origin: Origin, request: Received, all_there: asyncio.Event) -> None:
    """Answer the leader after a moment, and the others when all have arrived: never, if one waits for another."""
    if origin.hits >= CROWD:
        all_there.set()
    await (asyncio.sleep(0.1) if request.number == 1 else all_there.wait())


@pytest.mark.parametrize(
    "options",
    [
        {"status": 500},
        {"status": 404},
        {"headers": {"Cache-Control": "no-store"}},
        {"headers": {"Vary": "*"}},
        {"headers": {"Content-Length": None, "Connection": "close"}},
    ],
    ids=str,
)
async def test_a_leader_that_cannot_be_shared_holds_up_no_other(
    origin: Origin, clients: Clients, options: dict[str, Any]
) -> None:
    client, all_there = clients(session=many()), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        await once_all_ask(origin, request, all_there)
        yield answer("text", **options)
        if "Connection" in options.get("headers", ()):
            yield CLOSE

    url = origin.on("/", script)
    assert await asyncio.wait_for(flood(client, url, CROWD), 20) == ["text"] * CROWD
    assert origin.hits == CROWD


@pytest.mark.parametrize("headers", [{}, {"Cache-Control": "max-age=0"}], ids=str)
async def test_no_request_waits_for_a_response_that_serves_only_instead_of_an_error(
    origin: Origin, clients: Clients, headers: dict[str, str]
) -> None:
    client, all_there = clients(session=many(), cache_control=True, stale_if_error=60), asyncio.Event()

    async def script(request: Received) -> bytes:
        if origin.hits == 11:
            all_there.set()
        if origin.hits > 1:
            await all_there.wait()
        return answer("text", headers=headers) if origin.hits < 12 else answer("failure", status=503)

    url = origin.on("/", script)
    await client.fetch(url)
    assert await asyncio.wait_for(flood(client, url, 10), 20) == ["text"] * 10
    is_hit, text, *_ = await client.fetch(url)
    assert (is_hit, text) == (True, "text")


@pytest.mark.parametrize("how", [CUT, CLOSE])
async def test_a_leader_whose_connection_breaks_holds_up_no_other(origin: Origin, clients: Clients, how: bytes) -> None:
    client, all_there = clients(session=many()), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        await once_all_ask(origin, request, all_there)
        yield how

    url = origin.on("/", script)
    failures = await asyncio.wait_for(flood(client, url, CROWD), 20)
    assert all(isinstance(failure, ClientError) for failure in failures)


async def test_a_leader_whose_body_has_no_known_end_holds_the_others_up_for_a_moment_only(
    origin: Origin, clients: Clients
) -> None:
    client, hang = clients(session=many(), coalesce_timeout=0.05), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        yield CHUNKED
        if request.number == 1:
            await hang.wait()
        yield chunked(b"text")

    url = origin.on("/", script)
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    assert await asyncio.wait_for(flood(client, url, 20), 20) == ["text"] * 20
    hang.set()
    assert (await leader)[1] == "text"


async def test_a_stream_that_keeps_coming_holds_up_none_that_comes_later(origin: Origin, clients: Clients) -> None:
    client, over = clients(session=many(), coalesce_timeout=0.05), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        yield CHUNKED
        while request.number == 1 and not over.is_set():
            yield chunked(b"tick", end=False)
            await asyncio.sleep(0.01)
        yield chunked(b"text")

    url = origin.on("/", script)
    async with client.session.get(url) as stream:
        await stream.content.readany()
        await asyncio.sleep(0.1)  # twice the coalescing timeout
        assert await asyncio.wait_for(client.fetch(url), 20) == (False, "text")  # the stream would never end
        over.set()


async def test_a_body_with_a_known_end_is_waited_for_while_it_keeps_arriving(origin: Origin, clients: Clients) -> None:
    client = clients(session=many(), coalesce_timeout=1)

    async def script(request: Received) -> AsyncIterator[bytes]:
        yield answer(headers={"Content-Length": "44"})
        for _ in range(22):
            await asyncio.sleep(0.05)
            yield b"xy"

    url = origin.on("/", script)
    assert await flood(client, url, 20) == ["xy" * 22] * 20
    assert origin.hits == 1


async def test_one_that_has_stopped_arriving_is_not(origin: Origin, clients: Clients) -> None:
    client, hang = clients(session=many(), coalesce_timeout=0.1), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        yield answer(headers={"Content-Length": "4"}) + b"te"
        if request.number == 1:
            await hang.wait()
        yield b"xt"

    url = origin.on("/", script)
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    assert await asyncio.wait_for(flood(client, url, 20), 20) == ["text"] * 20
    hang.set()
    assert (await leader)[1] == "text"


@pytest.mark.parametrize("has_end", [True, False])
async def test_a_leader_that_does_not_read_its_large_body_holds_the_others_up_for_a_moment_only(
    origin: Origin, clients: Clients, has_end: bool
) -> None:
    client, body = clients(session=many(), coalesce_timeout=0.1), b"x" * 4_000_000
    url = origin.on("/", answer(body) if has_end else CHUNKED + chunked(body))
    async with client.session.get(url):
        other = asyncio.create_task(client.fetch(url))
        assert (await asyncio.wait_for(other, 20))[1] == body.decode()


async def test_a_slow_origin_is_asked_once_however_long_it_takes(origin: Origin, clients: Clients) -> None:
    client, url = clients(session=many(), coalesce_timeout=0.05), origin.on("/", slow(0.5))
    assert await flood(client, url, 6) == ["text"] * 6
    assert origin.hits == 1
    assert client.backend.stats.coalesced == 5


async def test_who_waits_longer_than_it_would_for_the_origin_asks_itself(origin: Origin, clients: Clients) -> None:
    client, hang = clients(session=many(), coalesce_timeout=60), asyncio.Event()

    async def script(request: Received) -> bytes:
        if request.number == 1:
            await hang.wait()
        return answer("text")

    url = origin.on("/", script)
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    patient: dict[str, Any] = {"timeout": ClientTimeout(sock_read=0.5)}
    if not isinstance(client.session, CachedSession):  # only the session's own timeout is known
        client = clients(backend=client.backend, session={**many(), **patient})
        patient = {}
    assert await asyncio.wait_for(client.fetch(url, **patient), 20) == (False, "text")
    hang.set()
    await leader


async def test_a_follower_looks_into_the_store_before_it_asks_itself(origin: Origin, clients: Clients) -> None:
    client, hang = clients(session=many(), coalesce_timeout=1), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        yield CHUNKED
        await hang.wait()
        yield chunked(b"text")

    url = origin.on("/", script)
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    follower = asyncio.create_task(client.fetch(url))
    await asyncio.sleep(0.01)
    key = client.backend.create_key("GET", url)
    await client.backend.write(replace(entry(b"other"), key=key, url=url))
    assert await asyncio.wait_for(follower, 20) == (True, "other")
    assert origin.hits == 1
    hang.set()
    await leader


async def test_a_follower_that_was_late_gets_what_the_leader_brings_first(origin: Origin, clients: Clients) -> None:
    client, never = clients(session=many(), coalesce_timeout=0.05), asyncio.Event()
    slow, all_ask = asyncio.Event(), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        if origin.hits == 21:
            all_ask.set()
        if request.number > 1:
            await never.wait()
        yield CHUNKED
        await slow.wait()
        yield chunked(b"text")

    url = origin.on("/", script)
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    followers = asyncio.create_task(flood(client, url, 20))
    async with asyncio.timeout(10):
        await all_ask.wait()
    slow.set()
    assert await asyncio.wait_for(followers, 20) == ["text"] * 20
    assert (await leader)[1] == "text"


async def test_a_cancelled_leader_hands_over_to_one_follower(origin: Origin, clients: Clients) -> None:
    client = clients(session=many())
    url = origin.on("/", slow(0.1))
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    followers = asyncio.create_task(flood(client, url, 50))
    await asyncio.sleep(0.02)
    leader.cancel()
    assert await followers == ["text"] * 50
    assert origin.hits == 2
    assert leader.cancelled()


async def test_a_leader_out_of_time_hands_over_to_one_follower(origin: Origin, clients: Clients) -> None:
    client, never = clients(session=many()), asyncio.Event()

    async def script(request: Received) -> bytes:
        if origin.hits_of(request.path) == 1:
            await never.wait()
        return answer("text")

    for total_s in (0.05, 0.5, 5):
        url = origin.on(f"/{total_s}", script)
        leader = asyncio.create_task(client.fetch(url, timeout=ClientTimeout(total=total_s)))
        arrival = asyncio.create_task(origin.arrival())
        await asyncio.wait((leader, arrival), return_when=asyncio.FIRST_COMPLETED)
        if not leader.done():  # otherwise the machine stalled, and there is nothing to hand over
            break
    assert await flood(client, url, 50) == ["text"] * 50
    assert origin.hits_of(f"/{total_s}") == 2
    with pytest.raises(TimeoutError):
        await leader


async def test_a_follower_keeps_its_own_time_and_its_own_cancellation(origin: Origin, clients: Clients) -> None:
    client, may_answer = clients(session=many()), asyncio.Event()

    async def script(request: Received) -> bytes:
        await may_answer.wait()
        return answer("text")

    url = origin.on("/", script)
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    with pytest.raises(TimeoutError):
        await client.fetch(url, timeout=ClientTimeout(total=0.05))
    cancelled = asyncio.create_task(client.fetch(url))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert not leader.done()
    may_answer.set()
    assert await leader == (False, "text")
    assert origin.hits == 1


async def test_an_old_connection_of_the_leader_does_not_let_all_others_loose(origin: Origin, clients: Clients) -> None:
    client = clients(session=many())
    origin.on("/warm", answer("warm"))
    url = origin.on("/", slow(0.02))
    await client.fetch(origin.url + "/warm")

    async def script(request: Received) -> AsyncIterator[bytes]:
        if request.number == 1:
            yield CLOSE
        await asyncio.sleep(0.02)
        yield answer("text")

    origin.on("/", script)
    assert await flood(client, url, 50) == ["text"] * 50
    assert origin.hits_of("/") <= 3


@pytest.mark.parametrize("how", [CUT, CLOSE])
async def test_an_origin_that_breaks_a_new_connection_lets_all_others_loose(
    origin: Origin, clients: Clients, how: bytes
) -> None:
    client, others = clients(session=many(), coalesce_timeout=60), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        if request.number == 1:
            yield how
        if origin.hits == 51:  # aiohttp sends the first one twice
            others.set()
        await others.wait()
        yield answer("text")

    url = origin.on("/", script)
    assert await asyncio.wait_for(flood(client, url, 50), 10) == ["text"] * 50


async def test_leaders_that_do_not_read_their_bodies_do_not_queue_up(origin: Origin, clients: Clients) -> None:
    client, over = clients(session=many(), coalesce_timeout=60), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        yield answer(headers={"Content-Length": "1000000"})
        await over.wait()

    url = origin.on("/", script)

    async def glance() -> int:
        async with client.session.get(url) as response:
            return response.status

    assert await asyncio.wait_for(asyncio.gather(*(glance() for _ in range(100))), 20) == [200] * 100
    over.set()


async def test_who_asks_again_before_having_read_does_not_wait_for_itself(origin: Origin, clients: Clients) -> None:
    client, body = clients(coalesce_timeout=20), b"x" * 4_000_000
    url = origin.on("/", answer(body))
    async with asyncio.timeout(10), client.session.get(url) as first, client.session.get(url) as second:
        assert await second.read() == body
        assert await first.read() == body
    assert origin.hits == 2


async def test_different_variants_do_not_answer_each_other(origin: Origin, clients: Clients) -> None:
    client = clients(session=many())

    async def script(request: Received) -> bytes:
        await asyncio.sleep(0.02)
        return answer(request.headers["Accept-Language"], headers={"Vary": "Accept-Language"})

    url = origin.on("/", script)
    german, french = await asyncio.gather(
        flood(client, url, 5, headers={"Accept-Language": "de"}),
        flood(client, url, 5, headers={"Accept-Language": "fr"}),
    )
    assert (german, french) == (["de"] * 5, ["fr"] * 5)


@pytest.mark.parametrize("kind", SHARED)
async def test_a_variant_that_another_process_has_just_stored_elsewhere_is_not_fetched_again(
    kind: str, origin: Origin, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(request: Received) -> bytes:
        return answer(request.headers["Accept-Language"], headers={"Vary": "Accept-Language"})

    url, german, french = origin.on("/", script), {"Accept-Language": "de"}, {"Accept-Language": "fr"}
    store = new_store(kind, request, tmp_path)
    late, quick = store.backend(), store.backend()
    store_of_late: Any = late.stack.store
    acquire = store_of_late.acquire
    asked: list[str] = []
    async with CachedSession(cache=late) as session, CachedSession(cache=quick) as another:
        client, other = Client(session, late), Client(another, quick)
        assert await client.fetch(url, headers=german) == (False, "de")
        await late.settle()

        async def acquire_late(key: str, ttl_s: float) -> Any:
            if not asked:  # French is stored under the key of the URL, where German was
                await quick.delete_url(url, headers=german)
                assert await other.fetch(url, headers=french) == (False, "fr")
                await quick.settle()
            asked.append(key)
            return await acquire(key, ttl_s)

        late.guard.deadline_s = 30.0
        monkeypatch.setattr(store_of_late, "acquire", acquire_late)
        async with asyncio.timeout(30):
            assert await client.fetch(url, headers=french) == (True, "fr")
    assert (len(asked), origin.hits, late.stats.coalesced) == (1, 2, 1)
    await late.close()
    await quick.close()


async def test_what_is_deleted_while_it_is_fetched_is_not_stored(origin: Origin, clients: Clients) -> None:
    client, url = clients(), origin.on("/", slow(0.05))
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    await client.backend.clear()
    assert await leader == (False, "text")
    async with client.session.get(url) as response:
        assert not is_hit(response)


class CarelessKeys(CacheBackend):
    """A backend whose keys leave out the user."""

    def create_key(self, method: str, url: StrOrURL, **kwargs: Any) -> str:
        return f"{method} {url}"


async def test_a_request_is_not_answered_by_its_equal_of_another_principal(origin: Origin) -> None:
    async def script(request: Received) -> bytes:
        await asyncio.sleep(0.05)
        return answer(request.headers["Authorization"])

    url = origin.on("/", script)
    async with CachedSession(cache=CarelessKeys()) as session:

        async def ask(who: str) -> str:
            async with session.get(url, headers={"Authorization": who}) as response:
                return await response.text()

        assert list(await asyncio.gather(ask("alice"), ask("bob"))) == ["alice", "bob"]
