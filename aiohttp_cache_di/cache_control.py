"""What the older API has in its module of this name, for programs that import it from there."""

from __future__ import annotations

from typing import Final

from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.policy.rules.expiration import ExpirationTime, UrlExpiration

__all__ = ["DO_NOT_CACHE", "CacheActions", "ExpirationTime", "UrlExpiration"]

DO_NOT_CACHE: Final = 0
"""The lifetime of what is neither stored nor answered from the cache: ``expire_after=DO_NOT_CACHE``."""
