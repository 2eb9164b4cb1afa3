"""The way to the origin through the bases below the cache, for a request that its own middlewares have seen already.

A base that limits rates sends requests by a ``_request`` of its own. In a session with middlewares no look can come
before it, since they would be called twice. So the request is made without the base, with all its middlewares; where
it is about to leave, the base is asked to send it. What the base then hands on to aiohttp is replaced by the request as
it is: aiohttp makes another one for the base, which is not sent, and whose redirects and errors are left to the first.
Traces of the first hear of the connection by which it is sent, and nothing of the other. A session that is traced takes
this way without middlewares too, for a look would be traced.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from weakref import ref

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHandlerType,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
)

from aiohttp_cache_di._aiohttp import continued_traces, genuine_request, is_disconnection, own_request
from aiohttp_cache_di.arguments import named_parameters

__all__ = ["Through", "may_go_through"]

_KNOWN: Final = named_parameters(own_request() or genuine_request())
# What of the arguments matters to the sending of a request that has been made; the rest is in the request.
_OF_SENDING: Final = frozenset(
    {
        "auto_decompress",
        "max_field_size",
        "max_headers",
        "max_line_size",
        "read_bufsize",
        "read_until_eof",
        "server_hostname",
        "ssl",
        "timeout",
    }
)


class Through:
    """Sends requests of one call through a base's ``_request``.

    Args:
        send: that method.
        options: the arguments of the call.
        theirs: arguments that the base takes for itself.
    """

    def __init__(
        self, send: Callable[..., Awaitable[ClientResponse]], options: Mapping[str, Any], theirs: Mapping[str, Any]
    ) -> None:
        self._send = send
        self._options = {name: options[name] for name in _OF_SENDING & options.keys()} | dict(theirs)
        self.traces: list[Any] | None = None
        """What stands in for the session's trace configs while a request is handed over."""
        self._failed: tuple[ref[ClientRequest], ClientError] | None = None

    async def __call__(self, request: ClientRequest) -> ClientResponse:
        """Send *request*; aiohttp's innermost handler, for the one who asks."""
        failed, self._failed = self._failed, None
        if failed is not None and failed[0]() is not request:
            raise failed[1]  # aiohttp asks once more, as it has done already for the base
        self.traces = continued_traces(request)
        try:
            return await self._send(
                request.method,
                request.url,
                **self._options,
                allow_redirects=False,
                raise_for_status=False,
                middlewares=(_HandOver(request),),
            )
        except ClientError as error:
            if is_disconnection(error) and not isinstance(error, ClientConnectorError):
                self._failed = ref(request), error
            raise
        finally:
            self.traces = None

    def forget(self) -> None:
        """The call is over: what remembers it must not remember how it failed."""
        self._failed = None


class _HandOver:
    """Sends *request* in the place of the one that aiohttp has made for the base."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._is_sent = False
        self._error: ClientError | None = None

    async def __call__(self, replaced: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        if self._is_sent:  # by an old connection, or the base tries again
            await self._request.close()
            if getattr(self._request.body, "consumed", False):
                raise self._error or ClientPayloadError(
                    "the body of this request can be read once; it is not sent again"
                )
        self._is_sent = True
        try:
            return await handler(self._request)
        except ClientError as error:
            self._error = error
            raise


def may_go_through(options: Mapping[str, Any]) -> bool:
    """Whether a request with *options* may be sent so, without anything else noticing."""
    return _KNOWN is not None and options.keys() <= _KNOWN
