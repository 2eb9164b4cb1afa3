"""What a stored response has in place of a connection: streams, wholly there or fed from a file as they are read."""

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
FILED_LIMIT_BYTES = 2**20  # a reader finds bytes while the next ones are read
KEPT_FOR_S = 60.0  # for what opens a path some time after it was told it, as frameworks do
READ_WITHIN_S = 30.0  # of a file system that hangs; the caller's own timeouts are over when there is a response


class _Released:
    """What ``release()`` returns: awaitable, and done."""

    def __await__(self) -> Any:
        return iter(())


RELEASED = _Released()


class NothingSent:
    """The writer of a request that was not sent."""

    output_size = 0


class _StoredProtocol(BaseProtocol):
    """The protocol of a body that is wholly there: flow control has nothing to control."""

    def pause_reading(self) -> None:
        """The whole body is in memory already."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """The whole body is in memory already."""


class _FiledStream(StreamReader):
    """aiohttp's stream, to which there can be a weak reference."""

    __slots__ = ("__weakref__",)


_FiledStream.__name__ = StreamReader.__name__  # which is what its repr shows


class _Feeder(BaseProtocol):
    """Feeds a stream from a file: no more than its reader lets in, and nothing once it was given up.

    While it waits for its reader there is no task, so that a response that is dropped leaves nothing behind.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, body: FiledBody) -> None:
        super().__init__(loop)
        self._body: FiledBody | None = body
        self._stream: Callable[[], _FiledStream | None] = _no_stream
        self._at = 0
        self._is_paused = False
        self._reading: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether more may come, as far as the stream wants to know."""
        return True

    def feed(self, stream: _FiledStream) -> None:
        """Begin to feed *stream*."""
        self._stream = ref(stream)
        self._go_on()

    def pause_reading(self) -> None:
        """Let no more in for now."""
        self._is_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on."""
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
            stream.feed_eof()
        else:
            self._go_on()


def _no_stream() -> None:
    """What is fed before there is a stream."""


async def read_filed(body: FiledBody, at: int | None = None) -> bytes:
    """Some bytes of *body* from the position *at* on; None for all there are.

    Raises:
        ClientPayloadError: they cannot be read, or are not what was stored; as of a transfer that broke.
    """
    try:
        if at is None:
            return await body.whole()
        async with asyncio.timeout(READ_WITHIN_S):
            return await body.piece(at)
    except (StorageError, OSError, TimeoutError) as exc:
        raise ClientPayloadError(f"the body in the cache cannot be read to its end: {type(exc).__name__}") from exc


def keep(body: FiledBody) -> FiledBody:
    """See to it that the file of *body* stays for a while, whatever becomes of the response that has it."""
    with suppress(RuntimeError):  # outside of a loop it stays as long as the response
        asyncio.get_running_loop().call_later(KEPT_FOR_S, _let_go, body)
    return body


def _let_go(body: FiledBody) -> None:
    """What a timer does that has kept *body*."""


def filed_stream(body: FiledBody) -> StreamReader:
    """A stream of *body* for one reader, which gives its first bytes before the others are read."""
    loop = asyncio.get_running_loop()
    feeder = _Feeder(loop, body)
    stream = _FiledStream(feeder, FILED_LIMIT_BYTES, timer=TimerNoop(), loop=loop)
    feeder.feed(stream)
    return stream


def memory_stream(body: bytes) -> StreamReader:
    """A stream of *body* for one reader, at its end."""
    loop = asyncio.get_running_loop()
    limit = max(DEFAULT_LIMIT_BYTES, len(body))  # no line of what is in memory is too long
    stream = StreamReader(_StoredProtocol(loop), limit, timer=TimerNoop(), loop=loop)
    if body:
        stream.feed_data(body)
    stream.feed_eof()
    return stream
