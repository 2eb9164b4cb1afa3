"""Alarms fire in time, in the order in which they were set, and not once they are cancelled."""

from __future__ import annotations

import asyncio

from aiohttp_cache_di.backends.wrap.alarms import Alarms

SOON_S = 0.02


async def rung(alarms: Alarms[str], times: int, told: list[str], done: asyncio.Event) -> list[str]:
    async with asyncio.timeout(20):
        while len(told) < times:
            done.clear()
            await done.wait()
    return told


async def test_they_ring_in_order_and_once() -> None:
    told: list[str] = []
    done = asyncio.Event()
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()

    def ring(key: str) -> None:
        told.append(key)
        done.set()

    alarms = Alarms(SOON_S, ring)
    for key in "abc":
        alarms.set(key)
    alarms.set("a")
    assert alarms.unset("b")
    assert not alarms.unset("b")
    assert await rung(alarms, 2, told, done) == ["c", "a"]
    assert loop.time() - begun >= SOON_S
    assert not alarms.unset("a")
    alarms.set("again")
    assert await rung(alarms, 3, told, done) == ["c", "a", "again"]


async def test_one_that_rings_may_unset_another_and_set_itself() -> None:
    told: list[str] = []
    done = asyncio.Event()

    def ring(key: str) -> None:
        told.append(key)
        alarms.unset("b")
        if len(told) < 3:
            alarms.set(key)
        done.set()

    alarms = Alarms(SOON_S, ring)
    alarms.set("a")
    alarms.set("b")
    assert await rung(alarms, 3, told, done) == ["a"] * 3


async def test_cleared_ones_do_not_ring() -> None:
    told: list[str] = []
    done = asyncio.Event()
    alarms, other = Alarms[str](SOON_S, told.append), Alarms[str](2 * SOON_S, lambda key: done.set())
    alarms.set("a")
    other.set("later")
    alarms.clear()
    async with asyncio.timeout(20):
        await done.wait()
    assert told == []
