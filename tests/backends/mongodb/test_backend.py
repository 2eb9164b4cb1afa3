"""The public behaviour of MongoDBBackend and MongoDBCache, on a real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from aiohttp_cache_di import ConfigurationError, MongoDBBackend, MongoDBCache
from aiohttp_cache_di.response import CachedResponse
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.entries import make_entry
from tests.secantus import SecantusServer

MakeBackend = Callable[..., MongoDBBackend]


class TestContract(StorageContract):
    """The contract of every storage."""

    @pytest.fixture
    def make(self, secantus: SecantusServer) -> MakeStorage:
        name = uuid.uuid4().hex
        return partial(MongoDBCache, name, "responses", host=secantus.url)


@pytest.fixture
def make_backend(secantus: SecantusServer) -> MakeBackend:
    """Make backends on one database."""
    name = uuid.uuid4().hex
    return partial(MongoDBBackend, name, host=secantus.url, autoclose=True)


async def test_a_copy_in_memory_is_dropped_when_another_process_changes_it(make_backend: MakeBackend) -> None:
    one, two = make_backend(near_tier_s=3600), make_backend()
    await two.responses.write("k", CachedResponse.from_stored(make_entry("k", b"old")))
    async with asyncio.timeout(20):
        while one.responses.peek("k") is None:  # until the change stream is open
            await one.stack.here().fetch("k")
            await asyncio.sleep(0.01)
        await two.delete("k")
        while one.responses.peek("k") is not None:
            await one.responses.contains("another")
    await one.close()
    await two.close()


async def test_a_client_may_be_handed_in(secantus: SecantusServer) -> None:
    async with AsyncMongoClient[dict[str, Any]](secantus.url) as client:
        backend = MongoDBBackend(uuid.uuid4().hex, client)
        await backend.responses.write("alias", "target")
        await backend.close()
        assert (await client.admin.command("ping"))["ok"] == 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"hots": "x"}, TypeError, "hots"),
        ({"near_tier_s": 0}, ConfigurationError, "near_tier_s"),
        ({"near_tier_s": 1, "near_tier_bytes": 0}, ConfigurationError, "near_tier_bytes"),
        ({"secret_key": ""}, ConfigurationError, "secret_key"),
        ({"host": "redis://h"}, ConfigurationError, "mongodb://"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error_at_once(options: Any, error: type[Exception], text: str) -> None:
    for make in (MongoDBBackend, partial(MongoDBCache, "db", "responses")):
        with pytest.raises(error, match=text):
            make(**options)


def test_a_backend_is_shown_without_credentials() -> None:
    backend = MongoDBBackend("db", host="mongodb://user:s3cr3t@h:1/?maxPoolSize=5")
    assert repr(backend).startswith("<MongoDBBackend 'db' at mongodb://h:1/:")
    assert repr(backend.responses) == "<MongoDBCache db.responses at mongodb://h:1/>"
