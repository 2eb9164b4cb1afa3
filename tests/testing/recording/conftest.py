"""A file to record into, and a session that is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiohttp_cache_di import CachedSession


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.yaml"


@pytest.fixture
async def session() -> AsyncIterator[CachedSession]:
    async with CachedSession(cache_control=True) as made:
        yield made
