"""How to test an app that uses the cache: no variable is read, nothing is written, no network is needed.

In your ``conftest.py``: ``pytest_plugins = ["aiohttp_cache_di.testing"]``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from fastapi.testclient import TestClient as FastAPIClient

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di_fastapi import get_cached_session
from examples import fastapi_app, web_app


class FakeUpstream:
    """Stands in for the weather service, and counts how often it is asked."""

    def __init__(self) -> None:
        self.hits = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as the service would."""
        self.hits += 1
        return web.json_response({"city": request.match_info["city"]}, headers={"Cache-Control": "max-age=60"})


@pytest.fixture
async def upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeUpstream]:
    """Serve the fake on a free port and point the app at it."""
    fake = FakeUpstream()
    app = web.Application()
    app.router.add_get("/weather/{city}", fake.answer)
    async with TestServer(app) as server:
        monkeypatch.setattr(web_app, "WEATHER_URL", str(server.make_url("")).rstrip("/"))
        yield fake


@pytest.mark.usefixtures("cache_in_memory")
async def test_the_upstream_is_asked_once(upstream: FakeUpstream) -> None:
    """With an aiohttp.web app: the fixture ``cache_in_memory`` is all that changes."""
    async with TestClient(TestServer(web_app.make_app())) as client:
        for _ in range(3):
            async with client.get("/weather/paris") as response:
                assert (await response.json())["data"] == {"city": "paris"}
    assert upstream.hits == 1


@pytest.mark.usefixtures("cache_in_memory")
def test_a_route_with_a_session_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a FastAPI app: replace the dependency, as any other."""

    async def fake_fetch(session: ClientSession, url: str) -> dict[str, Any]:
        return {"asked": url, "session": type(session).__name__}

    async def fake_session() -> AsyncIterator[CachedSession]:
        async with CachedSession() as session:
            yield session

    monkeypatch.setattr(fastapi_app, "fetch", fake_fetch)
    app = fastapi_app.make_app()
    app.dependency_overrides[get_cached_session] = fake_session
    with FastAPIClient(app) as client:
        answer = client.get("/weather/paris").json()
    assert answer == {"asked": f"{fastapi_app.WEATHER_URL}/weather/paris", "session": "CachedSession"}
