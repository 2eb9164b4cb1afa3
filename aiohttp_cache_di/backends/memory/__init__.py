"""Storage in this process's memory: a store that answers at once, and the face of it that is a dict too.

``store`` keeps entries packed (``packed``), and open for a while once they are asked for, within bounds of number and
bytes. It is `Immediate`: what is not at hand is not there, so nothing about it is awaited, batched or leased. ``face``
shows it to users as items by key. The room may import the contract and `backends.wrap`, and no driver.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.memory.face import DictCache
from aiohttp_cache_di.backends.memory.store import DEFAULT_MAX_BYTES, MemoryStore

__all__ = ["DEFAULT_MAX_BYTES", "DictCache", "MemoryStore"]
