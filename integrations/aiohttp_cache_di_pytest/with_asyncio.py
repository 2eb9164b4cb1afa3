"""The fixture that runs in the event loop of the test, which needs pytest-asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from aiohttp_cache_di import CacheContainer, CachedSession


@pytest_asyncio.fixture
async def cached_session(cache_container: CacheContainer) -> AsyncGenerator[CachedSession]:
    """Open a session that keeps responses in memory, empty at first."""
    from aiohttp_cache_di import open_container

    async with open_container(cache_container) as session:
        yield session
