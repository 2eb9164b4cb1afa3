"""Storage in a SQLite file: the embedded default, shared by all processes of one machine."""

from __future__ import annotations

from typing import TypeAlias, Unpack

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, of_backend, of_storage
from aiohttp_cache_di.backends.sqlite.cache import SQLiteCache
from aiohttp_cache_di.backends.sqlite.options import (
    DEFAULT_MAX_BYTES,
    DEFAULT_NEAR_BYTES,
    OWN_OPTIONS,
    SQLiteBackendOptions,
)
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["DEFAULT_MAX_BYTES", "DEFAULT_NEAR_BYTES", "SQLiteBackend", "SQLiteCache", "SQLitePickleCache"]

SQLitePickleCache: TypeAlias = SQLiteCache
"""The older name of a storage of whole responses; nothing is ever pickled."""


class SQLiteBackend(CacheBackend):
    """A backend that keeps responses in a SQLite file, for any number of processes of one machine.

    The file is opened when it is first used. Beside the options of every backend (`CacheOptions`) the class takes those
    of ``sqlite3.connect`` and of copies in memory (`ConnectOptions`).
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.sqlite.options:SQLiteBackendOptions")

    def __init__(
        self,
        cache_name: str = "aiohttp-cache",
        use_temp: bool = False,
        fast_save: bool = False,
        autoclose: bool = True,
        **kwargs: Unpack[SQLiteBackendOptions],
    ) -> None:
        """Make a backend; nothing is opened yet.

        Args:
            cache_name: path of the file, ``~`` allowed; ``.sqlite`` is added if it has no suffix.
            use_temp: keep the file in the directory for temporary files.
            fast_save: do not wait for the disk; a power cut may then damage the file; a damaged one is replaced.
            autoclose: close the file when a session that uses the backend is closed.
            kwargs: further options, each with a docstring of its own.

        Raises:
            TypeError: an option is not known.
            ConfigurationError: an option has a value that cannot be used.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS | {"use_temp", "fast_save"})
        super().__init__(cache_name, autoclose=autoclose, **of_backend(kwargs))
        # One table for both storages: a URL has a response or a redirect.
        self.use(SQLiteCache(cache_name, "responses", use_temp, fast_save, **of_storage(kwargs)))
