"""Requests, responses and stored responses: immutable, and independent of any client library."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta
from multidict import CIMultiDict, CIMultiDictProxy, MultiMapping

__all__ = [
    "END_OF_TIME",
    "MAX_PURGES",
    "MAX_TAGS",
    "MAX_TAG_CHARS",
    "MAX_VARIANTS",
    "REDIRECTS",
    "HeaderBlock",
    "HeaderLines",
    "Headers",
    "RawHeaders",
    "Request",
    "Response",
    "StoredResponse",
    "Tagging",
    "VariantRef",
    "decoded",
]

Headers: TypeAlias = MultiMapping[str]
"""Header fields, looked up case-insensitively; ``getall`` returns the lines of one name separately."""

RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Header lines as received, undecoded and in order."""

END_OF_TIME = 253_402_300_800.0
"""POSIX time of the beginning of the year 10000, which dates cannot express: a longer lifetime counts as infinite."""

MAX_PURGES = 2**60
"""An upper bound of the numbers of purges, which are POSIX times in microseconds."""

MAX_VARIANTS = 4096
"""The most variants of one URL that are ever stored."""

MAX_TAGS = 256
"""The most tags of a response; RFC 9875 §2 requires at least 32."""

MAX_TAG_CHARS = 1024
"""The most characters of a tag; RFC 9875 §2 requires at least 32."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""The statuses of redirects by Location (RFC 9110 §15.4), all of which aiohttp follows."""

_SIZE = "size_bytes"  # the name under which an entry remembers its size
_USUAL_LINES = 32  # header lines that the fixed size of an entry includes
_LINE_BYTES = 300  # of the objects for one header line, raw and decoded

# The valid values of fields of stored structs, checked when an entry is decoded, because stored bytes are untrusted.
_At: TypeAlias = Annotated[
    float, Meta(ge=0, lt=253_086_768_000)
]  # until the year 9990, so that sums stay within the calendar
_Digest: TypeAlias = Annotated[bytes, Meta(max_length=64)]
_Digit: TypeAlias = Annotated[int, Meta(ge=0, le=9)]
_Tag: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TAG_CHARS)]


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request as it would be sent.

    Args:
        method: in upper case.
        url: absolute, without fragment.
        headers: the effective header fields.
        selecting: the header fields for Vary, if some fields make no difference; None for all of *headers*.
    """

    method: str
    url: str
    headers: Headers
    selecting: Headers | None = None

    def __repr__(self) -> str:  # without header fields and query, which may contain secrets
        return f"<Request {self.method} {_without_query(self.url)}>"

    @property
    def selecting_headers(self) -> Headers:
        """The header fields by which Vary selects a stored response."""
        return self.headers if self.selecting is None else self.selecting


class Response(msgspec.Struct, frozen=True, gc=False):
    """The head of a response as the origin sent it.

    Args:
        requested_at: POSIX time, UTC, at which the request was sent (RFC 9111 §4.2.3, ``request_time``).
        received_at: POSIX time, UTC, at which the head arrived (``response_time``).
    """

    status: int
    headers: Headers
    requested_at: float
    received_at: float

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.headers)} header fields>"


class VariantRef(msgspec.Struct, frozen=True, array_like=True):
    """A reference to another stored variant of the same URL (RFC 9111 §4.1).

    Args:
        fields: the variant's Vary fields, lower case, sorted.
        digest: the digest of the normalised values that the original request had for them.
        key: the storage key of that variant.
        etag: its entity tag as sent, so that a validation may offer it, or None.
        store_until: POSIX time after which the store may drop it; ``inf`` for never.
    """

    fields: tuple[str, ...]
    digest: _Digest
    key: Annotated[str, Meta(min_length=1)]
    etag: str | None = None
    store_until: float = math.inf


class Tagging(msgspec.Struct, frozen=True, array_like=True):
    """The tags by which a stored response can be purged, and the purges before it.

    Args:
        names: the tags, without duplicates.
        groups: how many of them, from the first on, are also groups of the origin (RFC 9875).
        origin: the origin of these groups.
        purges: the number of the latest known purge when the response was requested; later ones apply to it.
    """

    names: Annotated[tuple[_Tag, ...], Meta(max_length=MAX_TAGS)]
    groups: Annotated[int, Meta(ge=0, le=MAX_TAGS)] = 0
    origin: Annotated[str, Meta(max_length=4096)] = ""
    purges: Annotated[int, Meta(ge=0, lt=MAX_PURGES)] = 0


class HeaderBlock(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Header lines as one block of bytes, which is split each time that they are iterated over.

    Stored responses are read with it, because most hits need no header line. It equals the lines that it consists of.

    Args:
        text: names and values in turn, separated by newlines.
    """

    text: bytes

    @classmethod
    def of(cls, lines: RawHeaders) -> HeaderBlock | None:
        """The block of *lines*; None if they contain newlines, which cannot be told from the separators."""
        text = b"\n".join(map(b"\n".join, lines))
        return cls(text) if text.count(b"\n") == max(2 * len(lines) - 1, 0) else None

    def is_possible(self) -> bool:
        """Whether each name has a value, and no line contains a character that ends lines."""
        text = self.text  # searches in C, without splitting it
        return (not text or text.count(b"\n") % 2 == 1) and not (0x0D in text or 0x00 in text)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        pieces = iter(self.text.split(b"\n") if self.text else ())
        return zip(pieces, pieces, strict=True)

    def __len__(self) -> int:
        return (self.text.count(b"\n") + 1) // 2

    def __eq__(self, other: object) -> bool:
        if isinstance(other, HeaderBlock):
            return self.text == other.text
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:  # without values, which may be secrets
        return f"<HeaderBlock of {len(self)} lines>"


