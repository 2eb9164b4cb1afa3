"""One interface to stores of every kind: make backends on them, read and replace their bytes, name their settings."""

from __future__ import annotations

import base64
import os
import sqlite3
import uuid
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import pytest
from bson import BSON
from pymongo import MongoClient, UpdateOne

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.dynamodb import DynamoDBBackend
from aiohttp_cache_di.backends.filesystem import FileBackend
from aiohttp_cache_di.backends.filesystem.records.packing import read_head
from aiohttp_cache_di.backends.memory import MemoryStore
from aiohttp_cache_di.backends.mongodb import MongoDBBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.backends.sqlite.file.schema import Key, pack_key
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import UNREADABLE, Unreadable
from tests.backends.filesystem.places import entry_file
from tests.ministack import CREDENTIALS, MinistackServer
from tests.secantus import SecantusServer
from tests.server import ServerProcess
from tests.valkey import ValkeyServer
from tests.valkey_cluster import ValkeyCluster
from tests.valkey_sentinels import Sentinels

__all__ = [
    "EVERY",
    "KINDS",
    "QUICK",
    "SERVERS",
    "SHARED",
    "SHARED_BY_ALL",
    "STORES",
    "Store",
    "make_store",
    "new_store",
]

APART: Final = 8  # flag of a frame whose body is stored separately
PATIENT_S: Final = 5.0
"""A storage deadline that is long enough for a busy machine, and for a server written in Python."""


class Store:
    """One place where entries are stored, and how to make backends on it.

    Args:
        options: options of the backend class; plain values, so that they can be passed to another process.
        server: the server that it is on, if any.
    """

    kind: ClassVar[str] = "memory"
    backend_class: ClassVar[type[CacheBackend]] = CacheBackend
    is_slow: ClassVar[bool] = False
    """Whether its server is written in Python: its times then say little about the package."""

    def __init__(self, options: dict[str, Any], server: Any = None) -> None:
        self.options = options
        self.server: Any = server

    @property
    def name(self) -> str:
        """The name of the cache, or its path."""
        return str(self.options["cache_name"])

    def backend(self, **options: Any) -> CacheBackend:
        """Make a backend on this store; those on "memory" share nothing."""
        return self.backend_class(**{**self.options, **options})

    def variables(self, prefix: str = "AIOHTTP_CACHE_") -> dict[str, str]:
        """Environment variables that configure a service to use this store."""
        return {f"{prefix}{name}": value for name, value in {"BACKEND": self.kind, **self._settings()}.items()}

    def connections(self) -> int:
        """How many connections its server has open; 0 where no server reports it."""
        return 0

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        """Everything that is stored, keys included, as one byte string."""
        store = backend.stack.store
        return msgspec.msgpack.encode(dict(store.data) if isinstance(store, MemoryStore) else {})

    def kept(self, key: str) -> bytes:
        """The frame that is stored under *key*."""
        return self.kept_all((key,))[key]

    def kept_all(self, keys: Collection[str]) -> dict[str, bytes]:
        """The frames that are stored under *keys*."""
        raise AssertionError(f"{self.kind} keeps no frames")

    def body_beside(self, key: str) -> bytes:
        """The body that is stored separately from the frame under *key*; empty if there is none."""
        return b""

    def plant(self, frames: Mapping[str, bytes]) -> None:
        """Replace the frames that are stored under these keys, without the cache's knowledge."""
        raise AssertionError(f"{self.kind} keeps no frames")

    def _settings(self) -> Mapping[str, str]:
        return {"CACHE_NAME": self.name}


class _InFile(Store):
    kind = "sqlite"
    backend_class = SQLiteBackend

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        path = Path(self.name)
        return b"\n".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))

    def kept_all(self, keys: Collection[str]) -> dict[str, bytes]:
        """The frames under *keys*, packed anew with their bodies where that is possible; they are not signed."""
        rows, codec = self._rows(), EntryCodec()
        kept: dict[str, bytes] = {}
        for key in keys:
            frame, body = rows[pack_key(key)]
            item = UNREADABLE if body is None else codec.unpack(frame, key, body)
            kept[key] = frame if isinstance(item, Unreadable) else codec.pack(item, key)
        return kept

    def body_beside(self, key: str) -> bytes:
        return self._rows()[pack_key(key)][1] or b""

    def plant(self, frames: Mapping[str, bytes]) -> None:
        with closing(sqlite3.connect(self.name)) as connection, connection:
            rows = [(data, len(data) > 10 and bool(data[10] & APART), pack_key(key)) for key, data in frames.items()]
            planted = "frame = ?, body = CASE WHEN ? THEN body END"
            connection.executemany(f"UPDATE {_table(connection)} SET {planted} WHERE key = ?", rows)  # noqa: S608  # ours

    def _rows(self) -> dict[Key, tuple[bytes, bytes | None]]:
        with closing(sqlite3.connect(self.name)) as connection:
            rows = connection.execute(f"SELECT key, frame, body FROM {_table(connection)}").fetchall()  # noqa: S608  # ours
        return {key: (frame, body) for key, frame, body in rows}

    def _settings(self) -> Mapping[str, str]:
        return {"SQLITE__PATH": self.name}


