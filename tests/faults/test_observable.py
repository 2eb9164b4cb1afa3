"""Events in a cache show in its counters, its health and its log, and never in a service's own answers."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest
from aiohttp import ClientTimeout, web
from aiohttp.test_utils import TestServer

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.telemetry import StatsSnapshot
from tests.faults.conftest import Note
from tests.faults.origin import Origin
from tests.stores import Store
from tests.valkey import ValkeyServer

RECENT_S = 0.3
OUTAGES = "aiohttp_cache_di.backends.wrap.guarding.outages"


async def ask(session: CachedSession, url: str, **options: Any) -> int:
    async with session.get(url, **options) as response:
        await response.read()
        return response.status


def moved(before: StatsSnapshot, after: StatsSnapshot) -> dict[str, int]:
    """The counters that differ, and by how much."""
    names = ("hits", "misses", "stale", "revalidated", "coalesced", "stored", "evicted", "invalidated", "bypassed")
    found = {name: getattr(after, name) - getattr(before, name) for name in names}
    return {name: count for name, count in found.items() if count}


async def test_each_thing_that_a_cache_does_moves_its_counter(store: Store, origin: Origin) -> None:
    backend = store.backend(cache_control=True, stale_if_error=3600)
    stats = backend.stats
    url = origin.url

    async with CachedSession(cache=backend) as session:

        async def what_moves(*paths: str, **options: Any) -> dict[str, int]:
            before = stats.snapshot()
            method = options.pop("method", "GET")
            async with session.request(method, url + paths[0], **options) as response:
                await response.read()
            await backend.settle()
            return moved(before, stats.snapshot())

        assert await what_moves("/a") == {"misses": 1, "stored": 1}
        assert await what_moves("/a") == {"hits": 1}
        assert await what_moves("/a", headers={"Cache-Control": "no-store"}) in ({"misses": 1}, {"bypassed": 1})
        assert await what_moves("/a", method="DELETE") == {"bypassed": 1, "invalidated": 1}
        assert await what_moves("/a") == {"misses": 1, "stored": 1}

        origin.headers = {"Cache-Control": "max-age=0", "ETag": '"x"'}
        assert await what_moves("/b") == {"misses": 1, "stored": 1}
        origin.answer = not_modified
        found = await what_moves("/b")
        assert found["revalidated"] == 1
        origin.answer = broken
        found = await what_moves("/b")
        assert found["stale"] == 1

        origin.answer = origin.answer_plainly
        origin.headers = {"Cache-Control": "max-age=600"}
        origin.arrived.clear()
        origin.gate = asyncio.Event()
        before = stats.snapshot()
        asking = [asyncio.create_task(ask(session, f"{url}/c")) for _ in range(10)]
        async with asyncio.timeout(10):
            await origin.arrived.wait()
            (flight,) = Runtime.of(backend).flights._flights.values()
            while len(flight._waiters) < 9:  # noqa: ASYNC110  # there is no event for waiters
                await asyncio.sleep(0.001)
        origin.gate.set()
        await asyncio.gather(*asking)
        assert moved(before, stats.snapshot())["coalesced"] == 9
    await backend.close()


async def not_modified(request: web.Request) -> web.Response:
    return web.Response(status=304, headers={"ETag": '"x"', "Cache-Control": "max-age=0"})


async def broken(request: web.Request) -> web.Response:
    return web.Response(status=503)


async def test_what_makes_room_is_counted(origin: Origin) -> None:
    backend = CacheBackend(max_entries=2)
    async with CachedSession(cache=backend) as session:
        for number in range(5):
            await ask(session, f"{origin.url}/{number}")
    assert backend.stats.evicted == 3


async def test_a_readiness_probe_says_degraded_and_lets_the_service_work(
    own_valkey: ValkeyServer, origin: Origin, note: Note, caplog: pytest.LogCaptureFixture
) -> None:
    """The probe answers 200 whatever the state of the cache; its text is for people and dashboards."""
    caplog.set_level(logging.INFO)
    backend = RedisBackend("faults", own_valkey.url)

    async def ready(request: web.Request) -> web.Response:
        health = backend.stats.health(recent_s=RECENT_S)
        return web.json_response({"cache": health.status, "reason": health.reason})

    async def work(request: web.Request) -> web.Response:
        async with session.get(origin.url + request.path, timeout=ClientTimeout(total=5)) as response:
            return web.Response(body=await response.read())

    app = web.Application()
    app.router.add_get("/ready", ready)
    app.router.add_get("/{path:.*}", work)
    async with TestServer(app) as service, CachedSession(cache=backend) as session, CachedSession() as client:

        async def probe() -> dict[str, str]:
            with client.disabled():
                async with client.get(service.make_url("/ready")) as response:
                    assert response.status == 200
                    answer: dict[str, str] = await response.json()
                    return answer

        async def use(count: int) -> None:
            for number in range(count):
                with client.disabled():
                    async with client.get(service.make_url(f"/{number}")) as response:
                        assert await response.read() == origin.body_of(f"/{number}")

        await use(3)
        assert await probe() == {"cache": "ok", "reason": ""}
        await asyncio.to_thread(own_valkey.kill)
        await use(30)
        down = await probe()
        assert down["cache"] == "degraded"
        assert backend.stats.circuit == "open"
        assert backend.stats.skipped > 0
        await asyncio.to_thread(own_valkey.start)
        async with asyncio.timeout(20):
            while (await probe())["cache"] != "ok":
                await use(1)
                await asyncio.sleep(0.02)
    note(down=down["reason"], log_lines=len(failures(caplog)), errors=backend.stats.store_errors)
    told = failures(caplog)
    assert len(told) == len(backend.stats.store_errors), "one line for each kind, however many failed"
    assert all(f"{own_valkey.url}/0" in line for line in told), "with its place"
    assert not re.search(r"127\.0\.0\.1|redis://", down["reason"]), "which is for the log, not for who may probe"
    recoveries = [record for record in caplog.records if record.name == OUTAGES and record.levelno == logging.INFO]
    assert 1 <= len(recoveries) <= len(told)
    assert f"{own_valkey.url}/0 works again" in recoveries[0].getMessage()
    await backend.close()


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log messages about failed operations."""
    found = [record for record in caplog.records if record.name == OUTAGES and record.levelno == logging.WARNING]
    return [record.getMessage() for record in found]
