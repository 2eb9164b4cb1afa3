"""What requests in tests of keys are made of."""

from __future__ import annotations

import pytest
from aiohttp.helpers import BasicAuth

__all__ = ["BASE", "FORM", "JSON", "basic_auth"]

BASE = "http://example.org/api"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def basic_auth(login: str, password: str, encoding: str = "latin1") -> BasicAuth:
    """Make credentials in the way that aiohttp warns of."""
    with pytest.warns(DeprecationWarning, match="BasicAuth"):
        return BasicAuth(login, password, encoding)