def _table(connection: sqlite3.Connection) -> str:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return next(f'"{name}"' for name in names if name.startswith("cache:") and name.endswith("responses"))


class _InFiles(Store):
    kind = "filesystem"
    backend_class = FileBackend

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        paths = sorted(path for path in Path(self.name).rglob("*") if path.is_file())
        return b"\n".join(path.name.encode() + b"=" + path.read_bytes() for path in paths)

    def kept_all(self, keys: Collection[str]) -> dict[str, bytes]:
        files = {key: entry_file(Path(self.name), key).read_bytes() for key in keys}
        return {key: data[_frame_at(data) :] for key, data in files.items()}

    def plant(self, frames: Mapping[str, bytes]) -> None:
        for key, data in frames.items():
            path = entry_file(Path(self.name), key)
            before = path.read_bytes()
            path.write_bytes(before[: _frame_at(before)] + data)

    def _settings(self) -> Mapping[str, str]:
        return {"FILESYSTEM__PATH": self.name}


def _frame_at(data: bytes) -> int:
    head = read_head(data)
    assert head is not None
    return head.frame_at


class _OnValkey(Store):
    kind = "redis"
    backend_class = RedisBackend

    @property
    def valkey(self) -> ValkeyServer:
        """The server that holds the entries."""
        server: ValkeyServer = self.server
        return server

    def connections(self) -> int:
        return self.valkey.connections()

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        with self.valkey.client() as client:
            names: list[bytes] = list(client.scan_iter(match=f"{self.name}:*"))
            return b"\n".join(name + b"=" + (client.get(name) or b"") for name in names)

    def kept_all(self, keys: Collection[str]) -> dict[str, bytes]:
        found: list[bytes] = self.valkey.command("MGET", *(f"{self.name}:responses:{key}" for key in keys))
        return dict(zip(keys, found, strict=True))

    def plant(self, frames: Mapping[str, bytes]) -> None:
        pairs = ((f"{self.name}:responses:{key}", data) for key, data in frames.items())
        self.valkey.command("MSET", *(part for pair in pairs for part in pair))

    def _settings(self) -> Mapping[str, str]:
        return {"REDIS__URL": self.options["address"], "CACHE_NAME": self.name}


class _BehindSentinels(_OnValkey):
    kind = "sentinel"

    @property
    def valkey(self) -> ValkeyServer:
        """The primary."""
        sentinels: Sentinels = self.server
        return sentinels.primary()

    def variables(self, prefix: str = "AIOHTTP_CACHE_") -> dict[str, str]:
        """What configures a service to use this store, which is of the kind redis."""
        return super().variables(prefix) | {f"{prefix}BACKEND": "redis"}


class _OnCluster(Store):
    kind = "cluster"
    backend_class = RedisBackend
    server: ValkeyCluster

    def variables(self, prefix: str = "AIOHTTP_CACHE_") -> dict[str, str]:
        """What configures a service to use this store, which is of the kind redis."""
        return super().variables(prefix) | {f"{prefix}BACKEND": "redis"}

    def connections(self) -> int:
        return self.server.connections()

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        found: list[bytes] = []
        for node in self.server.primaries():
            with node.client() as client:
                names: list[bytes] = list(client.scan_iter(match=f"{self.name}:*"))
                found += [name + b"=" + (client.get(name) or b"") for name in names]
        return b"\n".join(found)

    def kept_all(self, keys: Collection[str]) -> dict[str, bytes]:
        return {key: self._command("GET", key) for key in keys}

    def plant(self, frames: Mapping[str, bytes]) -> None:
        for key, data in frames.items():
            self._command("SET", key, data)

    def _command(self, command: str, key: str, *arguments: bytes) -> Any:
        name = f"{self.name}:responses:{{{key}}}"
        return self.server.owner_of(self.server.slot_of(name)).command(command, name, *arguments)

    def _settings(self) -> Mapping[str, str]:
        return {"REDIS__URL": self.options["address"], "CACHE_NAME": self.name}


