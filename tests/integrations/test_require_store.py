"""REQUIRE_STORE: a store that cannot be used is an error at the start, by settings, container and both adapters."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from dependency_injector import providers
from fastapi import FastAPI
from starlette.testclient import TestClient

from aiohttp_cache_di import CacheContainer, CacheSettings, open_container
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di_fastapi import lifespan
from aiohttp_cache_di_web import cache_ctx

PASSWORD = "hunter2"
NOWHERE = f"redis://:{PASSWORD}@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _without_a_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", NOWHERE)


def refusal(caught: pytest.ExceptionInfo[ConfigurationError]) -> str:
    text = str(caught.value)
    assert PASSWORD not in text
    return text


async def test_without_it_the_start_works_and_health_tells_what_is_wrong() -> None:
    async with open_container() as session:
        health = session.cache.stats.health()

    assert health.status == "degraded"
    assert "ConnectionError" in health.reason


async def test_with_it_the_start_names_the_variable_the_place_and_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_REQUIRE_STORE", "true")

    with pytest.raises(ConfigurationError) as caught:
        async with open_container():
            pytest.fail("it has started")

    text = refusal(caught)
    for part in ("AIOHTTP_CACHE_REQUIRE_STORE", "127.0.0.1:1/0", "ConnectionError"):
        assert part in text


async def test_the_variable_has_the_prefix_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATES_CACHE_SQLITE__PATH", "/proc/rates.sqlite")
    monkeypatch.setenv("RATES_CACHE_REQUIRE_STORE", "1")

    with pytest.raises(ConfigurationError, match=r"RATES_CACHE_REQUIRE_STORE.*/proc/rates\.sqlite"):
        async with open_container(CacheContainer(prefix="RATES_CACHE_")):
            pytest.fail("it has started")


async def test_it_holds_for_a_backend_that_is_handed_in() -> None:
    settings = await asyncio.to_thread(CacheSettings, backend="memory", require_store=True)
    container = CacheContainer(settings=settings, backend=providers.Object(RedisBackend(address=NOWHERE)))

    with pytest.raises(ConfigurationError) as caught:
        async with open_container(container):
            pytest.fail("it has started")

    assert "127.0.0.1:1/0" in refusal(caught)


async def test_memory_in_place_of_a_file_is_not_the_store_that_was_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("AIOHTTP_CACHE_REQUIRE_STORE", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(file))

    with pytest.raises(ConfigurationError, match=r"REQUIRE_STORE.*memory of this process"):
        async with open_container():
            pytest.fail("it has started")


def test_fastapi_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_REQUIRE_STORE", "true")

    with pytest.raises(ConfigurationError) as caught, TestClient(FastAPI(lifespan=lifespan)):
        pytest.fail("it has started")

    assert "AIOHTTP_CACHE_REQUIRE_STORE" in refusal(caught)


async def test_aiohttp_web_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_REQUIRE_STORE", "true")
    app = web.Application()
    app.cleanup_ctx.append(cache_ctx)

    with pytest.raises(ConfigurationError) as caught:
        async with TestServer(app):
            pytest.fail("it has started")

    assert "AIOHTTP_CACHE_REQUIRE_STORE" in refusal(caught)


async def test_a_start_that_was_refused_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_REQUIRE_STORE", "true")
    before = asyncio.all_tasks()

    with pytest.raises(ConfigurationError):
        async with open_container():
            pytest.fail("it has started")

    assert asyncio.all_tasks() == before
