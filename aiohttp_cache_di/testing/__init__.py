"""Pytest fixtures for the tests of apps that use this package; nothing else here imports pytest.

In the ``conftest.py`` of the app: ``pytest_plugins = ["aiohttp_cache_di.testing"]``.

- ``cache_in_memory``: every container that is opened during the test, also one that a module of the app has made
  before, keeps responses in memory, empty at first; variables and ``.env`` are not read.
- ``cache_container``: such a container, not open, for overrides of providers.
- ``cached_session``: its session, open in the loop of the test.

The room is a thin consumer: it may import all that stands below it, and nothing imports it but a test-suite. What
needs pytest stands in this module, which pytest loads as a plugin.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
import pytest_asyncio

from aiohttp_cache_di.containers import CacheContainer, open_container
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.model import CacheSettings

__all__ = ["cache_container", "cache_in_memory", "cached_session"]


@pytest.fixture
def cache_in_memory() -> Generator[CacheSettings]:
    """Keep responses in memory, whatever the environment says; the settings may be asked what they are."""
    # A prefix that no variables have: a test must not depend on the machine that it runs on.
    options: dict[str, Any] = {"_env_prefix": "AIOHTTP_CACHE_DI_TESTING_", "_env_file": None}
    settings = CacheSettings(backend="memory", cache_name="testing", **options)

    def load(*_: object) -> CacheSettings:
        return settings

    with pytest.MonkeyPatch.context() as patch:
        # Where all containers ask: an override of the class would not reach those that have been made already.
        patch.setattr(CacheSettings, "load", load)
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
