"""Each decision is reported once, correctly, and without secrets."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ServerDisconnectedError

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.backends.wrap.guarding.outages import Outages
from aiohttp_cache_di.engine.fairness import FAIR_SHARE
from aiohttp_cache_di.rfc9111.messages import Request
from aiohttp_cache_di.telemetry import CacheStats, Decision, Saved
from tests.clients import Clients
from tests.origin import CLOSE, Origin, Received, answer
from tests.storages import CustomBackend
from tests.telemetry.test_watch import LOG, FakeObserver

TAGGED = {"ETag": '"a"', "Cache-Control": "max-age=0"}


def validated(request: Received) -> bytes:
    return answer(status=304, headers=TAGGED) if "If-None-Match" in request.headers else answer("1", headers=TAGGED)


async def test_each_result_is_told_as_what_it_was(clients: Clients, origin: Origin) -> None:
    client, observer = clients(cache_control=True), FakeObserver()
    client.backend.stats.observe(observer)
    url = origin.on("/a", answer("text"))
    await client.fetch(url)
    await client.backend.settle()
    for _ in range(3):
        await client.fetch(url)
    await client.fetch(origin.on("/v", validated))
    await client.backend.settle()
    await client.fetch(origin.url + "/v")
    await client.fetch(url, "POST")
    await client.fetch(url + "x", headers={"Cache-Control": "only-if-cached"})
    assert [one.result for one in observer.decisions] == [
        *("miss", "hit", "hit", "hit"),
        *("miss", "revalidated", "bypass", "miss"),
    ]
    first, hit = observer.decisions[:2]
    assert (first.method, first.url, first.key) == ("GET", url, hit.key)
    assert hit.url == url
    assert hit.key
    assert hit.body_bytes == 4
    assert hit.seconds > 0 <= hit.origin_s
    assert hit.cache_status.startswith("aiohttp-cache-di; hit")


async def test_a_request_that_aiohttp_sends_again_is_told_once(clients: Clients, origin: Origin) -> None:
    """The origin closes an idle connection just when it is used again."""
    client, observer = clients(cache_control=True), FakeObserver()
    client.backend.stats.observe(observer)
    stale = {"Cache-Control": "max-age=60", "Age": "100"}
    url = origin.on("/a", lambda request: CLOSE if request.number == 2 else answer("text", headers=stale))
    for _ in range(2):
        await client.fetch(url)
    assert origin.hits == 3
    assert [one.result for one in observer.decisions] == ["miss", "miss"]


async def test_an_origin_that_closes_each_connection_is_an_error_once(clients: Clients, origin: Origin) -> None:
    client, observer = clients(), FakeObserver()
    client.backend.stats.observe(observer)
    await client.fetch(origin.on("/a", answer("text")))
    with pytest.raises(ServerDisconnectedError):
        await client.fetch(origin.on("/b", CLOSE))
    assert [one.result for one in observer.decisions] == ["miss", "error"]


async def test_a_request_whose_key_is_not_known_bypasses_the_store(clients: Clients, origin: Origin) -> None:
    def fails(request: Request) -> str:
        raise ValueError

    client, observer = clients(principal=fails), FakeObserver()
    client.backend.stats.observe(observer)
    await client.fetch(origin.on("/a", answer("text")))
    assert [one.result for one in observer.decisions] == ["bypass"]
    assert client.backend.stats.bypassed == 1


async def test_what_is_told_agrees_with_the_counters(clients: Clients, origin: Origin) -> None:
    client, observer = clients(), FakeObserver()
    client.backend.stats.observe(observer)
    url = origin.on("/a", answer("text"))
    await asyncio.gather(*(client.fetch(url) for _ in range(3)))
    await client.backend.settle()
    for _ in range(2):
        await client.fetch(url)
        await client.fetch(url, "DELETE")
    told = [one.result for one in observer.decisions]
    stats = client.backend.stats.snapshot()
    assert told.count("hit") == stats.hits
    assert told.count("miss") == stats.misses
    assert told.count("coalesced") == stats.coalesced
    assert told.count("bypass") == stats.bypassed
    assert len(told) == stats.requests == 7


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_that_fails_is_an_error_and_nothing_else(method: str) -> None:
    observer = FakeObserver()
    async with CachedSession() as session:
        session.cache.stats.observe(observer)
        with pytest.raises(ClientConnectorError):
            await session.request(method, "http://127.0.0.1:1/")
    assert [one.result for one in observer.decisions] == ["error"]
    assert session.cache.stats.snapshot().requests == 0


async def test_a_stale_answer_and_a_failure_are_told(origin: Origin) -> None:
    observer = FakeObserver()
    async with CachedSession(expire_after=0.01, stale_if_error=True) as session:
        session.cache.stats.observe(observer)
        url = origin.on("/a", lambda request: answer("text") if request.number == 1 else answer(status=500))
        async with session.get(url) as response:
            await response.read()
        await asyncio.sleep(0.02)
        async with session.get(url) as response:
            assert response.from_cache
        with pytest.raises(ClientConnectorError):
            await session.get("http://127.0.0.1:1/")
    assert [(one.result, one.error) for one in observer.decisions] == [
        ("miss", ""),
        ("stale", ""),
        ("error", "ClientConnectorError"),
    ]


async def test_a_validation_in_the_background_is_told_after_the_answer(origin: Origin) -> None:
    class Awaited(FakeObserver):
        is_told = asyncio.Event()

        def decided(self, decision: Decision) -> None:
            super().decided(decision)
            if len(self.decisions) == 3:
                self.is_told.set()

    observer = Awaited()
    headers = {"ETag": '"a"', "Cache-Control": "max-age=0, stale-while-revalidate=60"}

    def script(request: Received) -> bytes:
        return (
            answer(status=304, headers=headers) if "If-None-Match" in request.headers else answer("1", headers=headers)
        )

    async with CachedSession(cache_control=True) as session:
        session.cache.stats.observe(observer)
        url = origin.on("/a", script)
        for _ in range(2):
            async with session.get(url) as response:
                await response.read()
        async with asyncio.timeout(10):
            await observer.is_told.wait()
        stats = session.cache.stats.snapshot()
    assert [one.result for one in observer.decisions] == ["miss", "stale", "revalidated"]
    assert (stats.misses, stats.stale, stats.revalidated) == (1, 1, 1)


async def test_each_hop_of_a_redirect_is_told(origin: Origin) -> None:
    observer = FakeObserver()
    async with CachedSession() as session:
        session.cache.stats.observe(observer)
        origin.on("/b", answer("text"))
        async with session.get(origin.on("/a", answer(status=302, headers={"Location": "/b"}))) as response:
            await response.read()
    assert [one.url for one in observer.decisions] == [origin.url + "/a", origin.url + "/b"]


async def test_a_line_of_the_log_tells_a_decision_without_secrets(
    origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOG)
    url = origin.on("/a", answer("text")) + "?access_token=hunter2&page=1"
    async with CachedSession() as session:
        for _ in range(3):
            async with session.get(url.replace("//", "//arthur:dent42@")) as response:
                await response.read()
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert [line.partition(" (")[0].rpartition(" ")[2] for line in lines] == ["miss", "hit", "hit"]
    assert all(line.startswith(f"GET {origin.url}/a?access_token=REDACTED&page=1: ") for line in lines)
    assert "hunter2" not in caplog.text
    assert "dent42" not in caplog.text


async def test_a_session_says_when_its_cache_starts_and_what_it_has_done(
    origin: Origin, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, LOG)
    path = str(tmp_path / "c.sqlite")
    async with CachedSession(cache=SQLiteBackend(path, cache_control=True, autoclose=True)) as session:
        for _ in range(2):
            async with session.get(origin.on("/a", answer("text"))) as response:
                await response.read()
    assert [record.getMessage() for record in caplog.records] == [
        f"The cache 'c' starts: SQLiteBackend, {path}, by HTTP's own rules (cache_control)",
        "The cache 'c' is closed: 2 requests, 50.0 % of them hits, 1 stored, 0 evicted, 0 errors of the store",
    ]


async def test_a_level_that_changes_is_noticed_by_hits_too(origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    url = origin.on("/a", answer("text"))
    async with CachedSession() as session:
        for _ in range(3):
            async with session.get(url) as response:
                await response.read()
        assert not session.cache.stats.watch.is_on
        caplog.set_level(logging.DEBUG, LOG)
        for _ in range(FAIR_SHARE):
            await session.get(url)
        assert session.cache.stats.watch.is_on
        caplog.set_level(logging.INFO, LOG)
        await session.get(url)
        assert not session.cache.stats.watch.is_on


async def test_operations_of_a_store_are_told_and_those_that_fail_too() -> None:
    observer, backend = FakeObserver(), CustomBackend()
    backend.stats.observe(observer)

    async def works() -> str:
        return "found"

    async def fails() -> str:
        raise OSError("gone")

    assert await backend.guard.run("read", works, "") == "found"
    assert await backend.guard.run("write", fails, "") == ""
    assert observer.operations == [("read", False), ("write", True)]
    await backend.close()


async def test_what_is_saved_is_measured_once_this_is_asked_for(clients: Clients, origin: Origin) -> None:
    client = clients(cache_control=True)
    url = origin.on("/a", answer("text"))
    await client.fetch(url)
    await client.backend.settle()
    await client.fetch(url)
    measures = client.backend.stats.measure()
    assert measures.saved == Saved()
    for _ in range(3):
        await client.fetch(url)
    saved = measures.saved
    assert (saved.requests, saved.bytes) == (3, 12)
    assert saved.seconds >= 0
    assert measures.requests["hit"].cumulative[-1] == 3


def test_a_new_backend_watches_for_itself() -> None:
    assert CacheBackend().stats.watch is not CacheBackend().stats.watch
    assert isinstance(CacheBackend().stats, CacheStats)


async def test_a_store_that_fails_to_tell_its_place_fails_no_request(
    origin: Origin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(outages: Outages) -> str:
        raise RuntimeError("of the store")

    caplog.set_level(logging.INFO, LOG)
    monkeypatch.setattr(Outages, "place", property(fails))
    async with CachedSession() as session, session.get(origin.on("/a", answer("text"))) as response:
        assert await response.text() == "text"
    assert "starts: CacheBackend, in memory, by your rules" in caplog.text
