"""Every private corner of aiohttp that this package touches, in one place; a test guards each of them.

aiohttp has no public way to see whether a content coding ended properly: a gzip body that stops early but
has the Content-Length it announced reads like a complete one. What must never be stored has to be noticed,
so the parser of a response is watched (`watch_decoding`).
"""

from __future__ import annotations

import gc
import re
import zlib
from collections.abc import Callable
from typing import Any

from aiohttp import ClientRequest, ClientResponse, ClientSession, StreamReader
from aiohttp.http_parser import DeflateBuffer

__all__ = ["TOUCHED", "DecodingWatch", "arrived_chunks", "handler_option", "timer_fired", "watch_decoding"]

TOUCHED: dict[type, tuple[str, ...]] = {
    ClientSession: (
        "_request",
        "_build_url",
        "_prepare_headers",
    ),
    ClientResponse: (
        "_body",
        "_closed",
        "_headers",
        "_history",
        "_in_context",
        "_raw_cookie_headers",
        "_released",
        "_resolve_charset",
    ),
    StreamReader: ("_buffer", "_eof_callbacks", "_exception"),
    DeflateBuffer: ("feed_eof",),
}
"""Attributes by the class on which they must be found."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_GZIP_PROBE = zlib.compress(b"ok", wbits=31)


class DecodingWatch:
    """Learns whether the content coding of one response came to its end."""

    __slots__ = ("_parser", "_tail", "finished", "seen")

    def __init__(self) -> None:
        self.finished = False
        self.seen = False
        """Whether a decoder was found at all; a body whose decoder was not seen is not known to be whole."""
        self._parser: Any = None
        self._tail = b""

    def attach(self, parser: Any) -> _WatchedParser:
        self._parser = parser
        return _WatchedParser(parser, self)

    def feed(self, feed_data: Callable[[bytes], Any], data: bytes) -> Any:
        """Feed *data* so that the parser can be looked at between a head and its body."""
        seam = _HEAD_END.search(self._tail + data)
        at = 0 if seam is None else seam.end() - len(self._tail)
        self._tail = data[-3:]
        if seam is None or not 0 < at < len(data):
            result = feed_data(data)
            self._look()
            return result
        messages, _, _ = feed_data(data[:at])
        self._look()
        rest, upgraded, tail = self.feed(feed_data, data[at:]) if not self.seen else feed_data(data[at:])
        return [*messages, *rest], upgraded, tail

    def _look(self) -> None:
        for buffer in gc.get_referents(self._parser):
            if isinstance(buffer, DeflateBuffer):
                self.seen = True
                self._hook(buffer)

    def _hook(self, buffer: DeflateBuffer) -> None:
        feed_eof = buffer.feed_eof

        def watched() -> None:
            self.finished = buffer.size == 0 or _has_ended(buffer.decompressor)
            feed_eof()

        buffer.feed_eof = watched  # type: ignore[method-assign]  # of this one object


class _WatchedParser:
    """Stands in for the parser of one connection until the next request on it."""

    def __init__(self, parser: Any, watch: DecodingWatch) -> None:
        self._watched = parser
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watched, name)

    def feed_data(self, data: bytes) -> Any:
        if self._watch.seen:
            return self._watched.feed_data(data)
        return self._watch.feed(self._watched.feed_data, data)


def watch_decoding(request: ClientRequest) -> DecodingWatch:
    """Watch the decoder of the response to *request*, from the moment it is sent."""
    watch = DecodingWatch()
    send = request.send

    async def watched_send(conn: Any) -> ClientResponse:
        protocol = conn.protocol
        parser = getattr(protocol, "_parser", None)
        if parser is not None:
            protocol._parser = watch.attach(parser)
        return await send(conn)

    request.send = watched_send  # type: ignore[method-assign]  # of this one object
    return watch


def _has_ended(decompressor: Any) -> bool:
    """Whether a decompressor of aiohttp has seen the end of its stream."""
    inner = getattr(decompressor, "_decompressor", None)  # zlib
    if inner is not None:
        if inner.eof:
            return True
        try:  # a gzip decoder is renewed at the end of a member: a new one decodes a member from its start
            probe = inner.copy()
            return bool(probe.decompress(_GZIP_PROBE) == b"ok" and probe.eof)
        except (AttributeError, ValueError, zlib.error):
            return False
    inner = getattr(decompressor, "_obj", None)  # brotli, zstd
    if inner is None:
        return False
    is_finished = getattr(inner, "is_finished", None)
    return bool(is_finished() if is_finished is not None else getattr(inner, "eof", False))


def arrived_chunks(stream: StreamReader) -> list[bytes]:
    """What has arrived of a body that nobody has begun to read."""
    return list(getattr(stream, "_buffer", ()))


def handler_option(handler: Any, name: str, default: Any) -> Any:
    """An argument of the request that aiohttp keeps in the closure of its innermost handler only."""
    code = getattr(handler, "__code__", None)
    if code is None or name not in code.co_freevars:
        return default
    return handler.__closure__[code.co_freevars.index(name)].cell_contents


def timer_fired(request: ClientRequest) -> bool:
    """Whether the request's total timeout is what cancels the task that sends it."""
    return bool(getattr(request._timer, "_cancelled", False))
