"""The copy of a body: made as the body arrives, stored when it is complete, and never a hindrance to the reader."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse, StreamReader
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di._aiohttp import DecodingWatch
from aiohttp_cache_di.engine.copies import recorder, recording
from aiohttp_cache_di.engine.copies.budget import COPIES, Budget
from aiohttp_cache_di.engine.copies.framing import Unkept, is_framed, why_not_kept
from aiohttp_cache_di.engine.copies.recorder import Recorder
from aiohttp_cache_di.engine.copies.recording import RecordingStreamReader, record, wait_for_end
from aiohttp_cache_di.entries.filed import FiledBody
from tests.origin import Origin, answer

LIMIT = 1000


class FakeProtocol:
    """A protocol that counts the calls of flow control."""

    paused = 0

    def pause_reading(self) -> None:
        """Count the call."""
        self.paused += 1

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Do nothing."""


class Copied:
    """The recipient of the copy of a body."""

    def __init__(self) -> None:
        self.ends: list[bytes | FiledBody | Unkept] = []
        self.failures: list[str] = []
        self.finished: Callable[[bytes | FiledBody | Unkept], None] = self.ends.append
        self.failed: Callable[[str], None] = self.failures.append

    def arrived(self) -> None:
        """Do nothing."""


class Body:
    """A response whose body a test feeds, and the outcome of the copy."""

    def __init__(self, stream: Any = None, **headers: str) -> None:
        self.protocol = FakeProtocol()
        protocol: Any = self.protocol
        self.stream: Any = stream or StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
        self.response = ClientResponse.__new__(ClientResponse)
        self.response.content = self.stream
        self.response.status, self.response.method = 200, "GET"
        self.response._cache = {}
        self.response._headers = CIMultiDictProxy(CIMultiDict(headers))
        self.copied = Copied()

    @property
    def ends(self) -> list[bytes | FiledBody | Unkept]:
        """What the recipient has got."""
        return self.copied.ends

    @property
    def failures(self) -> list[str]:
        """The kinds of the errors that were counted."""
        return self.copied.failures

    def record(self, watch: DecodingWatch | None = None, *, budget: Budget = COPIES) -> None:
        """Begin to copy."""
        record(self.response, self.copied, max_bytes=LIMIT, watch=watch, budget=budget)


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

    @pytest.mark.parametrize("finished", [True, False])
    async def test_a_coding_has_to_come_to_its_end(self, body: Body, finished: bool) -> None:
        watch = DecodingWatch()
        body.stream.total_compressed_bytes = 0  # as a decoder sets it
        body.record(watch)
        body.stream.feed_data(b"text")
        watch.finished = finished
        body.stream.feed_eof()
        assert body.ends == [b"text" if finished else Unkept.DAMAGED]

    async def test_a_stream_of_another_make_is_left_alone(self) -> None:
        class OwnStream(StreamReader):
            __slots__ = ()

        protocol: Any = FakeProtocol()
        body = Body(stream=OwnStream(protocol, 1, loop=asyncio.get_running_loop()))
        body.record()
        assert body.ends == [Unkept.UNSEEN]
        assert type(body.stream) is OwnStream

    async def test_without_a_watch_nothing_that_is_decoded_is_kept(self, body: Body) -> None:
        body.stream.total_compressed_bytes = 0
        body.record()
        assert body.ends == [Unkept.UNSEEN]

    async def test_a_body_whose_beginning_has_been_read_is_not_kept(self, body: Body) -> None:
        body.stream.feed_data(b"early ")
        await body.stream.readany()
        body.record()
        assert body.ends == [Unkept.UNSEEN]

    async def test_a_body_that_was_read_before_its_end_was_looked_at_is_not_kept(self, body: Body) -> None:
        body.stream.feed_data(b"early ")
        await body.stream.readany()
        body.stream.feed_data(b"late")
        body.stream.feed_eof()
        body.record()
        assert body.ends == [Unkept.UNSEEN]

    @pytest.mark.parametrize("at_once", [True, False])
    async def test_a_body_is_only_whole_if_it_is_as_long_as_announced(self, at_once: bool) -> None:
        body = Body(**{"Content-Length": "9"})
        if not at_once:
            body.record()
        body.stream.feed_data(b"text")
        body.stream.feed_eof()  # aiohttp's parsers do not do this before the length is reached
        if at_once:
            body.record()
        assert body.ends == [Unkept.DAMAGED]

    async def test_bytes_that_bypassed_the_copy_are_missed(self, body: Body) -> None:
        body.record()
        body.stream.feed_data(b"one ")
        StreamReader.feed_data(body.stream, b"two ")
        body.stream.feed_data(b"three")
        body.stream.feed_eof()
        assert body.ends == [Unkept.UNSEEN]
        assert await body.stream.read() == b"one two three"

    async def test_what_a_head_announces_of_another_body_is_not_waited_for(self) -> None:
        body = Body(stream=EMPTY_PAYLOAD, **{"Content-Length": "9"})
        body.response.method = "HEAD"
        body.record()
        assert body.ends == [b""]

    async def test_the_flow_is_controlled_as_before(self, body: Body) -> None:
        body.record()
        body.stream.feed_data(b"x" * 2**18)
        assert body.protocol.paused == 1