class _OnSecantus(Store):
    kind = "mongodb"
    is_slow = True
    backend_class = MongoDBBackend

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        with self._client() as client:
            return b"\n".join(BSON.encode(document) for document in client[self.name]["responses"].find())

    def kept_all(self, keys: Collection[str]) -> dict[str, bytes]:
        with self._client() as client:
            documents = client[self.name]["responses"].find({"_id": {"$in": list(keys)}})
            return {document["_id"]: bytes(document["v"]) for document in documents}

    def plant(self, frames: Mapping[str, bytes]) -> None:
        with self._client() as client:
            updates = [UpdateOne({"_id": key}, {"$set": {"v": data}}) for key, data in frames.items()]
            client[self.name]["responses"].bulk_write(updates, ordered=False)

    def _client(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(self.options["host"], directConnection=True)

    def _settings(self) -> Mapping[str, str]:
        return {"MONGODB__URL": self.options["host"], "CACHE_NAME": self.name}


class _OnMinistack(Store):
    kind = "dynamodb"
    is_slow = True
    backend_class = DynamoDBBackend
    server: MinistackServer

    def variables(self, prefix: str = "AIOHTTP_CACHE_") -> dict[str, str]:
        """Environment variables that configure a service to use this store, among them the credentials for boto."""
        credentials = {name.upper(): value for name, value in CREDENTIALS.items() if name.startswith("aws_")}
        return super().variables(prefix) | credentials

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        items = self.server.call("Scan", TableName=self.name)["Items"]
        values = [str(value) for item in items for each in item.values() for value in each.values()]
        frames = [base64.b64decode(each["B"]) for item in items for each in item.values() if "B" in each]
        return b"\n".join([*(value.encode() for value in values), *frames])

    def kept_all(self, keys: Collection[str]) -> dict[str, bytes]:
        return {key: base64.b64decode(item["v"]["B"]) for key, item in self._items(keys).items()}

    def plant(self, frames: Mapping[str, bytes]) -> None:
        items = [
            item | {"v": {"B": base64.b64encode(frames[key]).decode()}} for key, item in self._items(frames).items()
        ]
        for first in range(0, len(items), 25):
            requests = [{"PutRequest": {"Item": item}} for item in items[first : first + 25]]
            self.server.call("BatchWriteItem", RequestItems={self.name: requests})

    def _items(self, keys: Collection[str]) -> dict[str, dict[str, Any]]:
        """The items of *keys*, by key."""
        found: dict[str, dict[str, Any]] = {}
        names = {f"responses:{key}": key for key in keys}
        for first in range(0, len(names), 100):
            asked = [{"k": {"S": name}} for name in list(names)[first : first + 100]]
            answer = self.server.call("BatchGetItem", RequestItems={self.name: {"Keys": asked}})
            found |= {names[item["k"]["S"]]: item for item in answer["Responses"][self.name]}
        return found

    def _settings(self) -> Mapping[str, str]:
        own = {"ENDPOINT": self.options["endpoint_url"], "REGION": self.options["region_name"], "CREATE_TABLE": "true"}
        return {"CACHE_NAME": self.name, **{f"DYNAMODB__{name}": value for name, value in own.items()}}


KINDS: Final[Mapping[str, type[Store]]] = {
    each.kind: each
    for each in (Store, _InFile, _InFiles, _OnValkey, _OnCluster, _BehindSentinels, _OnSecantus, _OnMinistack)
}
GROUPS: Final = (_OnCluster.kind, _BehindSentinels.kind)
"""Several servers as one; what configures them is called Redis."""
IN_THE_SOAK: Final = tuple(pytest.param(kind, marks=pytest.mark.slow) for kind in GROUPS)
"""What `tests/backends` has tried already: most of the faults are tried on them by the soak alone."""
STORES: Final = (*(kind for kind in KINDS if kind not in GROUPS), *IN_THE_SOAK)
SHARED: Final = tuple(kind for kind in STORES if kind != "memory")
"""Those that several processes may use."""
EVERY: Final = tuple(KINDS)
SHARED_BY_ALL: Final = tuple(kind for kind in KINDS if kind != "memory")
"""Those, groups too, for what takes them no time: what a store is for is tried on each in each run."""
QUICK: Final = (*(kind for kind, made in KINDS.items() if not made.is_slow and kind not in GROUPS), *IN_THE_SOAK)
"""Enough of them, where what is tested is not what a store does."""
SERVERS: Final[Mapping[str, type[ServerProcess]]] = {
    "redis": ValkeyServer,
    "mongodb": SecantusServer,
    "dynamodb": MinistackServer,
}


FIXTURES: Final = {
    "redis": "valkey",
    "cluster": "cluster",
    "sentinel": "sentinels",
    "mongodb": "secantus",
    "dynamodb": "ministack",
}
"""Fixtures of the servers that the whole test run shares, by the kind of store that needs them."""


def make_store(kind: str, directory: Path, server: Any, name: str) -> Store:
    """Make an empty store of *kind*."""
    options: dict[str, dict[str, Any]] = {
        "memory": {"cache_name": name},
        "sqlite": {"cache_name": str(directory / f"{name}.sqlite")},
        "filesystem": {"cache_name": str(directory / name)},
    }
    if kind in FIXTURES:
        own: dict[str, dict[str, Any]] = {
            "redis": {"address": server.url},
            "cluster": {"address": server.url},
            "sentinel": {"address": server.url},
            "mongodb": {"host": server.url, "storage_deadline": PATIENT_S},
            "dynamodb": {
                "endpoint_url": server.url,
                "create_if_not_exists": True,
                "storage_deadline": PATIENT_S,
                **CREDENTIALS,
            },
        }
        options[kind] = {"cache_name": name, **own[kind]}
    return KINDS[kind](options[kind], server)


def new_store(kind: str, request: pytest.FixtureRequest, directory: Path) -> Store:
    """Make an empty store of *kind*, on the shared server of the test run if it needs one."""
    server = request.getfixturevalue(FIXTURES[kind]) if kind in FIXTURES else None
    return make_store(kind, directory, server, f"test-{os.getpid()}-{uuid.uuid4().hex[:12]}")
