"""A hit: a real `aiohttp.ClientResponse`, made from a stored entry; it builds what is read, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
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
from aiohttp_cache_di.telemetry.reasons import CacheDecision

__all__ = ["AnyResponse", "CachedResponse"]

HTTP_1_1 = HttpVersion(1, 1)


class CachedResponse(ClientResponse):
    """A response served from the cache.

    Everything that `aiohttp.ClientResponse` offers works; ``connection`` is None and each hit has a stream of its
    own. Besides: `from_cache`, `created_at`, `expires`, `is_expired`, `cache_status`, `key` and `body_path`.
    """

    from_cache: bool = True
    _cache_status: str = ""
    _extra_headers: tuple[tuple[str, str], ...] | None = ()
    _served_at: float = 0.0
    _answered: tuple[float, str] | None = None
    _stream: StreamReader | None = None
    _info: RequestInfo | Callable[[], RequestInfo] | None = None
    _own_headers: CIMultiDictProxy[str] | None = None
    _replaced: dict[str, Any] | None = None
    """What was set in place of what is stored, as tools do that replay responses."""
    _stored: StoredResponse
    _has_own_init: bool = False
    """Whether a user's class has an ``__init__`` that wants to be called."""

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
            request_info: what ``request_info`` is to be, or a function that makes it when it is asked for.
            cache_status: the value for `cache_status`.
            extra_headers: fields of the served response that are not stored, such as Age; each replaces a stored one.
            served_at: POSIX time of a plain hit, from which its `cache_status` is made when it is asked for …
            standard: … and its Age and Cache-Status fields too (RFC 9111 §4, RFC 9211).
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
        """Call the ``__init__`` of a user's class as aiohttp calls it, for what it sets besides."""
        self.__init__(  # type: ignore[misc]  # on an object that is being made
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
        self._session = None  # as a response has it whose body has arrived

    @classmethod
    async def from_client_response(cls, response: ClientResponse, expires: datetime | None = None) -> Self:
        """Read *response* to its end and make a cached one from it, fresh until *expires* (None: for ever)."""
        if isinstance(response, CachedResponse):
            return cls.from_stored(response.stored, url=response.real_url)
        fresh_until = float("inf") if expires is None else expires.timestamp()
        entry = entry_of(response, body=await body_of(response), fresh_until=fresh_until)
        return cls.from_stored(entry, url=response.real_url, request_info=response.request_info)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a user's own serializer copy the stored entry (what belongs to a session stays behind)."""
        return CachedResponse.from_stored, (self._stored,)

    def __repr__(self) -> str:
        stored = vars(self).get("_stored")
        if not isinstance(stored, StoredResponse):  # of one that is still being made, or a stand-in of a test's
            return f"<{type(self).__name__}>"
        told = told_of(stored, self.cache_status, now=time.time())
        return shown(type(self).__name__, self.method, redact_url(stored.url), self.status, self.reason, told)

    # ---- what the cache knows

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
        """When the entry was stored first, in UTC."""
        return datetime.fromtimestamp(self._stored.created_at, UTC)

    @property
    def expires(self) -> datetime | None:
        """When the entry stops being fresh, in UTC; None for never."""
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
        """What the cache has done for this request, and why."""
        status = self.cache_status
        at, how = self._answered or (self._served_at, "")
        if not at:
            return CacheDecision(status)
        lasting = age_and_rest(self._stored, now=at)
        return CacheDecision(status, f"{lasting}; {how}" if how else lasting)

    def tell_how(self, how: str, *, at: float) -> None:
        """Let `cache_decision` tell how this was made of what is stored.

        Args:
            at: POSIX time at which that was decided.
        """
        self._answered = at, how

    @property
    def body_path(self) -> Path | None:
        """The file that has the whole body and nothing else, for what sends files; None where there is none.

        It is the cache's own: read it only. It stays for a minute, and for as long as this response, even if the entry
        goes; what has opened it can read it to its end. Nothing checks the bytes there.
        """
        file = self._file
        return None if file is None else keep(file).path

    @property
    def _file(self) -> FiledBody | None:
        stored = self._stored
        return stored.file if isinstance(stored, FiledResponse) else None

    def restate(self, cache_status: str) -> None:
        """Say *cache_status* from now on, in the header fields too where they say it."""
        self._cache_status = cache_status
        if self._extra_headers:
            kept = (field for field in self._extra_headers if field[0] != "Cache-Status")
            self._extra_headers = (*kept, ("Cache-Status", cache_status))
            self._own_headers = None

    def _served_fields(self) -> tuple[tuple[str, str], ...]:
        extra = self._extra_headers
        if extra is None:
            age_s = whole_s(current_age_s(self._stored, now=self._served_at))
            self._extra_headers = extra = (("Age", str(age_s)), ("Cache-Status", self.cache_status))
        earlier = combined(self._stored.headers, "Cache-Status") if extra else None
        if earlier is None:
            return extra
        # What caches on the way have said goes before our word (RFC 9211 §2).
        return tuple((name, f"{earlier}, {value}" if name == "Cache-Status" else value) for name, value in extra)

    # ---- what aiohttp's response has, made from the entry when it is asked for

    if TYPE_CHECKING:  # aiohttp caches these by a descriptor of its own; here they are plain properties
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
            if self._replaced is not None and "raw_headers" in self._replaced:
                return self._replaced["raw_headers"]
            extra = self._served_fields()
            replaced = {name.lower().encode() for name, _ in extra}
            kept = tuple(line for line in self._stored.raw_headers if line[0].lower() not in replaced)
            return kept + tuple((name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in extra)

        @_raw_headers.setter
        def _raw_headers(self, lines):
            self._replace("raw_headers", lines)

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

        @property
        def reason(self):
            if self._replaced is not None and "reason" in self._replaced:
                return self._replaced["reason"]
            reason = self._stored.reason
            return None if reason is None else reason.decode("utf-8", "surrogateescape")

        @reason.setter
        def reason(self, reason):
            self._replace("reason", reason)

        @property
        def version(self):
            if self._replaced is not None and "version" in self._replaced:
                return self._replaced["version"]
            version = self._stored.version
            return HTTP_1_1 if version == (1, 1) else HttpVersion(*version)

        @version.setter
        def version(self, version):
            self._replace("version", version)

        @property
        def content(self):
            stream = self._stream
            if stream is None:
                body, file = self._stored.body, None if self._stored.body else self._file
                if file is not None and self._body is None and not self._released:
                    self._stream = stream = filed_stream(file)
                    return stream
                if not body and (self.status in EMPTY_BODY_STATUS_CODES or self.method == hdrs.METH_HEAD):
                    return EMPTY_PAYLOAD
                self._stream = stream = memory_stream(body)
                if body and self._body is not None:
                    stream.read_nowait()
                if self._released:
                    stream.set_exception(ClientConnectionError("Connection closed"))
            return stream

        @content.setter
        def content(self, stream):
            self._stream = stream

    def _replace(self, name: str, value: object) -> None:
        if self._replaced is None:
            self._replaced = {}
        self._replaced[name] = value

    async def read(self) -> bytes:
        """Read the response's payload; what was taken from `content` before is not repeated."""
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
        """The encoding of the text, as its head or the text itself says; see `get_encoding`."""
        return self.get_encoding()

    def reset(self) -> None:
        """Let the body be read again from its beginning, even if the response was given up."""
        self._body = self._stream = None
        self._released = False

    def release(self) -> Any:
        """Give the response up: what was not read cannot be read any more."""
        if not self._released:
            self._released = True
            stream = self._stream
            if stream is not None and stream.exception() is None:
                stream.set_exception(ClientConnectionError("Connection closed"))
        return RELEASED

    def close(self) -> None:
        """Give the response up, as `release` does: there is no connection to close."""
        self.release()

    async def wait_for_close(self) -> None:
        """Return at once: there is no connection to wait for."""
        self.release()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._in_context = False
        self.release()


AnyResponse: TypeAlias = ClientResponse | CachedResponse
"""What a cached session answers with: aiohttp's response on a miss, ours on a hit."""
