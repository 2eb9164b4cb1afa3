"""The copy of a body: taken as it arrives, kept when it is whole, and never in the reader's way."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse, StreamReader
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di._aiohttp import DecodingWatch
from aiohttp_cache_di.streaming import Unkept, is_framed, may_be_kept, record, wait_for_end

LIMIT = 1000


class FakeProtocol:
    """A connection whose flow nobody has to control."""

    paused = 0

    def pause_reading(self) -> None:
        """Count it."""
        self.paused += 1

    def resume_reading(self, resume_parser: bool = True) -> None:
        """There is nothing to resume."""


class Body:
    """A response whose body a test feeds, and what became of the copy."""

    def __init__(self, stream: Any = None, **headers: str) -> None:
        self.protocol = FakeProtocol()
        protocol: Any = self.protocol
        self.stream: Any = stream or StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
        self.response = ClientResponse.__new__(ClientResponse)
        self.response.content = self.stream
        self.response.status, self.response.method = 200, "GET"
        self.response._cache = {}
        self.response._headers = CIMultiDictProxy(CIMultiDict(headers))
        self.ends: list[bytes | Unkept] = []

    def record(self, watch: DecodingWatch | None = None) -> None:
        """Begin to copy."""
        record(self.response, max_bytes=LIMIT, finished=self.ends.append, watch=watch)


@pytest.fixture
async def body() -> Body:
    return Body()


class TestRecord:
    async def test_a_body_is_copied_as_it_arrives(self, body: Body) -> None:
        body.stream.feed_data(b"early ")
        body.record()
        body.stream.feed_data(b"late ")
        assert await body.stream.readany() == b"early late "
        body.stream.feed_data(b"last")
        assert body.ends == []
        body.stream.feed_eof()
        assert body.ends == [b"early late last"]
        assert await body.stream.read() == b"last"

    async def test_a_body_that_has_arrived_is_copied_at_once(self, body: Body) -> None:
        body.stream.feed_data(b"text")
        body.stream.feed_eof()
        body.record()
        assert body.ends == [b"text"]
        assert await body.stream.read() == b"text"

    async def test_an_empty_body_is_a_body(self) -> None:
        body = Body(stream=EMPTY_PAYLOAD)
        body.record()
        assert body.ends == [b""]

    async def test_a_body_that_is_too_large_is_let_go_when_that_shows(self, body: Body) -> None:
        body.record()
        body.stream.feed_data(b"x" * LIMIT)
        assert body.ends == []
        body.stream.feed_data(b"x")
        assert body.ends == [Unkept.UNFIT]
        body.stream.feed_data(b"x")
        body.stream.feed_eof()
        assert body.ends == [Unkept.UNFIT]
        assert len(await body.stream.read()) == LIMIT + 2

    async def test_a_body_that_has_grown_too_large_before_is_let_go(self, body: Body) -> None:
        body.stream.feed_data(b"x" * (LIMIT + 1))
        body.record()
        assert body.ends == [Unkept.UNFIT]

    async def test_a_body_that_breaks_is_not_kept(self, body: Body) -> None:
        body.record()
        body.stream.feed_data(b"part")
        body.stream.set_exception(ClientPayloadError("broken"))
        assert body.ends == [Unkept.CUT]
        with pytest.raises(ClientPayloadError):
            await body.stream.read()

    async def test_a_body_that_is_broken_already_is_not_kept(self, body: Body) -> None:
        body.stream.set_exception(ClientPayloadError("broken"))
        body.record()
        assert body.ends == [Unkept.CUT]

    async def test_a_response_that_is_dropped_ends_the_copy(self) -> None:
        body = Body()
        ends = body.ends
        body.record()
        del body
        gc.collect()
        await asyncio.sleep(0)
        assert ends == [Unkept.CUT]

    @pytest.mark.parametrize("finished", [True, False])
    async def test_a_coding_has_to_come_to_its_end(self, body: Body, finished: bool) -> None:
        watch = DecodingWatch()
        body.record(watch)
        body.stream.feed_data(b"text")
        watch.finished = finished
        body.stream.feed_eof()
        assert body.ends == [b"text" if finished else Unkept.UNFIT]

    async def test_a_stream_of_somebody_else_s_making_is_left_alone(self) -> None:
        class OwnStream(StreamReader):
            __slots__ = ()

        protocol: Any = FakeProtocol()
        body = Body(stream=OwnStream(protocol, 1, loop=asyncio.get_running_loop()))
        body.record()
        assert body.ends == [Unkept.UNFIT]
        assert type(body.stream) is OwnStream

    async def test_the_flow_is_controlled_as_before(self, body: Body) -> None:
        body.record()
        body.stream.feed_data(b"x" * 2**18)
        assert body.protocol.paused == 1


class TestFraming:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"Content-Length": "4"}, True),
            ({"Transfer-Encoding": "chunked"}, True),
            ({"Transfer-Encoding": "gzip, Chunked"}, True),
            ({"Transfer-Encoding": "gzip"}, False),
            ({"Transfer-Encoding": "identity", "Content-Length": "4"}, False),
            ({}, False),
        ],
    )
    async def test_a_body_ends_by_its_length_or_its_last_chunk(self, headers: dict[str, str], expected: bool) -> None:
        assert is_framed(Body(**headers).response) is expected

    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
    async def test_what_has_no_body_needs_no_end(self, body: Body, method: str, status: int) -> None:
        body.response.method, body.response.status = method, status
        assert is_framed(body.response)


class TestMayBeKept:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"Content-Length": f"{LIMIT}"}, True),
            ({"Content-Length": f"{LIMIT + 1}"}, False),
            ({"Content-Length": "many"}, True),
            ({"Transfer-Encoding": "chunked"}, True),
            ({"Transfer-Encoding": "chunked", "Content-Type": "text/event-stream; charset=utf-8"}, False),
            ({}, False),
        ],
    )
    async def test_only_what_ends_soon_enough_is_copied(self, headers: dict[str, str], expected: bool) -> None:
        assert may_be_kept(Body(**headers).response, LIMIT) is expected

    async def test_a_head_may_speak_of_a_large_body(self) -> None:
        body = Body(**{"Content-Length": f"{LIMIT + 1}"})
        body.response.method = "HEAD"
        assert may_be_kept(body.response, LIMIT)


class TestWaitForEnd:
    async def test_the_end_is_waited_for(self, body: Body) -> None:
        asyncio.get_running_loop().call_soon(body.stream.feed_eof)
        await wait_for_end(body.response)
        assert body.stream.is_eof()

    async def test_not_for_long(self, body: Body) -> None:
        await wait_for_end(body.response)
        assert not body.stream.is_eof()

    async def test_a_body_that_breaks_meanwhile_is_for_its_reader_to_hear_of(self, body: Body) -> None:
        asyncio.get_running_loop().call_soon(body.stream.set_exception, ClientPayloadError("broken"))
        await wait_for_end(body.response)
        assert isinstance(body.stream.exception(), ClientPayloadError)
