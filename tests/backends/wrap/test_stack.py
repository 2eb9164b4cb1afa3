"""Stacks on a shared store: each process sees the changes of the other, and a failing store fails no request."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from aiohttp_cache_di import CacheBackend, CachedSession
from aiohttp_cache_di.backends.options.values import MAX_IN_MEMORY_BYTES
from aiohttp_cache_di.backends.store import Found, Lease, Record, Written
from aiohttp_cache_di.backends.store.capabilities import Leasing
from aiohttp_cache_di.backends.store.sizes import RecordLimit
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.loop import FAILED
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.proof import ProofStore
from tests.backends.store_contract import make_redirect
from tests.backends.wrap.test_contract import CapableStore, Place
from tests.interleaving import at_each_line
from tests.origin import Origin, answer
from tests.storages import ProofBackend


def test_a_store_learns_of_the_largest_body_whenever_that_is_changed() -> None:
    backend = CacheBackend(max_body_bytes=1000)
    limit = RecordLimit(by_users=False)
    backend.use(StackCache(StoreStack(ProofStore(), limit=limit)))
    at_first = limit()
    backend.max_body_bytes = 3000
    assert limit() == at_first + 2000
    backend.max_body_bytes = None
    assert limit() == at_first - 1000 + MAX_IN_MEMORY_BYTES


def test_another_thread_may_begin_to_use_a_store_while_its_largest_body_is_changed() -> None:
    limit, user, others = RecordLimit(by_users=False), CacheBackend(), list[CacheBackend]()
    limit.allow(user, 1000)

    def meanwhile() -> None:
        others.append(CacheBackend())
        limit.allow(others[-1], 2000)

    at_first = limit()
    with at_each_line(meanwhile):
        limit.allow(user, 3000)
    assert limit() == at_first + 2000
    assert others


class FaultyStore(ProofStore):
    """A store that fails or hangs when a test says so."""

    fault: Exception | asyncio.Event | None = None

    async def _fail(self) -> None:
        if isinstance(self.fault, Exception):
            raise self.fault
        if self.fault is not None:
            await self.fault.wait()

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        await self._fail()
        return await super().get(keys)

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        await self._fail()
        return await super().put(records)

    async def delete(self, keys: Collection[str]) -> None:
        await self._fail()
        await super().delete(keys)


def process(place: Place) -> StoreStack:
    """A stack as another process has it on the same store."""
    return StoreStack(CapableStore(place=place), near_bytes=1_000_000)


class TestTwoProcesses:
    async def test_one_sees_what_the_other_changes_also_through_its_near_tier(self) -> None:
        one, other = process(place := Place()), process(place)
        one.here().store(make_entry("k", b"old"))
        await one.settle()
        assert isinstance(await other.here().fetch("k"), StoredResponse)
        assert other.here().peek("k") is not None
        one.here().store(make_entry("k", b"new"))
        await one.settle()
        assert other.here().peek("k") is None
        found = await other.here().fetch("k")
        assert isinstance(found, StoredResponse)
        assert found.body == b"new"
        await one.delete({"k"})
        assert other.here().peek("k") is None
        assert await other.here().fetch("k") is None

    async def test_a_lease_goes_back_with_the_write(self) -> None:
        one, other = process(place := Place()), process(place)
        assert isinstance(one.store, Leasing)
        assert isinstance(other.store, Leasing)
        assert await one.store.acquire("k", 5)
        here = one.here()
        here.store(make_entry("k"))
        here.release_lease("k", owner=self)
        assert not await other.store.acquire("k", 5)
        await one.settle()
        assert await other.store.acquire("k", 5) is Lease.GRANTED_LATE

    async def test_a_lease_goes_back_at_once_when_the_write_fails(self) -> None:
        class Refusing(CapableStore):
            async def put(self, records: Sequence[Record]) -> Sequence[Written]:
                raise OSError("no such disk")

        one, other = StoreStack(Refusing(place=(place := Place()))), process(place)
        assert isinstance(one.store, Leasing)
        assert isinstance(other.store, Leasing)
        await one.store.acquire("k", 5)
        here = one.here()
        here.store(make_entry("k"))
        here.release_lease("k", owner=self)
        await one.settle()
        await here.tasks.finish(here)
        assert await other.store.acquire("k", 5)

    async def test_a_store_is_closed_when_the_last_lease_has_gone_back(self) -> None:
        told: list[str] = []

        class Slow(CapableStore):
            async def release(self, key: str) -> None:
                await asyncio.sleep(0.02)
                told.append(key)

            async def close(self) -> None:
                await super().close()
                told.append("closed")

        one = StoreStack(Slow(place=Place()))
        assert isinstance(one.store, Leasing)
        await one.store.acquire("k", 5)
        one.here().release_lease("k", owner=self)
        await one.close()
        assert told == ["k", "closed"]

    async def test_who_waits_for_a_lease_finds_what_its_holder_has_stored(self) -> None:
        holder, waiter = process(place := Place()), process(place)
        assert isinstance(holder.store, Leasing)
        leases, until = waiter.here().leases, asyncio.get_running_loop().time() + 5
        assert leases is not None
        await holder.store.acquire("k", 5)

        async def look() -> StoredResponse | None:
            found = await waiter.here().fetch("k")
            return found if isinstance(found, StoredResponse) else None

        waiting = asyncio.create_task(leases.obtain("k", 5, until=until, look=look, owner=self))
        await asyncio.sleep(0)
        holder.here().store(entry := make_entry("k"))
        holder.here().release_lease("k", owner=self)
        assert (await waiting)[1] == entry

    async def test_who_has_waited_long_enough_goes_without(self) -> None:
        place = Place()
        place.leases["k"] = self
        leases, loop = process(place).here().leases, asyncio.get_running_loop()
        assert leases is not None

        async def look() -> None:
            return None

        obtained = await leases.obtain("k", 5, until=loop.time() + 0.03, look=look, owner=self)
        assert obtained == (False, None)


class TestFaults:
    @pytest.fixture
    def store(self) -> FaultyStore:
        return FaultyStore()

    @pytest.fixture
    def backend(self, store: FaultyStore) -> ProofBackend:
        backend = ProofBackend(storage_deadline=0.05)
        backend.use(StackCache(StoreStack(store)))
        return backend

    @pytest.mark.parametrize("fault", [OSError("gone"), asyncio.Event()], ids=["fails", "hangs"])
    async def test_no_request_fails_or_waits_for_long(
        self, store: FaultyStore, backend: ProofBackend, origin: Origin, fault: Any
    ) -> None:
        async with CachedSession(cache=backend) as session:
            store.fault = fault
            for number in range(10):
                async with asyncio.timeout(20), session.get(origin.on(f"/{number}", answer("text"))) as response:
                    assert await response.text() == "text"
            assert backend.stats.store_errors
            store.fault = None
        await backend.close()

    async def test_what_cannot_be_deleted_is_not_used_any_more(self, store: FaultyStore) -> None:
        backend = ProofBackend()
        backend.use(StackCache(stack := StoreStack(store)))
        await backend.write(make_entry("k"))
        stack.tombstones.add({"k"})
        assert stack.here().peek("k") is None
        assert await backend.responses.read("k") is None
        await backend.write(make_entry("k"))
        assert await backend.responses.read("k") is not None

    async def test_a_read_that_fails_is_told_from_one_that_finds_nothing(self, store: FaultyStore) -> None:
        here = StoreStack(store).here()
        assert await here.fetch("k") is None
        store.fault = OSError("gone")
        assert await here.fetch("k") is FAILED

    async def test_a_user_who_writes_hears_of_a_failure(self, store: FaultyStore) -> None:
        face = StackCache(StoreStack(store))
        store.fault = StorageError("no such disk")
        with pytest.raises(StorageError, match="no such disk"):
            await face.write("k", "alias")


class TestSharing:
    """A storage that is also given to another backend keeps working as before."""

    @pytest.fixture
    def stack(self) -> StoreStack:
        return process(Place())

    @pytest.fixture
    def first(self, stack: StoreStack) -> CacheBackend:
        first = CacheBackend(storage_deadline=5)
        first.use(StackCache(stack))
        return first

    async def test_what_its_owner_clears_is_not_served_from_memory(
        self, stack: StoreStack, first: CacheBackend
    ) -> None:
        here = stack.here()
        here.store(make_entry("k"))
        await first.settle()
        await here.fetch("k")
        second = CacheBackend()
        second.responses = first.responses
        assert stack.here() is here
        await first.clear()
        assert here.peek("k") is None
        assert await here.fetch("k") is None

    async def test_what_is_on_its_way_is_waited_for(self, stack: StoreStack, first: CacheBackend) -> None:
        stack.here().store(make_entry("k"))
        CacheBackend().responses = first.responses
        await first.settle()
        assert await first.responses.size() == 1

    async def test_its_deadline_stays(self, stack: StoreStack, first: CacheBackend) -> None:
        CacheBackend().responses = first.responses
        assert stack.guard is first.guard
        assert stack.guard.deadline_s == 5

    async def test_both_backends_count_what_happens_in_it(self, first: CacheBackend, stack: StoreStack) -> None:
        second = CacheBackend()
        second.responses = first.responses
        second.redirects = first.redirects
        stack.events.evicted(3)
        stack.events.unreadable()
        for backend in (first, second):
            assert (backend.stats.evicted, backend.stats.unreadable) == (3, 1)


class TestUpkeep:
    """Operations on many keys take few calls of the store, and transfer no bodies."""

    class Noting(ProofStore):
        def __init__(self) -> None:
            super().__init__()
            self.calls = Counter[str]()

        async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
            self.calls["get"] += 1
            return await super().get(keys)

        async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
            self.calls["kinds"] += 1
            return await super().kinds(keys)

        async def delete(self, keys: Collection[str]) -> None:
            self.calls["delete"] += 1
            await super().delete(keys)

    async def test_of_a_face(self) -> None:
        backend = ProofBackend()
        backend.use(StackCache(StoreStack(store := self.Noting())))
        keys = {f"k{number}" for number in range(100)}
        for key in keys:
            await backend.write(make_entry(key))
        await backend.write(make_redirect("r"))
        store.calls.clear()
        assert await backend.responses.contains("k1")
        assert not await backend.responses.contains("r")
        await backend.responses.bulk_delete(keys | {"r", "missing"})
        assert store.calls == {"kinds": 2 + 11, "delete": 10}
        assert await backend.redirects.contains("r")
        assert await backend.responses.size() == 0

    async def test_of_a_backend(self) -> None:
        backend = ProofBackend()
        backend.use(StackCache(StoreStack(store := self.Noting())))
        for number in range(50):
            await backend.write(make_entry(f"k{number}"))
            await backend.redirects.write(f"alias{number}", f"k{number}")
        store.calls.clear()
        await backend.bulk_delete({f"alias{number}" for number in range(50)})
        assert store.calls["get"] <= 2 * (5 + 1)  # batches of ten, and the first read, which goes alone
        assert store.calls["delete"] == 10
        assert not store.data


class TestFaces:
    @pytest.fixture
    def backend(self) -> ProofBackend:
        return ProofBackend()

    async def test_each_shows_its_kind_and_deletes_no_other(self, backend: ProofBackend) -> None:
        await backend.write(make_entry("end"))
        await backend.write(make_redirect("redirect"))
        await backend.redirects.write("alias", "end")
        responses, redirects = backend.responses, backend.redirects
        assert [key async for key in responses.keys()] == ["end"]  # noqa: SIM118  # not a dict's
        assert {key async for key in redirects.keys()} == {"redirect", "alias"}  # noqa: SIM118  # not a dict's
        assert (await responses.size(), await redirects.size()) == (1, 2)
        assert [await responses.contains(key) for key in ("end", "redirect", "alias")] == [True, False, False]
        await responses.bulk_delete({"end", "redirect"})
        assert (await responses.size(), await redirects.size()) == (0, 2)
        assert await responses.pop("alias") is None
        await redirects.clear()
        assert await redirects.size() == 0

    async def test_they_wait_for_what_is_on_its_way(self, backend: ProofBackend) -> None:
        for key in "abc":
            backend.stack.here().store(make_entry(key))
        assert await backend.responses.size() == 3

    async def test_what_is_written_by_hand_takes_the_place_of_what_is_on_its_way(self, backend: ProofBackend) -> None:
        backend.stack.here().store(make_entry("k", b"on its way"))
        await backend.write(make_entry("k", b"by hand"))
        found = await backend.responses.read_entry("k")
        assert found is not None
        assert found.body == b"by hand"

    async def test_expired_records_are_found_by_a_walk(self, backend: ProofBackend) -> None:
        for number in range(5):
            await backend.write(make_entry(f"{number}", store_until=0.0 if number % 2 else math.inf))
        await backend.redirects.write("alias", "0")
        assert await backend.delete_expired_responses() == 2
        assert (await backend.responses.size(), await backend.redirects.size()) == (3, 1)


class TestThreads:
    async def test_loops_of_other_threads_may_begin_and_end_at_any_step(self) -> None:
        stack, others = process(Place()), list[asyncio.AbstractEventLoop]()

        def meanwhile() -> None:
            for loop in others[-1:]:
                loop.close()
            others.append(asyncio.new_event_loop())
            stack.here(others[-1])

        with at_each_line(meanwhile):
            stack.invalidate({"k"})
            here = stack.here()
        assert stack.here() is here
        assert len(others) > 10
        others[-1].close()
        stack.invalidate({"k"})
