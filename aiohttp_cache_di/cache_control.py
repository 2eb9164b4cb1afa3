"""The names that aiohttp-client-cache has in its module ``cache_control``, for programs that import them from there."""

from __future__ import annotations

from typing import Final

from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.policy.rules.expiration import ExpirationTime, UrlExpiration

__all__ = ["DO_NOT_CACHE", "CacheActions", "ExpirationTime", "UrlExpiration"]

DO_NOT_CACHE: Final = 0
"""The lifetime that turns the cache off for a request or a URL pattern: ``expire_after=DO_NOT_CACHE``."""
