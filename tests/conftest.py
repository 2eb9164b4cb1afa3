"""Fixtures for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.clients import WAYS, Clients
from tests.origin import Origin
from tests.valkey import ValkeyServer


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """Run one Valkey server for the whole test run; each test takes a ``cache_name`` of its own."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """Run a Valkey server for this test alone, which may kill or freeze it."""
    with ValkeyServer(tmp_path) as server:
        yield server


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """Run an origin on a free port, in the loop of the test."""
    async with Origin() as running:
        yield running


@pytest.fixture(params=WAYS)
async def clients(request: pytest.FixtureRequest) -> AsyncIterator[Clients]:
    """Make clients, in each of the ways that a client can cache."""
    made = Clients(WAYS[request.param])
    yield made
    await made.close()
