"""Turn a recorded response into one to send, with dates adjusted so that it is as old as when it was recorded."""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime
from typing import Final

from aiohttp_cache_di.testing.delivery import Canned
from aiohttp_cache_di.testing.recording.exchanges import Answered, Exchange, Fields, value_of

__all__ = ["canned", "replayed"]

_LATEST: Final = 253402300799.0  # the end of the year 9999, the last that an HTTP date can express


def canned(answered: Answered, headers: Fields) -> Canned:
    """The response *answered* as a canned one, with *headers*."""
    chunks = (answered.body,) if answered.body else ()
    return Canned(answered.status, answered.reason, headers, chunks, is_coded=answered.is_coded)


def replayed(exchange: Exchange, *, now: float) -> Canned:
    """The response of *exchange*, with its dates moved by the time since it was recorded."""
    answered = exchange.answered
    since = exchange.recorded_at
    if since is None:
        since = _http_date(value_of(answered.headers, "date"))
    if since is None:
        return canned(answered, answered.headers)
    by = now - since
    return canned(answered, tuple((name, _moved(name.lower(), value, by)) for name, value in answered.headers))


def _moved(name: str, value: str, by_s: float) -> str:
    if name in ("date", "expires"):
        at = _http_date(value)
        return value if at is None else _as_http_date(at + by_s)
    if name == "set-cookie":
        attributes = value.split(";")
        return ";".join(_moved_attribute(attribute, by_s) for attribute in attributes)
    return value


def _moved_attribute(attribute: str, by_s: float) -> str:
    name, found, value = attribute.partition("=")
    at = _http_date(value) if found and name.strip().lower() == "expires" else None
    return attribute if at is None else f"{name}={_as_http_date(at + by_s)}"


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text.replace("-", " ") if text.count("-") == 2 else text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _as_http_date(at: float) -> str:
    return formatdate(min(max(at, 0.0), _LATEST), usegmt=True)
