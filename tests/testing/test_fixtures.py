"""The fixtures that a user's tests take, in this test run and in a project of its own."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from aiohttp_cache_di import testing
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.containers import CacheContainer, open_container
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di_fastapi import lifespan

cache_container, cache_in_memory, cached_session = (
    testing.cache_container,
    testing.cache_in_memory,
    testing.cached_session,
)

MADE_BEFORE = CacheContainer(prefix="RATES_CACHE_")


@pytest.fixture
def _wrong_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "wrong")


@pytest.mark.usefixtures("_wrong_variable")
async def test_the_session_of_a_test_is_in_memory_whatever_the_environment_says(
    cached_session: CachedSession,
) -> None:
    assert type(cached_session.cache) is CacheBackend
    assert cached_session.cache.cache_control
    assert await cached_session.cache.responses.size() == 0


async def test_providers_of_the_container_can_be_overridden(cache_container: Any) -> None:
    fake = object()
    cache_container.session.override(fake)

    async with open_container(cache_container) as session:
        assert session is fake


@pytest.mark.usefixtures("_wrong_variable", "cache_in_memory")
def test_an_app_under_test_keeps_its_responses_in_memory() -> None:
    app = FastAPI(lifespan=lifespan)

    with TestClient(app):
        assert type(app.state.cached_session.cache) is CacheBackend


@pytest.mark.usefixtures("cache_in_memory")
async def test_a_container_that_a_module_has_made_keeps_its_responses_in_memory() -> None:
    async with open_container(MADE_BEFORE) as session:
        assert type(session.cache) is CacheBackend


@pytest.mark.usefixtures("_wrong_variable")
def test_earlier_tests_have_left_nothing_behind() -> None:
    with pytest.raises(ConfigurationError, match="wrong"):
        CacheSettings.load()
