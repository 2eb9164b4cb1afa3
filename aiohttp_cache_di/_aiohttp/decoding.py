"""Whether the content coding of a response was complete.

aiohttp has no public way to see that: a gzip stream that stops early, in a body of the announced Content-Length, reads
like a complete one. Such a response must not be stored, so the parser is watched (`watch_decoding`).
"""

from __future__ import annotations

import errno
import gc
import logging
import zlib
from collections.abc import Coroutine
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final
from weakref import ref

import aiohttp
from aiohttp import ClientConnectorError, ClientRequest, ClientResponse, ServerDisconnectedError, hdrs
from aiohttp.http_parser import DeflateBuffer, HttpResponseParser, HttpResponseParserPy
from aiohttp.streams import EMPTY_PAYLOAD

from aiohttp_cache_di._aiohttp.names import Needs, can

__all__ = ["DecodingWatch", "is_decoded", "is_disconnection", "watch_decoding", "will_retry"]

logger = logging.getLogger(__name__)

_IS_PURE: Final = HttpResponseParser is HttpResponseParserPy
_CAN_WATCH: Final = can(Needs.DECODING) and (can(Needs.PURE_PARSER) or not _IS_PURE)
_RETRIED = frozenset({"GET", "HEAD"})  # the methods that aiohttp retries, as far as they are ever cached
_DISCONNECTED = (errno.ECONNRESET, errno.EPIPE)
_HEAD_END = b"\r\n\r\n"
_FINAL = b"2345"  # the first digits of the statuses of final responses
MAX_HEADS = 8  # of one response, informational ones included; after more of them, no decoder is looked for
_GZIP_PROBE = zlib.compress(b"ok", wbits=31)


class DecodingWatch:
    """Tells whether the content coding of one response was complete.

    The decoder exists from the head of a response to the end of its body, which may all be in one packet. So this
    object takes the parser's place and feeds it head and body separately, to find the decoder in between. After that,
    the parser is put back.
    """

    finished: bool = False
    """Whether the decoder has reached the end of its stream."""
    is_first: bool = False
    """Whether the request is the first on its connection."""
    _protocol: Any = None
    _parser: Any = None

    def attach(self, protocol: Any) -> None:
        """Take the place of the parser of *protocol* until the head of a final response has been parsed."""
        self._protocol, self._parser = protocol, protocol._parser
        protocol._parser = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> Any:
        """Feed *data* to the parser, head and body separately."""
        parser = self._parser
        try:
            is_over = self._protocol._parser is self and _begins_uncoded(data)
        except Exception:  # an error of this class must not reach aiohttp: do not watch
            is_over = True
        if is_over:
            if self._protocol._parser is self:
                self._protocol._parser = parser
            return parser.feed_data(data)
        messages: list[Any] = []
        heads = 0
        while True:
            at = data.find(_HEAD_END) + len(_HEAD_END)
            split = at >= len(_HEAD_END) and heads < MAX_HEADS
            piece, data = (data[:at], data[at:]) if split else (data, b"")
            parsed, upgraded, tail = parser.feed_data(piece)
            messages += parsed
            if any(message.code >= 200 for message, _ in parsed):
                if self._protocol._parser is self:
                    self._protocol._parser = parser
                with suppress(Exception):  # if no decoder is found, `finished` stays False
                    self._look(parsed)
                if data:
                    parsed, upgraded, tail = parser.feed_data(data)
                    messages += parsed
                return messages, upgraded, tail
            if upgraded or not data:
                return messages, upgraded, tail + data
            heads += 1

    def _look(self, parsed: list[Any]) -> None:
        """Watch the decoder of the body that follows the head *parsed*."""
        in_python = getattr(getattr(self._parser, "_payload_parser", None), "payload", None)
        for buffer in (in_python, *gc.get_referents(self._parser)):  # aiohttp's C parser has no attribute for it
            if isinstance(buffer, DeflateBuffer):
                # Replaced on this object only.
                buffer.feed_eof = partial(_end_watched, ref(buffer), self)  # type: ignore[method-assign]
                return
        message, payload = parsed[-1]
        if message.compression and payload.is_eof():  # an empty body: there is nothing to decode
            self.finished = payload.total_compressed_bytes == 0
        elif message.compression:
            _warn_of_hidden_decoders()


