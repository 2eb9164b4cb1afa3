"""The public classes: a backend that stores responses in MongoDB, and a storage by itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Unpack, cast

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options.values import NEAR_OPTIONS, of_backend, of_driver, of_storage
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.making import make_stack
from aiohttp_cache_di.errors import MissingDependencyError
from aiohttp_cache_di.signatures import OptionsSignature

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient

    from aiohttp_cache_di.backends.mongodb.store import MongoDBStore
    from aiohttp_cache_di.backends.mongodb.typed import MongoDBBackendOptions, MongoDBCacheOptions

__all__ = ["MongoDBBackend", "MongoDBCache"]

COLLECTION: Final = "responses"


class MongoDBBackend(CacheBackend):
    """A backend that keeps responses in MongoDB (4.4 or later), for any number of processes and machines.

    It takes the options of every backend (`CacheOptions`), those of copies in memory (see `MongoDBCache`), and the
    arguments of ``pymongo.AsyncMongoClient``, such as ``host="mongodb://user:password@host:27017"``.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.mongodb.typed:MongoDBBackendOptions")

    def __init__(
        self,
        cache_name: str = "aiohttp-cache",
        connection: AsyncMongoClient[Any] | None = None,
        **kwargs: Unpack[MongoDBBackendOptions],
    ) -> None:
        """Make a backend; no connection is opened yet.

        Args:
            cache_name: name of the database.
            connection: a ``pymongo.AsyncMongoClient`` to use instead of making one; only in its own event loop, and it
                is never closed here.
            kwargs: further options, each with a docstring of its own.

        Raises:
            TypeError: an option is not known.
            ConfigurationError: an option has a value that cannot be used.
            MissingDependencyError: pymongo is not installed, or too old.
        """
        super().__init__(cache_name, **of_backend(kwargs))
        self.use(MongoDBCache(cache_name, COLLECTION, connection, **of_storage(kwargs)))


class MongoDBCache(StackCache):
    """A storage in a collection of MongoDB.

    The size of the collection is not bounded: ``max_entries`` and ``max_bytes`` have no effect here. With
    ``near_tier_s`` a replica set reports changed entries at once (a change stream); with a standalone server the
    seconds alone bound the age of copies.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.mongodb.typed:MongoDBCacheOptions")

    def __init__(
        self,
        db_name: str,
        collection_name: str,
        connection: AsyncMongoClient[Any] | None = None,
        **kwargs: Unpack[MongoDBCacheOptions],
    ) -> None:
        """Make a storage; no connection is opened yet.

        Args:
            db_name: name of the database.
            collection_name: name of the collection.
            connection: see `MongoDBBackend`.
            kwargs: further options, each with a docstring of its own; options that only a backend uses are ignored.

        Raises:
            TypeError, ConfigurationError, MissingDependencyError: as `MongoDBBackend`.
        """
        make, for_client = _store_class(), of_driver(kwargs, NEAR_OPTIONS)
        super().__init__(
            make_stack(
                lambda codec, _: make(db_name, collection_name, codec=codec, connection=connection, options=for_client),
                kwargs,
                db_name,
                collection_name,
            )
        )

    def __repr__(self) -> str:
        store = cast("MongoDBStore", self.stack.store)
        return f"<{type(self).__name__} {store.collection_name} at {store.where}>"


def _store_class() -> type[MongoDBStore]:
    try:
        from aiohttp_cache_di.backends.mongodb.store import MongoDBStore
    except ImportError as exc:
        raise MissingDependencyError(
            "MongoDBBackend needs pymongo 4.13 or later: pip install 'aiohttp-cache-di[mongodb]'"
        ) from exc
    return MongoDBStore


with suppress(MissingDependencyError):
    _store_class()  # now, rather than in an event loop, since importing reads files
