"""Steady traffic while the store fails or recovers, and the outcome of each request."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import TCPConnector

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from tests.faults.origin import Origin

__all__ = ["DEADLINE_S", "RESUMES_WITHIN_S", "LoopWatch", "Traffic", "hits_resume", "open_circuit_costs"]

DEADLINE_S = 0.25
SLACK_S = 0.3  # for a loop that serves 64 clients and their origin on a busy machine
RESUMES_WITHIN_S = 5.0


class LoopWatch:
    """Records the longest time for which the loop was blocked.

    Attributes:
        longest_s: in wall-clock time.
        longest_busy_s: in CPU time of this process, which leaves out delays by other processes.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.longest_busy_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def _watch(self) -> None:
        while True:
            begun, busy = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            took_s = time.perf_counter() - begun - 0.001
            self.longest_s = max(self.longest_s, took_s)
            self.longest_busy_s = max(self.longest_busy_s, min(took_s, time.process_time() - busy))

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()


@dataclass
class Traffic:
    """Concurrent clients; half of the requests are for URLs that are in the cache, half for new ones.

    Args:
        clients: how many clients send requests at the same time.
        urls: how many URLs are requested beforehand, and repeatedly from then on.
    """

    backend: CacheBackend
    origin: Origin
    clients: int = 64
    urls: int = 20
    pause_s: float = 0.02
    outcomes: Counter[str] = field(default_factory=Counter[str])
    latencies_s: list[float] = field(default_factory=list[float])
    hits: int = 0

    async def __aenter__(self) -> Self:
        self.session = CachedSession(cache=self.backend, connector=TCPConnector(limit=0))
        self.watch = await LoopWatch().__aenter__()
        for first in range(0, self.urls, 20):
            await asyncio.gather(*(self.ask(f"/old/{number}") for number in range(first, first + 20)))
        await self.backend.settle()
        self._new = 0
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self.clients)]
        return self

    async def ask(self, path: str) -> bool:
        """Send one request, record its outcome, and return whether it was a hit."""
        begun = time.perf_counter()
        from_cache = False
        try:
            async with self.session.get(self.origin.url + path) as response:
                right = await response.read() == self.origin.body_of(path)
                from_cache = response.from_cache
            outcome = "ok" if right and response.status == 200 else "wrong"
        except Exception as error:
            outcome = repr(error)
        self.latencies_s.append(time.perf_counter() - begun)
        self.outcomes[outcome] += 1
        self.hits += from_cache
        return from_cache

    async def _client(self, number: int) -> None:
        while not self._stop.is_set():
            self._new += 1
            await self.ask(f"/old/{number % self.urls}" if number % 2 else f"/new/{self._new}")
            await asyncio.sleep(self.pause_s)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self.watch.__aexit__(None, None, None)
        await self.session.close()

    @property
    def figures(self) -> dict[str, object]:
        """Figures for the summary."""
        return {
            "requests": self.outcomes.total(),
            "not_ok": self.outcomes.total() - self.outcomes["ok"],
            "hits": self.hits,
            "median_ms": statistics.median(self.latencies_s) * 1000,
            "slowest_ms": max(self.latencies_s) * 1000,
            "loop_held_up_ms": self.watch.longest_s * 1000,
            "errors": dict(self.backend.stats.store_errors),
        }

    def check(self) -> None:
        """Assert that no request failed, got a wrong body, or was delayed by more than one storage deadline."""
        assert self.outcomes["ok"] == self.outcomes.total(), self.outcomes.most_common(3)
        # A request takes a few iterations of the loop, and a busy machine delays each.
        allowed_s = DEADLINE_S + SLACK_S + 4 * self.watch.longest_s
        assert max(self.latencies_s) < allowed_s, sorted(self.latencies_s)[-3:]


async def hits_resume(traffic: Traffic) -> float:
    """Seconds until a new response is stored and hit again; past `RESUMES_WITHIN_S` if that never happens."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < RESUMES_WITHIN_S + 5:
        path = f"/again/{time.perf_counter()}"
        await traffic.ask(path)
        await traffic.backend.settle()
        if await traffic.ask(path):
            break
        await asyncio.sleep(0.02)  # the circuit breaker retries the store only at its own times
    return time.perf_counter() - begun


async def open_circuit_costs(traffic: Traffic) -> float:
    """Median seconds by which an open circuit makes a request slower than one without a cache."""

    async def one(path: str) -> float:
        begun = time.perf_counter()
        async with traffic.session.get(traffic.origin.url + path) as response:
            await response.read()
        return time.perf_counter() - begun

    through, without = list[float](), list[float]()
    for number in range(40):
        through.append(await one(f"/costs/{number}"))
        with traffic.session.disabled():
            without.append(await one(f"/costs/{number}"))
    return statistics.median(through) - statistics.median(without)
