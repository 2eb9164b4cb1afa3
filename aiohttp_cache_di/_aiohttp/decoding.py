"""Whether the content coding of a response came to its end.

aiohttp has no public way to see that: a gzip body that stops early but has the Content-Length it announced reads like
a complete one. What must never be stored has to be noticed, so the parser of a response is watched (`watch_decoding`).
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
_RETRIED = frozenset({"GET", "HEAD"})  # of what aiohttp sends once more, the methods that are ever cached
_DISCONNECTED = (errno.ECONNRESET, errno.EPIPE)
_HEAD_END = b"\r\n\r\n"
MAX_HEADS = 8  # of one response, informational ones included; behind more of them no decoder is looked for
_GZIP_PROBE = zlib.compress(b"ok", wbits=31)


class DecodingWatch:
    """Learns whether the content coding of one response came to its end.

    A decoder lives from the head of a response to the end of its body, and may do so within one packet. So the parser
    is fed head and body apart, and looked at in between; from then on it is left alone.
    """

    finished: bool = False
    """Whether a decoder was seen to come to the end of its stream."""
    is_first: bool = False
    """Whether the request was sent on a connection that had brought no response before."""
    _protocol: Any = None
    _parser: Any = None

    def attach(self, protocol: Any) -> None:
        """Take the place of the parser of *protocol* until the head of a final response has been parsed."""
        self._protocol, self._parser = protocol, protocol._parser
        protocol._parser = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> Any:
        """Feed *data* to the parser, head and body apart."""
        parser = self._parser
        try:
            is_over = self._protocol._parser is self and _begins_uncoded(data)
        except Exception:  # of ours, which keeps it from being watched
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
                with suppress(Exception):  # a decoder that is not found is one whose end is not seen
                    self._look(parsed)
                if data:
                    parsed, upgraded, tail = parser.feed_data(data)
                    messages += parsed
                return messages, upgraded, tail
            if upgraded or not data:
                return messages, upgraded, tail + data
            heads += 1

    def _look(self, parsed: list[Any]) -> None:
        """Watch the decoder of the body that comes next, *parsed* being its head."""
        in_python = getattr(getattr(self._parser, "_payload_parser", None), "payload", None)
        for buffer in (in_python, *gc.get_referents(self._parser)):  # aiohttp's C parser shows it to no one else
            if isinstance(buffer, DeflateBuffer):
                # Of this one object.
                buffer.feed_eof = partial(_end_watched, ref(buffer), self)  # type: ignore[method-assign]
                return
        if any(message.compression and not payload.is_eof() for message, payload in parsed):
            _warn_of_hidden_decoders()


@cache
def _warn_of_hidden_decoders() -> None:
    logger.warning("aiohttp %s shows no decoder of a parser: %s", aiohttp.__version__, Needs.DECODING.value)


def _begins_uncoded(data: bytes) -> bool:
    """Whether *data* begins with the whole head of a final response without a content coding."""
    if not data.startswith(b"HTTP/1.") or data[9:10] not in b"2345":
        return False
    end = data.find(_HEAD_END)
    return end >= 0 and b"content-encoding" not in data[:end].lower()


def watch_decoding(request: ClientRequest) -> DecodingWatch | None:
    """Watch the decoder of the response to *request*, from the moment it is sent; None where that cannot be done."""
    if not _CAN_WATCH:
        return None
    watch = DecodingWatch()
    is_genuine = getattr(request.send, "__self__", None) is request  # rather than what a test of the user's put there
    if is_genuine:
        request.send = partial(_send_watched, ref(request), watch)  # type: ignore[method-assign]  # of this one object
    return watch


# Objects of aiohttp refer to these only weakly, so that they go when aiohttp lets go of them.


def _send_watched(
    request_ref: ref[ClientRequest], watch: DecodingWatch, conn: Any
) -> Coroutine[Any, Any, ClientResponse]:
    request: Any = request_ref()  # alive: it is being sent
    del request.send
    protocol = conn.protocol
    try:  # suppress() takes a microsecond, on the way of each request
        if protocol._parser is not None:
            watch.is_first = protocol._payload is None
            watch.attach(protocol)
    except Exception:  # noqa: S110  # a protocol of another make is not watched
        pass
    sending: Coroutine[Any, Any, ClientResponse] = request.send(conn)
    return sending


def _end_watched(buffer_ref: ref[DeflateBuffer], watch: DecodingWatch) -> None:
    buffer: Any = buffer_ref()  # alive: it is being fed
    with suppress(Exception):  # the reader gets the body that aiohttp has decoded, whatever goes wrong with the watch
        watch.finished = buffer.size == 0 or _has_ended(buffer.decompressor)
    del buffer.feed_eof
    buffer.feed_eof()


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
    inner = getattr(decompressor, "_obj", None)  # brotli; zstd in early releases of aiohttp 3.14
    if inner is None:
        return False
    is_finished = getattr(inner, "is_finished", None)
    return bool(is_finished() if is_finished is not None else getattr(inner, "eof", False))


def is_decoded(response: ClientResponse) -> bool:
    """Whether the body of *response* comes out of a decoder.

    The stream of a response without a body is one object for all, which a decoder may have left its mark on.
    """
    stream: Any = response.content
    if stream is EMPTY_PAYLOAD:
        return False
    try:
        return stream.total_compressed_bytes is not None
    except AttributeError:  # nothing tells: what may be decoded counts as decoded
        return hdrs.CONTENT_ENCODING in response.headers


def is_disconnection(error: BaseException) -> bool:
    """Whether *error* says that a connection was lost, which may have been idle for too long."""
    return isinstance(error, ServerDisconnectedError) or getattr(error, "errno", None) in _DISCONNECTED


def will_retry(request: ClientRequest, error: BaseException, watch: DecodingWatch | None) -> bool:
    """Whether aiohttp will send *request* once more after *error*, unless it has done so before.

    The connection was an old one, which the origin may have closed for being idle; a new one will tell.
    """
    is_old = watch is not None and not watch.is_first and not isinstance(error, ClientConnectorError)
    return is_old and is_disconnection(error) and request.method in _RETRIED
