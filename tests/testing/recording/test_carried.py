"""Bodies in the recorder: coded, streamed, without an end, sent in all forms; and the length that a HEAD tells."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import FormData, MultipartWriter

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing import recorded
from tests.origin import Origin, answer, chunked
from tests.testing.recording.tapes import kept, put, text_of


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip"])
@pytest.mark.parametrize("decoded", [True, False])
async def test_a_coded_body_is_recorded_as_text_and_comes_in_its_coding(
    coding: str, decoded: bool, path: Path, origin: Origin
) -> None:
    body = b"hello " * 100
    content = zlib.compress(body) if coding == "deflate" else gzip.compress(body)
    head = answer(headers={"Content-Encoding": coding, "Content-Length": str(len(content))})
    url = origin.on("/a", head + content)
    for mode in ("once", "none", "none"):
        async with recorded(path, mode), CachedSession(cache_control=True) as session:
            for is_second in (False, True):
                async with session.get(url, auto_decompress=decoded) as response:
                    assert response.headers["Content-Encoding"] == coding
                    found = await response.read()
                    plain = found if decoded and coding != "x-gzip" else zlib.decompress(found, 47)
                    assert plain == body
                    assert response.from_cache is is_second
    assert kept(path)[0].answered.body == body
    assert origin.hits == 1


async def test_a_coding_that_is_not_known_here_is_recorded_as_it_came(path: Path, origin: Origin) -> None:
    url = origin.on("/a", answer(b"\x01\x02".decode("latin-1"), headers={"Content-Encoding": "odd"}))
    for mode in ("once", "none"):
        async with (
            recorded(path, mode),
            CachedSession() as session,
            session.get(url, auto_decompress=False) as response,
        ):
            assert await response.read() == b"\x01\x02"
            assert response.headers["Content-Encoding"] == "odd"


async def test_what_cannot_be_coded_here_is_handed_out_as_it_is_and_says_so(path: Path) -> None:
    put(path, ODD)
    async with recorded(path), CachedSession() as session, session.get("https://api.example.com/") as response:
        assert await response.text() == "plain"
        assert "Content-Encoding" not in response.headers


ODD = """
format: aiohttp-cache-di/1
exchanges:
- request: {method: GET, url: 'https://api.example.com/'}
  response: {status: 200, headers: {Content-Encoding: odd}, text: plain}
"""


async def test_a_stream_is_recorded_whole(path: Path, origin: Origin) -> None:
    head = answer(headers={"Transfer-Encoding": "chunked", "Content-Length": None})
    url = origin.on("/a", head + chunked(b"a" * 70_000, b"b" * 70_000))
    for mode in ("once", "none"):
        async with recorded(path, mode), CachedSession() as session, session.get(url) as response:
            size = 0
            async for piece in response.content.iter_chunked(1000):
                size += len(piece)
            assert size == 140_000
            assert response.cache_status.endswith("stored")


async def test_a_stream_without_an_end_is_refused(path: Path, origin: Origin, session: CachedSession) -> None:
    head = answer(headers={"Content-Type": "text/event-stream", "Content-Length": None, "Transfer-Encoding": "chunked"})
    url = origin.on("/a", head + chunked(b"data: 1\n\n", end=False))
    async with recorded(path, "once"):
        with pytest.raises(ConfigurationError, match="a response without an end"):
            await session.get(url)


async def test_bodies_of_all_kinds_are_sent_and_distinguished(path: Path, origin: Origin) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    def form() -> FormData:
        made = FormData()
        made.add_field("file", b"content", filename="a.txt")
        return made

    def writer() -> MultipartWriter:
        made = MultipartWriter("mixed")
        made.append("part")
        return made

    url = origin.on("/echo", lambda received: answer(received.body[-40:]))
    for mode in ("once", "none"):
        async with recorded(path, mode), CachedSession() as session:
            assert await text_of(url, session, "POST", data=pieces()) == "ab"
            assert await text_of(url, session, "POST", data=b"raw") == "raw"
            assert await text_of(url, session, "POST", json={"a": 1}) == '{"a": 1}'
            assert await text_of(url, session, "POST", data={"a": "1"}) == "a=1"
            assert "--" in await text_of(url, session, "POST", data=form())
            assert "--" in await text_of(url, session, "POST", data=writer())
    assert origin.hits == 6


async def test_head_keeps_the_length_that_it_tells(path: Path, origin: Origin) -> None:
    url = origin.on("/a", answer("x" * 1000))
    for mode in ("once", "none"):
        async with recorded(path, mode), CachedSession() as session, session.head(url) as response:
            assert response.headers["Content-Length"] == "1000"
