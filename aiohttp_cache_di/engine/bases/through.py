"""Sending a request to the origin through the base classes below the cache, after its middlewares have seen it.

A base class that limits rates overrides ``_request``. In a session with middlewares, a trial (`trials`) cannot come
before it, since the middlewares would be called twice. So the request is made without the base class, with all
middlewares; only when it is about to go to the origin, the base class's ``_request`` is called. That makes aiohttp
build a second request, in whose place the first is sent. Redirects are left to the first request, and its traces report
the connection, but nothing of the second. With ``raise_for_status``, both raise: a base class that retries has to see
the error, while the cache gets the response, which may be stored, or replaced by a stored one. A session with traces
takes this path even without middlewares, because a trial would be traced.
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
    ClientResponseError,
)

from aiohttp_cache_di._aiohttp import continued_traces, is_disconnection

__all__ = ["Through"]

# Arguments that still matter when a request that has been made is sent; the others are part of the request.
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
    """Sends the requests of one call through the ``_request`` of a base class.

    Args:
        send: that method.
        options: the arguments of the call.
        theirs: arguments that the base class uses itself and does not pass on.
        raises: whether a response with the status of an error is an exception for the base class.
    """

    def __init__(
        self,
        send: Callable[..., Awaitable[ClientResponse]],
        options: Mapping[str, Any],
        theirs: Mapping[str, Any],
        raises: Callable[[ClientResponse], bool],
    ) -> None:
        self._send = send
        self._options = {name: options[name] for name in _OF_SENDING & options.keys()} | dict(theirs)
        self._raises = raises
        self.traces: list[Any] | None = None
        """Trace configs that replace the session's while a request is sent through the base class."""
        self._failed: tuple[ref[ClientRequest], ClientError] | None = None

    async def __call__(self, request: ClientRequest) -> ClientResponse:
        """Send *request*; takes the place of aiohttp's innermost handler."""
        failed, self._failed = self._failed, None
        if failed is not None and failed[0]() is not request:
            raise failed[1]  # aiohttp retries the first request, after it has retried the base class's already
        self.traces = continued_traces(request)
        refused = _Refused(self._raises)
        try:
            return await self._send(
                request.method,
                request.url,
                **self._options,
                allow_redirects=False,
                raise_for_status=refused,
                middlewares=(_HandOver(request, refused),),
            )
        except ClientError as error:
            if (response := refused.taken_for(error)) is not None:
                return response
            if is_disconnection(error) and not isinstance(error, ClientConnectorError):
                self._failed = ref(request), error
            raise
        finally:
            refused.drop()
            self.traces = None

    def forget(self) -> None:
        """Forget the error of the call, which is over: objects that outlive the call must not keep it alive."""
        self._failed = None


class _Refused:
    """The ``raise_for_status`` of the second request; keeps the last response for which it has raised an error."""

    def __init__(self, raises: Callable[[ClientResponse], bool]) -> None:
        self._raises = raises
        self._response: ClientResponse | None = None
        self._error: ClientResponseError | None = None

    async def __call__(self, response: ClientResponse) -> None:
        if response.ok or not self._raises(response):
            return
        self._response = response
        self._error = ClientResponseError(
            response.request_info,
            response.history,
            status=response.status,
            message=response.reason or "",
            headers=response.headers,
        )
        raise self._error

    def taken_for(self, error: ClientError) -> ClientResponse | None:
        """The response for which *error* was raised; None if that was for another reason."""
        if error is not self._error:
            return None
        response, self._response = self._response, None
        return response

    def drop(self) -> None:
        """Release the response unless it was taken, before another attempt and at the end."""
        response, self._response, self._error = self._response, None, None
        if response is not None:
            response.release()


class _HandOver:
    """A middleware that sends *request* instead of the one that aiohttp has made for the base class."""

    def __init__(self, request: ClientRequest, refused: _Refused) -> None:
        self._request = request
        self._refused = refused
        self._is_sent = False
        self._error: ClientError | None = None

    async def __call__(self, replaced: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        if self._is_sent:  # aiohttp retries after an old connection failed, or the base class retries
            self._refused.drop()
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
