"""Fixtures for both adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrations.origin import Origin, running_origin


@pytest.fixture
def origin() -> Iterator[Origin]:
    """Run an origin for this test alone."""
    with running_origin() as server:
        yield server


@pytest.fixture(autouse=True)
def _memory_by_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    monkeypatch.setenv("WEATHER_CACHE_BACKEND", "memory")
