"""Conditional requests: making them, answering them, and what a 304 changes (RFC 9111 §4.3, RFC 9110 §13)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from multidict import istr

from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.rfc9111.dates import parse_http_date
from aiohttp_cache_di.rfc9111.fields import combined, single
from aiohttp_cache_di.rfc9111.freshness import date_at, last_modified_at
from aiohttp_cache_di.rfc9111.messages import HeaderLines, Headers, RawHeaders, StoredResponse, VariantRef

__all__ = [
    "candidate_tag",
    "conditions",
    "entity_tag",
    "has_validator",
    "if_range_holds",
    "is_not_modified",
    "is_strong",
    "listed_entity_tags",
    "matches_strongly",
    "matches_weakly",
    "tag_before_coding",
    "updated_headers",
]

_ETAG: Final = istr("ETag")

_APPENDED: Final = {"gzip": "-gzip", "x-gzip": "-gzip", "br": "-br"}

MAX_OFFERED_TAGS = 16
MAX_OFFERED_CHARS = 2048
"""Bounds of our If-None-Match: servers refuse heads of about 8 kB, and the caller's fields need room, too."""

# A backslash does not escape here (RFC 9110 §8.8.3). Unquoted tags violate the grammar, but some origins send them, and
# recognise them only without quotes.
_TAG_TEXT = r'(?:W/)?"[^"\x00-\x08\x0a-\x1f\x7f]*+"|[^\s,"\x00-\x1f\x7f]++'
_TAG = compiled_later(_TAG_TEXT)
# Bytes that are not UTF-8 are decoded as surrogates, which clients cannot send.
_NOT_TEXT = compiled_later("[\ud800-\udfff]")
_LIST_OF_TAGS = compiled_later(rf"[\s,]*+(?:(?:{_TAG_TEXT})\s*+(?:,[\s,]*+|$))*+")


def entity_tag(headers: Headers) -> str | None:
    """The ETag as it was sent, with its quotes; None if it is absent, empty or repeated, or cannot stand in a list."""
    value = single(headers, _ETAG)
    return value if value and _TAG.fullmatch(value) else None


def candidate_tag(candidate: StoredResponse | VariantRef) -> str | None:
    """The entity tag of a stored response, or of one that is known only by reference; None without one."""
    return candidate.etag if isinstance(candidate, VariantRef) else entity_tag(candidate.headers)


def listed_entity_tags(value: str) -> tuple[str, ...]:
    """The entity tags in the value of If-None-Match; empty if *value* is not a list of tags."""
    return tuple(_TAG.findall(value)) if _LIST_OF_TAGS.fullmatch(value) else ()


def tag_before_coding(headers: Headers) -> str | None:
    """The tag that a response with *headers* had before Apache's mod_deflate or mod_brotli encoded it, else None.

    They append ``-gzip`` or ``-br`` to the tag of a response that they encode, but compare If-None-Match with the tag
    without it, and send that in a 304 (httpd's bug 45023). Both tags change together with the content.
    """
    tag, coding = entity_tag(headers), single(headers, "Content-Encoding")
    suffix = None if coding is None else _APPENDED.get(coding.lower())
    if tag is None or suffix is None or not tag.endswith(f'{suffix}"') or len(tag) <= len(f'"{suffix}"'):
        return None
    return tag.removesuffix(f'{suffix}"') + '"'


def is_strong(tag: str) -> bool:
    """Whether *tag* stands for the exact bytes (RFC 9110 §8.8.3)."""
    return not tag.startswith("W/")


