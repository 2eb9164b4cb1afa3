"""`Wishes`: the options for the cache that the caller of one request gives."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from aiohttp_cache_di.policy.rules.expiration import ExpirationTime
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.policy.rules.windows import Window

__all__ = ["NO_WISHES", "Wishes"]


class Wishes(Struct, frozen=True):
    """The caller's options for one request, each as in `CacheRequestOptions`; a default leaves it to the settings."""

    expire_after: ExpirationTime = None
    refresh: bool = False
    only_if_cached: bool = False
    stale_if_error: Window = None
    principal: Principal = None
    tags: tuple[str, ...] = ()


NO_WISHES: Final = Wishes()
"""Those of a caller who has given none."""
