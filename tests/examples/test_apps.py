"""The two example apps, in this process: two upstreams and a cache for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fastapi.testclient import TestClient as FastAPIClient

from examples import fastapi_app, web_app
from tests.integrations.origin import Origin, running_origin


@pytest.fixture
def upstreams(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Origin, Origin]]:
    """Run both upstreams and configure both caches by variables alone."""

    async def answer(origin: Origin, request: web.Request) -> web.Response:
        origin.hits += 1
        return web.json_response(origin.hits, headers={"Cache-Control": "max-age=60"})

    monkeypatch.setattr(Origin, "answer", answer)
    with running_origin() as weather, running_origin() as rates:
        for prefix in ("AIOHTTP_CACHE_", "RATES_CACHE_"):
            monkeypatch.setenv(f"{prefix}SQLITE__PATH", str(tmp_path / f"{prefix}.sqlite"))
        for module in (fastapi_app, web_app):
            monkeypatch.setattr(module, "WEATHER_URL", weather.url)
            monkeypatch.setattr(module, "RATES_URL", rates.url)
        yield weather, rates


def databases(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.sqlite"))


def test_the_fastapi_app_keeps_two_caches(upstreams: tuple[Origin, Origin], tmp_path: Path) -> None:
    with FastAPIClient(fastapi_app.make_app()) as client:
        for path in ("/weather/paris", "/weather/paris", "/rates/EUR", "/rates/EUR"):
            assert client.get(path).json()["data"] == 1
        assert client.get("/readyz").json()["status"] == "ok"
        metrics = client.get("/metrics").text
        assert 'aiohttp_cache_requests_total{cache="rates-cache",result="hit"} 1.0' in metrics
    assert [upstream.hits for upstream in upstreams] == [1, 1]
    assert databases(tmp_path) == ["AIOHTTP_CACHE_.sqlite", "RATES_CACHE_.sqlite"]


async def test_the_aiohttp_app_keeps_two_caches(upstreams: tuple[Origin, Origin], tmp_path: Path) -> None:
    async with TestClient(TestServer(web_app.make_app())) as client:
        for path in ("/weather/paris", "/weather/paris", "/rates/EUR", "/rates/EUR"):
            async with client.get(path) as response:
                assert (await response.json())["data"] == 1
        async with client.get("/readyz") as response:
            assert (await response.json())["status"] == "ok"
        async with client.get("/metrics") as response:
            assert 'aiohttp_cache_requests_total{cache="rates-cache",result="hit"} 1.0' in await response.text()
    assert [upstream.hits for upstream in upstreams] == [1, 1]
    assert databases(tmp_path) == ["AIOHTTP_CACHE_.sqlite", "RATES_CACHE_.sqlite"]
