"""Sending one request to the origin, with the policy's conditions, and classifying how that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientRequest, ClientResponse
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di._aiohttp import DecodingWatch, is_disconnection, timer_fired, watch_decoding, will_retry
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.hop import Hop
from aiohttp_cache_di.keys import CredentialNames, says_which_resource
from aiohttp_cache_di.policy import Plan, Validate
from aiohttp_cache_di.rfc9111.messages import Response

__all__ = ["OriginRequest", "Reply"]


class Reply(Struct, frozen=True):
    """The origin's response to one request.

    Args:
        watch: tells whether the content coding was complete; None if nothing is decoded.
        asked: the header fields of the request when the cache was asked.
        purges: the number of the latest purge by tag that was known before it was sent.
        by_proxy: the request went through a proxy, for which aiohttp has added credentials that the cache knew.
    """

    response: ClientResponse
    head: Response
    watch: DecodingWatch | None
    asked: CIMultiDict[str]
    purges: int
    by_proxy: bool = False

    def is_as_asked(self, names: CredentialNames, *, is_named: bool = False) -> bool:
        """Whether the request was sent with the credentials and the Host that the cache was asked with.

        A user's class may have signed it, or changed its user, since.

        Args:
            names: the names of the header fields that identify the user or the resource.
            is_named: the user is not identified by these fields; see `Place`.
        """
        sent: Any = getattr(getattr(self.response, "request_info", None), "headers", None)
        if not issubclass(type(sent), CIMultiDictProxy):
            return True
        if sent == self.asked:  # the common case
            return True
        before, after = _credentials(self.asked, names, is_named), _credentials(sent, names, is_named)
        return before == after or (
            self.by_proxy and before == [field for field in after if field[0] != "proxy-authorization"]
        )


def _credentials(fields: Mapping[str, str], names: CredentialNames, is_named: bool) -> list[tuple[str, str]]:
    """The Host and the fields of *names*; of these only the ones that identify the resource, if the user *is_named*."""
    lowered = ((name.lower(), value) for name, value in fields.items())
    found = [(name, value) for name, value in lowered if name == "host" or name in names]
    return [field for field in found if field[0] == "host" or says_which_resource(field[0])] if is_named else found


class OriginRequest:
    """Sends one request to the origin, perhaps several times."""

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        self._request: ClientRequest = hop.request
        self._call: Call = hop.call
        self._watch: DecodingWatch | None = None

    async def ask(self, plan: Plan) -> Reply | ClientResponse:
        """Send the request as *plan* says; a test double of a response is returned as it is."""
        purges = await self._hop.lookup.runtime.here.purges.observe()
        requested_at, asked = time.time(), CIMultiDict(self._request.headers)
        self._watch = watch_decoding(self._request) if self._call.decoded else None
        response = await (self._validate(plan) if isinstance(plan, Validate) else self._hop.handler(self._request))
        if not isinstance(response, ClientResponse):
            return response
        head = Response(response.status, response.headers, requested_at, time.time())
        return Reply(response, head, self._watch, asked, purges, self._request.proxy is not None)

    async def _validate(self, plan: Validate) -> ClientResponse:
        """Send the request with the conditions of *plan* instead of the caller's."""
        own = self._request.headers
        conditional = CIMultiDict(own)
        conditional.update(plan.headers)
        self._request.headers = conditional
        try:
            return await self._hop.handler(self._request)
        finally:
            self._request.headers = own

    def comes_again(self, error: BaseException) -> bool:
        """Whether aiohttp will send the request again after *error*, so that the origin may still be reachable."""
        return not self._call.failures and will_retry(self._request, error, self._watch)

    def is_old_connection(self, error: BaseException) -> bool:
        """Whether *error* only means that the origin had closed an idle connection."""
        return is_disconnection(error) and (self._watch is None or not self._watch.is_first)

    def is_timeout(self, error: BaseException) -> bool:
        """Whether *error* is a timeout of the request, rather than a failure or a cancellation from outside."""
        return isinstance(error, TimeoutError) or self.is_own_cancellation(error)

    def is_own_cancellation(self, error: BaseException) -> bool:
        """Whether *error* is the cancellation by which aiohttp enforces the request's total timeout."""
        return isinstance(error, asyncio.CancelledError) and timer_fired(self._request)
