"""What of a URL may be stored and shown: no userinfo, and no values of parameters that are ignored or secrets.

Keys are digests, so they need no redaction. What does are the URL that an entry names, and the header fields of a
response that name URLs.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di.keys.names import is_bearer_param, is_secret_param
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, StoredResponse

__all__ = ["REDACTED", "has_param", "redact_url", "redacted"]

REDACTED: Final = "REDACTED"
"""What stands in place of a value that is not to be stored."""

_REMEMBERED_CHARS: Final = 64
# Header fields that name URLs, lower case.
_NAMING: Final = frozenset(
    {b"location", b"content-location", b"link", b"refresh", b"sourcemap", b"x-sourcemap", b"x-original-url"}
)
_PAIR: Final = re.compile(r'(?<=[?&#])([^=&#?<>"\s]+)=([^&#<>"\s]+)')


def redact_url(url: str | URL, ignored_params: Collection[str] = ()) -> str:
    """*url* as it may be stored and shown: no userinfo, no fragment, no values of ignored parameters and of secrets."""
    text = url if isinstance(url, str) else str(url)
    if "@" in text or "#" in text:
        parsed = URL(text, encoded=True) if isinstance(url, str) else url
        if parsed.raw_user is not None or parsed.raw_password is not None:
            parsed = parsed.with_user(None)
        text = str(parsed.with_fragment(None))
    base, found, query = text.partition("?")
    if not query:
        return base
    return f"{base}{found}{'&'.join(_redacted_pair(pair, ignored_params) for pair in query.split('&'))}"


def redacted(entry: StoredResponse, ignored_params: Collection[str] = ()) -> StoredResponse:
    """*entry* as it may be stored: header fields that name URLs lack the values of ignored parameters and of secrets.

    The Location of a redirect stays as it is, since it leads the next caller on; see `has_param`.
    """
    if _NAMING.isdisjoint(map(bytes.lower, dict(entry.raw_headers))):
        return entry
    lines = tuple(
        (name, _redacted_value(value, ignored_params)) if _is_redacted(name.lower(), entry.status) else (name, value)
        for name, value in entry.raw_headers
    )
    return entry if lines == entry.raw_headers else replace(entry, raw_headers=lines)


def has_param(reference: str, names: Collection[str]) -> bool:
    """Whether query or fragment of a URL reference have a parameter of *names*, or one that gives access by itself.

    A redirect to it is not to be stored: neither may its Location be, nor could the redirect lead on without.
    """
    pairs = re.split("[?&#]", reference)[1:]
    return any(
        name in names or is_bearer_param(name)
        for name in (unquote_plus(pair.partition("=")[0]) for pair in pairs if "=" in pair or pair in names)
    )


def _is_redacted(name: bytes, status: int) -> bool:
    return name in _NAMING and not (name == b"location" and status in REDIRECTS)


def _redacted_value(value: bytes, ignored_params: Collection[str]) -> bytes:
    text = value.decode("utf-8", "surrogateescape")
    text = _PAIR.sub(lambda pair: _redacted_pair(pair[0], ignored_params), text)
    return text.encode("utf-8", "surrogateescape")


def _redacted_pair(pair: str, ignored_params: Collection[str]) -> str:
    name, found, value = pair.partition("=")
    plain = unquote_plus(name)
    if plain in ignored_params:
        return f"{name}={REDACTED}"
    return f"{name}={REDACTED}" if found and value and _is_secret(plain) else pair


def _is_secret(name: str) -> bool:
    return _known_secret(name) if len(name) <= _REMEMBERED_CHARS else is_secret_param(name)


_known_secret = lru_cache(maxsize=1024)(is_secret_param)