@cache
def _warn_of_hidden_decoders() -> None:
    logger.warning("the decoder of aiohttp %s cannot be found: %s", aiohttp.__version__, Needs.DECODING.value)


def _begins_uncoded(data: bytes) -> bool:
    """Whether *data* begins with the whole head of a final response without a content coding."""
    # ``in`` tries a number first, and the exception that this raises inside takes longer than the search.
    if not data.startswith(b"HTTP/1.") or _FINAL.find(data[9:10]) < 0:
        return False
    end = data.find(_HEAD_END)
    return end >= 0 and data[:end].lower().find(b"content-encoding") < 0


def watch_decoding(request: ClientRequest) -> DecodingWatch | None:
    """Watch the decoder of the response to *request* when that is sent; None if that is not possible."""
    if not _CAN_WATCH:
        return None
    watch = DecodingWatch()
    is_genuine = getattr(request.send, "__self__", None) is request  # a user's test may have replaced it
    if is_genuine:
        request.send = partial(_send_watched, ref(request), watch)  # type: ignore[method-assign]  # on this object only
    return watch


# These refer to aiohttp's objects weakly, so that the objects are freed as soon as aiohttp drops them.


def _send_watched(
    request_ref: ref[ClientRequest], watch: DecodingWatch, conn: Any
) -> Coroutine[Any, Any, ClientResponse]:
    request: Any = request_ref()  # alive: it is being sent
    del request.send
    protocol = conn.protocol
    try:  # suppress() takes a microsecond, in each request
        if protocol._parser is not None:
            watch.is_first = protocol._payload is None
            watch.attach(protocol)
    except Exception:  # noqa: S110  # another kind of protocol is not watched
        pass
    sending: Coroutine[Any, Any, ClientResponse] = request.send(conn)
    return sending


def _end_watched(buffer_ref: ref[DeflateBuffer], watch: DecodingWatch) -> None:
    buffer: Any = buffer_ref()  # alive: it is being fed
    with suppress(Exception):  # an error here must not reach the reader of the body
        watch.finished = buffer.size == 0 or _has_ended(buffer.decompressor)
    del buffer.feed_eof
    buffer.feed_eof()


def _has_ended(decompressor: Any) -> bool:
    """Whether a decompressor of aiohttp has reached the end of its stream."""
    inner = getattr(decompressor, "_decompressor", None)  # zlib
    if inner is not None:
        if inner.eof:
            return True
        try:  # aiohttp makes a new decoder at the end of a gzip member; a new one can decode a whole member
            probe = inner.copy()
            return bool(probe.decompress(_GZIP_PROBE) == b"ok" and probe.eof)
        except (AttributeError, ValueError, zlib.error):
            return False
    inner = getattr(decompressor, "_obj", None)  # brotli; zstd in early releases of aiohttp 3.14
    if inner is None:
        return False
    is_finished = getattr(inner, "is_finished", None)
    return bool(is_finished() if is_finished is not None else getattr(inner, "eof", False))


def is_decoded(response: ClientResponse) -> bool:
    """Whether the body of *response* is decoded.

    All responses without a body share one stream object, whose attributes another response's decoder may have set.
    """
    stream: Any = response.content
    if stream is EMPTY_PAYLOAD:
        return False
    try:
        return stream.total_compressed_bytes is not None
    except AttributeError:  # not known: a body that has a coding counts as decoded
        return hdrs.CONTENT_ENCODING in response.headers


def is_disconnection(error: BaseException) -> bool:
    """Whether *error* means that a connection was lost, maybe because it had been idle for too long."""
    return isinstance(error, ServerDisconnectedError) or getattr(error, "errno", None) in _DISCONNECTED


def will_retry(request: ClientRequest, error: BaseException, watch: DecodingWatch | None) -> bool:
    """Whether aiohttp will send *request* again after *error*, unless it has done so before.

    It does if the connection had been used before, since the origin may have closed it for being idle.
    """
    is_old = watch is not None and not watch.is_first and not isinstance(error, ClientConnectorError)
    return is_old and is_disconnection(error) and request.method in _RETRIED
