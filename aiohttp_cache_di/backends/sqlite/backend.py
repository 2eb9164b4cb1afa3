"""Storage in a SQLite file: the embedded default, shared by all processes of one machine."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options import BACKEND_OPTIONS, STORAGE_OPTIONS
from aiohttp_cache_di.backends.sqlite.cache import SQLiteCache, make_stack
from aiohttp_cache_di.backends.sqlite.options import (
    DEFAULT_MAX_BYTES,
    DEFAULT_NEAR_BYTES,
    OWN_OPTIONS,
    SQLiteOptions,
)

__all__ = ["DEFAULT_MAX_BYTES", "DEFAULT_NEAR_BYTES", "SQLiteBackend", "SQLiteCache", "SQLitePickleCache"]

SQLitePickleCache: TypeAlias = SQLiteCache
"""The older name of a storage of whole responses; nothing is ever pickled."""


class SQLiteBackend(CacheBackend):
    """Responses in a SQLite file.

    Args:
        cache_name: path of the file, ``~`` allowed; ``.sqlite`` is added where there is no suffix.
        use_temp: keep the file in the directory for temporary files.
        fast_save: do not wait for the disk; see `SQLiteCache`.
        autoclose: close the file when a session that uses the backend is closed.
        kwargs: see `CacheBackend` and `SQLiteCache`.
    """

    def __init__(
        self,
        cache_name: str = "aiohttp-cache",
        use_temp: bool = False,
        fast_save: bool = False,
        autoclose: bool = True,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS)
        own = OWN_OPTIONS | STORAGE_OPTIONS
        storage = cast("SQLiteOptions", {name: value for name, value in kwargs.items() if name in own})
        others = {name: value for name, value in kwargs.items() if name not in OWN_OPTIONS}
        super().__init__(cache_name, autoclose=autoclose, **others)
        # One table: a URL has a response or a redirect.
        stack = make_stack(cache_name, "responses", use_temp, fast_save, storage, lambda: self.largest_in_memory_bytes)
        self.use(stack, SQLiteCache)
