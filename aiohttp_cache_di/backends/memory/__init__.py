"""Storage in this process's memory: a store that answers without waiting, and a storage that is also a dict.

``store`` has entries in a packed form (``packed``), and unpacked for a while after they were used, within limits of
number and bytes; ``expiry`` tells which of them expires next. The store is `Immediate`: it always knows whether a key
exists, so nothing about it is awaited, batched or leased. ``face`` is the storage for users: items by key. May import
the contract and `backends.wrap`, and no driver.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.memory.face import DictCache
from aiohttp_cache_di.backends.memory.store import DEFAULT_MAX_BYTES, MemoryStore

__all__ = ["DEFAULT_MAX_BYTES", "DictCache", "MemoryStore"]
