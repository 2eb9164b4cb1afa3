"""Reading a response that aiohttp-client-cache has stored, without executing the pickle that it is in; see `pickled`.

It is a pickle of that library's ``CachedResponse``; with a secret key, itsdangerous has signed it. The result is as
untrusted as the file that it comes from: only the types of its fields are verified.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from string import ascii_letters, digits
from typing import Any, Final, NamedTuple

from aiohttp_cache_di.entries.pickled import Inert, UnknownPickleError, read_pickle, shown
from aiohttp_cache_di.rfc9111.messages import RawHeaders

__all__ = ["OlderResponse", "UnknownPickleError", "is_signed", "read_older"]

_RESPONSE: Final = "aiohttp_client_cache.response.CachedResponse"
_URLS: Final = frozenset({"yarl.URL", "yarl._url.URL"})
_VERSION: Final = "aiohttp.http_writer.HttpVersion"
_DATE: Final = "datetime.datetime"
_NAMES: Final = _URLS | {
    _RESPONSE,
    _VERSION,
    _DATE,
    "urllib.parse.SplitResult",
    "http.cookies.SimpleCookie",
    "http.cookies.Morsel",
}
_SALT: Final = b"aiohttp-client-cache"  # that library's default
_SIGNATURE_CHARS: Final = 27  # of SHA-1, in base64 without padding
_URL_SAFE: Final = ascii_letters.encode() + digits.encode() + b"-_"  # the alphabet of a signature
_MAX_HOPS: Final = 30


class OlderResponse(NamedTuple):
    """A response that aiohttp-client-cache has stored.

    Attributes:
        url: the URL of the last request.
        headers, request_headers: header lines as received, and as sent; with credentials.
        created_at, expires: POSIX times; *expires* is ``inf`` for never.
        history: the redirects that led to it.
    """

    method: str
    url: str
    status: int
    reason: str | None
    version: tuple[int, int]
    headers: RawHeaders
    request_headers: RawHeaders
    body: bytes
    created_at: float
    expires: float
    history: tuple[OlderResponse, ...] = ()


def is_signed(value: bytes) -> bool:
    """Whether *value* ends in something with the form of a signature."""
    dot, signature = value[-_SIGNATURE_CHARS - 1 : -_SIGNATURE_CHARS], value[-_SIGNATURE_CHARS:]
    return dot == b"." and not signature.translate(None, _URL_SAFE)


def read_older(value: bytes, secrets: Iterable[bytes] = ()) -> OlderResponse:
    """Read the response in *value*.

    Args:
        secrets: keys that it may be signed with, using that library's default salt.

    Raises:
        UnknownPickleError: it is not a response, or is not signed with one of *secrets*.
    """
    if is_signed(value):
        value = _verified(value, secrets)
    read, end = read_pickle(value, _NAMES)
    if end != len(value):
        raise UnknownPickleError("it is followed by something else")
    try:
        response = _response(read)
        hops: tuple[Any, ...] = _fields(read).get("history") or ()
        if not _is(hops, tuple) or len(hops) > _MAX_HOPS:
            raise TypeError
        return response._replace(history=tuple(_response(hop) for hop in hops))
    except UnknownPickleError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise UnknownPickleError("it is not a response") from exc


def _verified(value: bytes, secrets: Iterable[bytes]) -> bytes:
    payload, signature = value[: -_SIGNATURE_CHARS - 1], value[-_SIGNATURE_CHARS:]
    for secret in secrets:
        # The defaults of itsdangerous: "django-concat" key derivation, HMAC with SHA-1.
        key = hashlib.sha1(_SALT + b"signer" + secret).digest()  # noqa: S324  # the format demands it
        made = urlsafe_b64encode(hmac.digest(key, payload, "sha1")).rstrip(b"=")
        if hmac.compare_digest(made, signature):
            return payload
    raise UnknownPickleError("it is signed with a key that is not the SECRET_KEY")


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, Inert) or value.name != _RESPONSE or not _is(value.state, dict):
        raise UnknownPickleError("it is not a response")
    state: dict[str, Any] = value.state
    return state


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind)


def _response(value: Any) -> OlderResponse:
    fields = _fields(value)
    reason, body = fields.get("reason"), fields.get("_body")
    return OlderResponse(
        method=_text(fields["method"]).upper(),
        url=_url(fields["url"]),
        status=_whole(fields["status"]),
        reason=None if reason is None else _text(reason),
        version=_version(fields.get("version")),
        headers=_lines(fields["raw_headers"]),
        request_headers=_lines(fields["request_raw_headers"]),
        body=b"" if body is None else _bytes(body),
        created_at=_time(fields["created_at"]),
        expires=math.inf if fields.get("expires") is None else _time(fields["expires"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value


def _url(value: Any) -> str:
    """The URL, without its fragment; yarl pickles it as five encoded strings."""
    if not isinstance(value, Inert) or value.name not in _URLS:
        raise TypeError
    (parts,) = value.state
    if isinstance(parts, Inert):  # a SplitResult, of an older yarl
        parts = parts.arguments
    scheme, netloc, path, query, _ = map(_text, parts)
    if scheme not in ("http", "https") or not netloc:
        raise UnknownPickleError(f"its URL is not one of HTTP ({shown(scheme)})")
    return f"{scheme}://{netloc}{path or '/'}{'?' if query else ''}{query}"


def _version(value: Any) -> tuple[int, int]:
    if value is None:
        return 1, 1
    if not isinstance(value, Inert) or value.name != _VERSION:
        raise TypeError
    major, minor = map(_whole, value.arguments)
    return major, minor


def _lines(value: Any) -> RawHeaders:
    if not _is(value, tuple):
        raise TypeError
    lines: tuple[Any, ...] = value
    return tuple((_bytes(name), _bytes(field)) for name, field in lines)


def _time(value: Any) -> float:
    """The POSIX time of a naive datetime in UTC, given as the ten bytes of `datetime.datetime.__reduce__`."""
    if not isinstance(value, Inert) or value.name != _DATE:
        raise TypeError
    (packed,) = value.arguments
    year_high, year_low, month, day, hour, minute, second, *rest = _bytes(packed)
    us = int.from_bytes(bytes(rest), "big")
    return datetime(year_high * 256 + year_low, month & 0x7F, day, hour, minute, second, us, UTC).timestamp()
