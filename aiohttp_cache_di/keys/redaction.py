"""Remove secrets from URLs that are stored or shown: userinfo, and the values of secret and ignored parameters.

Keys are digests and need no redaction, but the URL in an entry does, and so do the header fields of a response that
contain URLs. The Location of a redirect is needed unredacted to follow it: if it contains a secret, it is stored
redacted, with the original encrypted in its fragment (`sealing`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di.keys.names import is_bearer_param, is_secret_param
from aiohttp_cache_di.keys.sealing import seal, unseal
from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, StoredResponse

__all__ = ["NAMING_FIELDS", "REDACTED", "has_param", "is_redacted", "is_sealed", "redact_url", "redacted", "unsealed"]

REDACTED: Final = "REDACTED"
"""The replacement for a value that must not be stored."""

_REMEMBERED_CHARS: Final = 64
NAMING_FIELDS: Final = frozenset(
    b"location content-location link refresh sourcemap x-sourcemap x-original-url uri x-accel-redirect referer"
    b" operation-location azure-asyncoperation".split()
)
"""Header fields that contain URLs, in lower case."""
_PAIR: Final = compiled_later(r'(?<=[?&#;])([^=&#;?<>"\s]+)=([^&#<>"\s]+)')
_NAME: Final = compiled_later(r'(?:^|[?&#;])([^=&#;?<>"\s]+)=(?=[^&#])')
_USERINFO: Final = compiled_later(r'(?<=//)[^/?#<>"\s]*@')
_IN_PATH: Final = compiled_later(r"(?<=;)[^=;/]+=[^;/]+")
_SEALED: Final = "#sealed="
_LEADING: Final = frozenset({b"location", b"uri"})  # the fields by which aiohttp follows a redirect
_NESTED: Final = 4  # levels of encoding of a URL within another one that are searched
_OF_PROCESS: Final = secrets.token_bytes(32)


def redact_url(url: str | URL, ignored_params: Collection[str] = ()) -> str:
    """*url* without userinfo and fragment, and with the values of ignored parameters and of secrets replaced."""
    text = url if isinstance(url, str) else str(url)
    if "@" in text or "#" in text:
        parsed = URL(text, encoded=True) if isinstance(url, str) else url
        if parsed.raw_user is not None or parsed.raw_password is not None:
            parsed = parsed.with_user(None)
        text = str(parsed.with_fragment(None))
    base, found, query = text.partition("?")
    if ";" in base:
        base = _IN_PATH.sub(lambda pair: _redacted_pair(pair[0], ignored_params), base)
    if not query:
        return base
    return f"{base}{found}{'&'.join(_redacted_pair(pair, ignored_params) for pair in query.split('&'))}"


def is_redacted(url: str | URL) -> bool:
    """Whether a value in *url* was redacted."""
    text = url if isinstance(url, str) else str(url)
    return f"={REDACTED}" in text


def redacted(
    entry: StoredResponse,
    ignored_params: Collection[str] = (),
    key: bytes = b"",
    *,
    names: frozenset[bytes] | None = None,
) -> StoredResponse:
    """*entry* with the URLs in its header fields redacted, for storing.

    Args:
        key: the key with which the Location of a redirect is sealed; without one, only this process can unseal it.
        names: the lower-case names of all its header fields, and maybe others, if they are known.
    """
    if NAMING_FIELDS.isdisjoint(map(bytes.lower, dict(entry.raw_headers)) if names is None else names):
        return entry
    lines = tuple(
        (name, _stored_value(name.lower(), value, entry, ignored_params, key)) for name, value in entry.raw_headers
    )
    return entry if lines == entry.raw_headers else replace(entry, raw_headers=lines)


def is_sealed(entry: StoredResponse) -> bool:
    """Whether *entry* is a redirect with a sealed Location, which needs `unsealed` before it is used."""
    if entry.status not in REDIRECTS:
        return False
    return any(name.lower() in _LEADING and _SEALED.encode() in value for name, value in entry.raw_headers)


def unsealed(entry: StoredResponse, key: bytes = b"") -> StoredResponse | None:
    """*entry* with the original Location; None if that was sealed with another key."""
    if not is_sealed(entry):
        return entry
    lines: list[tuple[bytes, bytes]] = []
    for name, value in entry.raw_headers:
        _, found, sealed = value.decode("utf-8", "surrogateescape").partition(_SEALED)
        if name.lower() in _LEADING and found:
            opened = unseal(sealed, entry.url, key or _OF_PROCESS)
            if opened is None:
                return None
            value = opened
        lines.append((name, value))
    return replace(entry, raw_headers=tuple(lines))


def has_param(reference: str, names: Collection[str]) -> bool:
    """Whether query or fragment of a URL reference have a parameter of *names*, or one that gives access by itself.

    A redirect to such a URL is not stored: its Location must not be stored, and is useless without the value. The same
    holds for a Location that looks sealed.
    """
    if _SEALED in reference:
        return True
    pairs = re.split("[?&#;]", reference)[1:]
    return any(
        name in names or is_bearer_param(name)
        for name in (unquote_plus(pair.partition("=")[0]) for pair in pairs if "=" in pair or pair in names)
    )


def _stored_value(
    name: bytes, value: bytes, entry: StoredResponse, ignored_params: Collection[str], key: bytes
) -> bytes:
    if name not in NAMING_FIELDS:
        return value
    shown = _redacted_value(value, ignored_params)
    if name not in _LEADING or entry.status not in REDIRECTS or shown == value:
        return shown
    if _SEALED.encode() in value:
        return value
    visible = shown.partition(b"#")[0]
    return visible + f"{_SEALED}{seal(value, entry.url, key or _OF_PROCESS)}".encode()


def _redacted_value(value: bytes, ignored_params: Collection[str]) -> bytes:
    text = _USERINFO.sub("", value.decode("utf-8", "surrogateescape"))
    text = _PAIR.sub(lambda pair: _redacted_pair(pair[0], ignored_params), text)
    return text.encode("utf-8", "surrogateescape")


def _redacted_pair(pair: str, ignored_params: Collection[str]) -> str:
    name, found, value = pair.partition("=")
    plain = unquote_plus(name)
    if plain in ignored_params:
        return f"{name}={REDACTED}"
    is_secret = found and value and (_is_secret(plain) or _names_secret(value, ignored_params))
    return f"{name}={REDACTED}" if is_secret else pair


def _names_secret(value: str, ignored_params: Collection[str]) -> bool:
    """Whether *value* contains a URL or a form with a secret, such as the URL to return to after a login.

    It is searched for names at all positions, and decoded repeatedly, to find URLs within URLs.
    """
    for _ in range(_NESTED + 1):
        if "=" in value and any(
            (plain := unquote_plus(found[1])) in ignored_params or _is_secret(plain) for found in _NAME.finditer(value)
        ):
            return True
        if "@" in value and _USERINFO.search(value):
            return True
        if "%" not in value:
            break
        value = unquote_plus(value)
    return False


def _is_secret(name: str) -> bool:
    return _known_secret(name) if len(name) <= _REMEMBERED_CHARS else is_secret_param(name)


_known_secret = lru_cache(maxsize=1024)(is_secret_param)
