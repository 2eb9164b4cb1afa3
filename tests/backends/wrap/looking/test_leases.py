"""Leases of one event loop: when they are released, and how long waiting processes see that they need not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.backends.wrap.looking import leases
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from tests.backends.wrap.test_contract import CapableStore, Place


class TellingStore(CapableStore):
    """A store that records releases; it grants a flag again once that has expired by its own clock."""

    def __init__(self, place: Place) -> None:
        super().__init__(place=place)
        self.given_back: list[str] = []
        self.is_unflagged = asyncio.Event()

    async def release(self, key: str) -> None:
        self.given_back.append(key)
        await super().release(key)
        if key.endswith(":of-one"):
            self.is_unflagged.set()


async def test_a_flag_that_is_set_again_before_its_timer_has_gone_off_is_given_back_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "FLAG_S", 0.02)
    store, failures = TellingStore(Place()), list[dict[str, Any]]()
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    held = StoreStack(store).here().leases
    assert held is not None
    for _ in range(2):  # the loop was busy between the two
        await held.spare("k")
    loop.call_later(leases.FLAG_S, done.set)  # after the timers of the flags
    async with asyncio.timeout(20):
        await done.wait()
        await store.is_unflagged.wait()
    assert [context["exception"] for context in failures] == []
    assert store.given_back == ["k", "k", "k:of-one"]
    assert not store.place.leases


class Obtained:
    """A lease that is asked for while another process holds it, and granted once that has released it."""

    def __init__(self) -> None:
        self.place = Place()
        self.here = StoreStack(CapableStore(place=self.place)).here()
        self.reached = asyncio.Event()

    async def wait(self) -> None:
        """Say that this point is reached, and wait there for ever."""
        self.reached.set()
        await asyncio.Event().wait()

    async def obtain(self, look: Callable[[], Awaitable[None]]) -> None:
        other = CapableStore(place=self.place)
        await other.acquire("k", 5)
        assert self.here.leases is not None

        async def look_after_release() -> None:
            if self.place.leases.get("k") is other:
                await other.release("k")
            else:
                await look()

        await self.here.leases.obtain("k", 5, until=None, look=look_after_release, owner=self)

    async def cancel(self, obtaining: Coroutine[Any, Any, None]) -> None:
        """Cancel *obtaining* where it waits, with the lease."""
        asking = asyncio.create_task(obtaining)
        async with asyncio.timeout(20):
            await self.reached.wait()
        assert "k" in self.place.leases
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    async def is_released(self) -> bool:
        await self.here.tasks.finish(self)
        return "k" not in self.place.leases


async def test_a_lease_is_released_if_its_asker_is_cancelled_while_looking_again() -> None:
    obtained = Obtained()
    await obtained.cancel(obtained.obtain(obtained.wait))
    assert await obtained.is_released()


async def test_a_lease_is_released_if_its_asker_is_cancelled_while_looking_for_the_flag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    obtained, acquire = Obtained(), CapableStore.acquire

    async def slow(self: CapableStore, key: str, ttl_s: float) -> Lease:
        if key != "k":
            await obtained.wait()
        return await acquire(self, key, ttl_s)

    async def look() -> None:
        return None

    monkeypatch.setattr(CapableStore, "acquire", slow)
    await obtained.cancel(obtained.obtain(look))
    assert await obtained.is_released()


async def test_a_lease_is_released_if_looking_again_fails() -> None:
    obtained = Obtained()

    async def look() -> None:
        raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"):
        await obtained.obtain(look)
    assert await obtained.is_released()
