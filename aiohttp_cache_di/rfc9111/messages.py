"""The messages that the rules reason about: immutable, and free of any client library."""

from __future__ import annotations

import math
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
    "Headers",
    "RawHeaders",
    "Request",
    "Response",
    "StoredResponse",
    "Tagging",
    "VariantRef",
]

Headers: TypeAlias = MultiMapping[str]
"""Header fields, looked up without regard to case; several lines of one name stay apart (``getall``)."""

RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Header lines as they came over the wire, in order."""

END_OF_TIME = 253_402_300_800.0
"""POSIX time of the year 10000, where dates end: what lasts longer lasts for ever."""

MAX_PURGES = 2**60
"""The numbers of purges are smaller: microseconds until long after the end of time."""

MAX_VARIANTS = 4096
"""How many variants of one URL are ever kept side by side."""

MAX_TAGS = 256
"""How many tags a response has at most; RFC 9875 §2 asks for at least 32."""

MAX_TAG_CHARS = 1024
"""How long a tag is at most; RFC 9875 §2 asks for at least 32."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""Statuses that lead a client to another URL by a Location (RFC 9110 §15.4), all of which aiohttp follows."""

_SIZE = "size_bytes"  # as it is remembered
_USUAL_LINES = 32  # whose objects count as a part of what any entry takes
_LINE_BYTES = 300  # the objects of a line: as it came, and as it is looked up

# What the fields of stored structs can be; looked at where bytes become a struct, as nothing but that says where they
# come from.
_At: TypeAlias = Annotated[float, Meta(ge=0, lt=253_086_768_000)]  # To 9990: what is added stays within the calendar.
_Digest: TypeAlias = Annotated[bytes, Meta(max_length=64)]
_Digit: TypeAlias = Annotated[int, Meta(ge=0, le=9)]
_Tag: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TAG_CHARS)]


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request as it would go on the wire.

    Args:
        method: upper case.
        url: absolute, without fragment.
        headers: the effective header fields.
        selecting: those that Vary looks at, where some make no difference; None for all.
    """

    method: str
    url: str
    headers: Headers
    selecting: Headers | None = None

    def __repr__(self) -> str:  # of neither the fields nor the query, which may hold secrets
        return f"<Request {self.method} {_without_query(self.url)}>"

    @property
    def selecting_headers(self) -> Headers:
        """The fields by which a stored response that varies is selected."""
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
    """Where another variant of the same URL is kept (RFC 9111 §4.1).

    Args:
        fields: the variant's Vary fields, lower case, sorted.
        digest: of the normalised values that the storing request had for them (never in clear).
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
    """By which tags a stored response can be purged, and which purges it has outlived.

    Args:
        names: the tags, each once.
        groups: how many of them, from the first on, are groups of the origin's own too (RFC 9875).
        origin: whose groups these are.
        purges: the number of a purge that had begun when the response was asked for; of all later ones the response
            knows nothing.
    """

    names: Annotated[tuple[_Tag, ...], Meta(max_length=MAX_TAGS)]
    groups: Annotated[int, Meta(ge=0, le=MAX_TAGS)] = 0
    origin: Annotated[str, Meta(max_length=4096)] = ""
    purges: Annotated[int, Meta(ge=0, lt=MAX_PURGES)] = 0


class StoredResponse(msgspec.Struct, frozen=True, array_like=True, dict=True, kw_only=True):
    """A complete response as the cache keeps it.

    Args:
        key: the storage key under which it is kept.
        method: of the request that it answers.
        url: of that request, without userinfo, fragment and the values of ignored parameters.
        status: the final status code.
        reason: the reason phrase as it came, or None.
        version: HTTP version of the answer, as (major, minor).
        raw_headers: the header lines that may be stored, in order.
        requested_at: POSIX time of the request (``request_time``).
        received_at: POSIX time of the answer or of its last validation (``response_time``).
        created_at: POSIX time at which this body was first stored.
        fresh_until: POSIX time until which it may be served without asking anyone; ``-inf`` where each
            use needs a validation, ``inf`` for ever.
        store_until: POSIX time after which the store may drop it; ``inf`` for never.
        partition: digest of the credentials it was obtained with, or "".
        vary_fields: Vary fields, lower case, sorted; ``("*",)`` matches no request.
        vary_digest: of the storing request's normalised values for them.
        variants: where the URL's other variants are kept.
        history: keys of the redirects that led to it, where known.
        tagging: its tags; None for one that has none.
        body: the content, decoded where the client decodes; b"" where it is not kept in memory.
    """

    key: str
    method: str
    url: str
    status: Annotated[int, Meta(ge=200, le=999)]
    reason: bytes | None
    version: tuple[_Digit, _Digit] = (1, 1)
    raw_headers: RawHeaders = ()
    requested_at: _At
    received_at: _At
    created_at: _At
    fresh_until: float
    store_until: float = math.inf
    partition: Annotated[str, Meta(max_length=4096)] = ""
    vary_fields: tuple[str, ...] = ()
    vary_digest: _Digest = b""
    variants: Annotated[tuple[VariantRef, ...], Meta(max_length=MAX_VARIANTS)] = ()
    history: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()  # aiohttp follows 10, unless it is told to go on
    tagging: Tagging | None = None
    body: bytes = b""

    def __repr__(self) -> str:  # of neither the fields nor the body, which may hold secrets
        told = f"{self.body_bytes} bytes, {len(self.raw_headers)} header fields"
        return f"<{type(self).__name__} {self.method} {_without_query(self.url)} [{self.status}] {told}>"

    @cached_property
    def headers(self) -> CIMultiDictProxy[str]:
        """The stored header fields, decoded as aiohttp decodes them (UTF-8 with surrogate escapes)."""
        return CIMultiDictProxy(
            CIMultiDict(
                (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
                for name, value in self.raw_headers
            )
        )

    @property
    def body_bytes(self) -> int:
        """How long the content is, wherever it is kept."""
        return len(self.body)

    @property
    def size_bytes(self) -> int:
        """What the entry weighs in memory: all its texts but the digest of credentials, and some more for each list."""
        memo = vars(self)  # all that have an entry on its way into a store weigh it
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
        """What a head of very many lines takes for its objects, beside what those of any entry take."""
        return _LINE_BYTES * max(len(self.raw_headers) - _USUAL_LINES, 0)

    @property
    def held_bytes(self) -> int:
        """What the entry takes in memory, beside what any entry takes."""
        return self.size_bytes + self.objects_bytes


def _without_query(url: str) -> str:
    before, found, _ = url.partition("?")
    return f"{before}?…" if found else before


def _names_bytes(names: tuple[str, ...]) -> int:
    return sum(map(len, names)) + 4 * len(names)


def _ref_bytes(ref: VariantRef) -> int:
    return _names_bytes(ref.fields) + len(ref.digest) + len(ref.key) + len(ref.etag or "") + 16
