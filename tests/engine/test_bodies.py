"""Bodies as they arrive, with an origin and a session: no failure of the cache reaches a reader."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di._aiohttp import decoding
from aiohttp_cache_di.engine.copies import budget, recorder, recording
from aiohttp_cache_di.engine.storing import arriving
from tests.clients import Clients
from tests.origin import Origin, Received, answer, chunked
from tests.programs import started

LARGE = b"0123456789abcdef" * (3 * 2**16)  # 3 MiB


async def in_chunks(request: Received) -> AsyncIterator[bytes]:
    """A large body of unknown length."""
    yield answer(headers={"Content-Length": None, "Transfer-Encoding": "chunked"})
    for start in range(0, len(LARGE), 2**16):
        yield chunked(LARGE[start : start + 2**16], end=False)
    yield chunked()


def broken(*args: object, **kwargs: object) -> Any:
    """Stands in for a function of the package that fails."""
    raise MemoryError


async def test_a_large_body_of_unknown_length_reaches_its_reader_and_is_stored(
    clients: Clients, origin: Origin
) -> None:
    client = clients()
    url = origin.on("/", in_chunks)
    for expected in (False, True):
        is_hit, text = await client.fetch(url)
        assert (is_hit, text.encode() == LARGE) == (expected, True)
    assert budget.COPIES.taken_bytes == 0


@pytest.mark.parametrize(
    "place",
    [
        (recording, "known_size"),
        (recording, "Recorder"),
        (recording, "whole"),
        (recorder, "whole"),
        (recorder.Recorder, "_take"),
        (arriving.ArrivingResponse, "_entry"),
        (arriving.ArrivingResponse, "_put"),
        (arriving, "place_and_tell"),
        (arriving, "history_of"),
        (decoding, "_begins_uncoded"),
        (decoding, "_has_ended"),
        (decoding.DecodingWatch, "_look"),
        (decoding.DecodingWatch, "attach"),
    ],
    ids=lambda place: place[1],
)
@pytest.mark.parametrize("coded", [False, True])
async def test_an_error_of_ours_beside_a_body_reaches_no_reader(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, place: tuple[object, str], coded: bool
) -> None:
    monkeypatch.setattr(*place, broken)
    coding = {"Content-Encoding": "gzip"} if coded else {}
    small = origin.on("/small", answer(gzip.compress(b"text") if coded else b"text", headers=coding))
    large = origin.on("/large", in_chunks)
    async with CachedSession() as session:
        for _ in range(2):
            async with asyncio.timeout(20), session.get(small) as response:
                assert await response.text() == "text"
            async with asyncio.timeout(20), session.get(large) as response:
                assert await response.read() == LARGE
            followers = await asyncio.gather(*(session.get(small) for _ in range(3)))
            assert [await response.text() for response in followers] == ["text"] * 3
    assert budget.COPIES.taken_bytes == 0


PROGRAM = """
import asyncio
from blockbuster import BlockBuster
from aiohttp_cache_di import CachedSession
from tests.engine.test_bodies import LARGE, in_chunks
from tests.origin import Origin

async def main():
    BlockBuster("aiohttp_cache_di").activate()
    async with Origin() as origin:
        session = CachedSession()
        for _ in range(2):
            async with session.get(origin.on("/", in_chunks)) as response:
                assert await response.read() == LARGE
        assert response.from_cache
        await session.close()

asyncio.run(main())
print("ended")
"""


async def test_a_program_under_blockbuster_ends() -> None:
    async with started(sys.executable, "-c", PROGRAM, stdout=asyncio.subprocess.PIPE) as process:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out == b"ended\n"
