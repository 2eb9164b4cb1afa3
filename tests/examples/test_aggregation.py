"""The page of several upstreams goes on while one of them is down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from examples import aggregation


async def _page(client: TestClient[Any, Any]) -> dict[str, Any]:
    async with client.get("/page") as response:
        page: dict[str, Any] = await response.json()
        return page


async def test_an_old_part_stands_in_for_an_upstream_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        if request.path in failing:
            raise web.HTTPServiceUnavailable
        return web.json_response(request.path, headers={"Cache-Control": "max-age=0"})

    upstream = web.Application()
    upstream.router.add_get("/{path:.*}", answer)
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path / "pages.sqlite"))
    monkeypatch.setenv("AIOHTTP_CACHE_STALE_WHILE_REVALIDATE", "none")
    async with TestServer(upstream) as server:
        monkeypatch.setattr(aggregation, "UPSTREAM", str(server.make_url("")).rstrip("/"))
        failing.add("/rates")
        async with TestClient(TestServer(aggregation.make_app())) as client:
            first = await _page(client)
            failing.add("/news")
            second = await _page(client)
    assert first["rates"] == {"data": None, "stale": False, "cache": "ClientResponseError"}
    assert first["news"]["data"] == second["news"]["data"] == "/news"
    assert second["news"]["stale"]
    assert second["weather"]["data"] == "/weather"
