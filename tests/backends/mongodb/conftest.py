"""A server that speaks MongoDB's protocol, for one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.secantus import SecantusServer


@pytest.fixture
def own_secantus(tmp_path: Path) -> Iterator[SecantusServer]:
    """Run a server for this test alone, which may kill or freeze it."""
    with SecantusServer(tmp_path) as server:
        yield server
