"""`CachedResponse`: a hit, which is a real `aiohttp.ClientResponse` made from a stored entry.

Making one is cheap: headers, body stream and the like are built when they are first used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from aiohttp import ClientConnectionError, ClientResponse, ClientSession, HttpVersion, RequestInfo, StreamReader, hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import EMPTY_BODY_STATUS_CODES, TimerNoop
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aiohttp_cache_di.entries.build import body_of, entry_of
from aiohttp_cache_di.entries.fields import expires_at, parsed_fields
from aiohttp_cache_di.entries.filed import FiledBody, FiledResponse
from aiohttp_cache_di.entries.streams import RELEASED, NothingSent, filed_stream, keep, memory_stream, read_filed
from aiohttp_cache_di.keys import redact_url
from aiohttp_cache_di.policy.tracing import age_and_rest, shown, told_of
from aiohttp_cache_di.rfc9111.cache_status import hit
from aiohttp_cache_di.rfc9111.fields import combined
from aiohttp_cache_di.rfc9111.freshness import current_age_s, whole_s
from aiohttp_cache_di.rfc9111.messages import RawHeaders, StoredResponse
from aiohttp_cache_di.telemetry.reasons import CacheDecision, origin_of_answer

__all__ = ["AnyResponse", "CachedResponse"]

HTTP_1_1 = HttpVersion(1, 1)


class CachedResponse(ClientResponse):
    """A response served from the cache.

    It has all methods and attributes of `aiohttp.ClientResponse`; ``connection`` is None, and each hit has its own
    body stream. The cache adds `from_cache`, `created_at`, `expires`, `is_expired`, `cache_status`, `cache_decision`,
    `key`, `stored` and `body_path`.
    """

    from_cache: bool = True
    _cache_status: str = ""
    _extra_headers: tuple[tuple[str, str], ...] | None = ()
    _served_at: float = 0.0
    _how: str = ""
    _stream: StreamReader | None = None
    _info: RequestInfo | Callable[[], RequestInfo] | None = None
    _own_headers: CIMultiDictProxy[str] | None = None
    _own_raw_headers: RawHeaders | None = None
    """What was assigned in place of the stored header lines, as tools that replay responses do."""
    _stored: StoredResponse
    _has_own_init: bool = False
    """Whether this is a class made of a user's ``response_class`` whose ``__init__`` has to be called."""

    @classmethod
    def from_stored(
        cls,
        stored: StoredResponse,
        *,
        url: URL | None = None,
        session: ClientSession | None = None,
        request_info: RequestInfo | Callable[[], RequestInfo] | None = None,
        cache_status: str = "",
        extra_headers: tuple[tuple[str, str], ...] = (),
        served_at: float = 0.0,
        standard: bool = False,
    ) -> Self:
        """Make a response from an entry.

        Args:
            url: the URL as the caller wrote it; by default the stored one, without secrets.
            session: the session that serves it, if any.
            request_info: the value of ``request_info``, or a function that makes it when it is first read.
            cache_status: the value of `cache_status`; not used with *served_at*.
            extra_headers: header fields to add, such as Age; each replaces a stored one of its name. Not used with
                *served_at*.
            served_at: POSIX time of a plain hit; its `cache_status` is made from that when it is first read.
            standard: with *served_at*: also add Age and Cache-Status to the headers (RFC 9111 §4, RFC 9211).
        """
        self = cls.__new__(cls)
        self._stored = stored
        self._info = request_info
        self.method = stored.method
        self.status = stored.status
        self._real_url = real_url = URL(stored.url) if url is None else url
        self._url = real_url.with_fragment(None) if real_url.raw_fragment else real_url
        self._cache = {}
        self._traces = []
        if cls._has_own_init:
            self._initialise(real_url, session)
        if served_at:
            self._served_at = served_at
            if standard:
                self._extra_headers = None
        else:
            self._cache_status = cache_status
            self._extra_headers = extra_headers
        if session is not None:
            self._loop = session._loop
            self._resolve_charset = session._resolve_charset
        return self

    def _initialise(self, url: URL, session: ClientSession | None) -> None:
        """Call the ``__init__`` of a user's class as aiohttp calls it, so that it can set its own attributes."""
        self.__init__(  # type: ignore[misc]  # the object is still being made
            self._stored.method,
            url,
            writer=None,
            continue100=None,
            timer=TimerNoop(),
            request_info=self.request_info,
            traces=[],
            loop=asyncio.get_running_loop(),
            session=cast("ClientSession", session),
            stream_writer=cast("AbstractStreamWriter", NothingSent),
        )
        self._session = None  # aiohttp does the same once a body has arrived

    @classmethod
    async def from_client_response(cls, response: ClientResponse, expires: datetime | None = None) -> Self:
        """Read *response* to its end and make a cached response from it, fresh until *expires* (None: for ever)."""
        if isinstance(response, CachedResponse):
            return cls.from_stored(response.stored, url=response.real_url)
        fresh_until = float("inf") if expires is None else expires.timestamp()
        entry = entry_of(response, body=await body_of(response), fresh_until=fresh_until)
        return cls.from_stored(entry, url=response.real_url, request_info=response.request_info)

    def __copy__(self) -> Self:
        """A shallow copy, with all attributes, as of any other response: `__reduce__` leaves most of them out."""
        made = type(self).__new__(type(self))
        vars(made).update(vars(self))
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a user's own serializer copy the stored entry; the session and the request are left out."""
        return CachedResponse.from_stored, (self._stored,)

    def __repr__(self) -> str:
        stored = vars(self).get("_stored")
        if not isinstance(stored, StoredResponse):  # it is still being made, or is a test double
            return f"<{type(self).__name__}>"
        told = (origin_of_answer(self.cache_status), *told_of(stored, now=time.time()))
        return shown(type(self).__name__, self.method, redact_url(stored.url), self.status, self.reason, told)

    # ---- attributes that the cache adds

    @property
    def stored(self) -> StoredResponse:
        """The entry that this response was made from."""
        return self._stored

    @property
    def key(self) -> str:
        """The key that the entry is stored under."""
        return self._stored.key

    @property
    def created_at(self) -> datetime:
        """When the entry was first stored, in UTC."""
        return datetime.fromtimestamp(self._stored.created_at, UTC)

    @property
    def expires(self) -> datetime | None:
        """When the entry stops being fresh, or has done so, in UTC; None for never.

        It is the time of arrival if each use of the entry needs a validation.
        """
        return expires_at(self._stored)

    @property
    def is_expired(self) -> bool:
        """Whether the entry has stopped being fresh."""
        return time.time() >= self._stored.fresh_until

    @property
    def cache_status(self) -> str:
        """How the cache handled the request, as the value of a Cache-Status field (RFC 9211)."""
        if not self._cache_status and self._served_at:
            self._cache_status = hit(fresh_until=self._stored.fresh_until, now=self._served_at)
        return self._cache_status

    @property
    def cache_decision(self) -> CacheDecision:
        """What the cache did for this request, and why."""
        if not self._served_at:
            return CacheDecision(self.cache_status)
        lasting = age_and_rest(self._stored, now=self._served_at)
        return CacheDecision(self.cache_status, f"{lasting}; {self._how}" if self._how else lasting)

    def tell_how(self, how: str, *, at: float) -> None:
        """Add *how* this response was made from the entry, such as for a range, to `cache_decision`.

        Args:
            at: POSIX time of the decision.
        """
        self._served_at, self._how = at, how

    @property
    def body_path(self) -> Path | None:
        """The file that contains the whole body and nothing else, for functions that send files; None if there is none.

        The file belongs to the cache: do not write to it. It exists for at least a minute and for as long as this
        response, even if the entry is deleted; once opened, it can be read to its end. Its bytes are not verified.
        """
        file = self._file
        return None if file is None else keep(file).path

    @property
    def _file(self) -> FiledBody | None:
        stored = self._stored
        return stored.file if isinstance(stored, FiledResponse) else None

    @property
    def _came_in_chunks(self) -> bool:
        """Whether the body is shown as one chunk of HTTP: the origin gave no length, so it most likely sent chunks."""
        return hdrs.CONTENT_LENGTH not in self.headers

    def restate(self, cache_status: str) -> None:
        """Replace `cache_status`, and the Cache-Status header field too if there is one."""
        self._cache_status = cache_status
        if self._extra_headers:
            kept = (field for field in self._extra_headers if field[0] != "Cache-Status")
            self._extra_headers = (*kept, ("Cache-Status", cache_status))
            self._own_headers = None

    def _served_fields(self) -> tuple[tuple[str, str], ...]:
        """The header fields that replace stored ones; for a plain hit, Age and Cache-Status at the time of serving."""
        extra = self._extra_headers
        if extra is None:
            age_s = whole_s(current_age_s(self._stored, now=self._served_at))
            self._extra_headers = extra = (("Age", str(age_s)), ("Cache-Status", self.cache_status))
        earlier = combined(self._stored.headers, "Cache-Status") if extra else None
        if earlier is None:
            return extra
        # The members of caches nearer to the origin come first (RFC 9211 §2).
        return tuple((name, f"{earlier}, {value}" if name == "Cache-Status" else value) for name, value in extra)

    # ---- attributes of aiohttp's response, made from the entry when they are first read

    if TYPE_CHECKING:  # aiohttp caches these with a descriptor of its own; here they are plain properties
        headers: CIMultiDictProxy[str]  # pyright: ignore[reportIncompatibleVariableOverride]
        raw_headers: RawHeaders  # pyright: ignore[reportIncompatibleVariableOverride]
        request_info: RequestInfo  # pyright: ignore[reportIncompatibleVariableOverride]
        content: StreamReader
        reason: str | None
        version: HttpVersion | None
    else:

        @property
        def _headers(self):
            own = self._own_headers
            if own is None:
                own = parsed_fields(self._stored)
                extra = self._served_fields()
                if extra:
                    fields = CIMultiDict(own)
                    fields.update(extra)
                    own = CIMultiDictProxy(fields)
                self._own_headers = own
            return own

        @_headers.setter
        def _headers(self, fields):
            self._own_headers = fields

        @property
        def headers(self):
            return self._headers

        @property
        def _raw_headers(self):
            if self._own_raw_headers is not None:
                return self._own_raw_headers
            extra = self._served_fields()
            replaced = {name.lower().encode() for name, _ in extra}
            kept = tuple(line for line in self._stored.raw_headers if line[0].lower() not in replaced)
            return kept + tuple((name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in extra)

        @_raw_headers.setter
        def _raw_headers(self, lines):
            self._own_raw_headers = lines

        @property
        def raw_headers(self):
            return self._raw_headers

        @property
        def request_info(self):
            info = self._info
            if callable(info):
                self._info = info = info()
            elif info is None:
                empty = CIMultiDictProxy(CIMultiDict())
                self._info = info = RequestInfo(self._url, self.method, empty, self._real_url)
            return info

        @cached_property  # may be assigned, as in aiohttp's class
        def reason(self):
            reason = self._stored.reason
            return None if reason is None else reason.decode("utf-8", "surrogateescape")

        @cached_property
        def version(self):
            version = self._stored.version
            return HTTP_1_1 if version == (1, 1) else HttpVersion(*version)

        @property
        def content(self):
            stream = self._stream
            if stream is None:
                body, file = self._stored.body, None if self._stored.body else self._file
                if file is not None and self._body is None and not self._released:
                    self._stream = stream = filed_stream(file, is_chunk=self._came_in_chunks)
                    return stream
                if not body and (self.status in EMPTY_BODY_STATUS_CODES or self.method == hdrs.METH_HEAD):
                    return EMPTY_PAYLOAD
                self._stream = stream = memory_stream(body, is_chunk=self._came_in_chunks)
                if body and self._body is not None:
                    stream.read_nowait()
                if self._released:
                    stream.set_exception(ClientConnectionError("Connection closed"))
            return stream

        @content.setter
        def content(self, stream):
            self._stream = stream

    async def read(self) -> bytes:
        """Read the body; bytes that were read from `content` before are not returned again."""
        body = self._body
        if body is not None:
            if self._released:
                raise ClientConnectionError("Connection closed")
            return body
        if self._stream is not None or self._released:
            body = await self.content.read()
        else:
            body = self._stored.body
            if not body and (file := self._file) is not None:
                body = await read_filed(file)
        self._body = body
        for trace in self._traces:
            await trace.send_response_chunk_received(self.method, self.url, body)
        return body

    @property
    def encoding(self) -> str:
        """The encoding of the text, from the headers or guessed from the body; see `get_encoding`."""
        return self.get_encoding()

    def reset(self) -> None:
        """Let the body be read again from its beginning, even after `release`."""
        self._body = self._stream = None
        self._released = False

    def release(self) -> Any:
        """Release the response: the part of the body that was not read cannot be read any more."""
        if not self._released:
            self._released = True
            stream = self._stream
            if stream is not None and stream.exception() is None:
                stream.set_exception(ClientConnectionError("Connection closed"))
        return RELEASED

    def close(self) -> None:
        """Release the response, as `release` does: there is no connection to close."""
        self.release()

    async def wait_for_close(self) -> None:
        """Release the response and return at once: there is no connection to wait for."""
        self.release()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._in_context = False
        self.release()


AnyResponse: TypeAlias = ClientResponse | CachedResponse
"""What a request of a cached session returns: aiohttp's response on a miss, a `CachedResponse` on a hit."""
