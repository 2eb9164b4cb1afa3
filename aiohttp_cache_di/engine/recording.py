"""A copy of a body, taken as it arrives: the reader reads from aiohttp's own stream and waits for nothing of ours."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import tempfile
from collections.abc import Callable
from typing import IO, TypeAlias

from aiohttp import ClientError, ClientResponse, StreamReader, hdrs
from aiohttp.helpers import _EXC_SENTINEL

from aiohttp_cache_di._aiohttp import DecodingWatch, arrived_chunks

__all__ = ["Finished", "Unkept", "is_framed", "record", "wait_for_end", "why_not_kept"]


class Unkept(enum.Enum):
    """Why there is no copy of a body."""

    CUT = "it did not arrive to its end"
    TOO_LARGE = "it is too large to keep"
    NO_ROOM = "there is no room to hold it"
    UNFIT = "its content coding is damaged, or its stream is not aiohttp's own"


Finished: TypeAlias = Callable[[bytes | Unkept], None]
"""Called once: with the whole body, or with why there is none to keep."""

BODILESS_STATUSES = (204, 304)
WAIT_FOR_END_S = 0.05
IN_MEMORY_BYTES = 1024 * 1024
"""As much of a body is held in memory while nobody knows how much more will come; the rest waits in a file."""


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


def why_not_kept(response: ClientResponse, max_bytes: int) -> str | None:
    """Why not to begin a copy, in a word; None where the end of the body can be told, is near enough, and will come."""
    if response.method == hdrs.METH_HEAD:
        return None
    length = response.headers.get(hdrs.CONTENT_LENGTH, "")
    if response.headers.get(hdrs.CONTENT_TYPE, "").lower().startswith("text/event-stream"):
        return "event-stream"
    if not is_framed(response):
        return "close-delimited"
    return "too-large" if length.isdecimal() and int(length) > max_bytes else None


def tells_its_size(response: ClientResponse) -> bool:
    """Whether the head says how many bytes the reader will see: what is decoded may be far more than what is sent."""
    headers = response.headers
    return hdrs.CONTENT_LENGTH in headers and hdrs.CONTENT_ENCODING not in headers


def record(response: ClientResponse, *, max_bytes: int, finished: Finished, watch: DecodingWatch | None = None) -> None:
    """Keep a copy of the body of *response* and hand it to *finished* once its last byte has arrived.

    Nothing is read for this purpose: what the caller does not let in (back-pressure, an early ``close()``) is not
    copied, and then *finished* is called with `Unkept.CUT`.

    Args:
        max_bytes: a longer body is let go as soon as it shows.
        watch: tells whether the content coding ended properly.
    """
    stream = response.content
    copy = Copy(arrived_chunks(stream), max_bytes if tells_its_size(response) else IN_MEMORY_BYTES)
    recorder = Recorder(copy, max_bytes, finished, watch)
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


class Copy:
    """The bytes of one body so far: in memory up to a bound, and beyond that in a nameless temporary file.

    What is written to the file is in the page cache of the system at once, so that the loop does not wait for a disk.

    Args:
        chunks: what has arrived already.
        in_memory_bytes: beyond this, chunks go to the file.
    """

    __slots__ = ("_chunks", "_file", "_in_memory_bytes", "size")

    def __init__(self, chunks: list[bytes], in_memory_bytes: float) -> None:
        self.size = sum(map(len, chunks))
        self._chunks = chunks
        self._in_memory_bytes = in_memory_bytes
        self._file: IO[bytes] | None = None

    def add(self, data: bytes) -> None:
        """Take a chunk; OSError when there is no room for it on the disk."""
        self.size += len(data)
        if self._file is None and self.size > self._in_memory_bytes:
            self._begin_file()
        if self._file is None:
            self._chunks.append(data)
        else:
            self._file.write(data)

    def _begin_file(self) -> None:
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by release()
        except OSError:  # no directory that may be written to: the memory has to do
            self._in_memory_bytes = float("inf")

    def whole(self) -> bytes:
        """All of it; OSError when it cannot be read back."""
        chunks = self._chunks
        if self._file is not None:
            self._file.seek(0)
            chunks = [*chunks, self._file.read()]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self) -> None:
        """Let go of the bytes."""
        self._chunks = []
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what could not be written is not wanted any more
                file.close()


class Recorder:
    """Collects the chunks of one body; called at its end."""

    __slots__ = ("_copy", "_finished", "_loop", "_max_bytes", "_watch")

    def __init__(self, copy: Copy, max_bytes: int, finished: Finished, watch: DecodingWatch | None) -> None:
        self._copy = copy
        self._max_bytes = max_bytes
        self._finished: Finished | None = finished
        self._watch = watch
        self._loop = asyncio.get_running_loop()

    @property
    def is_over(self) -> bool:
        """Whether the body is larger than what is kept."""
        return self._copy.size > self._max_bytes

    def feed(self, data: bytes) -> None:
        """Take note of a chunk."""
        if self._finished is None:
            return
        if self._copy.size + len(data) > self._max_bytes:
            self.give_up(Unkept.TOO_LARGE)
            return
        try:
            self._copy.add(data)
        except OSError:
            self.give_up(Unkept.NO_ROOM)

    def give_up(self, why: Unkept) -> None:
        """The body will not be kept."""
        self._end(why)

    def __call__(self) -> None:
        """The last byte has arrived."""
        if self._finished is None:
            return
        if self.is_over:
            self._end(Unkept.TOO_LARGE)
            return
        if self._watch is not None and not self._watch.finished:
            self._end(Unkept.UNFIT)
            return
        body: bytes | Unkept
        try:
            body = self._copy.whole()
        except OSError:
            body = Unkept.NO_ROOM
        self._end(body)

    def _end(self, body: bytes | Unkept) -> None:
        finished, self._finished = self._finished, None
        self._copy.release()
        if finished is not None:
            finished(body)

    def __del__(self) -> None:
        finished = self._finished
        self._copy.release()
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
