"""Storage in this process's memory: a store that answers at once, and the face of it that is a dict too."""

from __future__ import annotations

from aiohttp_cache_di.backends.memory.face import DictCache
from aiohttp_cache_di.backends.memory.store import DEFAULT_MAX_BYTES, MemoryStore

__all__ = ["DEFAULT_MAX_BYTES", "DictCache", "MemoryStore"]