class TestBudget:
    """Concurrent copies share a memory budget, and release their part of it however they end."""

    async def test_a_body_of_known_size_reserves_its_memory(self) -> None:
        budget, body = Budget(100), Body(**{"Content-Length": "60"})
        body.record(budget=budget)
        assert budget.taken_bytes == 60
        body.stream.feed_data(b"x" * 60)
        body.stream.feed_eof()
        assert body.ends == [b"x" * 60]
        assert budget.taken_bytes == 0

    async def test_a_body_of_unknown_size_takes_what_has_arrived(self, body: Body) -> None:
        budget = Budget(100)
        body.stream.feed_data(b"early ")
        body.record(budget=budget)
        assert budget.taken_bytes == 6
        body.stream.feed_data(b"late")
        assert budget.taken_bytes == 10

    @pytest.mark.parametrize("headers", [{}, {"Content-Length": "60"}])
    async def test_a_body_beyond_the_budget_is_not_kept_and_reaches_its_reader(self, headers: dict[str, str]) -> None:
        budget, first, second = Budget(100), Body(**headers), Body(**headers)
        for body in (first, second):
            body.record(budget=budget)
            body.stream.feed_data(b"x" * 60)
        for body in (first, second):
            body.stream.feed_eof()
        assert first.ends == [b"x" * 60]
        assert second.ends == [Unkept.NO_ROOM]
        assert await second.stream.read() == b"x" * 60
        assert budget.taken_bytes == 0

    async def test_a_body_that_is_alone_may_be_larger_than_the_budget(self, body: Body) -> None:
        body.record(budget=Budget(100))
        for _ in range(4):
            body.stream.feed_data(b"x" * 60)
        body.stream.feed_eof()
        assert body.ends == [b"x" * 240]

    async def test_a_body_that_has_arrived_takes_nothing(self, body: Body) -> None:
        budget = Budget(100)
        assert budget.take(100)
        body.stream.feed_data(b"text")
        body.stream.feed_eof()
        body.record(budget=budget)
        assert body.ends == [b"text"]

    @pytest.mark.parametrize("end", ["too large", "broken", "dropped"])
    @pytest.mark.parametrize("headers", [{}, {"Content-Length": "900"}])
    async def test_what_was_taken_is_given_back(self, end: str, headers: dict[str, str]) -> None:
        budget, body = Budget(LIMIT), Body(**headers)
        ends = body.ends
        body.record(budget=budget)
        body.stream.feed_data(b"x" * 100)
        if end == "too large":
            body.stream.feed_data(b"x" * LIMIT)
        elif end == "broken":
            body.stream.set_exception(ClientPayloadError("broken"))
        else:
            del body
            gc.collect()
            await asyncio.sleep(0)
        assert ends == [Unkept.TOO_LARGE if end == "too large" else Unkept.CUT]
        assert budget.taken_bytes == 0

    def test_threads_do_not_lose_count(self) -> None:
        budget = Budget(10**9)

        def work() -> None:
            for _ in range(2000):
                assert budget.take(3)
                budget.give_back(2)

        threads = [Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert budget.taken_bytes == 4 * 2000

    def test_a_loop_never_waits_for_another_s_count(self) -> None:
        budget = Budget(100)
        with budget._lock:
            assert budget.take(60)
            budget.give_back(10)
        assert budget.taken_bytes == 50


def broken(*args: object, **kwargs: object) -> Any:
    """Stands in for a function of the package that fails."""
    raise MemoryError("no room, even for b'a part of the body'")


class TestFence:
    """A failure of the copy never reaches the reader of the body; it is counted, and logged at a limited rate."""

    @pytest.mark.parametrize(
        "place",
        [
            (recording, "known_size"),
            (recording, "is_decoded"),
            (recording, "arrived_chunks"),
            (recorder.Recorder, "take_first"),
            (recorder, "whole"),
            (recorder.Recorder, "_take"),
            (Budget, "take"),
            (recording, "Recorder"),
        ],
        ids=lambda place: place[1],
    )
    async def test_an_error_beside_a_body_costs_the_copy_alone(
        self,
        body: Body,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        place: tuple[object, str],
    ) -> None:
        monkeypatch.setattr(*place, broken)
        body.stream.feed_data(b"one ")
        body.record()
        body.stream.feed_data(b"two ")
        body.stream.feed_data(b"three")
        body.stream.feed_eof()
        assert await body.stream.read() == b"one two three"
        assert body.ends == [Unkept.FAILED]
        assert body.failures == ["MemoryError"]
        (logged,) = caplog.records
        assert logged.levelno == logging.WARNING
        assert "MemoryError" in caplog.text
        assert "part of the body" not in caplog.text

    @pytest.mark.parametrize("early", [True, False])
    @pytest.mark.parametrize("end", ["eof", "exception", "dropped"])
    async def test_an_error_in_what_is_told_of_the_end_is_the_cache_s_own(self, early: bool, end: str) -> None:
        body, copied = Body(), Copied()
        copied.finished = broken
        if early and end == "eof":
            body.stream.feed_eof()
        record(body.response, copied, max_bytes=LIMIT, watch=None)
        if end == "eof" and not early:
            body.stream.feed_eof()
        elif end == "exception":
            body.stream.set_exception(ClientPayloadError("broken"))
        elif end == "dropped":
            del body
            gc.collect()
            await asyncio.sleep(0)
        assert copied.failures == ["MemoryError"]

    async def test_a_watch_that_fails_costs_the_copy_alone(self, body: Body) -> None:
        class FakeWatch:
            finished = property(broken)

        watch: Any = FakeWatch()
        body.stream.total_compressed_bytes = 0
        body.record(watch)
        body.stream.feed_data(b"text")
        body.stream.feed_eof()
        assert body.ends == [Unkept.FAILED]
        assert await body.stream.read() == b"text"

    async def test_a_count_that_fails_is_forgotten(self, body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recorder, "whole", broken)
        body.copied.finished = body.copied.failed = broken
        body.record()
        body.stream.feed_data(b"text")
        body.stream.feed_eof()
        assert await body.stream.read() == b"text"

    async def test_a_kind_of_error_is_logged_once_a_minute(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(recording, "arrived_chunks", broken)
        bodies = [Body() for _ in range(5)]
        for body in bodies:
            body.record()
        assert [body.failures for body in bodies] == [["MemoryError"]] * 5
        assert len(caplog.records) == 1

    async def test_a_stream_that_cannot_change_is_left_alone(self, body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recording, "_CAN_RECORD", False)
        body.record()
        assert body.ends == [Unkept.UNSEEN]
        assert type(body.stream) is StreamReader

    async def test_a_copy_that_was_begun_changes_the_stream_and_nothing_that_it_shows(self, body: Body) -> None:
        before = repr(body.stream)
        body.record()
        assert type(body.stream) is RecordingStreamReader
        assert repr(body.stream) == before


class TestFraming:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"Content-Length": "4"}, True),
            ({"Transfer-Encoding": "chunked"}, True),
            ({"Transfer-Encoding": "Chunked"}, True),
            ({"Transfer-Encoding": "gzip, chunked"}, False),
            ({"Transfer-Encoding": "gzip"}, False),
            ({"Transfer-Encoding": "identity", "Content-Length": "4"}, False),
            ({}, False),
        ],
    )
    async def test_a_body_ends_by_its_length_or_its_last_chunk_and_is_not_coded_still(
        self, headers: dict[str, str], expected: bool
    ) -> None:
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

    @pytest.mark.parametrize(
        ("headers", "why"),
        [
            ({"Content-Length": f"{LIMIT + 1}"}, Unkept.TOO_LARGE),
            ({"Transfer-Encoding": "chunked", "Content-Type": "text/event-stream"}, Unkept.ENDLESS),
            ({}, Unkept.UNFRAMED),
            ({"Content-Length": "4"}, None),
        ],
    )
    async def test_it_is_said_why_not(self, headers: dict[str, str], why: Unkept | None) -> None:
        assert why_not_kept(Body(**headers).response, LIMIT) is why

    @pytest.mark.parametrize("why", Unkept)
    def test_what_may_be_otherwise_next_time_is_told_from_what_is_likely_to_last(self, why: Unkept) -> None:
        assert why.is_lasting is (why not in (Unkept.CUT, Unkept.NO_ROOM, Unkept.REFUSED, Unkept.FAILED))

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


@pytest.mark.parametrize("broken", [(Budget, "give_back"), (Recorder, "_release")])
async def test_an_error_while_a_copy_is_let_go_is_not_the_readers(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, broken: tuple[type, str]
) -> None:
    real = getattr(*broken)

    def fail(*args: object) -> None:
        real(*args)  # the budget is shared by the process
        raise MemoryError

    url = origin.on("/", answer("a" * 100))
    async with asyncio.timeout(10), CachedSession() as session:
        monkeypatch.setattr(*broken, fail)
        async with session.get(url) as response:
            assert await response.text() == "a" * 100
        monkeypatch.undo()
