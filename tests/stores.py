"""Stores of every kind, made in one way: backends on them, the bytes that they keep, the variables that name them."""

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
from aiohttp_cache_di.backends.sqlite.file.schema import pack_key
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
    "described",
    "make_store",
    "new_store",
]

PATIENT_S: Final = 5.0
"""A storage deadline where a busy machine, or a server written in Python, is not to be taken for one that fails."""


class Store:
    """One place where entries are kept, and the way to make backends on it.

    Args:
        options: for the class of the backend; plain values, so that another process can be given them.
        server: where it is, if it is on one.
    """

    kind: ClassVar[str] = "memory"
    backend_class: ClassVar[type[CacheBackend]] = CacheBackend
    is_slow: ClassVar[bool] = False
    """Whether its server is written in Python: what it takes is no measure of ours."""

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
        """What configures a service to use this store."""
        return {f"{prefix}{name}": value for name, value in {"BACKEND": self.kind, **self._settings()}.items()}

    def connections(self) -> int:
        """How many connections its server has; 0 where none tells."""
        return 0

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        """Everything that is kept, keys included, as one text of bytes."""
        store = backend.stack.store
        return msgspec.msgpack.encode(dict(store.data) if isinstance(store, MemoryStore) else {})

    def kept(self, key: str) -> bytes:
        """The frame that is kept under *key*."""
        return self.kept_all((key,))[key]

    def kept_all(self, keys: Collection[str]) -> dict[str, bytes]:
        """The frames that are kept under *keys*."""
        raise AssertionError(f"{self.kind} keeps no frames")

    def plant(self, frames: Mapping[str, bytes]) -> None:
        """Put *frames* in the place of those that are kept under these keys, behind the back of the cache."""
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
        with closing(sqlite3.connect(self.name)) as connection:
            rows = dict(connection.execute(f"SELECT key, frame FROM {_table(connection)}"))  # noqa: S608  # ours
        return {key: bytes(rows[pack_key(key)]) for key in keys}

    def plant(self, frames: Mapping[str, bytes]) -> None:
        with closing(sqlite3.connect(self.name)) as connection, connection:
            rows = [(data, pack_key(key)) for key, data in frames.items()]
            connection.executemany(f"UPDATE {_table(connection)} SET frame = ? WHERE key = ?", rows)  # noqa: S608  # ours

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
        """The server that has the entries."""
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
        """What configures a service to use this store, with credentials where boto finds them."""
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
"""Of the servers of a test run, by the kind of store that needs them."""


def described(kind: str, options: dict[str, Any]) -> Store:
    """The store of another process, without its server."""
    return KINDS[kind](options)


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
    """Make an empty store of *kind*, on the server of the test run where it needs one."""
    server = request.getfixturevalue(FIXTURES[kind]) if kind in FIXTURES else None
    return make_store(kind, directory, server, f"test-{os.getpid()}-{uuid.uuid4().hex[:12]}")
