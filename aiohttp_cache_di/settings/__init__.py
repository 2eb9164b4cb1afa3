"""What can be configured: read from code, environment and files, told where it came from, and made into a cache.

This room turns words into values and values into objects; what the values mean is decided below it. It may import
pydantic, the backends and the session, and knows no container and no framework. Its parts, from the bottom up:

- ``kinds`` says of each kind of value how it is read, shown and explained.
- ``variables`` finds the variables that begin with a prefix, and explains each that cannot be used.
- ``model`` is the list of all settings: `CacheSettings` asks ``variables`` what was given and ``kinds`` what it means.
- ``build`` makes the back-end and the session that settings describe; ``report`` shows settings to a person.
"""

from __future__ import annotations

from aiohttp_cache_di.settings.model import (
    DEFAULT_PREFIX,
    CacheSettings,
    ClientSettings,
    DynamoDBSettings,
    FilesystemSettings,
    MongoDBSettings,
    RedisSettings,
    SQLiteSettings,
)
from aiohttp_cache_di.settings.variables import Variable

__all__ = [
    "DEFAULT_PREFIX",
    "CacheSettings",
    "ClientSettings",
    "DynamoDBSettings",
    "FilesystemSettings",
    "MongoDBSettings",
    "RedisSettings",
    "SQLiteSettings",
    "Variable",
]
