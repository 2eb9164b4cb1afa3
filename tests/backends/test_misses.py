"""A cold miss takes two calls of the store: one before the answer, and one after it, which delays no caller.

For Redis see `tests/backends/redis/test_first_looks.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from aiohttp_cache_di import CacheBackend, CachedSession
from aiohttp_cache_di.backends.dynamodb import DynamoDBBackend
from aiohttp_cache_di.backends.filesystem import FileBackend
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.mongodb import MongoDBBackend
from tests.backends.dynamodb.relay import Relay
from tests.ministack import CREDENTIALS, MinistackServer
from tests.origin import Origin, Received, answer
from tests.secantus import SecantusServer
from tests.stores import PATIENT_S

pytestmark = pytest.mark.shortcuts


async def asked_by_a_miss(backend: CacheBackend, asked: list[str], origin: Origin) -> tuple[list[str], list[str]]:
    """The calls *asked* by the second of two misses: those before the origin's answer, and all once it is stored."""
    before: list[list[str]] = []

    def at_the_origin(request: Received) -> bytes:
        before.append(list(asked))
        return answer(request.path)

    async with CachedSession(cache=backend) as session:
        for path in ("/first", "/second"):
            asked.clear()
            async with session.get(origin.on(path, at_the_origin)) as response:
                assert await response.text() == path
            await session.cache.settle()
        after = list(asked)
    await backend.close()
    return before[-1], after


async def test_files_are_looked_at_and_leased_in_one_hop_and_written_in_one(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = Pool.run

    def noted(pool: Pool, job: Callable[[], Any], undo: Callable[[Any], None] | None = None) -> Any:
        asked.append(getattr(getattr(job, "func", job), "__name__", ""))
        return run(pool, job, undo)

    monkeypatch.setattr(Pool, "run", noted)
    before, after = await asked_by_a_miss(FileBackend(tmp_path / "cache"), asked, origin)
    assert before == ["_look_or_lease"]
    assert after == ["_look_or_lease", "put"]


class _Heard(CommandListener):
    """Records the names of commands."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name not in ("hello", "endSessions", "createIndexes"):
            self._names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Ignore it."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Ignore it."""


async def test_mongodb_is_asked_and_told_once(secantus: SecantusServer, origin: Origin) -> None:
    asked: list[str] = []
    backend = MongoDBBackend(
        uuid.uuid4().hex, host=secantus.url, event_listeners=[_Heard(asked)], storage_deadline=PATIENT_S
    )
    before, after = await asked_by_a_miss(backend, asked, origin)
    assert before == ["insert"]
    assert after == ["insert", "update"]


async def test_dynamodb_is_asked_and_told_once(ministack: MinistackServer, origin: Origin) -> None:
    async with Relay(ministack.url) as relay:
        backend = DynamoDBBackend(
            uuid.uuid4().hex,
            endpoint_url=relay.url,
            create_if_not_exists=True,
            storage_deadline=PATIENT_S,
            **CREDENTIALS,
        )
        asked = _Operations(relay)
        before, after = await asked_by_a_miss(backend, asked, origin)
    assert before == ["UpdateItem"]
    assert after == ["UpdateItem", "BatchWriteItem"]


class _Operations(list[str]):
    """The operations that a relay has passed on."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay

    def clear(self) -> None:
        self._relay.asked.clear()

    def __iter__(self) -> Any:
        return iter([call.operation for call in self._relay.asked])
