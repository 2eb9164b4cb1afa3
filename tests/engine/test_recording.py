"""The copy of a body: taken as it arrives, kept when it is whole, and never in the reader's way."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse, StreamReader
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di._aiohttp import DecodingWatch
from aiohttp_cache_di.engine import recording
from aiohttp_cache_di.engine.recording import Unkept, is_framed, record, wait_for_end, why_not_kept

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


def files_made(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """Let copies go to a file after 50 bytes; the files that are made for them."""
    files: list[IO[bytes]] = []
    make = tempfile.TemporaryFile

    def noted() -> IO[bytes]:
        files.append(make())
        return files[-1]

    monkeypatch.setattr(recording, "IN_MEMORY_BYTES", 50)
    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    return files


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
        assert body.ends == [Unkept.TOO_LARGE]
        body.stream.feed_data(b"x")
        body.stream.feed_eof()
        assert body.ends == [Unkept.TOO_LARGE]
        assert len(await body.stream.read()) == LIMIT + 2

    async def test_a_body_that_has_grown_too_large_before_is_let_go(self, body: Body) -> None:
        body.stream.feed_data(b"x" * (LIMIT + 1))
        body.record()
        assert body.ends == [Unkept.TOO_LARGE]

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

    @pytest.mark.parametrize("headers", [{}, {"Content-Length": "9", "Content-Encoding": "gzip"}])
    async def test_a_body_that_may_become_large_waits_in_a_file(
        self, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
    ) -> None:
        files = files_made(monkeypatch)
        body = Body(**headers)
        body.stream.feed_data(b"early ")
        body.record()
        body.stream.feed_data(b"late ")
        assert not files
        body.stream.feed_data(b"x" * 100)
        body.stream.feed_data(b"last")
        assert len(files) == 1
        body.stream.feed_eof()
        assert body.ends == [b"early late " + b"x" * 100 + b"last"]
        assert files[0].closed

    async def test_a_body_of_a_known_length_waits_in_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = files_made(monkeypatch)
        body = Body(**{"Content-Length": "100"})
        body.record()
        body.stream.feed_data(b"x" * 100)
        body.stream.feed_eof()
        assert body.ends == [b"x" * 100]
        assert not files

    @pytest.mark.parametrize("end", ["too large", "broken", "dropped"])
    async def test_a_file_that_is_not_needed_any_more_is_closed(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, end: str
    ) -> None:
        files = files_made(monkeypatch)
        body = Body()
        ends = body.ends
        body.record()
        body.stream.feed_data(b"x" * 100)
        if end == "too large":
            body.stream.feed_data(b"x" * LIMIT)
            body.stream.feed_eof()
        elif end == "broken":
            body.stream.set_exception(ClientPayloadError("broken"))
        else:
            del body
            gc.collect()
            await asyncio.sleep(0)
        assert ends == [Unkept.TOO_LARGE if end == "too large" else Unkept.CUT]
        assert files[0].closed
        assert not caplog.records, "aiohttp logs what goes wrong at the end of a body"

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
    @pytest.mark.parametrize("size", [100, 100_000], ids=["noticed at the end", "noticed at once"])
    async def test_a_disk_that_is_full_costs_the_copy_and_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        monkeypatch.setattr(recording, "IN_MEMORY_BYTES", 50)
        monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, "/dev/full", "w+b"))
        body = Body()
        record(body.response, max_bytes=1_000_000, finished=body.ends.append)
        body.stream.feed_data(b"x" * size)
        body.stream.feed_eof()
        assert body.ends == [Unkept.NO_ROOM]
        assert await body.stream.read() == b"x" * size

    async def test_without_a_place_for_files_the_memory_has_to_do(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(recording, "IN_MEMORY_BYTES", 50)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        body = Body()
        body.record()
        body.stream.feed_data(b"x" * 100)
        body.stream.feed_data(b"y" * 100)
        body.stream.feed_eof()
        assert body.ends == [b"x" * 100 + b"y" * 100]

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
        assert (why_not_kept(Body(**headers).response, LIMIT) is None) is expected

    async def test_a_head_may_speak_of_a_large_body(self) -> None:
        body = Body(**{"Content-Length": f"{LIMIT + 1}"})
        body.response.method = "HEAD"
        assert why_not_kept(body.response, LIMIT) is None


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