def matches_weakly(one: str, other: str) -> bool:
    """Weak comparison (RFC 9110 §8.8.3.2): for If-None-Match."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def matches_strongly(one: str, other: str) -> bool:
    """Strong comparison (RFC 9110 §8.8.3.2): for If-Range, and to join parts."""
    return one == other and is_strong(one)


def has_validator(headers: Headers) -> bool:
    """Whether a response with *headers* can be validated: it has an ETag or a Last-Modified that is a date."""
    return entity_tag(headers) is not None or last_modified_at(headers, now=0.0) is not None


def conditions(stored: StoredResponse | None, other_tags: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """The header fields that make a request validate *stored* (RFC 9111 §4.3.1); empty if there is no validator.

    Args:
        stored: the response to validate; None to offer *other_tags* only.
        other_tags: the entity tags of the URL's other variants, which are offered as well, as far as there is room.
    """
    tags: dict[str, None] = {}
    fields: list[tuple[str, str]] = []
    if stored is not None:
        tag = entity_tag(stored.headers)
        if tag is not None:
            tags[tag] = None
        if (before := tag_before_coding(stored.headers)) is not None:
            tags[before] = None
        if last_modified_at(stored.headers, now=stored.received_at) is not None:
            fields.append(("If-Modified-Since", stored.headers["Last-Modified"].strip()))
    tags.update(dict.fromkeys(other_tags))
    offer = ", ".join(_offered(tag for tag in tags if not _NOT_TEXT.search(tag)))
    if offer:
        fields.insert(0, ("If-None-Match", offer))
    return tuple(fields)


def _offered(tags: Iterable[str]) -> list[str]:
    """The first of *tags*, as many as fit into the bounds."""
    offered: list[str] = []
    left = MAX_OFFERED_CHARS
    for tag in tags:
        left -= len(tag) + len(", ")
        if left < 0 or len(offered) == MAX_OFFERED_TAGS:
            break
        offered.append(tag)
    return offered


def is_not_modified(request_headers: Headers, stored: StoredResponse) -> bool | None:
    """Whether the caller's condition is answered with 304 from *stored*; None if the caller states no condition.

    If-None-Match has precedence over If-Modified-Since, which is compared with Last-Modified, or else with Date, or
    else with the time of receipt (RFC 9111 §4.3.2). An invalid date is ignored (RFC 9110 §13.1.3).
    """
    listed = combined(request_headers, "If-None-Match")
    if listed is not None:
        if listed.strip() == "*":
            return True
        tag = entity_tag(stored.headers)
        if tag is None:
            return False
        # The charset of bytes beyond ASCII is not defined; the caller may have decoded them as Latin-1.
        readings = {tag, tag.encode("utf-8", "surrogateescape").decode("latin-1")}
        offers = listed_entity_tags(listed)
        return any(matches_weakly(reading, offered) for reading in readings for offered in offers)
    value = single(request_headers, "If-Modified-Since")
    since_at = None if value is None else parse_http_date(value, now=stored.received_at)
    if since_at is None:
        return None
    modified_at = last_modified_at(stored.headers, now=stored.received_at)
    if modified_at is None:
        modified_at = date_at(stored.headers, received_at=stored.received_at)
    return modified_at <= since_at


def if_range_holds(request_headers: Headers, stored: StoredResponse) -> bool:
    """Whether Range applies to *stored*: If-Range is absent or matches it (RFC 9110 §13.1.5).

    A date must equal Last-Modified and Last-Modified must be a strong validator: at least a second before Date.
    """
    if "If-Range" not in request_headers:
        return True
    value = single(request_headers, "If-Range")
    if value is None:
        return False
    tag = entity_tag(stored.headers)
    if tag is not None and matches_strongly(tag, value):
        return True
    modified = single(stored.headers, "Last-Modified")
    modified_at = last_modified_at(stored.headers, now=stored.received_at)
    if modified_at is None or value != modified:
        return False
    return date_at(stored.headers, received_at=stored.received_at) - modified_at >= 1


# Content-Length: RFC 9111 §3.2. The others describe the stored bytes, which the client has decoded or joined by now.
_KEPT_BY_304 = frozenset({"content-length", "content-encoding", "content-range"})
# They belong to a single message: the old value would be wrong if the new message has none.
_OF_ONE_MESSAGE = frozenset({"age", "date"})


def updated_headers(stored: HeaderLines, fresh: Headers, drop: frozenset[str]) -> RawHeaders:
    """The stored header lines, updated with the fields *fresh* of a 304 or HEAD response (RFC 9111 §3.2).

    Args:
        drop: names (lower case) that must not be stored.
    """
    update = [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in fresh.items()
        if (lower := name.lower()) not in drop and lower not in _KEPT_BY_304
    ]
    replaced = {name.lower() for name, _ in update} | {name.encode() for name in _OF_ONE_MESSAGE}
    kept = tuple(line for line in stored if line[0].lower() not in replaced)
    return kept + tuple(update)
