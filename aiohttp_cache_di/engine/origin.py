"""Sending one request to the origin: with the conditions of the policy, and an eye on what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di._aiohttp import DecodingWatch, is_disconnection, timer_fired, watch_decoding, will_retry
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.keys import CredentialNames, says_which_resource
from aiohttp_cache_di.policy import Fetch, Validate
from aiohttp_cache_di.rfc9111.messages import Response

__all__ = ["OriginRequest", "Reply"]


class Reply(Struct, frozen=True):
    """What the origin answered.

    Args:
        watch: tells whether its content coding came to its end; None where nothing is decoded.
        asked: the header fields of the request when the cache was asked.
        by_proxy: it went by a proxy, and aiohttp has added who asks that one, which the cache knew.
    """

    response: ClientResponse
    head: Response
    watch: DecodingWatch | None
    asked: CIMultiDict[str]
    by_proxy: bool = False

    def is_as_asked(self, names: CredentialNames, *, is_named: bool = False) -> bool:
        """Whether the request was sent for whom the cache was asked: a class of the user's may sign it on its way.

        Args:
            names: of the header fields that say who asks, or for which resource.
            is_named: who asks is not told by them.
        """
        sent: Any = getattr(getattr(self.response, "request_info", None), "headers", None)
        if not issubclass(type(sent), CIMultiDictProxy):
            return True
        if sent == self.asked:  # as nearly all are
            return True
        asked, told = _told(self.asked, names, is_named), _told(sent, names, is_named)
        return asked == told or (
            self.by_proxy and asked == [field for field in told if field[0] != "proxy-authorization"]
        )


def _told(fields: Mapping[str, str], names: CredentialNames, is_named: bool) -> list[tuple[str, str]]:
    lowered = ((name.lower(), value) for name, value in fields.items())
    told = [(name, value) for name, value in lowered if name == "host" or name in names]
    return [field for field in told if field[0] == "host" or says_which_resource(field[0])] if is_named else told


class OriginRequest:
    """The way of one request to the origin; what is derived from it says which request."""

    request: ClientRequest
    handler: ClientHandlerType
    call: Call
    _watch: DecodingWatch | None = None

    async def ask(self, plan: Fetch | Validate) -> Reply | ClientResponse:
        """Send the request as *plan* says; an answer that is no response of aiohttp's comes back as it is."""
        requested_at, asked = time.time(), CIMultiDict(self.request.headers)
        self._watch = watch_decoding(self.request) if self.call.decoded else None
        response = await (self._validate(plan) if isinstance(plan, Validate) else self.handler(self.request))
        if not isinstance(response, ClientResponse):
            return response
        head = Response(response.status, response.headers, requested_at, time.time())
        return Reply(response, head, self._watch, asked, self.request.proxy is not None)

    async def _validate(self, plan: Validate) -> ClientResponse:
        """Send the request, with the conditions of *plan* in place of the caller's."""
        own = self.request.headers
        conditional = CIMultiDict(own)
        conditional.update(plan.headers)
        self.request.headers = conditional
        try:
            return await self.handler(self.request)
        finally:
            self.request.headers = own

    def comes_again(self, error: BaseException) -> bool:
        """Whether aiohttp will ask once more after *error*: the origin is not known to be out of reach yet."""
        return not self.call.failures and will_retry(self.request, error, self._watch)

    def is_old_connection(self, error: BaseException) -> bool:
        """Whether *error* says no more than that the origin had closed an idle connection."""
        return is_disconnection(error) and (self._watch is None or not self._watch.is_first)

    def is_timeout(self, error: BaseException) -> bool:
        """Whether *error* is the end of the request's time, rather than a failure or another's cancellation."""
        return isinstance(error, TimeoutError) or self.is_own_cancellation(error)

    def is_own_cancellation(self, error: BaseException) -> bool:
        """Whether the request's total timeout is what cancels its task."""
        return isinstance(error, asyncio.CancelledError) and timer_fired(self.request)
