"""Floors: the least work that a cache of each kind has to do, without anything else."""

from __future__ import annotations

import asyncio
import hashlib
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import aiosqlite
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession

from benchmarks.clients import Client, Place, SessionClient, opened
from tests.ministack import create_client

__all__ = ["Batches"]

BODY = b"x" * 10_000


class _Answer(ClientResponse):
    """A response with a body and nothing else."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 200

    async def read(self) -> bytes:
        """Return the body."""
        assert self._body is not None
        return self._body

    def release(self) -> Any:
        """Do nothing."""

    async def __aexit__(self, *args: object) -> None:
        """Do nothing."""

    def __del__(self, _warnings: Any = warnings) -> None:
        """Do nothing: there is no connection to close."""


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Inheritance class .* is discouraged", DeprecationWarning)

    class _FloorSession(ClientSession):
        """Answers from a dict, by the URL as it was given."""

        ATTRS = ClientSession.ATTRS | {"answers"}
        answers: dict[object, bytes]

        async def _request(self, method: str, str_or_url: Any, **kwargs: Any) -> ClientResponse:
            return _Answer(self.answers.get(str_or_url, BODY))


@opened("floor-session")
async def _session(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """A ClientSession subclass that answers from a dict: the floor of a hit in memory."""
    async with _FloorSession() as session:
        session.answers = {}
        yield SessionClient(session)


@opened("floor-middleware")
async def _middleware(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """A middleware that answers at once: the floor of a hit that goes through aiohttp's request."""

    async def answer(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        response = _Answer(BODY)
        response._cache = {}
        response._history = ()
        response._raw_cookie_headers = None
        return response

    async with ClientSession(middlewares=(answer,)) as session:
        yield SessionClient(session)


class Batches:
    """Collects the keys of one tick of the event loop, and reads them with one call.

    Args:
        read: returns the values by key, of the keys that exist.
    """

    def __init__(self, read: Callable[[list[bytes]], Awaitable[dict[bytes, bytes]]]) -> None:
        self._read = read
        self._waiting: dict[bytes, list[asyncio.Future[bytes | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, key: bytes) -> asyncio.Future[bytes | None]:
        """Ask for *key*."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(future)
        return future

    def _flush(self) -> None:
        task = asyncio.get_running_loop().create_task(self._run(self._waiting))
        self._waiting = {}
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, waiting: dict[bytes, list[asyncio.Future[bytes | None]]]) -> None:
        found = await self._read(list(waiting))
        for key, futures in waiting.items():
            for future in futures:
                future.set_result(found.get(key))


class _KeyValueClient:
    """A key-value store with a digest of the URL as the key; the digest is made before the measurement."""

    def __init__(self, get: Callable[[bytes], Awaitable[object]], put: Callable[[bytes], Awaitable[None]]) -> None:
        self._get = get
        self._put = put
        self._keys: dict[str, bytes] = {}

    async def fetch(self, urls: Sequence[str]) -> None:
        """Read the values of all *urls*, and first write a value for a URL that is new."""
        for url in urls:
            key = self._keys.get(url)
            if key is None:
                self._keys[url] = key = hashlib.blake2b(url.encode(), digest_size=20).digest()
                await self._put(key)
            assert await self._get(key)

    async def drain(self) -> None:
        """Do nothing: writes are awaited."""


@opened("floor-sqlite")
async def _sqlite(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """One call to aiosqlite's thread per read, or per tick of the loop if *batched*."""
    async with aiosqlite.connect(Path(place.directory, "floor.sqlite")) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("CREATE TABLE entries (key BLOB PRIMARY KEY, body BLOB)")

        async def put(key: bytes) -> None:
            await connection.execute("INSERT INTO entries VALUES (?, ?)", (key, BODY))
            await connection.commit()

        async def get(key: bytes) -> object:
            return await connection.execute_fetchall("SELECT body FROM entries WHERE key = ?", (key,))

        async def read(keys: list[bytes]) -> dict[bytes, bytes]:
            marks = ", ".join("?" * len(keys))
            sql = f"SELECT key, body FROM entries WHERE key IN ({marks})"  # noqa: S608  # placeholders
            return {row[0]: row[1] for row in await connection.execute_fetchall(sql, keys)}

        yield _KeyValueClient(Batches(read).get if options.get("batched") else get, put)


@opened("floor-redis")
async def _redis(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """One GET of redis-py per read, or one MGET per tick of the loop if *batched*."""
    redis = import_module("redis.asyncio").Redis.from_url(place.redis)

    async def put(key: bytes) -> None:
        await redis.set(key, BODY)

    async def read(keys: list[bytes]) -> dict[bytes, bytes]:
        return dict(zip(keys, await redis.mget(keys), strict=True))

    try:
        yield _KeyValueClient(Batches(read).get if options.get("batched") else redis.get, put)
    finally:
        await redis.aclose()


@opened("floor-look-up")
async def _look_up(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """aiohttp's own session, which asks Redis for one key before it asks the origin: the floor of a shared cache."""
    redis = import_module("redis.asyncio").Redis.from_url(place.redis)

    async def look_up(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        await redis.get(str(request.url))
        return await handler(request)

    try:
        async with ClientSession(middlewares=(look_up,)) as session:
            yield SessionClient(session)
    finally:
        await redis.aclose()


@opened("floor-filesystem")
async def _filesystem(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """One call to a thread that reads a file, or all files of a tick of the loop if *batched*."""
    body = b"x" * options.get("body", len(BODY))

    def path(key: bytes) -> Path:
        return Path(place.directory, key.hex())

    async def put(key: bytes) -> None:
        await asyncio.to_thread(path(key).write_bytes, body)

    async def get(key: bytes) -> object:
        return await asyncio.to_thread(path(key).read_bytes)

    async def read(keys: list[bytes]) -> dict[bytes, bytes]:
        return await asyncio.to_thread(lambda: {key: path(key).read_bytes() for key in keys})

    yield _KeyValueClient(Batches(read).get if options.get("batched") else get, put)


@opened("floor-mongodb")
async def _mongodb(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """One ``find_one`` of pymongo per read, or one ``find`` with ``$in`` per tick of the loop if *batched*."""
    pymongo = import_module("pymongo")
    async with pymongo.AsyncMongoClient(place.mongodb) as client:
        collection = client[f"floor-{Path(place.directory).name}"]["responses"]

        async def put(key: bytes) -> None:
            await collection.insert_one({"_id": key, "v": BODY})

        async def get(key: bytes) -> object:
            return await collection.find_one({"_id": key})

        async def read(keys: list[bytes]) -> dict[bytes, bytes]:
            rows = await collection.find({"_id": {"$in": keys}}, batch_size=len(keys) + 1).to_list()
            return {row["_id"]: row["v"] for row in rows}

        yield _KeyValueClient(Batches(read).get if options.get("batched") else get, put)


@opened("floor-dynamodb")
async def _dynamodb(place: Place, options: dict[str, Any]) -> AsyncGenerator[Client]:
    """One ``GetItem`` of aiobotocore per read, or one ``BatchGetItem`` per tick of the loop if *batched*."""
    table = f"floor-{Path(place.directory).name}"
    async with create_client(place.dynamodb) as client:
        await client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "B"}],
            BillingMode="PAY_PER_REQUEST",
        )

        async def put(key: bytes) -> None:
            await client.put_item(TableName=table, Item={"k": {"B": key}, "v": {"B": BODY}})

        async def get(key: bytes) -> object:
            return (await client.get_item(TableName=table, Key={"k": {"B": key}}))["Item"]

        async def read(keys: list[bytes]) -> dict[bytes, bytes]:
            wanted = {table: {"Keys": [{"k": {"B": key}} for key in keys]}}
            items = (await client.batch_get_item(RequestItems=wanted))["Responses"][table]
            return {bytes(item["k"]["B"]): item["v"]["B"] for item in items}

        yield _KeyValueClient(Batches(read).get if options.get("batched") else get, put)
