"""Stores of every kind, made in one way, with a look at the bytes that they keep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from aiohttp_cache_di.backends.base import CacheBackend, DictCache
from aiohttp_cache_di.backends.filesystem import FileBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from tests.valkey import ValkeyServer

__all__ = ["STORES", "Store", "make_store"]

STORES = ("memory", "sqlite", "filesystem", "redis")


@dataclass(frozen=True)
class Store:
    """One place where entries are kept, and the way to make backends on it.

    Args:
        kind: "memory", "sqlite", "filesystem" or "redis".
        options: for the class of the backend; plain values, so that another process can be given them.
    """

    kind: str
    options: dict[str, Any]
    server: ValkeyServer | None = None

    @property
    def backend_class(self) -> type[CacheBackend]:
        """The class of its backends."""
        classes: dict[str, type[CacheBackend]] = {
            "memory": CacheBackend,
            "sqlite": SQLiteBackend,
            "filesystem": FileBackend,
            "redis": RedisBackend,
        }
        return classes[self.kind]

    def backend(self, **options: Any) -> CacheBackend:
        """Make a backend on this store; those on "memory" share nothing."""
        return self.backend_class(**self.options, **options)

    def raw_bytes(self, backend: CacheBackend) -> bytes:
        """Everything that is kept, keys included, as one text of bytes."""
        if self.kind == "redis":
            assert self.server is not None
            with self.server.client() as client:
                names: list[bytes] = list(client.scan_iter(match=f"{self.options['cache_name']}:*"))
                return b"\n".join(name + b"=" + (client.get(name) or b"") for name in names)
        if self.kind == "sqlite":
            path = Path(self.options["cache_name"])
            return b"\n".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))
        if self.kind == "filesystem":
            paths = sorted(path for path in Path(self.options["cache_name"]).rglob("*") if path.is_file())
            return b"\n".join(path.name.encode() + b"=" + path.read_bytes() for path in paths)
        kept = [storage.data for storage in (backend.responses, backend.redirects) if isinstance(storage, DictCache)]
        return msgspec.msgpack.encode([dict(data) for data in kept])


def make_store(kind: str, directory: Path, server: ValkeyServer | None, name: str) -> Store:
    """Make an empty store of *kind*."""
    if kind == "memory":
        return Store(kind, {"cache_name": name})
    if kind == "sqlite":
        return Store(kind, {"cache_name": str(directory / f"{name}.sqlite")})
    if kind == "filesystem":
        return Store(kind, {"cache_name": str(directory / name)})
    assert server is not None
    return Store(kind, {"cache_name": name, "address": server.url}, server)
