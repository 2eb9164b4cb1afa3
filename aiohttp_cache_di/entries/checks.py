"""Validating each field of an entry that was read from a store.

A checksum proves that bytes are as they were written, not that a cache has written them. The fields of an entry that
passes these checks can be turned into a response, a request header or a date without an exception, and take no more
memory than those of entries that a cache writes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isinf
from typing import Final

from yarl import URL

from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.rfc9111.messages import END_OF_TIME, REDIRECTS, HeaderBlock, Headers, StoredResponse, VariantRef
from aiohttp_cache_di.rfc9111.vary import MAX_VARY_NAMES

__all__ = ["is_possible", "leads_elsewhere"]

_MAX_REASON_BYTES: Final = 1024
_MAX_METHOD_CHARS: Final = 64
_MAX_ORIGIN_CHARS: Final = 512  # twice the greatest length of a DNS name (RFC 1035 §2.3.4)
_QUERY: Final = compiled_later(r"[?#].*", re.DOTALL)
_REMEMBERED_CHARS: Final = 256  # longer values are not memoised: a bad entry may have very long ones
_METHOD: Final = compiled_later(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}", re.ASCII)
_VARY_NAME: Final = compiled_later(r"[!#$%&'*+\-.^_`|~0-9a-z]+", re.ASCII)
_MAX_VARY_NAME_CHARS: Final = 4096
_BEYOND_SCHEME: Final = len("https://")  # the first slash from here on ends the host
_SCHEMES: Final = frozenset({"", "http", "https"})
_SEALED: Final = "#sealed="  # by `keys.redacted`, which has validated the Location, and authenticates it
_LINE_BREAKING: Final = compiled_later("[\r\n\0]")


def is_possible(entry: StoredResponse) -> bool:
    """Whether a cache could have stored *entry*."""
    # Runs for each read, so it makes few calls. The types have limited numbers and lengths already.
    lines = entry.raw_headers
    block = lines if isinstance(lines, HeaderBlock) else HeaderBlock.of(lines)
    return (
        (abs(entry.fresh_until) < END_OF_TIME or isinf(entry.fresh_until))
        and (abs(entry.store_until) < END_OF_TIME or isinf(entry.store_until))
        and (entry.status == 200 or _is_status_possible(entry))
        and (entry.method == "GET" or _is_method(entry.method))
        and _is_url(entry.url)
        and block is not None
        and block.is_possible()
        and (entry.reason == b"OK" or not entry.reason or _is_reason(entry.reason))
        and (_are_vary_names(entry.vary_fields) if entry.vary_fields else not entry.vary_digest)
        and (not entry.variants or _are_variants(entry.variants))
    )


def leads_elsewhere(headers: Headers, url: str, method: str) -> bool:
    """Whether a redirect with *headers* leads from *url* to another valid URL; also true if it has no Location.

    A redirect to its own URL, with the same method, would make a client loop until it gives up.
    """
    location = headers.get("Location") or headers.get("URI")  # as aiohttp does
    if location is None or _SEALED in location:
        return True
    try:
        own, target = URL(url, encoded=True), URL(location)
        if target.scheme not in _SCHEMES:
            return False
        if not target.scheme or (target.scheme == own.scheme and "//" not in location):  # http:path, relative
            target = own.join(target)
        target = target.with_fragment(None)
        if target.origin().port is None:
            return False
        return method not in {"GET", "HEAD"} or str(target) not in {url, str(URL(url).with_fragment(None))}
    except ValueError:
        return False


def _is_status_possible(entry: StoredResponse) -> bool:
    status = entry.status
    return status != 304 and (status not in REDIRECTS or leads_elsewhere(entry.headers, entry.url, entry.method))


def _is_method(method: str) -> bool:
    return len(method) <= _MAX_METHOD_CHARS and _is_token(method)


@lru_cache(maxsize=128)
def _is_token(method: str) -> bool:
    return _METHOD.fullmatch(method) is not None


def _is_url(url: str) -> bool:
    end = url.find("/", _BEYOND_SCHEME)
    origin = url[:end] if end > 0 else url
    if len(origin) > _MAX_ORIGIN_CHARS and len(origin := _QUERY.sub("", origin)) > _MAX_ORIGIN_CHARS:
        return False
    return url.isprintable() and _is_origin(origin)


@lru_cache(maxsize=1024)
def _is_origin(origin: str) -> bool:
    """Whether *origin* is a valid beginning of a URL; memoised, because many URLs share an origin."""
    try:
        url = URL(origin)
        return bool(url.scheme and url.host) and (url.port is not None or not url.explicit_port)
    except ValueError:
        return False


def _is_reason(reason: bytes) -> bool:
    return len(reason) <= _MAX_REASON_BYTES and _is_line(reason)


@lru_cache(maxsize=128)
def _is_line(reason: bytes) -> bool:
    return _LINE_BREAKING.search(reason.decode("latin-1")) is None


def _are_vary_names(fields: tuple[str, ...]) -> bool:
    if fields == ("*",):
        return True
    if len(fields) > MAX_VARY_NAMES:
        return False
    return _are_names(fields) if sum(map(len, fields)) <= _REMEMBERED_CHARS else _are_names.__wrapped__(fields)


@lru_cache(maxsize=256)
def _are_names(fields: tuple[str, ...]) -> bool:
    return all(len(name) <= _MAX_VARY_NAME_CHARS and _VARY_NAME.fullmatch(name) and name != "*" for name in fields)


def _are_variants(variants: tuple[VariantRef, ...]) -> bool:
    return all(
        _are_vary_names(ref.fields)
        and ref.key != ""
        and (ref.etag is None or not _LINE_BREAKING.search(ref.etag))
        and (abs(ref.store_until) < END_OF_TIME or isinf(ref.store_until))
        for ref in variants
    )
