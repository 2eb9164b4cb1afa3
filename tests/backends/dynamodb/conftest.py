"""The server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ministack import MinistackServer


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinistackServer]:
    """Run one server for the whole test run; each test takes a table of its own."""
    with MinistackServer(tmp_path_factory.mktemp("ministack")) as server:
        yield server


@pytest.fixture
def own_ministack(tmp_path: Path) -> Iterator[MinistackServer]:
    """Run a server for this test alone, which may kill or freeze it."""
    with MinistackServer(tmp_path) as server:
        yield server
