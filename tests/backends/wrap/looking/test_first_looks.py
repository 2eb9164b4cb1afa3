"""Lookups that also acquire a lease: only for likely misses, and no lease is left unreleased."""

from __future__ import annotations

import asyncio
import math
import time

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.store import Found, Lease
from aiohttp_cache_di.backends.wrap.guarding.circuit import THRESHOLD
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED
from aiohttp_cache_di.backends.wrap.looking import first_looks
from aiohttp_cache_di.backends.wrap.looking.first_looks import FirstLooks
from aiohttp_cache_di.backends.wrap.loop import LoopStack
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.wrap.test_contract import CapableStore, Place

pytestmark = pytest.mark.shortcuts

LEASE_S = 5.0


class LookingStore(CapableStore):
    """A store that leases missing keys; without ``has_leases`` it only looks them up."""

    has_leases = True
    hangs = False

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        (found,) = await self.get((key,))
        if self.hangs:
            await asyncio.Event().wait()
        return found or (await self.acquire(key, ttl_s) if self.has_leases else None)


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def store(place: Place) -> LookingStore:
    return LookingStore(place=place)


@pytest.fixture
async def here(store: LookingStore) -> LoopStack:
    return StoreStack(store).here()


def looks_of(here: LoopStack) -> FirstLooks:
    assert here.first_looks is not None
    return here.first_looks


async def put(here: LoopStack, *entries: StoredResponse) -> None:
    for entry in entries:
        here.store(entry)
    await here.pending.settle()


async def test_the_lease_comes_with_nothing_and_is_used_once(here: LoopStack, place: Place) -> None:
    assert here.leases is not None
    assert await here.fetch("k", lease_s=LEASE_S) is None
    assert list(place.leases) == ["k"]
    other = StoreStack(LookingStore(place=place)).here()
    assert await other.fetch("k", lease_s=LEASE_S) is None
    assert other.leases is not None
    assert not other.leases.take_early("k"), "it is another's"

    async def look() -> None:
        raise AssertionError("there is nothing to be looked for")

    assert await here.leases.obtain("k", LEASE_S, until=None, look=look, owner=here) == (True, None)
    assert not here.leases.take_early("k")


async def test_a_lease_that_comes_with_a_look_up_closes_the_circuit_of_leases(store: LookingStore) -> None:
    stack = StoreStack(store)
    guard = stack.guard

    async def refused() -> None:
        raise OSError("down")

    for _ in range(THRESHOLD):
        await guard.run("lease", refused, None)
    assert guard.probe_in_s("lease") is not None
    assert await stack.here().fetch("k", lease_s=LEASE_S) is None
    assert guard.probe_in_s("lease") is None
    assert guard.stats.circuit == "closed"


async def test_what_is_found_is_not_leased(here: LoopStack, place: Place) -> None:
    await put(here, make_entry("k"))
    assert isinstance(await here.fetch("k", lease_s=LEASE_S), StoredResponse)
    assert place.leases == {}


async def test_one_that_is_not_used_goes_back(here: LoopStack, place: Place) -> None:
    await here.fetch("k", lease_s=LEASE_S)
    here.drop_early_lease("k", owner=here)
    here.drop_early_lease("k", owner=here)
    await here.tasks.finish(here)
    assert place.leases == {}


async def test_one_that_came_long_ago_is_asked_for_anew(here: LoopStack) -> None:
    assert here.leases is not None
    await here.fetch("k", lease_s=LEASE_S)
    assert not here.leases.take_early("k", within_s=0.0)


async def test_a_store_may_look_without_leasing(here: LoopStack, store: LookingStore) -> None:
    store.has_leases = False
    assert await here.fetch("k", lease_s=LEASE_S) is None
    assert here.leases is not None
    assert not here.leases.take_early("k")


async def test_a_store_that_hangs_is_a_failure_and_leaves_nothing(here: LoopStack, store: LookingStore) -> None:
    here.guard.deadline_s = 0.02
    store.hangs = True
    assert await here.fetch("k", lease_s=LEASE_S) is FAILED
    assert looks_of(here).is_due("k"), "none is under way any more"


async def test_it_is_not_due_for_what_the_store_has_shown_until_that_is_over(here: LoopStack) -> None:
    looks, now = looks_of(here), time.time()
    assert looks.is_due("k")
    await put(here, make_entry("k"), replace(make_entry("over"), store_until=now + 60))
    assert not looks.is_due("k")
    looks.wrote(replace(make_entry("over"), store_until=now - 1))
    assert looks.is_due("over")
    await here.fetch("k")
    looks.note("k", None)
    assert looks.is_due("k")


async def test_it_is_not_due_while_another_is_under_way(here: LoopStack, store: LookingStore) -> None:
    looks = looks_of(here)
    asking = asyncio.create_task(here.fetch("k", lease_s=LEASE_S))
    await asyncio.sleep(0)
    assert not looks.is_due("k")
    assert looks.is_due("another")
    await asking
    assert looks.is_due("k")


async def test_it_is_not_due_while_what_is_not_known_is_found(here: LoopStack) -> None:
    looks = looks_of(here)
    looks.note("of another process", make_entry("of another process"))
    assert not looks.is_due("k")
    looks.note("k", None)
    assert looks.is_due("another")


async def test_where_finding_something_is_dear_several_looks_have_to_find_nothing_first(place: Place) -> None:
    store = LookingStore(place=place)
    store.limits = replace(store.limits, doubts=3)
    looks = looks_of(StoreStack(store).here())
    assert not looks.is_due("k"), "it begins with a look that costs less"
    looks.note("k", None)
    assert looks.is_due("k")
    looks.note("of another process", make_entry("of another process"))
    for key in ("a", "b"):
        looks.note(key, None)
        assert not looks.is_due("k")
    looks.note("c", None)
    assert looks.is_due("k")


async def test_what_is_large_is_found_whole_by_a_look(place: Place) -> None:
    store = LookingStore(place=place)
    store.limits = replace(store.limits, value_bytes=20_000, batch=10)
    here = StoreStack(store).here()
    await put(here, replace(make_entry("large", bytes(100_000)), store_until=math.inf))
    other = StoreStack(store).here()
    assert looks_of(other).is_due("large")
    found = await other.fetch("large", lease_s=LEASE_S)
    assert isinstance(found, StoredResponse)
    assert found.body == bytes(100_000)
    assert await other.fetch("none", lease_s=LEASE_S) is None
    assert place.leases.keys() == {"none"}


async def test_what_is_remembered_is_bounded(store: LookingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_looks, "MAX_SHOWN", 3)
    looks = looks_of(StoreStack(store).here())
    for key in "abcd":
        looks.wrote(replace(make_entry(key), store_until=math.inf))
    assert [looks.is_due(key) for key in "abcd"] == [True, False, False, False]
