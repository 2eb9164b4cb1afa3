"""An origin of a large body, and a program that measures what it takes to receive it: by itself, or by a cache.

``python -m tests.large_bodies <url> <directory>`` asks for the same body by plain aiohttp, by a cache that does not
have it, and by the same cache again; it prints, as JSON, by how much each raised the most memory the process ever had.
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
    """An origin that has one large body, counts how often it was asked, and has a small one to warm up by."""

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
    """Run one."""
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
    """Whether the system tells the most memory that a process ever had, and lets it be told anew."""
    try:
        CLEAR.write_text("5")
        return "VmHWM" in STATUS.read_text()
    except OSError:
        return False


def most_bytes() -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def receive(session: ClientSession, url: str) -> dict[str, Any]:
    """Read the body as one who keeps nothing of it; what it took, and what is said of it."""
    gc.collect()
    CLEAR.write_text("5")
    before, total = most_bytes(), 0
    async with session.get(url) as response:
        async for piece in response.content.iter_chunked(READ_BYTES):
            total += len(piece)
        took = most_bytes() - before
    return {"took": took, "bytes": total, "is_hit": getattr(response, "from_cache", False)}


async def settled(backend: FileBackend) -> None:
    """Wait until the last piece is written."""
    async with asyncio.timeout(20):
        await backend.stack.settle()


async def measure(url: str, folder: str) -> list[dict[str, Any]]:
    """All three."""
    small = url.replace("/large", "/small")  # what is only needed once, like modules and threads, is there after it
    async with ClientSession() as session:
        await receive(session, small)
        results = [await receive(session, url)]
    # A disk that is busy with other things costs time here, and not the copy.
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
