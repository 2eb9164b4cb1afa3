"""The implementations that are compared, behind one interface, `Client`; of peers only the public API is used."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from aiohttp import ClientSession, TCPConnector

from aiohttp_cache_di import CacheBackend, CachedSession, CacheMiddleware
from aiohttp_cache_di.engine.runtime import Runtime
from tests.ministack import CREDENTIALS

__all__ = ["CLIENTS", "Client", "Place", "SessionClient", "opened"]


@dataclass(frozen=True)
class Place:
    """The addresses of the servers that an implementation uses, and its directory.

    Args:
        origin: the base URL of the origin, ending in a slash.
        redis: the address of an empty database of a Redis server.
        distant_redis: the same, with a network of some delay between (`benchmarks.distance`).
        directory: a directory for this implementation alone.
        mongodb: the address of a MongoDB server; "" if the implementation needs none.
        dynamodb: the address of a DynamoDB server; "" if the implementation needs none.
    """

    origin: str
    redis: str
    distant_redis: str
    directory: str
    mongodb: str = ""
    dynamodb: str = ""


class Client(Protocol):
    """The interface that workloads use."""

    async def fetch(self, urls: Sequence[str]) -> None:
        """Get and read all *urls*, one after the other."""

    async def drain(self) -> None:
        """Wait until everything that was fetched is stored."""


class SessionClient:
    """A session with the API of aiohttp."""

    def __init__(self, session: Any, backend: CacheBackend | None = None) -> None:
        self.session = session
        self.backend = backend

    async def fetch(self, urls: Sequence[str]) -> None:
        """Get and read all *urls*, one after the other."""
        session = self.session
        for url in urls:
            async with session.get(url) as response:
                await response.read()

    async def drain(self) -> None:
        """Wait for the writes that run in the background."""
        if self.backend is not None:
            await Runtime.of(self.backend).settle()


class HttpxClient:
    """A client with the API of httpx."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def fetch(self, urls: Sequence[str]) -> None:
        """Get and read all *urls*, one after the other."""
        client = self.client
        for url in urls:
            response = await client.get(url)
            assert response.content

    async def drain(self) -> None:
        """Do nothing: hishel stores a response before it returns it."""


SLOW: dict[str, Any] = {"storage_deadline": 5.0}  # these servers are emulators in Python

Opener: TypeAlias = "Callable[[Place, dict[str, Any]], contextlib.AbstractAsyncContextManager[Client]]"
CLIENTS: dict[str, Opener] = {}


def opened(name: str) -> Callable[[Callable[[Place, dict[str, Any]], AsyncGenerator[Client]]], Opener]:
    """Register a generator function as the implementation *name*: it opens a client, yields it and closes it."""

    def register(function: Callable[[Place, dict[str, Any]], AsyncGenerator[Client]]) -> Opener:
        CLIENTS[name] = opener = contextlib.asynccontextmanager(function)
        return opener

    return register


def _connector() -> TCPConnector:
    return TCPConnector(limit=0)  # so that a thousand tasks do not wait for connections


# ---- this package


@opened("ours")
async def _ours(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """A `CachedSession`; *options* are the ``store``, and the options of its backend."""
    options = dict(options)
    backend = make_backend(options.pop("store", "memory"), place, options)
    async with CachedSession(cache=backend, connector=_connector()) as session:
        yield SessionClient(session, backend)
    await backend.close()


@opened("ours-middleware")
async def _ours_middleware(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """aiohttp's own session with our middleware."""
    options = dict(options)
    backend = make_backend(options.pop("store", "memory"), place, options)
    async with ClientSession(middlewares=(CacheMiddleware(backend),), connector=_connector()) as session:
        yield SessionClient(session, backend)
    await backend.close()


def make_backend(store: str, place: Place, options: dict[str, Any]) -> CacheBackend:
    """Make a backend of ours."""
    if store == "memory":
        return CacheBackend(**options)
    if store == "sqlite":
        sqlite = import_module("aiohttp_cache_di.backends.sqlite")
        return _checked(sqlite.SQLiteBackend(str(Path(place.directory, "ours.sqlite")), **options))
    backends: Any = import_module("aiohttp_cache_di.backends")
    if store == "filesystem":
        return _checked(backends.FileBackend(str(Path(place.directory, "ours")), **options))
    if store == "mongodb":
        return _checked(backends.MongoDBBackend(Path(place.directory).name, host=place.mongodb, **SLOW, **options))
    if store == "dynamodb":
        table = f"ours-{Path(place.directory).name}"
        there = {"endpoint_url": place.dynamodb, "create_if_not_exists": True, **CREDENTIALS}
        return _checked(backends.DynamoDBBackend(table, **there, **SLOW, **options))
    return _checked(backends.RedisBackend("ours", address=place.redis, **options))


def _checked(backend: object) -> CacheBackend:
    assert isinstance(backend, CacheBackend)
    return backend


# ---- aiohttp-client-cache


@opened("relative")
async def _relative(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """aiohttp-client-cache with its defaults."""
    relative = import_module("aiohttp_client_cache")
    store = options.get("store", "memory")
    if store == "memory":
        backend = relative.CacheBackend()
    elif store == "sqlite":
        backend = relative.SQLiteBackend(str(Path(place.directory, "relative.sqlite")))
    elif store == "filesystem":
        backend = relative.FileBackend(str(Path(place.directory, "relative")))
    elif store == "mongodb":
        backend = relative.MongoDBBackend(f"relative-{Path(place.directory).name}", host=place.mongodb)
    else:
        backend = relative.RedisBackend("relative", address=place.redis)
    async with relative.CachedSession(cache=backend, connector=_connector()) as session:
        yield SessionClient(session)
    await backend.close()


# ---- hishel


@opened("hishel")
async def _hishel(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """hishel's asynchronous client, on httpx."""
    hishel, hishel_httpx, httpx = import_module("hishel"), import_module("hishel.httpx"), import_module("httpx")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with contextlib.AsyncExitStack() as stack:
        if options["store"] == "sqlite":
            storage = hishel.AsyncSqliteStorage(database_path=str(Path(place.directory, "hishel.sqlite")))
        else:
            redis = import_module("redis.asyncio").Redis.from_url(place.redis)
            stack.push_async_callback(redis.aclose)
            storage = hishel.AsyncRedisStorage(client=redis)
        client = hishel_httpx.AsyncCacheClient(storage=storage, limits=limits, timeout=60)
        yield HttpxClient(await stack.enter_async_context(client))


# ---- no cache at all


@opened("aiohttp")
async def _aiohttp(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """aiohttp without a cache: the cost of a request."""
    async with ClientSession(connector=_connector()) as session:
        yield SessionClient(session)


@opened("httpx")
async def _httpx(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """httpx without a cache: the cost of a request, for hishel."""
    httpx = import_module("httpx")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        yield HttpxClient(client)
