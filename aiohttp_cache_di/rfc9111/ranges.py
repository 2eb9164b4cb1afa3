"""Byte ranges: parsing Range and Content-Range, serving parts and joining them (RFC 9110 §14, RFC 9111 §3.3-3.4)."""

from __future__ import annotations

import re
from collections.abc import Set

from msgspec import Struct
from msgspec.structs import replace

from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.rfc9111.fields import single, split_list
from aiohttp_cache_di.rfc9111.messages import HeaderLines, Headers, RawHeaders, StoredResponse
from aiohttp_cache_di.rfc9111.validation import entity_tag, matches_strongly

__all__ = [
    "ContentRange",
    "RangeSpec",
    "Slice",
    "Unsatisfiable",
    "combine",
    "content_range",
    "held_from_start",
    "may_combine",
    "parse_content_range",
    "parse_range",
    "select_range",
]

_RANGE_SPEC = compiled_later(r"([0-9]*)-([0-9]*)", re.A)
_CONTENT_RANGE = compiled_later(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.A | re.I)

_DESCRIBING_PART = frozenset({b"content-range", b"content-length"})
_OF_ONE_PART = _DESCRIBING_PART | {b"age", b"date"}


class RangeSpec(Struct, frozen=True):
    """One range of a Range field: bytes *first* to *last*, inclusive (None: to the end), or the last *suffix* bytes."""

    first: int | None = None
    last: int | None = None
    suffix: int | None = None


class ContentRange(Struct, frozen=True):
    """The bytes of a representation in a part, *first* to *last*; *complete* is the whole length, None if unknown."""

    first: int
    last: int
    complete: int | None


class Slice(Struct, frozen=True):
    """Bytes *first* to *last*, inclusive, of a representation of *complete* bytes (None: unknown).

    The stored body begins at byte *body_at* of the representation.
    """

    first: int
    last: int
    complete: int | None
    body_at: int


class Unsatisfiable(Struct, frozen=True):
    """The range lies beyond a representation of *complete* bytes."""

    complete: int


def parse_range(value: str) -> RangeSpec | None:
    """The range of a Range field that asks for a single range of bytes; None for several, other units or bad values."""
    unit, equals, rest = value.strip().partition("=")
    ranges = split_list(rest)
    if not equals or unit.lower() != "bytes" or len(ranges) != 1:
        return None
    match = _RANGE_SPEC.fullmatch(ranges[0])
    if match is None or len(ranges[0]) > 40:  # no representation is that long, and int() would take long
        return None
    first, last = match.groups()
    if not first:
        return RangeSpec(suffix=int(last)) if last else None
    if last and int(last) < int(first):
        return None
    return RangeSpec(first=int(first), last=int(last) if last else None)


def parse_content_range(value: str) -> ContentRange | None:
    """A consistent Content-Range in bytes; None for another value, such as that of a 416."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    complete = None if match[3] == "*" else int(match[3])
    if last < first or (complete is not None and last >= complete):
        return None
    return ContentRange(first, last, complete)


def content_range(first: int | None, last: int | None, complete: int | None) -> str:
    """The value of a Content-Range; without *first* and *last*, that of a 416."""
    size = "*" if complete is None else str(complete)
    return f"bytes */{size}" if first is None or last is None else f"bytes {first}-{last}/{size}"


def _part(stored: StoredResponse) -> ContentRange | None:
    """The part of its representation that *stored* contains; None if that is not certain."""
    if stored.status == 200:
        # The client has decoded the body, so positions in it differ from those of the origin.
        if "Content-Encoding" in stored.headers:
            return None
        size = stored.body_bytes
        return ContentRange(0, size - 1, size)
    value = single(stored.headers, "Content-Range")
    held = None if value is None else parse_content_range(value)
    return held if held is not None and held.last - held.first + 1 == stored.body_bytes else None


def held_from_start(stored: StoredResponse) -> int | None:
    """The number of bytes that *stored*, a 206 in memory, has from the first one on; None if it is not such a part.

    Its complete length must be known, and be greater.
    """
    held = _part(stored) if stored.status == 206 and stored.body_bytes == len(stored.body) else None
    if held is None or held.first != 0 or held.complete is None or held.last + 1 == held.complete:
        return None
    return held.last + 1


def select_range(value: str, stored: StoredResponse) -> Slice | Unsatisfiable | None:
    """The bytes of *stored* (a 200, or a 206) that answer the Range field *value*; None if it cannot answer that."""
    spec, held = parse_range(value), _part(stored)
    if spec is None or held is None:
        return None
    complete = held.complete
    first, last = spec.first, spec.last
    if first is None:
        if complete is None or spec.suffix is None:
            return None
        if spec.suffix == 0 or complete == 0:
            return Unsatisfiable(complete)
        first, last = max(0, complete - spec.suffix), complete - 1
    if complete is not None:
        if first >= complete:
            return Unsatisfiable(complete)
        last = complete - 1 if last is None else min(last, complete - 1)
    if last is None or first < held.first or last > held.last:
        return None
    return Slice(first, last, complete, held.first)


def may_combine(stored: StoredResponse, headers: Headers) -> bool:
    """Whether a new part with *headers* can be joined with the stored part (RFC 9111 §3.4).

    Both must have the same strong entity tag, agree on the complete length, and touch or overlap; and the stored body
    must be in memory.
    """
    if stored.body_bytes != len(stored.body):
        return False
    if stored.status != 206 or "Content-Encoding" in stored.headers or "Content-Encoding" in headers:
        return False
    value = single(headers, "Content-Range")
    new = None if value is None else parse_content_range(value)
    held = _part(stored)
    old_tag, new_tag = entity_tag(stored.headers), entity_tag(headers)
    if new is None or held is None or old_tag is None or new_tag is None or not matches_strongly(old_tag, new_tag):
        return False
    same_length = None in (new.complete, held.complete) or new.complete == held.complete
    return same_length and new.first <= held.last + 1 and held.first <= new.last + 1


def combine(stored: StoredResponse, new: StoredResponse) -> StoredResponse:
    """*new* joined with the bytes of *stored*: a 200 if that is the whole representation (RFC 9110 §15.3.7.3).

    Header fields that *new* leaves out, as a response to If-Range does, are taken from *stored*. Returns *new* itself
    if the two cannot be joined, or if *new*'s body does not have the length that it states, or is not in memory.
    """
    held, added = _part(stored), _part(new)
    is_in_memory = new.body_bytes == len(new.body)
    if new.status != 206 or held is None or added is None or not (is_in_memory and may_combine(stored, new.headers)):
        return new
    first, last = min(held.first, added.first), max(held.last, added.last)
    before = stored.body[: max(0, added.first - held.first)]
    after = stored.body[added.last + 1 - held.first :] if held.last > added.last else b""
    complete = added.complete if added.complete is not None else held.complete
    body = before + new.body + after
    whole = first == 0 and complete == len(body)
    sent = {name.lower() for name, _ in new.raw_headers}
    lines = _without(stored.raw_headers, sent | _OF_ONE_PART) + _without(new.raw_headers, _DESCRIBING_PART)
    lines += ((b"Content-Length", str(len(body)).encode()),)
    if not whole:
        lines += ((b"Content-Range", content_range(first, last, complete).encode()),)
    return replace(
        new, status=200 if whole else 206, reason=b"OK" if whole else new.reason, raw_headers=lines, body=body
    )


def _without(lines: HeaderLines, names: Set[bytes]) -> RawHeaders:
    return tuple(line for line in lines if line[0].lower() not in names)
