"""The fixture of `with_asyncio` for test suites that use anyio's plugin instead."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aiohttp_cache_di import CacheContainer, CachedSession


@pytest.fixture
async def cached_session(anyio_backend: object, cache_container: CacheContainer) -> AsyncGenerator[CachedSession]:
    """Open a session that keeps responses in memory, empty at first."""
    from aiohttp_cache_di import open_container

    async with open_container(cache_container) as session:
        yield session
