"""Storage in MongoDB, shared by any number of machines."""

from __future__ import annotations

from aiohttp_cache_di.backends.mongodb.backend import MongoDBBackend, MongoDBCache

__all__ = ["MongoDBBackend", "MongoDBCache"]
