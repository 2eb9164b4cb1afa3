"""Fixtures for a ``conftest.py`` that imports them itself; the plugin has the same ones, and more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest
import pytest_asyncio

from aiohttp_cache_di.containers import CacheContainer, open_container
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.testing.stores import in_memory

__all__ = ["cache_container", "cache_in_memory", "cached_session"]


@pytest.fixture
def cache_in_memory() -> Generator[CacheSettings]:
    """Make containers keep responses in memory, whatever the environment says; yields their settings."""
    with in_memory() as settings:
        yield settings


@pytest.fixture
def cache_container(cache_in_memory: CacheSettings) -> CacheContainer:
    """Make a container that keeps responses in memory."""
    return CacheContainer()


@pytest_asyncio.fixture
async def cached_session(cache_container: CacheContainer) -> AsyncGenerator[CachedSession]:
    """Open a session that keeps responses in memory, empty at first."""
    async with open_container(cache_container) as session:
        yield session
