"""Callers that give up at random moments leak nothing: no connection, key, body or task."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from typing import Any

import pytest
from aiohttp import ClientTimeout, TCPConnector

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.engine.runtime import Runtime
from tests.faults.conftest import Note
from tests.faults.origin import Origin
from tests.stores import QUICK, Store

ROUNDS = 4
TASKS = 200
URLS = 25


def unexpected(context: dict[str, Any], found: list[str]) -> None:
    found.append(f"{context.get('message')}: {context.get('exception')!r}")


# Not on MongoDB and DynamoDB: drivers cancelled while they connect may leave their socket to the garbage collector.
@pytest.mark.parametrize("store", QUICK, indirect=True)
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_a_storm_of_cancellations_leaks_nothing(store: Store, origin: Origin, note: Note, how: str) -> None:
    origin.delay_s = 0.004
    origin.size = 100_000  # several pieces, so that some callers are cancelled between two of them
    chance = random.Random(5)
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected(context, complaints))
    backend = store.backend()
    outcomes: Counter[str] = Counter()

    async def one(session: CachedSession, path: str, limit: ClientTimeout | None) -> str:
        options: dict[str, Any] = {} if limit is None else {"timeout": limit}
        async with session.get(origin.url + path, **options) as response:
            body = await response.read() if chance.random() < 0.8 else await response.content.readany()
        whole = len(body) == origin.size
        return "ok" if body == origin.body_of(path)[: len(body)] and (whole or body) else "wrong"

    async with CachedSession(cache=backend, connector=TCPConnector(limit=50)) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(one(session, f"/calm/{number % URLS}", None) for number in range(TASKS)))
        round_s = (time.perf_counter() - begun) * 0.7  # about half of them complete in this time
        for round_number in range(ROUNDS):
            tasks: list[asyncio.Task[str]] = []
            for _ in range(TASKS):
                path = f"/{round_number}/{chance.randrange(URLS)}"
                after_s = chance.random() * round_s
                limit = ClientTimeout(total=after_s + 0.001) if how == "timed out" else None
                task = asyncio.create_task(one(session, path, limit))
                if how == "cancelled":
                    asyncio.get_running_loop().call_later(after_s, task.cancel)
                tasks.append(task)
                if chance.random() < 0.2:
                    await asyncio.sleep(0)
            async with asyncio.timeout(20):
                found = await asyncio.gather(*tasks, return_exceptions=True)
            outcomes.update(one if isinstance(one, str) else type(one).__name__ for one in found)
            if round_number % 2:
                await backend.delete_url(f"{origin.url}/{round_number}/0")
        async with asyncio.timeout(10):
            await backend.settle()
            for number in range(URLS):
                path = f"/{ROUNDS - 1}/{number}"
                async with session.get(origin.url + path) as response:
                    assert await response.read() == origin.body_of(path)
        runtime = Runtime.of(backend)
        await backend.settle()
        connector: Any = session.connector
        assert not runtime.flights._flights
        assert not runtime.flights._fetching
        assert not runtime.here.pending.entries
        assert runtime.here.pending._backlog.total_bytes == 0
        assert not connector._acquired
    assert store.connections() <= 1 + 4, "one of ours, and those of sessions that other tests left open"
    await backend.close()
    gc.collect()
    await asyncio.sleep(0)
    note(outcomes=dict(outcomes), origin_hits=origin.total, errors=backend.stats.store_errors)
    assert not complaints
    given_up = "CancelledError" if how == "cancelled" else "TimeoutError"
    assert set(outcomes) <= {"ok", given_up} | ({"ServerTimeoutError"} if how == "timed out" else set())
    assert outcomes["ok"] > 10
    assert outcomes[given_up] > 10
