"""What may be said of a server: its address, and the options of the driver."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp_cache_di._redis import driver, introduction
from aiohttp_cache_di.addresses import refuse_odd_redis_address
from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options import BACKEND_OPTIONS
from aiohttp_cache_di.errors import ConfigurationError

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["DEFAULT_NEAR_TIER_BYTES", "Sorted", "checked_client", "make_client", "sorted_options"]

DEFAULT_NEAR_TIER_BYTES = 32 * 1024 * 1024
CONNECT_TIMEOUT_S = 1.0  # a store that takes longer to greet is slower than most origins
SOCKET_TIMEOUT_S = 1.0
NEAR_OPTIONS = frozenset({"near_tier_s", "near_tier_bytes"})
NOT_OPTIONS = frozenset({"self", "decode_responses", "encoding", "encoding_errors", "single_connection_client"})


def _driver_options() -> frozenset[str]:
    """The names that ``redis.asyncio.Redis`` takes and that make sense here."""
    return frozenset(inspect.signature(driver().Redis.__init__).parameters) - NOT_OPTIONS


class Sorted(NamedTuple):
    """Options by who takes them: every backend, the near tier, the driver."""

    backend: dict[str, Any]
    near: dict[str, Any]
    driver: dict[str, Any]


def sorted_options(owner: str, given: Mapping[str, Any]) -> Sorted:
    """Sort *given*.

    Raises:
        TypeError: an option is not known.
        ConfigurationError: a lifetime of the near tier that is none.
        MissingDependencyError: redis or hiredis is not installed.
    """
    of_driver = _driver_options()
    refuse_unknown(owner, given, BACKEND_OPTIONS | NEAR_OPTIONS | of_driver)
    near_tier_s = given.get("near_tier_s")
    if near_tier_s is not None and not near_tier_s > 0:
        raise ConfigurationError(f"near_tier_s={near_tier_s!r}: give seconds above 0, or None for no near tier")
    known = (BACKEND_OPTIONS, NEAR_OPTIONS, of_driver)
    return Sorted(*({name: given[name] for name in given.keys() & names} for names in known))


def _from_address(address: str) -> dict[str, Any]:
    """Take *address* apart into arguments for the client; no message of an error repeats any of it."""
    asyncio_connection: Any = importlib.import_module("redis.asyncio.connection")
    try:
        refuse_odd_redis_address(address)
    except ValueError as exc:
        raise ConfigurationError(f"the address of the Redis server cannot be read: {exc}") from None
    try:
        parts: dict[str, Any] = dict(asyncio_connection.parse_url(address))
    except ValueError as exc:
        secure = str(exc) if "Invalid value for" in str(exc) or "following schemes" in str(exc) else ""
        hint = secure or "it should look like redis://user:password@host:6379/0, with special characters %-encoded"
        raise ConfigurationError(f"the address of the Redis server cannot be read: {hint}") from None
    kind = parts.pop("connection_class", None)
    if kind is asyncio_connection.SSLConnection:
        parts["ssl"] = True
    if "path" in parts:
        parts["unix_socket_path"] = parts.pop("path")
    if unknown := parts.keys() - _driver_options():
        names = ", ".join(sorted(unknown))
        raise ConfigurationError(f"the address of the Redis server has options that do not exist: {names}")
    return parts


def make_client(address: str, options: Mapping[str, Any]) -> Redis:
    """A client of the driver for the server at *address*; *options* win over those in the address.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    retry: Any = importlib.import_module("redis.asyncio.retry").Retry
    no_backoff: Any = importlib.import_module("redis.backoff").NoBackoff
    arguments: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "protocol": 2,
        "retry": retry(no_backoff(), 0),  # the engine decides when a store that failed is asked again
        **_from_address(address),
        **options,
    }
    if not arguments.keys() & {"driver_info", "lib_name", "lib_version"}:
        arguments |= introduction()
    client: Redis = driver().Redis(**arguments)
    return client


def checked_client(connection: Any) -> Any:
    """Return *connection* if it is an asyncio client of a single server.

    Raises:
        ConfigurationError: it is not.
    """
    pool: Any = getattr(connection, "connection_pool", None)
    kind = getattr(pool, "connection_class", None)
    if not hasattr(pool, "make_connection") or not inspect.iscoroutinefunction(getattr(kind, "connect", None)):
        name = f"{type(connection).__module__}.{type(connection).__qualname__}"
        raise ConfigurationError(f"connection has to be a redis.asyncio.Redis, not a {name}")
    return connection
