"""The public classes: a backend that stores responses in Redis, and a storage by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack, cast

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options.values import (
    BACKEND_OPTIONS,
    NEAR_OPTIONS,
    of_backend,
    of_driver,
    of_storage,
)
from aiohttp_cache_di.backends.redis.clients import driver_options, topology_at, topology_of
from aiohttp_cache_di.backends.redis.store import RedisStore
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.making import make_stack
from aiohttp_cache_di.signatures import OptionsSignature

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

    from aiohttp_cache_di.backends.redis.typed import RedisBackendOptions, RedisOptions, SentinelClient

__all__ = ["RedisBackend", "RedisCache"]


class RedisBackend(CacheBackend):
    """A backend that keeps responses in Redis (6 or later) or Valkey, for any number of processes.

    All requests of an event loop share one connection, on which their commands are pipelined. The class takes the
    options of every backend (`CacheOptions`), those of copies in memory (see `RedisCache`), and the arguments of
    ``redis.asyncio.Redis``.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.redis.typed:RedisBackendOptions")

    def __init__(
        self,
        cache_name: str = "aiohttp-cache",
        address: str = "redis://localhost",
        connection: Redis | RedisCluster | SentinelClient | None = None,
        **kwargs: Unpack[RedisBackendOptions],
    ) -> None:
        """Make a backend; no connection is opened yet.

        Args:
            cache_name: namespace: every key begins with ``<cache_name>:``.
            address: ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, or ``unix:///path?db=0``;
                ``redis+cluster://host,host`` for a cluster, ``redis+sentinel://host,host/name`` for sentinels.
            connection: an existing client whose settings are used in place of *address*; it is never closed here.
            kwargs: further options, each with a docstring of its own; those of the driver override the address.

        Raises:
            TypeError: an option is not known.
            ConfigurationError: an option or the address has a value that cannot be used.
            MissingDependencyError: redis or hiredis is not installed.
        """
        _refuse_unknown(type(self).__name__, kwargs)
        super().__init__(cache_name, **of_backend(kwargs))
        self.use(RedisCache(cache_name, "responses", address, connection, **of_storage(kwargs)))


class RedisCache(StackCache):
    """A storage in Redis or Valkey, under keys that begin with ``<namespace>:<collection_name>:``.

    The server bounds its own memory (``maxmemory`` and its policy), so ``max_entries`` and ``max_bytes`` have no effect
    here. With ``near_tier_s`` the server sends an invalidation at once when an entry that was copied changes
    (client-side caching, RESP3), so the seconds matter only if the network loses that message.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.redis.typed:RedisOptions")

    def __init__(
        self,
        namespace: str = "aiohttp-cache",
        collection_name: str = "responses",
        address: str = "redis://localhost",
        connection: Redis | RedisCluster | SentinelClient | None = None,
        **kwargs: Unpack[RedisOptions],
    ) -> None:
        """Make a storage; no connection is opened yet.

        Args:
            namespace: first part of every key.
            collection_name: second part of every key.
            address: see `RedisBackend`.
            connection: an existing client whose settings are used in place of *address*; it is never closed here.
            kwargs: further options, each with a docstring of its own; those of the driver override the address, and
                options that only a backend uses are ignored.

        Raises:
            TypeError, ConfigurationError, MissingDependencyError: as `RedisBackend`.
        """
        _refuse_unknown(type(self).__name__, kwargs)
        driver = of_driver(kwargs, NEAR_OPTIONS)
        topology = topology_at(address, driver) if connection is None else topology_of(connection, driver)
        super().__init__(
            make_stack(
                lambda codec, value_bytes: RedisStore(topology, namespace, collection_name, codec, value_bytes),
                kwargs,
                namespace,
                collection_name,
                by_users=False,
            )
        )

    @property
    def _store(self) -> RedisStore:
        return cast(RedisStore, self.stack.store)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.namespace}:{self.collection_name} at {self.where}>"

    @property
    def namespace(self) -> str:
        """First part of every key."""
        return self._store.namespace

    @property
    def collection_name(self) -> str:
        """Second part of every key."""
        return self._store.collection

    @property
    def where(self) -> str:
        """The server, without credentials."""
        return self._store.topology.where


def _refuse_unknown(owner: str, given: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that *owner* does not take."""
    named = {"address", "connection"}  # so that they can be suggested for a misspelt option
    refuse_unknown(owner, given, BACKEND_OPTIONS | NEAR_OPTIONS | driver_options() | named)
