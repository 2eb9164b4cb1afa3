"""How many modules of the package a request runs through, on the paths that `engine` and `backends` draw.

A profiler records each module of the package in which a function is called during a request, in the thread of the loop
and in that of a store. CONTRIBUTING has the numbers: a higher one is a reason to reconsider the drawing.
"""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from tests.origin import Origin, answer
from tests.valkey import ValkeyServer

pytestmark = pytest.mark.shortcuts

PACKAGE = "aiohttp_cache_di"
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


class Walk:
    """The modules of the package that run while it is `recording`."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.recording = False

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        """Handle an event of the profiler."""
        if self.recording and event == "call":
            name: str = frame.f_globals.get("__name__", "")
            if name.partition(".")[0] == PACKAGE:
                self.modules.add(name.removeprefix(f"{PACKAGE}."))

    async def of(self, session: CachedSession, url: str) -> set[str]:
        """The modules that one request runs through, until its body is read."""
        self.modules.clear()
        self.recording = True
        try:
            async with session.get(url) as response:
                await response.read()
        finally:
            self.recording = False
        return set(self.modules)


@pytest.fixture
def walk() -> Iterator[Walk]:
    """Profile this thread, and those that start during the test."""
    made = Walk()
    before = sys.getprofile()
    threading.setprofile(made.note)
    sys.setprofile(made.note)
    try:
        yield made
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


async def _warm(session: CachedSession, url: str, backend: CacheBackend) -> None:
    """Fetch *url*, let the fast lane learn from a hit, and wait for the writes."""
    for _ in range(3):
        async with session.get(url) as response:
            await response.read()
    await backend.settle()
    await asyncio.sleep(0)


def _told(walk: str) -> int:
    """The number of modules of *walk* according to CONTRIBUTING."""
    found = re.search(rf"^\| {walk} +\| (\d+) ", CONTRIBUTING.read_text(), re.MULTILINE)
    assert found is not None, walk
    return int(found[1])


async def _shortest(walk: Walk, session: CachedSession, urls: Iterable[str]) -> set[str]:
    """The shortest walk of several: background work may run during one of them."""
    return min([await walk.of(session, url) for url in urls], key=len)


async def test_a_plain_sqlite_hit_from_memory_is_as_short_as_told(walk: Walk, origin: Origin, tmp_path: Path) -> None:
    url = origin.on("/a", answer("a"))
    async with CachedSession(cache=SQLiteBackend(str(tmp_path / "c.sqlite"))) as session:
        await _warm(session, url, session.cache)
        modules = await _shortest(walk, session, [url] * 5)
    assert abs(len(modules) - _told("plain SQLite hit from memory")) <= 1, sorted(modules)
    assert not [name for name in modules if "telemetry" in name or "watching" in name]  # nothing observes it


async def test_a_plain_sqlite_hit_from_the_file_is_as_short_as_told(walk: Walk, origin: Origin, tmp_path: Path) -> None:
    url = origin.on("/a", answer("a"))
    async with CachedSession(cache=SQLiteBackend(str(tmp_path / "c.sqlite"), near_tier=False)) as session:
        await _warm(session, url, session.cache)
        modules = await _shortest(walk, session, [url] * 5)
    assert abs(len(modules) - _told("plain SQLite hit from the file")) <= 2, sorted(modules)


async def test_a_leased_redis_miss_is_as_short_as_told(walk: Walk, origin: Origin, valkey: ValkeyServer) -> None:
    async with CachedSession(cache=RedisBackend("walk", address=valkey.url, autoclose=True)) as session:
        await _warm(session, origin.on("/a", answer("a")), session.cache)
        modules = await _shortest(walk, session, [origin.on(f"/b{n}", answer("b")) for n in range(5)])
        await session.cache.settle()
    assert abs(len(modules) - _told("leased Redis miss")) <= 6, sorted(modules)
