"""An origin with a large body, and a program that measures how much memory it takes to receive that body.

``python -m tests.large_bodies <url> <directory>`` requests the same body with plain aiohttp, then three times through a
cache that starts without it. It prints, as JSON, by how much each request raised the peak memory of the process.
"""

# ruff: noqa: ASYNC240  # the program may block
from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.filesystem import FileBackend

__all__ = ["BLOCK", "Large", "block_of", "can_measure", "large_origin"]

BLOCK = 64 * 1024
SMALL = 2 * 2**20
READ_BYTES = 64 * 1024
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def block_of(number: int) -> bytes:
    """A part of the body; no two are alike."""
    return number.to_bytes(8, "big") * (BLOCK // 8)


class Large:
    """An origin with one large body, whose requests it counts, and a small body for warming up."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.hits = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send the body, block by block."""
        is_small = request.path == "/small"
        size = SMALL if is_small else self.size
        self.hits += not is_small
        headers = {"Content-Length": str(size), "Cache-Control": "max-age=600", "ETag": '"large"'}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for number in range(size // BLOCK):
            await response.write(block_of(number))
        await response.write_eof()
        return response


@asynccontextmanager
async def large_origin(size: int) -> AsyncGenerator[Large]:
    """Run a `Large` origin with a body of *size* bytes."""
    large = Large(size)
    app = web.Application()
    app.router.add_get("/{name}", large.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        large.url = f"http://127.0.0.1:{runner.addresses[0][1]}/large"
        yield large
    finally:
        await runner.cleanup()


def can_measure() -> bool:
    """Whether the system reports the peak memory of a process and lets it be reset."""
    try:
        CLEAR.write_text("5")
        return "VmHWM" in STATUS.read_text()
    except OSError:
        return False


def most_bytes() -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def receive(session: ClientSession, url: str) -> dict[str, Any]:
    """Read the body without keeping it; return by how much peak memory rose, its length, and whether it was a hit."""
    gc.collect()
    CLEAR.write_text("5")
    before, total = most_bytes(), 0
    async with session.get(url) as response:
        async for piece in response.content.iter_chunked(READ_BYTES):
            total += len(piece)
        took = most_bytes() - before
    return {"took": took, "bytes": total, "is_hit": getattr(response, "from_cache", False)}


async def settled(backend: FileBackend) -> None:
    """Wait until the body is stored."""
    async with asyncio.timeout(20):
        await backend.stack.settle()


async def measure(url: str, folder: str) -> list[dict[str, Any]]:
    """Measure plain aiohttp once and a cache three times: a miss, then hits."""
    small = url.replace("/large", "/small")  # warms up: loads modules, starts threads
    async with ClientSession() as session:
        await receive(session, small)
        results = [await receive(session, url)]
    # The long deadline keeps a busy disk from aborting the copy.
    backend = FileBackend(folder, cache_control=True, max_body_bytes=None, max_bytes=None, storage_deadline=20)
    async with CachedSession(cache=backend) as session:
        for _ in range(2):
            await receive(session, small)
            await settled(backend)
        for _ in range(3):
            results.append(await receive(session, url))
            await settled(backend)
    return results


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2]))))
