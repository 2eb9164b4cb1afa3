"""A cache of files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.filesystem.store import FileStore
from tests.backends.filesystem.places import make_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where it is, once it is there."""
    return tmp_path / "cache"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[FileStore]:
    """A store on it, closed afterwards."""
    store = make_store(folder)
    yield store
    await store.close()
