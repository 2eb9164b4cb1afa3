"""The public classes: a backend that stores responses in files, and a storage by itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Unpack, cast

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.disk.place import Place
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.backends.options.typed import CacheOptions, SigningOptions, StorageOptions
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, of_backend, of_storage, refuse_unusable
from aiohttp_cache_di.backends.store.sizes import DEFAULT_MAX_BYTES, Bounds
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.making import make_stack
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["DEFAULT_MAX_BYTES", "FileBackend", "FileBackendOptions", "FileCache", "FileOptions"]

OWN_OPTIONS: Final = frozenset({"fsync"})


class FileOptions(StorageOptions, SigningOptions, total=False):
    """Options of `FileCache` in addition to its named arguments."""

    fsync: bool
    """Call fsync for each entry before it counts as written; without it a power cut may lose recent entries, which are
    misses then. Default: False."""


class FileBackendOptions(CacheOptions, total=False):
    """Options of `FileBackend` in addition to its named arguments."""

    fsync: bool
    """Call fsync for each response before it counts as stored; without it a power cut may lose recent responses, which
    are misses then. Default: False."""


class FileBackend(CacheBackend):
    """A backend that keeps responses in files, for any number of processes.

    It takes the options of every backend (`CacheOptions`; ``max_bytes`` is 1 GiB by default), and ``fsync``.
    """

    __signature__: OptionsSignature = OptionsSignature(
        "aiohttp_cache_di.backends.filesystem.backend:FileBackendOptions"
    )

    def __init__(
        self,
        cache_name: str | os.PathLike[str] = "http_cache",
        use_temp: bool = False,
        autoclose: bool = True,
        **kwargs: Unpack[FileBackendOptions],
    ) -> None:
        """Make a backend; nothing is opened yet.

        Args:
            cache_name: path of a directory, ``~`` allowed; if there is none, it is made for this user alone.
            use_temp: put it in the directory for temporary files, unless the path is absolute.
            autoclose: close the store when a session that uses the backend is closed.
            kwargs: further options, each with a docstring of its own.

        Raises:
            TypeError: an option is not known.
            ConfigurationError: an option has a value that cannot be used.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS)
        super().__init__(os.fspath(cache_name), autoclose=autoclose, **of_backend(kwargs))
        self.use(FileCache(cache_name, use_temp, **of_storage(kwargs)))


class FileCache(StackCache):
    """A storage in the files below a directory.

    ``max_bytes`` (1 GiB by default) and ``max_entries`` are kept approximately, since files of other processes are
    counted only now and then.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.filesystem.backend:FileOptions")

    def __init__(
        self, cache_name: str | os.PathLike[str], use_temp: bool = False, **kwargs: Unpack[FileOptions]
    ) -> None:
        """Make a storage; nothing is opened yet.

        Args:
            cache_name: path of a directory, ``~`` allowed; if there is none, it is made for this user alone.
            use_temp: put it in the directory for temporary files, unless the path is absolute.
            kwargs: further options, each with a docstring of its own; options that only a backend uses are ignored.

        Raises:
            TypeError, ConfigurationError: as `FileBackend`.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS)
        refuse_unusable({"use_temp": use_temp, **kwargs})
        syncs, bounds = kwargs.get("fsync", False), Bounds.of(kwargs)
        is_temporary = use_temp and not os.path.isabs(cache_name)
        place = Place(cache_name, tempfile.gettempdir if is_temporary else None)
        name = os.path.basename(os.path.normpath(cache_name))  # without the directory above: it may be moved
        super().__init__(
            make_stack(
                lambda codec, value_bytes: FileStore(place, codec, bounds, fsync=syncs, value_bytes=value_bytes),
                kwargs,
                name,
                "files",
            )
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self._store.place.name!r}>"

    @property
    def cache_dir(self) -> str:
        """The absolute path of the directory; reads the file system if a relative path has not been resolved yet."""
        return self._store.place.path

    async def paths(self) -> AsyncGenerator[str]:
        """Iterate over the paths of all entries' files, directory by directory."""
        async with aclosing(self._rows(items=False)) as rows:
            async for row in rows:
                yield self._store.path_of(row.key)

    @property
    def _store(self) -> FileStore:
        return cast("FileStore", self.stack.store)
