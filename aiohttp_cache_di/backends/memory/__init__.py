"""Storage in this process's memory."""

from __future__ import annotations

from aiohttp_cache_di.backends.memory.store import DEFAULT_MAX_BYTES, DictCache

__all__ = ["DEFAULT_MAX_BYTES", "DictCache"]
