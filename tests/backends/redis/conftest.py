"""Longer socket timeouts by default, so that a busy machine does not look like a server that does not answer."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.backends.redis import clients
from tests.stores import PATIENT_S


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use longer timeouts than applications do."""
    monkeypatch.setattr(clients, "SOCKET_TIMEOUT_S", PATIENT_S)
    monkeypatch.setattr(clients, "CONNECT_TIMEOUT_S", PATIENT_S)