HeaderLines: TypeAlias = RawHeaders | HeaderBlock
"""The header lines of a stored response."""


def decoded(lines: HeaderLines) -> list[tuple[str, str]]:
    """*lines* as aiohttp decodes them (UTF-8 with surrogate escapes)."""
    if isinstance(lines, HeaderBlock) and lines.text:
        # As a whole: no character of UTF-8 but the newline itself has the byte of the separators.
        pieces = iter(lines.text.decode("utf-8", "surrogateescape").split("\n"))
        return list(zip(pieces, pieces, strict=True))
    return [
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")) for name, value in lines
    ]


class StoredResponse(msgspec.Struct, frozen=True, array_like=True, dict=True, kw_only=True):
    """A complete response as it is stored: an entry of the cache.

    Args:
        key: the storage key under which it is kept.
        method: the method of the request that it answers.
        url: the URL of that request, without userinfo, fragment and the values of ignored parameters.
        status: the final status code.
        reason: the reason phrase as received, or None.
        version: the HTTP version of the response, as (major, minor).
        raw_headers: the header lines that may be stored, in order.
        requested_at: POSIX time at which the request was sent (``request_time``).
        received_at: POSIX time at which the response, or the one that last validated it, arrived (``response_time``).
        created_at: POSIX time at which this body was first stored.
        fresh_until: POSIX time until which it may be served without validation; ``-inf`` if each use needs one,
            ``inf`` for ever.
        store_until: POSIX time after which the store may drop it; ``inf`` for never.
        partition: the digest of the credentials that it was requested with, or "".
        vary_fields: the Vary fields, lower case, sorted; ``("*",)`` matches no request.
        vary_digest: the digest of the normalised values that the storing request had for them.
        variants: references to the URL's other variants.
        history: the keys of the redirects that led to it, if known.
        tagging: its tags and groups; None if it has none.
        body: the content, decoded if the client decodes it; b"" if it is not kept in memory.
    """

    key: str
    method: str
    url: str
    status: Annotated[int, Meta(ge=200, le=999)]
    reason: bytes | None
    version: tuple[_Digit, _Digit] = (1, 1)
    raw_headers: HeaderLines = ()
    requested_at: _At
    received_at: _At
    created_at: _At
    fresh_until: float
    store_until: float = math.inf
    partition: Annotated[str, Meta(max_length=4096)] = ""
    vary_fields: tuple[str, ...] = ()
    vary_digest: _Digest = b""
    variants: Annotated[tuple[VariantRef, ...], Meta(max_length=MAX_VARIANTS)] = ()
    history: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()  # aiohttp follows 10 by default
    tagging: Tagging | None = None
    body: bytes = b""

    def __repr__(self) -> str:  # without header fields and body, which may contain secrets
        told = f"{self.body_bytes} bytes, {len(self.raw_headers)} header fields"
        return f"<{type(self).__name__} {self.method} {_without_query(self.url)} [{self.status}] {told}>"

    @cached_property
    def headers(self) -> CIMultiDictProxy[str]:
        """The stored header fields, decoded as aiohttp decodes them (UTF-8 with surrogate escapes)."""
        return CIMultiDictProxy(CIMultiDict(decoded(self.raw_headers)))

    @property
    def body_bytes(self) -> int:
        """The size of the body, whether it is in memory or in a file."""
        return len(self.body)

    @property
    def size_bytes(self) -> int:
        """The size of the entry: of its texts, and an overhead for each item of its lists."""
        memo = vars(self)  # several layers ask for it when an entry is stored
        weight: int | None = memo.get(_SIZE)
        if weight is None:
            memo[_SIZE] = weight = self._weighed()
        return weight

    def _weighed(self) -> int:
        lines = self.raw_headers
        texts = len(self.body) + len(self.key) + len(self.url) + sum(map(len, chain.from_iterable(lines)))
        weight = texts + 4 * len(lines) + len(self.vary_digest) + len(self.reason or b"")
        if self.tagging is not None:
            weight += _names_bytes(self.tagging.names)
        if self.vary_fields or self.variants or self.history:
            weight += _names_bytes(self.vary_fields) + _names_bytes(self.history) + sum(map(_ref_bytes, self.variants))
        return weight

    @property
    def objects_bytes(self) -> int:
        """The size of the objects for header lines beyond the usual number."""
        return _LINE_BYTES * max(len(self.raw_headers) - _USUAL_LINES, 0)

    @property
    def held_bytes(self) -> int:
        """The size of the entry in memory without the fixed size of any entry."""
        return self.size_bytes + self.objects_bytes


def _without_query(url: str) -> str:
    before, found, _ = url.partition("?")
    return f"{before}?…" if found else before


def _names_bytes(names: tuple[str, ...]) -> int:
    return sum(map(len, names)) + 4 * len(names)


def _ref_bytes(ref: VariantRef) -> int:
    return _names_bytes(ref.fields) + len(ref.digest) + len(ref.key) + len(ref.etag or "") + 16
