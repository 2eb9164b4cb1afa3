"""The settings of a cache: read from code, environment and files, checked, and turned into a backend and a session.

This room turns text into values and values into objects; what the values mean is defined in the rooms below. It may
import pydantic, the backends and the session, but neither the container nor a framework. Its parts, from the bottom up:

- ``notation`` reads lists and JSON, and refuses notations that are not accepted.
- ``forms`` turns the text of a variable into a value, with a function for each kind; ``url_rules`` does so for rules by
  URL pattern.
- ``kinds`` has the types of the fields: how each is read, shown and explained.
- ``sources`` reads the environment, ``.env`` files, files that variables name, and a directory of secrets.
- ``variables`` finds the variables with a prefix, and explains each that cannot be used.
- ``places`` finds the path of a SQLite file or of a directory of files.
- ``sections`` are the settings of one store each, and of the client's connections.
- ``model`` is `CacheSettings`, with all settings; ``typed`` lists them for type checkers.
- ``consistency`` refuses combinations of settings that have no effect.
- ``build`` makes the backend and the session that settings describe; ``report`` shows settings to people, and masks
  their secrets in messages of other packages.
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
