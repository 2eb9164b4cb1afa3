"""Leases of one event loop: how long a released key is marked, so that waiting processes do not wait in turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

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
