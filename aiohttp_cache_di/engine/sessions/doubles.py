"""Requests of a session while a test has replaced the network or the backend.

The engine works inside ``ClientSession._request``. If a test (or aioresponses) has replaced that, or if the backend is
a mock, the cache is used through the documented methods of the backend instead. In production, this code does not run:
a replacement of ``_request`` that calls the original, as of an instrumentation, leaves the work to the engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from aiohttp import ClientResponse, ClientSession
from aiohttp.typedefs import StrOrURL
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di import policy
from aiohttp_cache_di._aiohttp import build_url, genuine_request
from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.answering.describe import Report
from aiohttp_cache_di.engine.calls.call import Call, is_disabled
from aiohttp_cache_di.policy import Fetch, Store
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import forwarded, hit
from aiohttp_cache_di.rfc9111.messages import Request, Response

__all__ = ["Doubles", "is_backend"]

GENUINE = genuine_request()
LOOKUPS = frozenset({"request", "get_response"})

Send = Callable[..., Awaitable[ClientResponse]]


def is_backend(candidate: object) -> bool:
    """Whether *candidate* really is a backend, and not a mock that claims to be one (``MagicMock(spec=…)``)."""
    return issubclass(type(candidate), CacheBackend)


class Doubles:
    """Caches the requests of one session that do not reach the engine."""

    def __init__(self) -> None:
        self._keys: set[str] = set()  # of responses stored here; the engine looks up the others

    @staticmethod
    def are_there() -> bool:
        """Whether ``ClientSession._request`` was replaced after this package was imported, maybe by a test double."""
        return genuine_request() is not GENUINE

    @staticmethod
    def key(session: ClientSession, backend: CacheBackend, method: str, url: StrOrURL, options: dict[str, Any]) -> str:
        """The key of a request, made by ``create_key`` of *backend*."""
        return backend.create_key(method, build_url(session, url), **_identity(session, url, options))

    async def request(
        self, send: Send, backend: CacheBackend, call: Call, method: str, url: StrOrURL, options: dict[str, Any]
    ) -> ClientResponse:
        """Answer a request by the documented methods of *backend*, or else send it by *send* and store the response."""
        session = call.session()
        if session is None or is_disabled(session):
            return await send(method, url, **options)
        try:
            wishes = call.wishes
            named = {} if wishes.principal is None else {"principal": wishes.principal}
            key = backend.create_key(method, url, **_identity(session, url, options), **named)
            actions = backend.create_cache_actions(key, url, wishes.expire_after, wishes.refresh, **options)
        except TypeError:  # the body cannot be read twice, or aiohttp will refuse an option with a better message
            return await send(method, url, **options)
        if not is_backend(backend) or key in self._keys or LOOKUPS & vars(backend).keys():
            found = await backend.request(actions)
            if isinstance(found, CachedResponse) and not found.cache_status:
                found.restate(hit(fresh_until=found.stored.fresh_until, now=time.time()))
            if found is not None:
                return found
        response = await send(method, url, **options)
        if not call.is_reached:
            await self._keep(response, backend, key, actions)
        return response

    async def _keep(self, response: Any, backend: CacheBackend, key: str, actions: CacheActions) -> None:
        is_ours = is_backend(backend)
        if is_ours and not _is_response(response):  # a test may answer with any object
            return
        fresh_until = _fresh_until(response, actions) if is_ours else None
        if fresh_until == 0.0:
            return
        report = None
        if isinstance(response, ClientResponse) and is_ours:
            report = Report(response, forwarded("uri-miss"), received_at=time.time())
        if not await backend.is_cacheable(response, actions):
            if report is not None:
                report.not_stored("filtered")
            return
        expires = None
        if fresh_until is not None and fresh_until < math.inf:
            expires = datetime.fromtimestamp(time.time(), UTC) + timedelta(seconds=min(fresh_until - time.time(), 1e9))
        await backend.save_response(response, key, expires)
        self._keys.add(key)
        if report is not None:
            report.fresh_until = fresh_until or math.inf
            report.written(True)


def _identity(session: ClientSession, url: StrOrURL, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a key: those of the request, with the session's headers, cookies and credentials."""
    headers = CIMultiDict(session.headers)
    headers.update(options.get("headers") or {})
    jar = {name: cookie.value for name, cookie in session.cookie_jar.filter_cookies(build_url(session, url)).items()}
    cookies = {**jar, **dict(options.get("cookies") or {})}
    auth = options.get("auth") or session.auth
    return {**options, "headers": headers, "cookies": cookies or None, "auth": auth}


def _is_response(response: Any) -> bool:
    return isinstance(getattr(response, "status", None), int) and isinstance(getattr(response, "method", None), str)


def _fresh_until(response: Any, actions: CacheActions) -> float | None:
    """Until when the rules let *response* be used, as POSIX time; 0.0 not to store it, None if that cannot be told."""
    headers: Any = getattr(response, "headers", None)
    if not isinstance(headers, CIMultiDict | CIMultiDictProxy):
        return None
    now = time.time()
    own: CIMultiDict[str] = CIMultiDict(actions.request.get("headers") or {})
    head = Response(response.status, cast("CIMultiDict[str]", headers), now, now)
    decision = policy.on_response(
        Request(response.method.upper(), actions.url, own),
        head,
        Fetch("uri-miss"),
        actions.rules,
        now=now,
        candidates=(),
    )
    return decision.fresh_until if isinstance(decision, Store) else 0.0
