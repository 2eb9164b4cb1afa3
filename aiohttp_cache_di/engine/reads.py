"""What one look into the store has brought."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FAILED", "EarlyRead", "Failed", "Found"]


class Failed(enum.Enum):
    """What a storage operation gives when the storage does not."""

    FAILED = enum.auto()


FAILED: Final = Failed.FAILED

Found: TypeAlias = tuple[StoredResponse | None, BaseCache]
"""What a storage has, and which one."""


class EarlyRead(Struct, frozen=True):
    """What the fast lane has just read, so that the store is not asked twice.

    Args:
        key: under which.
        found: what the storages have; None where only the one of responses was asked, and has nothing.
    """

    key: str
    found: Found | Failed | None
