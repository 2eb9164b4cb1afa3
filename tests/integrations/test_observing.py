"""Routes for probes and for Prometheus, of both adapters: the same answers by the same names."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import httpx2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fastapi import FastAPI

import aiohttp_cache_di_fastapi as for_fastapi
import aiohttp_cache_di_web as for_web
from aiohttp_cache_di.containers import CacheContainer
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.telemetry import Health
from tests.integrations.origin import Origin
from tests.telemetry.test_prometheus import samples

Get: TypeAlias = Callable[[str], Awaitable[tuple[int, str, Any]]]
"""Asks a path of an app; gives status, content type and body."""

NAMES = ("aiohttp-cache", "weather-cache")
OTHER = web.AppKey("OTHER", CachedSession)


class App:
    """An app with two caches and their routes, and the sessions that it has."""

    def __init__(self, get: Get, sessions: Sequence[CachedSession]) -> None:
        self.get = get
        self.sessions = sessions


@asynccontextmanager
async def fastapi_app() -> AsyncGenerator[App]:
    app = FastAPI(
        lifespan=for_fastapi.combine_lifespans(
            for_fastapi.lifespan,
            for_fastapi.make_lifespan(CacheContainer(prefix="WEATHER_CACHE_"), key="weather"),
        )
    )
    both = ["cached_session", "weather"]
    app.add_api_route("/readyz", for_fastapi.cache_health)
    app.add_api_route("/both", for_fastapi.make_cache_health(both))
    app.add_api_route("/strict", for_fastapi.make_cache_health(degraded_status=503))
    app.add_api_route("/ping", for_fastapi.make_cache_health(ping=True))
    app.add_api_route("/missing", for_fastapi.make_cache_health(["cached_session", "elsewhere"]))
    app.add_api_route("/metrics", for_fastapi.cache_metrics)
    app.add_api_route("/metrics/both", for_fastapi.make_cache_metrics(both))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://app") as client:

            async def get(path: str) -> tuple[int, str, Any]:
                response = await client.get(path)
                return response.status_code, response.headers["Content-Type"], response.content

            yield App(get, [app.state.cached_session, app.state.weather])


@asynccontextmanager
async def web_app() -> AsyncGenerator[App]:
    app = web.Application()
    app.cleanup_ctx.append(for_web.cache_ctx)
    app.cleanup_ctx.append(for_web.make_cache_ctx(CacheContainer(prefix="WEATHER_CACHE_"), key=OTHER))
    both = [for_web.CACHED_SESSION, OTHER]
    elsewhere = web.AppKey("ELSEWHERE", CachedSession)
    app.router.add_get("/readyz", for_web.cache_health)
    app.router.add_get("/both", for_web.make_cache_health(both))
    app.router.add_get("/strict", for_web.make_cache_health(degraded_status=503))
    app.router.add_get("/ping", for_web.make_cache_health(ping=True))
    app.router.add_get("/missing", for_web.make_cache_health([for_web.CACHED_SESSION, elsewhere]))
    app.router.add_get("/metrics", for_web.cache_metrics)
    app.router.add_get("/metrics/both", for_web.make_cache_metrics(both))
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(TestClient(TestServer(app)))

        async def get(path: str) -> tuple[int, str, Any]:
            async with client.get(path) as response:
                return response.status, response.headers["Content-Type"], await response.read()

        yield App(get, [app[for_web.CACHED_SESSION], app[OTHER]])


APPS = {"fastapi": fastapi_app, "aiohttp.web": web_app}


@pytest.fixture(params=APPS)
async def app(request: pytest.FixtureRequest) -> AsyncIterator[App]:
    async with APPS[request.param]() as made:
        yield made


async def told(app: App, path: str) -> tuple[int, Any]:
    status, content_type, body = await app.get(path)
    assert content_type == "application/json" or content_type.startswith("application/json;")
    return status, json.loads(body)


async def test_a_cache_that_works_is_ready(app: App) -> None:
    well = {"status": "ok", "reason": ""}
    assert await told(app, "/readyz") == (200, {"status": "ok", "caches": {NAMES[0]: well}})
    assert await told(app, "/both") == (200, {"status": "ok", "caches": dict.fromkeys(NAMES, well)})


async def test_a_degraded_cache_is_told_and_fails_no_probe_unless_that_is_wanted(app: App) -> None:
    app.sessions[0].cache.stats.count_error("read", "timeout")
    status, found = await told(app, "/both")
    assert (status, found["status"]) == (200, "degraded")
    assert found["caches"][NAMES[0]]["status"] == "degraded"
    assert "'timeout' on read" in found["caches"][NAMES[0]]["reason"]
    assert found["caches"][NAMES[1]] == {"status": "ok", "reason": ""}
    assert (await told(app, "/strict"))[0] == 503


async def test_a_probe_may_try_the_store_itself(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ping() -> Health:
        return Health("degraded", "read fails")

    assert (await told(app, "/ping"))[1]["status"] == "ok"
    monkeypatch.setattr(app.sessions[0].cache, "ping", ping)
    assert (await told(app, "/ping"))[1]["caches"][NAMES[0]] == {"status": "degraded", "reason": "read fails"}


async def test_a_cache_that_is_not_open_is_not_ready(app: App) -> None:
    status, found = await told(app, "/missing")
    assert (status, found["status"]) == (503, "closed")
    await app.sessions[0].close()
    assert (await told(app, "/readyz"))[0] == 503


async def test_the_metrics_are_those_of_the_apps_caches(app: App, origin: Origin) -> None:
    status, content_type, _ = await app.get("/metrics/both")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    for _ in range(4):
        async with app.sessions[1].get(f"{origin.url}/a") as response:
            await response.read()
    found = samples((await app.get("/metrics/both"))[2])
    assert found["aiohttp_cache_requests_total", NAMES[1], "hit"] == 3
    assert found["aiohttp_cache_requests_total", NAMES[0], "hit"] == 0
    assert found["aiohttp_cache_request_duration_seconds_count", NAMES[1], "hit"] == 3
    assert found["aiohttp_cache_saved_requests_total", NAMES[1]] == 3
    assert {labels[1] for labels in samples((await app.get("/metrics"))[2])} == {NAMES[0]}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"degraded_status": "503"}, r"^degraded_status='503': use an HTTP status"),
        ({"degraded_status": 5}, r"^degraded_status=5: use an HTTP status"),
        ({"ping": "no"}, r"^ping='no': use True or False"),
        ({"keys": "cached_session"}, r"^keys='cached_session': use a list"),
    ],
    ids=str,
)
def test_an_argument_of_a_probe_that_cannot_be_used_is_refused(wrong: dict[str, Any], why: str) -> None:
    for adapter in (for_fastapi, for_web):
        with pytest.raises(ConfigurationError, match=why):
            adapter.make_cache_health(**wrong)
