"""Body streams of stored responses, without a connection: complete in memory, or fed from a file while being read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import ref

from aiohttp import ClientPayloadError, StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import TimerNoop

from aiohttp_cache_di.entries.filed import FiledBody
from aiohttp_cache_di.errors import StorageError

__all__ = ["RELEASED", "NothingSent", "filed_stream", "keep", "memory_stream", "read_filed"]

DEFAULT_LIMIT_BYTES = 2**18  # aiohttp's own read_bufsize
FILED_LIMIT_BYTES = 2**20  # so that the reader has bytes while the next ones are read from the file
KEPT_FOR_S = 60.0  # frameworks open a path some time after they were given it
READ_WITHIN_S = 30.0  # for a file system that hangs: the caller's timeouts no longer apply once there is a response


class _Released:
    """The result of ``release()``, which can be awaited and is done at once."""

    def __await__(self) -> Any:
        return iter(())


RELEASED = _Released()


class NothingSent:
    """Takes the place of the writer of a request that was not sent."""

    output_size = 0


class _StoredProtocol(BaseProtocol):
    """The protocol of a body that is completely in memory: flow control does nothing."""

    def pause_reading(self) -> None:
        """The whole body is in memory already."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """The whole body is in memory already."""


class _FiledStream(StreamReader):
    """aiohttp's stream, with support for weak references."""

    __slots__ = ("__weakref__",)


_FiledStream.__name__ = StreamReader.__name__  # for the same repr


class _Feeder(BaseProtocol):
    """Feeds a stream from a file, as far as flow control allows, until the stream is complete or released.

    There is no task while it waits for the reader, so that a response that is never read leaves nothing behind.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, body: FiledBody, *, is_chunk: bool) -> None:
        super().__init__(loop)
        self._body: FiledBody | None = body
        self._is_chunk = is_chunk
        self._stream: Callable[[], _FiledStream | None] = _no_stream
        self._at = 0
        self._is_paused = False
        self._reading: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """True, because the stream asks whether more data may come."""
        return True

    def feed(self, stream: _FiledStream) -> None:
        """Begin to feed *stream*."""
        self._stream = ref(stream)
        self._go_on()

    def pause_reading(self) -> None:
        """Stop feeding until `resume_reading`."""
        self._is_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on feeding."""
        self._is_paused = False
        self._go_on()

    def _go_on(self) -> None:
        stream, body = self._stream(), self._body
        if stream is None or stream.exception() is not None:
            self._body = None
        elif body is not None and self._reading is None and not self._is_paused:
            self._reading = asyncio.get_running_loop().create_task(self._read(body))

    async def _read(self, body: FiledBody) -> None:
        error: Exception | None = None
        piece = b""
        try:
            piece = await read_filed(body, self._at)
        except ClientPayloadError as exc:
            error = exc
        finally:
            self._reading = None
        stream = self._stream()
        if stream is None or stream.exception() is not None:
            self._body = None
            return
        self._at += len(piece)
        if error is not None:
            self._body = None
            stream.set_exception(error)
            return
        if piece:
            stream.feed_data(piece)
        if not piece or self._at >= body.length:
            self._body = None
            if self._is_chunk and self._at:
                stream.end_http_chunk_receiving()
            stream.feed_eof()
        else:
            self._go_on()


def _no_stream() -> None:
    """In place of the reference to the stream, before there is one."""


async def read_filed(body: FiledBody, at: int | None = None) -> bytes:
    """Some bytes of *body* from the position *at* on; with None, the whole body.

    Raises:
        ClientPayloadError: they cannot be read, or are not what was stored; the error of a transfer that breaks off.
    """
    try:
        if at is None:
            return await body.whole()
        async with asyncio.timeout(READ_WITHIN_S):
            return await body.piece(at)
    except (StorageError, OSError, TimeoutError) as exc:
        raise ClientPayloadError(f"the body in the cache cannot be read to its end: {type(exc).__name__}") from exc


def keep(body: FiledBody) -> FiledBody:
    """Keep the file of *body* for `KEPT_FOR_S`, even if the response is freed before; return *body*."""
    with suppress(RuntimeError):  # without a running event loop, it exists as long as the response
        asyncio.get_running_loop().call_later(KEPT_FOR_S, _let_go, body)
    return body


def _let_go(body: FiledBody) -> None:
    """Do nothing: the timer that calls this has kept *body* alive."""


def filed_stream(body: FiledBody, *, is_chunk: bool = False) -> StreamReader:
    """A stream of *body* for one reader, which is fed while it is read.

    Args:
        is_chunk: whether the stream shows the body as one chunk of HTTP; see `memory_stream`.
    """
    loop = asyncio.get_running_loop()
    feeder = _Feeder(loop, body, is_chunk=is_chunk)
    stream = _FiledStream(feeder, FILED_LIMIT_BYTES, timer=TimerNoop(), loop=loop)
    if is_chunk:
        stream.begin_http_chunk_receiving()
    feeder.feed(stream)
    return stream


def memory_stream(body: bytes, *, is_chunk: bool = False) -> StreamReader:
    """A stream of *body* for one reader, with all data and the end already fed.

    Args:
        is_chunk: whether the stream shows the body as one chunk of HTTP, for programs that wait for the end of one; the
            boundaries of the original chunks are not stored.
    """
    loop = asyncio.get_running_loop()
    limit = max(DEFAULT_LIMIT_BYTES, len(body))  # a line of any length can be read
    stream = StreamReader(_StoredProtocol(loop), limit, timer=TimerNoop(), loop=loop)
    if body and is_chunk:
        stream.begin_http_chunk_receiving()
        stream.feed_data(body)
        stream.end_http_chunk_receiving()
    elif body:
        stream.feed_data(body)
    stream.feed_eof()
    return stream
