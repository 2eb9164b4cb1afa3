"""A service on each built-in back-end, configured by variables alone."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI
from pytest_aiohttp.plugin import AiohttpClient
from starlette.testclient import TestClient

from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.errors import MissingDependencyError
from aiohttp_cache_di_fastapi import CachedSessionDep, lifespan
from aiohttp_cache_di_web import cache_ctx, get_cached_session
from tests.integrations.origin import Origin
from tests.valkey import ValkeyServer


def fastapi_app(origin: Origin) -> FastAPI:
    app = FastAPI(lifespan=lifespan)

    @app.get("/{path}")
    async def proxy(path: str, session: CachedSessionDep) -> str:
        async with session.get(f"{origin.url}/{path}") as response:
            return await response.text()

    return app


def web_app(origin: Origin) -> web.Application:
    async def proxy(request: web.Request) -> web.Response:
        async with get_cached_session(request).get(f"{origin.url}/{request.match_info['path']}") as response:
            return web.Response(text=await response.text())

    app = web.Application()
    app.cleanup_ctx.append(cache_ctx)
    app.router.add_get("/{path}", proxy)
    return app


def ask(app: FastAPI, *paths: str) -> list[Any]:
    with TestClient(app) as client:
        return [client.get(f"/{path}").json() for path in paths]


def test_sqlite_in_the_users_cache_directory_is_the_default_and_survives_a_restart(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AIOHTTP_CACHE_BACKEND")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    app = fastapi_app(origin)

    assert ask(app, "a", "a") == ["1", "1"]
    assert ask(app, "a", "b") == ["1", "2"]

    (file,) = tmp_path.rglob("aiohttp-cache.sqlite")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_both_adapters_share_what_one_file_holds(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, aiohttp_client: AiohttpClient
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path / "shared.sqlite"))
    client = await aiohttp_client(web_app(origin))

    async with client.get("/a") as response:
        assert await response.text() == "1"
    app = fastapi_app(origin)
    async with app.router.lifespan_context(app):
        session = app.state.cached_session
        assert isinstance(session.cache, SQLiteBackend)
        async with session.get(f"{origin.url}/a") as response:
            assert await response.text() == "1"

    assert origin.hits == 1


def test_redis_keeps_responses_for_all_processes(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, valkey: ValkeyServer
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", valkey.url)
    monkeypatch.setenv("AIOHTTP_CACHE_CACHE_NAME", "service-under-test")

    assert ask(fastapi_app(origin), "a", "a") == ["1", "1"]
    assert ask(fastapi_app(origin), "a") == ["1"]
    assert any(key.startswith(b"service-under-test:") for key in valkey.command("KEYS", "*"))


async def test_the_settings_of_redis_reach_the_backend(monkeypatch: pytest.MonkeyPatch, origin: Origin) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", "redis://cache.example:6380/2")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__USERNAME", "app")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__PASSWORD", "hunter2")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__NEAR_TIER", "2s")
    app = fastapi_app(origin)

    async with app.router.lifespan_context(app):
        backend = app.state.cached_session.cache

    assert isinstance(backend, RedisBackend)
    assert "cache.example:6380" in repr(backend)
    assert "hunter2" not in repr(backend)


def test_a_dead_server_stops_neither_the_start_nor_the_answers(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", "redis://127.0.0.1:1")

    assert ask(fastapi_app(origin), "a", "b") == ["1", "2"]


def test_without_its_driver_the_start_fails_with_what_to_install(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)

    with (
        pytest.raises(MissingDependencyError, match=r"pip install 'aiohttp-cache-di\[redis\]'"),
        TestClient(fastapi_app(origin)),
    ):
        pytest.fail("it must not start")
