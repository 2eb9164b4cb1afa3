"""The engine: an aiohttp client middleware that asks the policy, and does as it says.

It runs once per redirect hop, innermost, so that it sees what really goes on the wire; redirects, cookies, traces,
``raise_for_status`` and timeouts stay aiohttp's own.
"""

from __future__ import annotations

import contextlib

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs

from aiohttp_cache_di._aiohttp import handler_option
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.calls import CURRENT_CALL, call_of, is_disabled
from aiohttp_cache_di.entries import describe_miss
from aiohttp_cache_di.exchange import Exchange
from aiohttp_cache_di.identity import Identities, key_arguments, request_body
from aiohttp_cache_di.runtime import Runtime

__all__ = ["CacheMiddleware"]


class CacheMiddleware:
    """Caches the responses of the session that it is installed in.

    ``ClientSession(middlewares=(CacheMiddleware(backend),))`` caches as a `CachedSession` does; put it last, so that
    it is the innermost.

    Args:
        backend: where responses are kept, and the rules for them; in memory by default.
    """

    def __init__(self, backend: CacheBackend | None = None) -> None:
        self.backend = backend if backend is not None else CacheBackend()
        self._identities = Identities(self.backend)
        self._runtime: Runtime | None = None

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Answer *request* from the cache, or by *handler*."""
        if not isinstance(request, ClientRequest):  # a stand-in of somebody's test, of which nothing is known
            return await handler(request)
        call = call_of(request.session)
        call.is_reached = True
        if is_disabled(request.session) or _passes_by(request, self.backend):
            return await self._pass_by(request, handler)
        backend = self.backend
        runtime = self._runtime
        if runtime is None or not runtime.is_current():
            self._runtime = runtime = Runtime.of(backend)
        call.decoded = handler_option(handler, "auto_decompress", call.decoded)
        is_allowed = request.method in backend.allowed_methods
        body = await request_body(request) if is_allowed else b""
        arguments = key_arguments(request, body or b"", call, backend)
        if body is None or not is_allowed:
            exchange = Exchange(request, handler, call, backend, runtime, key_arguments=arguments)
            return await (exchange.forward("bypass") if body is None else exchange.run())
        url = str(request.url)
        key, partition = self._identities.of(request, arguments, url)
        exchange = Exchange(request, handler, call, backend, runtime, key, partition, arguments, url)
        if CURRENT_CALL.get() is call:
            return await exchange.run()
        token = CURRENT_CALL.set(call)  # of a plain session
        try:
            return await exchange.run()
        finally:
            with contextlib.suppress(ValueError):  # a coroutine that is thrown away ends in another context
                CURRENT_CALL.reset(token)

    async def _pass_by(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Let the origin answer, the cache looking away."""
        self.backend.stats.bypassed += 1
        response = await handler(request)
        describe_miss(response, "aiohttp-cache-di; fwd=bypass")
        return response

    async def close(self) -> None:
        """Cancel what runs in the background for the running loop, and wait for it."""
        await Runtime.of(self.backend).cancel(self.backend)


def _passes_by(request: ClientRequest, backend: CacheBackend) -> bool:
    """Whether the request asks for something other than a response: a tunnel, another protocol, a stream of events."""
    headers = request.headers
    return (
        request.method == hdrs.METH_CONNECT
        or hdrs.UPGRADE in headers
        or (request.method in backend.allowed_methods and headers.get(hdrs.ACCEPT, "").startswith("text/event-stream"))
    )
