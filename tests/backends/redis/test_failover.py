"""No request fails when a primary is killed or frozen, and soon after the failover there are hits again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.errors import StorageError
from tests.origin import Origin, answer
from tests.valkey import ValkeyServer
from tests.valkey_cluster import ValkeyCluster
from tests.valkey_sentinels import Sentinels

SECRET = "geheim"
AT_ONCE = 32
REPLACED_WITHIN_S = 30.0
HITS_WITHIN_S = 5.0
DOWN_AFTER_MS = 1000
WITH_PASSWORD = {"requirepass": SECRET, "masterauth": SECRET}


class Group(Protocol):
    """Servers with failover."""

    @property
    def url(self) -> str:
        """Their address."""
        ...

    def victim(self) -> tuple[ValkeyServer, ValkeyServer]:
        """A primary, and the replica that will replace it."""
        ...


class OfCluster(ValkeyCluster):
    def victim(self) -> tuple[ValkeyServer, ValkeyServer]:
        pairs = [(primary, self.replica_of(primary)) for primary in self.primaries()]
        return next((primary, replica) for primary, replica in pairs if replica is not None)


class OfSentinels(Sentinels):
    def victim(self) -> tuple[ValkeyServer, ValkeyServer]:
        return self.primary(), self.replica()


@pytest.fixture
def patience() -> None:
    """Keep the timeouts of applications, because these tests measure seconds."""


@pytest.fixture
def group(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Group]:
    """Servers for this test alone, which require a password."""
    made: Any
    if request.param == "cluster":
        made = OfCluster(tmp_path, node_timeout_ms=DOWN_AFTER_MS, config=WITH_PASSWORD)
    else:
        made = OfSentinels(tmp_path, down_after_ms=DOWN_AFTER_MS, config=WITH_PASSWORD)
    with made:
        yield made


def address_of(group: Group) -> str:
    return group.url.replace("://", f"://:{SECRET}@")


class Load:
    """A service that requests the same URLs all the time; none of its requests may fail.

    Args:
        session: the session that it uses.
        urls: the URLs that it requests.
    """

    def __init__(self, session: CachedSession, urls: list[str]) -> None:
        self.session = session
        self.urls = urls
        self.count = 0
        self.failed: list[object] = []

    async def ask(self) -> int:
        """Request all URLs once; return how many were hits."""
        return sum(await asyncio.gather(*map(self._one, self.urls)))

    async def _one(self, url: str) -> bool:
        self.count += 1
        try:
            async with asyncio.timeout(HITS_WITHIN_S), self.session.get(url) as response:
                body = await response.text()
                if response.status != 200 or body != url.rpartition("/")[2]:
                    self.failed.append((response.status, body))
                return response.from_cache
        except Exception as exc:
            self.failed.append(exc)
            return False

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncGenerator[None]:
        """Send requests continuously within this context."""
        stop = asyncio.Event()

        async def go() -> None:
            while not stop.is_set():
                await self.ask()
                await asyncio.sleep(0.02)

        task = asyncio.create_task(go())
        try:
            yield
        finally:
            stop.set()
            await task


async def until(condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Poll until *condition* holds."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until_replaced(heir: ValkeyServer) -> None:
    """Wait until *heir* is a primary."""

    def is_primary() -> bool:
        with heir.client(socket_timeout=5.0) as client, contextlib.suppress(redis.ConnectionError):
            return bool(client.role()[0] == b"master")
        return False  # the server ends all connections when its role changes

    await until(lambda: asyncio.to_thread(is_primary), REPLACED_WITHIN_S)


async def until_hits(address: str, urls: list[str]) -> None:
    """Wait until a service that starts now has only hits."""
    async with CachedSession(cache=RedisBackend("failover", address, storage_deadline=HITS_WITHIN_S)) as session:
        load = Load(session, urls)
        await until(lambda: finds_all(load), 3 * HITS_WITHIN_S)
        assert await load.ask() == len(urls)


async def replaced(load: Load, group: Group, end: Callable[[ValkeyServer], None]) -> float:
    """End a primary under load; return the seconds from the failover until all responses are hits from the store."""
    victim, heir = group.victim()
    async with load.going_on():
        end(victim)
        await until_replaced(heir)
        started = time.monotonic()
        await until_hits(address_of(group), load.urls)
        await until(lambda: serves_all(load), 3 * HITS_WITHIN_S)  # the service under load, too
        return time.monotonic() - started


async def serves_all(load: Load) -> bool:
    """Whether the service has only hits, and all of them are in the store too."""
    return await finds_all(load) and await load.ask() == len(load.urls)


async def finds_all(load: Load) -> bool:
    """Whether the service finds all responses in the store, not only in its own memory."""
    cache = load.session.cache
    keys = [cache.create_key("GET", url) for url in load.urls]
    with contextlib.suppress(StorageError):
        return len(await cache.stack.kinds(keys)) == len(keys)
    return False


KILLED = ("killed", ValkeyServer.kill)
FROZEN = ("frozen", ValkeyServer.pause)


# Sentinels do not fail over twice within a short time.
@pytest.mark.parametrize(
    ("group", "ends"),
    [("cluster", (KILLED, FROZEN)), ("sentinels", (KILLED,)), ("sentinels", (FROZEN,))],
    indirect=["group"],
    ids=["cluster", "sentinels-killed", "sentinels-frozen"],
)
async def test_a_primary_that_is_gone_costs_no_request_and_hits_are_back_soon(
    group: Group, ends: tuple[tuple[str, Callable[[ValkeyServer], None]], ...], origin: Origin
) -> None:
    urls = [origin.on(f"/{number}", answer(str(number))) for number in range(AT_ONCE)]
    async with CachedSession(cache=RedisBackend("failover", address_of(group))) as session:
        load = Load(session, urls)
        assert await load.ask() == 0
        await until_hits(address_of(group), urls)
        for how, end in ends:
            after_s = await replaced(load, group, end)
            print(f"{how}: {load.count} requests, {len(load.failed)} failed, hits {after_s:.2f} s after the failover")
            assert (load.failed, after_s < HITS_WITHIN_S) == ([], True), after_s
        assert load.failed == []
        assert load.count > 10 * AT_ONCE
