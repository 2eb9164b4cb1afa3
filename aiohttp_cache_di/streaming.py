"""A copy of a body, taken as it arrives: the reader reads from aiohttp's own stream and waits for nothing of ours."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable
from typing import TypeAlias

from aiohttp import ClientError, ClientResponse, StreamReader, hdrs
from aiohttp.helpers import _EXC_SENTINEL

from aiohttp_cache_di._aiohttp import DecodingWatch, arrived_chunks

__all__ = ["Finished", "Unkept", "is_framed", "may_be_kept", "record", "wait_for_end"]


class Unkept(enum.Enum):
    """Why there is no copy of a body."""

    CUT = "it did not arrive to its end"
    UNFIT = "it is too large to keep, or its content coding is damaged"


Finished: TypeAlias = Callable[[bytes | Unkept], None]
"""Called once: with the whole body, or with why there is none to keep."""

BODILESS_STATUSES = (204, 304)
WAIT_FOR_END_S = 0.05


def is_framed(response: ClientResponse) -> bool:
    """Whether the end of the body can be told from a connection that broke (RFC 9112 §6.3).

    A body that ends where the connection ends may have been cut; it is handed on and never stored.
    """
    if response.method == hdrs.METH_HEAD or response.status in BODILESS_STATUSES:
        return True
    headers = response.headers
    if hdrs.TRANSFER_ENCODING in headers:
        return headers[hdrs.TRANSFER_ENCODING].lower().rpartition(",")[2].strip() == "chunked"
    return hdrs.CONTENT_LENGTH in headers


def may_be_kept(response: ClientResponse, max_bytes: int) -> bool:
    """Whether to begin a copy: the end of the body can be told, is not known to be too far, and will come at all."""
    if response.method == hdrs.METH_HEAD:
        return True
    length = response.headers.get(hdrs.CONTENT_LENGTH, "")
    is_too_large = length.isdecimal() and int(length) > max_bytes
    return is_framed(response) and not is_too_large and response.content_type != "text/event-stream"


def record(response: ClientResponse, *, max_bytes: int, finished: Finished, watch: DecodingWatch | None = None) -> None:
    """Keep a copy of the body of *response* and hand it to *finished* once its last byte has arrived.

    Nothing is read for this purpose: what the caller does not let in (back-pressure, an early ``close()``) is not
    copied, and then *finished* is called with `Unkept.CUT`.

    Args:
        max_bytes: a longer body is let go as soon as it shows.
        watch: tells whether the content coding ended properly.
    """
    stream = response.content
    recorder = Recorder(arrived_chunks(stream), max_bytes, finished, watch)
    if stream.exception() is not None:
        recorder.give_up(Unkept.CUT)
    elif stream.is_eof() or recorder.is_over:
        recorder()
    elif type(stream) is StreamReader:
        stream.on_eof(recorder)
        stream.__class__ = RecordingStreamReader
    else:  # a stream of somebody else's making
        recorder.give_up(Unkept.UNFIT)


async def wait_for_end(response: ClientResponse) -> None:
    """Wait a moment for the rest of a small body, which commonly comes with its head."""
    with contextlib.suppress(TimeoutError, ClientError):  # whoever reads the body is told of what is wrong with it
        async with asyncio.timeout(WAIT_FOR_END_S):
            await response.content.wait_eof()


class Recorder:
    """Collects the chunks of one body; called at its end."""

    __slots__ = ("_chunks", "_finished", "_loop", "_max_bytes", "_size", "_watch")

    def __init__(self, chunks: list[bytes], max_bytes: int, finished: Finished, watch: DecodingWatch | None) -> None:
        self._chunks = chunks
        self._size = sum(map(len, chunks))
        self._max_bytes = max_bytes
        self._finished: Finished | None = finished
        self._watch = watch
        self._loop = asyncio.get_running_loop()

    @property
    def is_over(self) -> bool:
        """Whether the body is larger than what is kept."""
        return self._size > self._max_bytes

    def feed(self, data: bytes) -> None:
        """Take note of a chunk."""
        if self._finished is None:
            return
        self._size += len(data)
        if self.is_over:
            self.give_up(Unkept.UNFIT)
        else:
            self._chunks.append(data)

    def give_up(self, why: Unkept) -> None:
        """The body will not be kept."""
        self._end(why)

    def __call__(self) -> None:
        """The last byte has arrived."""
        if self.is_over or (self._watch is not None and not self._watch.finished):
            self._end(Unkept.UNFIT)
            return
        chunks = self._chunks
        self._end(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def _end(self, body: bytes | Unkept) -> None:
        finished, self._finished = self._finished, None
        self._chunks = []
        if finished is not None:
            finished(body)

    def __del__(self) -> None:
        finished = self._finished
        if finished is not None and not self._loop.is_closed():  # the response was dropped, maybe in another thread
            self._loop.call_soon_threadsafe(finished, Unkept.CUT)


def _recorders(stream: StreamReader) -> list[Recorder]:
    callbacks: list[object] = list(stream._eof_callbacks)
    return [callback for callback in callbacks if isinstance(callback, Recorder)]


class RecordingStreamReader(StreamReader):
    """aiohttp's stream, telling a recorder what it is fed.

    An object of aiohttp's class becomes one of this class, so that whoever holds it already (the parser, the
    response) feeds and reads the same object as before. The recorder waits among the callbacks for the end.
    """

    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        for recorder in _recorders(self):
            recorder.feed(data)
        return super().feed_data(data, size)

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        recorders = _recorders(self)
        super().set_exception(exc, exc_cause)
        for recorder in recorders:
            recorder.give_up(Unkept.CUT)


RecordingStreamReader.__name__ = StreamReader.__name__  # which is what its repr shows
