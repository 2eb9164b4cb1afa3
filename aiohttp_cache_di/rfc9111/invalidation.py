"""Which stored responses an unsafe request invalidates (RFC 9111 §4.4)."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from aiohttp_cache_di.rfc9111.fields import single
from aiohttp_cache_di.rfc9111.messages import Headers, Request

__all__ = ["DEFAULT_PORTS", "invalidated_urls", "is_same_url", "is_unsafe"]

# The registered methods that are safe (RFC 9110 §9.2.1, RFC 10008 §2; IANA's registry for the latter three).
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"})
DEFAULT_PORTS = {"http": 80, "https": 443}


def is_unsafe(method: str) -> bool:
    """Whether *method* may change something at the origin; an unknown method counts as unsafe."""
    return method.upper() not in _SAFE_METHODS


def invalidated_urls(request: Request, response_status: int | None, response_headers: Headers) -> tuple[str, ...]:
    """The URLs whose stored responses an unsafe request invalidates, without fragments and duplicates.

    These are the target, and the URLs in Location and Content-Location if they have the same origin; none if the method
    is safe or the response is an error (neither 2xx nor 3xx). If the Host field names another authority, URLs with
    that authority have the same origin, too (RFC 9110 §7.1); they are returned with the authority of the request's URL.

    Args:
        response_status: None if there is no response to a request that was sent. The origin may have done what it was
            asked for, so that the target is invalid, too.
    """
    if not is_unsafe(request.method) or not (response_status is None or 200 <= response_status < 400):
        return ()
    target = urlsplit(request.url)
    urls = [urlunsplit(target._replace(fragment=""))]
    host = single(request.headers, "Host") or ""
    for name in ("Location", "Content-Location"):
        reference = single(response_headers, name)
        url = None if not reference else _same_origin_url(target, reference, host)
        if url is not None and url not in urls:
            urls.append(url)
    return tuple(urls)


def is_same_url(url: str, reference: str) -> bool:
    """Whether *reference*, resolved against *url*, is the same URL, apart from fragments."""
    target = urlsplit(url)
    return _same_origin_url(target, reference) == urlunsplit(target._replace(fragment=""))


def _same_origin_url(target: SplitResult, reference: str, host: str = "") -> str | None:
    """*reference* resolved against *target*; None if it has another origin or is not a URL.

    An authority that equals *host* counts as that of *target*. Other origins are excluded because an origin must not
    invalidate the content of another (RFC 9111 §4.4).
    """
    try:
        url = urlsplit(urljoin(urlunsplit(target), reference))
        if host and url.netloc.lower() == host.lower():
            url = url._replace(netloc=target.netloc)
        same = _origin(url) == _origin(target)
    except ValueError:  # an invalid port or bracketed host, for which nothing is stored
        return None
    return urlunsplit(url._replace(fragment="")) if same else None


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port if url.port is not None else DEFAULT_PORTS.get(url.scheme)
