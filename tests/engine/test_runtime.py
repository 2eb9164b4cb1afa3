"""The work of a backend in a loop: pending writes and background tasks."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from typing import Any

import pytest

from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.flights import Outcome
from aiohttp_cache_di.engine.runtime import Runtime
from tests.storages import CustomBackend, CustomStorage
from tests.test_response import entry


@pytest.fixture
def backend() -> CustomBackend:
    return CustomBackend(storage_deadline=5)


class TestIdentity:
    async def test_there_is_one_per_backend_and_loop(self, backend: CustomBackend) -> None:
        assert Runtime.of(backend) is Runtime.of(backend)
        assert Runtime.of(backend) is not Runtime.of(CacheBackend())
        assert Runtime.of(backend).is_current()

    def test_another_loop_has_another_one(self, backend: CustomBackend) -> None:
        async def made() -> Runtime:
            return Runtime.of(backend)

        first, second = asyncio.run(made()), asyncio.run(made())
        assert first is not second

    @pytest.mark.parametrize("make", [CacheBackend, CustomBackend])
    async def test_it_does_not_keep_its_backend_alive(self, make: type[CacheBackend]) -> None:
        backend = make()
        Runtime.of(backend)
        gone = weakref.ref(backend)
        del backend
        gc.collect()
        assert gone() is None


class TestStore:
    async def test_memory_is_written_at_once(self) -> None:
        backend, outcomes = CacheBackend(), list[bool]()
        runtime = Runtime.of(backend)
        runtime.here.store(stored := entry(), outcome=outcomes.append)
        assert runtime.peek("key") == stored
        assert runtime.pending("key") is None
        assert (outcomes, backend.stats.stored) == ([True], 1)

    async def test_what_is_written_is_counted_when_it_is_written(self, backend: CustomBackend) -> None:
        runtime, outcomes = Runtime.of(backend), list[bool]()
        runtime.here.store(entry(), outcome=outcomes.append)
        assert runtime.pending("key") is runtime.peek("key")
        assert (outcomes, backend.stats.stored) == ([], 0)
        await runtime.settle({"key"})
        assert runtime.pending("key") is None
        assert (outcomes, backend.stats.stored, len(backend.responses.items)) == ([True], 1, 1)

    async def test_another_storage_takes_the_place_of_one_at_once(self, backend: CustomBackend) -> None:
        runtime, other = Runtime.of(backend), CustomStorage()
        backend.responses = other
        runtime.here.store(entry())
        await runtime.settle()
        assert list(other.items) == ["key"]

    def test_one_loop_does_not_wait_for_another(self, backend: CustomBackend) -> None:
        async def begin() -> Runtime:
            runtime = Runtime.of(backend)
            runtime.here.store(entry())
            return runtime

        async def wait(runtime: Runtime) -> None:
            await asyncio.wait_for(runtime.settle(), 20)

        asyncio.run(wait(asyncio.run(begin())))


class TestDeletions:
    async def test_a_deletion_in_another_thread_is_noted_in_the_loop_of_this_one(self, backend: CustomBackend) -> None:
        runtime = Runtime.of(backend)
        flight = runtime.flights.lead("key")
        waiting = asyncio.create_task(flight.join(5))
        await asyncio.sleep(0)
        thread = threading.Thread(target=asyncio.run, args=(backend.clear(),))
        thread.start()
        assert await waiting == Outcome.UNSHARED
        assert not flight.store_allowed
        await asyncio.to_thread(thread.join)


class TestTasks:
    async def test_only_one_of_a_name_runs_at_a_time(self, backend: CustomBackend) -> None:
        runtime, ran = Runtime.of(backend), 0

        async def work() -> None:
            nonlocal ran
            ran += 1

        assert [runtime.spawn(work(), owner=self, name="one") for _ in range(2)] == [True, False]
        await asyncio.sleep(0.001)
        assert runtime.spawn(work(), owner=self, name="one")
        await asyncio.sleep(0.001)
        assert ran == 2

    async def test_those_of_one_owner_are_cancelled(self, backend: CustomBackend) -> None:
        runtime, ended = Runtime.of(backend), list[str]()

        async def work(name: str) -> None:
            try:
                await asyncio.sleep(10)
            finally:
                ended.append(name)

        mine, other = object(), object()
        runtime.spawn(work("mine"), owner=mine)
        runtime.spawn(work("other"), owner=other)
        await asyncio.sleep(0)
        await runtime.cancel(mine)
        assert ended == ["mine"]
        await runtime.cancel(other)
        await runtime.cancel(other)

    async def test_one_that_fails_is_logged(self, backend: CustomBackend, caplog: pytest.LogCaptureFixture) -> None:
        async def work() -> None:
            raise ZeroDivisionError("with a secret")

        with caplog.at_level(logging.WARNING):
            Runtime.of(backend).spawn(work(), owner=self)
            await asyncio.sleep(0.001)
        assert "ZeroDivisionError" in caplog.text

    async def test_those_of_one_owner_are_waited_for(self, backend: CustomBackend) -> None:
        runtime, done = Runtime.of(backend), list[int]()

        async def work() -> None:
            await asyncio.sleep(0)
            done.append(1)

        owner: Any = object()
        runtime.spawn(work(), owner=owner)
        await runtime.finish(owner)
        assert done == [1]
