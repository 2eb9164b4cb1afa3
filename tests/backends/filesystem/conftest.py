"""A store in files, and its directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.filesystem.store import FileStore
from tests.backends.filesystem.places import make_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The directory of the store, which the store itself creates."""
    return tmp_path / "cache"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[FileStore]:
    """A store in *folder*, closed after the test."""
    store = make_store(folder)
    yield store
    await store.close()
