"""Messages for the tests of the pure core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multidict import CIMultiDict

from aiohttp_cache_di.policy import Rules
from aiohttp_cache_di.rfc9111.dates import format_http_date
from aiohttp_cache_di.rfc9111.messages import Request, Response, StoredResponse, VariantRef

__all__ = ["NOW", "PRIVATE", "SHARED", "Fields", "a_request", "a_response", "a_stored", "date", "fields_of"]

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT

PRIVATE = Rules(cache_control=True, allowed_codes=None)
SHARED = Rules(cache_control=True, allowed_codes=None, shared=True)

Fields = Mapping[str, str] | Sequence[tuple[str, str]]


def fields_of(fields: Fields) -> CIMultiDict[str]:
    return CIMultiDict(fields)


def date(offset_s: float = 0, at: float = NOW) -> str:
    """An HTTP date *offset_s* from *at*."""
    return format_http_date(at + offset_s)


def a_request(fields: Fields = (), *, method: str = "GET", url: str = "http://example.org/thing") -> Request:
    return Request(method, url, fields_of(fields))


def a_response(
    fields: Fields = (), *, status: int = 200, received_at: float = NOW, delay_s: float = 0, dated: bool = True
) -> Response:
    """A response received at *received_at*; with a Date of that time unless it has one or is not *dated*."""
    headers = fields_of(fields)
    if dated and "Date" not in headers:
        headers["Date"] = format_http_date(received_at)
    return Response(status, headers, received_at - delay_s, received_at)


def a_stored(
    fields: Fields = (),
    *,
    key: str = "k",
    method: str = "GET",
    url: str = "http://example.org/thing",
    status: int = 200,
    body: bytes = b"0123456789",
    received_at: float = NOW,
    delay_s: float = 0,
    fresh_for_s: float = 60,
    dated: bool = True,
    store_until: float = float("inf"),
    vary_fields: tuple[str, ...] = (),
    vary_digest: bytes = b"",
    variants: tuple[VariantRef, ...] = (),
) -> StoredResponse:
    head = a_response(fields, status=status, received_at=received_at, delay_s=delay_s, dated=dated)
    return StoredResponse(
        key=key,
        method=method,
        url=url,
        status=status,
        reason=b"OK",
        raw_headers=tuple((name.encode(), value.encode()) for name, value in head.headers.items()),
        requested_at=head.requested_at,
        received_at=received_at,
        created_at=received_at,
        fresh_until=received_at + fresh_for_s,
        store_until=store_until,
        vary_fields=vary_fields,
        vary_digest=vary_digest,
        variants=variants,
        body=body,
    )
