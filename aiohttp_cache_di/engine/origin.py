"""Sending one request to the origin, with the policy's conditions, and classifying how that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Self

from aiohttp import ClientRequest, ClientResponse
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di._aiohttp import DecodingWatch, is_disconnection, timer_fired, watch_decoding, will_retry
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.hop import Hop
from aiohttp_cache_di.keys import CredentialNames, says_which_resource
from aiohttp_cache_di.policy import Plan, Validate
from aiohttp_cache_di.rfc9111.messages import Response

__all__ = ["OriginRequest", "Reply", "Sending"]


class Sending(Struct, frozen=True):
    """What has to be known of a request before it is sent, if its response may be stored.

    Args:
        requested_at: POSIX time.
        asked: its header fields, as the cache was asked with them.
        watch: tells whether the content coding of the response was complete; None if nothing is decoded.
        purges: the number of the latest purge by tag.
        by_proxy: it goes through a proxy, for which aiohttp adds credentials that the cache knows.
    """

    requested_at: float
    asked: CIMultiDict[str]
    watch: DecodingWatch | None
    purges: int
    by_proxy: bool

    @classmethod
    def of(cls, hop: Hop, purges: int) -> Self:
        """What has to be known of *hop*, which is about to be sent; *purges* is up to date."""
        request, requested_at = hop.request, time.time()
        asked = CIMultiDict(request.headers)
        watch = watch_decoding(request) if hop.call.decoded else None
        return cls(requested_at, asked, watch, purges, request.proxy is not None)

    def reply(self, response: ClientResponse) -> Reply:
        """The reply, whose head has just arrived."""
        return Reply(response, Response(response.status, response.headers, self.requested_at, time.time()), self)


class Reply(Struct, frozen=True):
    """The origin's response to one request."""

    response: ClientResponse
    head: Response
    sent: Sending

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
        asked = self.sent.asked
        if sent == asked:  # the common case
            return True
        before, after = _credentials(asked, names, is_named), _credentials(sent, names, is_named)
        return before == after or (
            self.sent.by_proxy and before == [field for field in after if field[0] != "proxy-authorization"]
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
        sending = Sending.of(self._hop, purges)
        self._watch = sending.watch
        response = await (self._validate(plan) if isinstance(plan, Validate) else self._hop.handler(self._request))
        return sending.reply(response) if isinstance(response, ClientResponse) else response

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
