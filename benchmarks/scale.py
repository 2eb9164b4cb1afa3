"""Workloads about many entries: hits, memory, file size, the time to delete, and the memory of an iteration."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from aiohttp_cache_di import CacheBackend
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from benchmarks.clients import CLIENTS, Place, SessionClient, make_backend
from benchmarks.rounds import Round

__all__ = ["WRITTEN_AT_ONCE", "expire", "filled", "iterate", "made_entries", "size", "weight"]

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
WRITTEN_AT_ONCE = 500


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def made_entries(count: int, body_bytes: int, expired_at: float | None = None) -> Iterator[StoredResponse]:
    """Generate entries with eight header lines; every second one expires at *expired_at* (POSIX time), if given."""
    now = time.time()
    for number in range(count):
        tag = b'"%016x"' % number
        until = now + 7 * 86400 if expired_at is None or number % 2 else expired_at
        yield StoredResponse(
            key=f"{number:040x}",
            method="GET",
            url=f"http://api.example.com/items/{number}",
            status=200,
            reason=b"OK",
            raw_headers=(
                (b"Date", b"Sat, 21 Nov 2026 08:00:00 GMT"),
                (b"Server", b"bench"),
                (b"Content-Type", b"application/json; charset=utf-8"),
                (b"Cache-Control", b"public, max-age=86400"),
                (b"Last-Modified", b"Fri, 20 Nov 2026 08:00:00 GMT"),
                (b"X-Request-Id", tag[1:-1]),
                (b"ETag", tag),
                (b"Content-Length", b"%d" % body_bytes),
            ),
            requested_at=now,
            received_at=now,
            created_at=now,
            fresh_until=until,
            store_until=until,
            body=number.to_bytes(8, "big") * (body_bytes // 8),
        )


async def _fill(backend: CacheBackend, entries: Iterator[StoredResponse]) -> None:
    storage = backend.responses
    while some := list(itertools.islice(entries, WRITTEN_AT_ONCE)):
        await asyncio.gather(*map(storage.write_entry, some))


@dataclass
class Stalls:
    """The longest stall of the event loop, in wall-clock time and in CPU time of the loop's thread.

    Wall-clock time includes what other programs use; CPU time excludes the work of our own other threads.
    """

    longest_s: float = 0.0
    longest_cpu_s: float = 0.0

    async def watch(self) -> None:
        """Check every millisecond, until cancelled."""
        loop = asyncio.get_running_loop()
        last, last_cpu = loop.time(), time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now, cpu = loop.time(), time.thread_time()
            self.longest_s = max(self.longest_s, now - last - 0.001)
            self.longest_cpu_s = max(self.longest_cpu_s, cpu - last_cpu)
            last, last_cpu = now, cpu


@asynccontextmanager
async def filled(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """Hits of a thousand URLs in a cache with ``entries`` entries."""
    options = dict(options)
    backend = make_backend(options.pop("store", "memory"), place, options)
    session_class = import_module("aiohttp_cache_di").CachedSession
    async with session_class(cache=backend) as session:
        client = SessionClient(session, backend)
        hot = [f"{place.origin}b/{parameters['body']}/{number}" for number in range(1000)]
        await _fill(backend, made_entries(parameters["entries"] - len(hot), parameters["body"]))
        for _ in range(3):
            await client.fetch(hot)
            await client.drain()
        gc.collect()
        gc.freeze()  # garbage collection of a million objects is not part of a hit

        async def run_round() -> dict[str, float]:
            started = time.perf_counter()
            await client.fetch(hot)
            await client.fetch(hot)
            return {"us": (time.perf_counter() - started) / (2 * len(hot)) * 1e6}

        yield run_round
    await backend.close()


@asynccontextmanager
async def weight(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """The growth of the process per entry, without the body, for entries that come over the network."""
    count, body = parameters["entries"], parameters["body"]
    rounds = itertools.count()
    async with CLIENTS[name](place, options) as client:
        await client.fetch([f"{place.origin}b/{body}/warm/{number}" for number in range(200)])

        async def run_round() -> dict[str, float]:
            number = next(rounds)
            gc.collect()
            before = _resident_bytes()
            await client.fetch([f"{place.origin}b/{body}/{number}/{each}" for each in range(count)])
            await client.drain()
            gc.collect()
            return {"bytes": (_resident_bytes() - before) / count - body}

        yield run_round


@asynccontextmanager
async def size(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """The size of the SQLite file as a multiple of its content: bodies and header lines."""
    backend = make_backend("sqlite", place, {"max_bytes": None, "near_tier": False})
    count, body = parameters["entries"], parameters["body"]
    content = sum(
        body + sum(len(name) + len(value) + 4 for name, value in entry.raw_headers)
        for entry in made_entries(count, body)
    )
    await _fill(backend, made_entries(count, body))

    async def run_round() -> dict[str, float]:
        await backend.close()  # merges the write-ahead log into the file
        return {"ratio": sum(path.stat().st_size for path in Path(place.directory).iterdir()) / content}

    yield run_round
    await backend.close()


@asynccontextmanager
async def expire(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """Delete the expired half of ``entries`` entries: the time that it takes, and the longest stall of the loop."""
    options = dict(options)
    bounds = {"max_bytes": None} if options["store"] != "redis" else {}
    backend = make_backend(options["store"], place, {**bounds, "storage_deadline": 60.0})
    count = parameters["entries"]

    async def run_round() -> dict[str, float]:
        expired_at = time.time() + 3600
        await backend.responses.clear()
        await _fill(backend, made_entries(count, parameters["body"], expired_at))
        gc.collect()
        stalls = Stalls()
        watcher = asyncio.create_task(stalls.watch())
        await asyncio.sleep(0.05)
        stalls.longest_s = stalls.longest_cpu_s = 0.0
        started = time.perf_counter()
        gone = await backend.responses.delete_expired(expired_at + 1)
        took_s = time.perf_counter() - started
        watcher.cancel()
        if gone != count // 2:
            raise RuntimeError(f"{gone} entries went, of {count}")
        return {"s": took_s, "stall_ms": stalls.longest_s * 1000, "stall_cpu_ms": stalls.longest_cpu_s * 1000}

    yield run_round
    await backend.close()


@asynccontextmanager
async def iterate(
    name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]
) -> AsyncGenerator[Round]:
    """Iterate over all entries: the growth of the process meanwhile, as a share of the size of all bodies."""
    options = dict(options)
    bounds: dict[str, Any] = {"max_bytes": None, "near_tier": False} if options["store"] == "sqlite" else {}
    backend = make_backend(options["store"], place, bounds)
    count, body = parameters["entries"], parameters["body"]
    await _fill(backend, made_entries(count, body))
    gc.collect()

    async def run_round() -> dict[str, float]:
        before = most = _resident_bytes()
        seen = 0
        async for _ in backend.responses.values():
            seen += 1
            if seen % 200 == 0:
                most = max(most, _resident_bytes())
        if seen != count or await backend.responses.size() != count:
            raise RuntimeError(f"{seen} of {count} entries came by")
        return {"share": (most - before) / (count * body)}

    yield run_round
    await Runtime.of(backend).settle()
    await backend.close()
