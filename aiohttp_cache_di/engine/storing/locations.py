"""What the Location of a response says: whether the response may be stored, and where it leads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from aiohttp import hdrs
from yarl import URL

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.questions.question import fields_without, key_of_another
from aiohttp_cache_di.entries.checks import leads_elsewhere
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, Headers, Request

__all__ = ["history_of", "next_key", "why_not_led"]


def why_not_led(
    request: Request, status: int, headers: Headers, ignored: Collection[str]
) -> Literal["ignored-param", "odd-location"] | None:
    """Why a response may not be stored because of where it leads, as a detail of Cache-Status; None if it may.

    Args:
        ignored: the parameters that must not be stored: a stored redirect would lead later callers to their values.
    """
    location = headers.get(hdrs.LOCATION) or headers.get(hdrs.URI)  # as aiohttp does
    if location is not None and keys.has_param(location, ignored):
        return "ignored-param"
    is_odd = status in REDIRECTS and not leads_elsewhere(headers, request.url, request.method)
    return "odd-location" if is_odd else None


def next_key(
    request: Request, status: int, headers: Headers, arguments: dict[str, Any], backend: CacheBackend
) -> str | None:
    """The key of the request by which aiohttp follows a redirect; None if it has none, or the redirect is to no URL.

    Args:
        arguments: those of the key of *request*.
    """
    try:
        url = URL(request.url, encoded=True)
        target = url.join(URL(headers[hdrs.LOCATION]))
        same_origin = target.origin() == url.origin()
    except ValueError:
        return None
    method, fields = request.method, arguments["headers"]
    if keys.is_own_host(fields.get(hdrs.HOST, ""), url):  # the next request gets its own Host
        fields = fields_without(fields, hdrs.HOST)
    if not same_origin:
        fields = fields_without(fields, hdrs.AUTHORIZATION, hdrs.COOKIE, hdrs.PROXY_AUTHORIZATION)
    arguments = {**arguments, "headers": fields}
    if (status == 303 and method != hdrs.METH_HEAD) or (status in (301, 302) and method == hdrs.METH_POST):
        method, arguments["data"] = hdrs.METH_GET, None
    return key_of_another(backend, method, target, arguments)


def history_of(
    request: Request,
    status: int,
    headers: Headers,
    arguments: dict[str, Any],
    backend: CacheBackend,
    hops: Sequence[str],
) -> tuple[str, ...]:
    """The `StoredResponse.history`: the `next_key` of a redirect; or *hops*, the keys of those that have led here."""
    if not policy.leads_on(status, headers):
        return tuple(hops)
    following = next_key(request, status, headers, arguments, backend)
    return () if following is None else (following,)
