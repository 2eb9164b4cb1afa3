"""A busy machine is no silent server: the storages of these tests are patient where a test says nothing else."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.backends.redis import clients
from tests.stores import PATIENT_S


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give servers longer than applications do."""
    monkeypatch.setattr(clients, "SOCKET_TIMEOUT_S", PATIENT_S)
    monkeypatch.setattr(clients, "CONNECT_TIMEOUT_S", PATIENT_S)
