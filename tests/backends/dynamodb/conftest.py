"""A server that speaks DynamoDB's protocol, for one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ministack import MinistackServer


@pytest.fixture
def own_ministack(tmp_path: Path) -> Iterator[MinistackServer]:
    """Run a server for this test alone, which may kill or freeze it."""
    with MinistackServer(tmp_path) as server:
        yield server
