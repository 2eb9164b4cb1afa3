"""What the conftest.py of a user's app would hold."""

from __future__ import annotations

from aiohttp_cache_di.testing import cache_container, cache_in_memory, cached_session

__all__ = ["cache_container", "cache_in_memory", "cached_session"]
