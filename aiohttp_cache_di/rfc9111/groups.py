"""Groups of responses that an origin names, to be invalidated together (RFC 9875)."""

from __future__ import annotations

from itertools import islice
from typing import Final
from urllib.parse import urlsplit

from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.rfc9111.fields import combined, single
from aiohttp_cache_di.rfc9111.invalidation import DEFAULT_PORTS, is_unsafe
from aiohttp_cache_di.rfc9111.messages import MAX_TAG_CHARS, MAX_TAGS, Headers, Request

__all__ = ["groups_in", "invalidated_groups", "origin_of"]

# A list (RFC 9651 §3.1): only its strings are used, but all members have to be well formed. All quantifiers are
# possessive, so that no value takes more than linear time.
_STRING: Final = r'"(?:[ !#-\[\]-~]|\\["\\])*+"'
_BARE: Final = (
    rf"(?:{_STRING}|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+|[@\-]?-?[0-9]++(?:\.[0-9]++)?+"
    r'|:[A-Za-z0-9+/=]*+:|\?[01]|%"[ !#-~]*+")'
)
_PARAMETERS: Final = rf"(?:;\x20*+[a-z*][a-z0-9_\-.*]*+(?:={_BARE})?+)*+"
_ITEM: Final = rf"{_BARE}{_PARAMETERS}"
_INNER: Final = rf"\(\x20*+(?:{_ITEM}(?:\x20++|(?=\))))*+\){_PARAMETERS}"
_MEMBER: Final = compiled_later(rf"(?:({_STRING}){_PARAMETERS}|{_ITEM}|{_INNER})")
_COMMA: Final = compiled_later(r"[ \t]*+,[ \t]*+")
_ESCAPED: Final = compiled_later(r"\\(.)")


def groups_in(value: str) -> tuple[str, ...]:
    """The strings in a list of strings, without their parameters.

    Members that are not strings are ignored (RFC 9875 §2), and so is a field that cannot be parsed (RFC 9651 §4.2).
    """
    text = value.strip(" ")
    groups: list[str] = []
    position, is_open = 0, bool(text)
    while is_open:
        member = _MEMBER.match(text, position)
        if member is None:
            return ()
        if member[1] is not None:
            groups.append(_ESCAPED.sub(r"\1", member[1][1:-1]))
        position = member.end()
        comma = _COMMA.match(text, position)
        if comma is None and position < len(text.rstrip(" \t")):
            return ()
        is_open, position = comma is not None, position if comma is None else comma.end()
    return tuple(groups)


def invalidated_groups(request: Request, response_headers: Headers) -> tuple[str, ...]:
    """The groups of the request's origin that the response invalidates (RFC 9875 §3).

    Empty if the method is safe: then the field "MUST be ignored". Only the first `MAX_TAGS` groups are used.
    """
    value = combined(response_headers, "Cache-Group-Invalidation")
    if value is None or not is_unsafe(request.method):
        return ()
    groups = (group for group in dict.fromkeys(groups_in(value)) if 0 < len(group) <= MAX_TAG_CHARS)
    return tuple(islice(groups, MAX_TAGS))


def origin_of(request: Request) -> str:
    """The origin of a request, to which the groups in its response belong; another Host field makes it another one.

    Groups of different origins are different even if their names are the same (RFC 9875 §2.1).
    """
    url = urlsplit(request.url)
    try:
        port = url.port if url.port is not None else DEFAULT_PORTS.get(url.scheme)
    except ValueError:  # aiohttp would refuse such a URL
        port = None
    origin = f"{url.scheme}://{url.hostname or ''}:{port}"
    host = (single(request.headers, "Host") or "").lower()
    is_own = host in ("", url.netloc.rpartition("@")[2].lower(), url.hostname, f"{url.hostname}:{port}")
    return origin if is_own else f"{origin} {host}"
