"""What can be configured: read from code, environment and files, told where it came from, and made into a cache.

This room turns words into values and values into objects; what the values mean is decided below it. It may import
pydantic, the backends and the session, and knows no container and no framework. Its parts, from the bottom up:

- ``notation`` reads lists and JSON, and refuses a form that is not taken.
- ``forms`` turns the text of a variable into a value; ``url_rules`` does so for rules by URL pattern.
- ``kinds`` says of each kind of value how it is read, shown and explained.
- ``sources`` reads what was given: the environment, ``.env`` files, files that variables name, a directory of secrets.
- ``variables`` finds the variables that begin with a prefix, and explains each that cannot be used.
- ``places`` finds a place for the file of a SQLite cache.
- ``sections`` are the settings of one store each, and of the client's own connections.
- ``model`` is the list of all settings: `CacheSettings` asks ``variables`` what was given and ``kinds`` what it means.
- ``typed`` lists them as code may give them, for type checkers.
- ``consistency`` refuses what would have no effect together with the rest.
- ``secrecy`` masks the secrets of settings in texts of others.
- ``build`` makes the backend and the session that settings describe; ``report`` shows settings to a person.
"""

from __future__ import annotations

from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.sections import (
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
