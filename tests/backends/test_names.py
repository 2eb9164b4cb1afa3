"""Caches that share a server or a secret do not use each other's entries."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aiohttp_cache_di.backends import DynamoDBBackend, FileBackend, MongoDBBackend, RedisBackend, SQLiteBackend
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.dynamodb import DynamoDbCache
from aiohttp_cache_di.backends.dynamodb.items import Layout
from aiohttp_cache_di.backends.filesystem import FileCache
from aiohttp_cache_di.backends.mongodb import MongoDBCache
from aiohttp_cache_di.backends.redis import RedisCache
from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.backends.store import UNREADABLE
from aiohttp_cache_di.backends.wrap.items import StackCache
from tests.backends.entries import make_entry

SECRET = "a secret of some length"

BACKENDS: dict[str, Callable[..., CacheBackend]] = {
    "dynamodb": DynamoDBBackend,
    "filesystem": FileBackend,
    "mongodb": MongoDBBackend,
    "redis": RedisBackend,
    "sqlite": SQLiteBackend,
}
STORAGES: dict[str, Callable[..., StackCache]] = {
    "dynamodb": DynamoDbCache,
    "mongodb": MongoDBCache,
    "redis": RedisCache,
    "sqlite": SQLiteCache,
}


@pytest.mark.parametrize("kind", BACKENDS)
async def test_a_signed_entry_of_one_cache_is_not_believed_in_another(kind: str) -> None:
    one, same, other = (
        BACKENDS[kind](name, secret_key=SECRET).stack.codec for name in ("one-cache", "one-cache", "other-cache")
    )
    frame = one.pack(make_entry("k"), "k")
    assert same.unpack(frame, "k") == one.unpack(frame, "k") is not UNREADABLE
    assert other.unpack(frame, "k") is UNREADABLE


@pytest.mark.parametrize("kind", STORAGES)
async def test_nor_one_of_another_collection_of_the_cache(kind: str) -> None:
    one, other = (STORAGES[kind]("one-cache", name, secret_key=SECRET).stack.codec for name in ("one", "other"))
    frame = one.pack(make_entry("k"), "k")
    assert one.unpack(frame, "k") is not UNREADABLE
    assert other.unpack(frame, "k") is UNREADABLE


async def test_files_bind_the_name_of_their_directory() -> None:
    one, other = (FileCache(name, secret_key=SECRET).stack.codec for name in ("one", "other"))
    assert other.unpack(one.pack(make_entry("k"), "k"), "k") is UNREADABLE


def test_no_namespace_in_a_table_begins_with_what_another_begins_with() -> None:
    names = ["app", "app:responses", "app%3Aresponses", "", ":", "%", "app:"]
    prefixes = [Layout("table", name, "k", "v").prefix for name in names]
    for prefix in prefixes:
        assert [each for each in prefixes if each.startswith(prefix)] == [prefix]
    assert Layout("table", "responses", "k", "v").name_of("key") == "responses:key"
