"""`Hop`: one request of a call, with all that the engine needs to answer it; and answering it from stored entries."""

from __future__ import annotations

import time

from aiohttp import ClientHandlerType, ClientRequest
from msgspec import Struct

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.answering.answers import answer_from, plain_answer
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.policy import Reuse
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import Result

__all__ = ["Hop"]


class Hop(Struct, eq=False):
    """One request of a call, which has one for each redirect that it follows.

    Args:
        request: the request as it is about to be sent.
        handler: sends it to the origin.
        call: the call; what is done for this hop is noted there.
        lookup: the look-up of the response to the request.
    """

    request: ClientRequest
    handler: ClientHandlerType
    call: Call
    lookup: Lookup

    def answer(self, reuse: Reuse, result: Result, *, cache_status: str = "") -> CachedResponse:
        """The response that *reuse* decides on.

        Args:
            result: what it counts as.
            cache_status: replaces the one of *reuse*.
        """
        lookup = self.lookup
        status = lookup.status_of(cache_status or reuse.cache_status)
        answer = answer_from(reuse, self.request, standard=lookup.backend.cache_control, cache_status=status)
        return self._answered(answer, result)

    def answer_plainly(self, stored: StoredResponse, *, now: float) -> CachedResponse:
        """The response to a plain hit."""
        lookup = self.lookup
        answer = plain_answer(stored, self.request, now=now, standard=lookup.backend.cache_control)
        return self._answered(answer, "hit")

    def _answered(self, answer: CachedResponse, result: Result) -> CachedResponse:
        self.call.result = result
        self.call.keys.append(self.lookup.question.key)
        return answer

    async def why_unusable(self, entry: StoredResponse) -> str:
        """Why *entry* may not be used now, in words for the caller; "" if it may.

        A redirect may lead to a one-time URL, so it is perhaps used only together with its target. Two URLs that have
        exchanged their roles would lead to each other as long as one of the redirects is stored, so a call follows each
        only once.
        """
        call, lookup = self.call, self.lookup
        if entry.status == 200 or not call.follows:
            return ""
        if lookup.question.key in call.keys and policy.leads_on(entry.status, entry.headers):
            return "the stored redirect leads back"
        if policy.may_be_used_alone(entry, lookup.question.rules, now=time.time()) or await lookup.is_ahead(entry):
            return ""
        return "the target of the stored redirect is not stored"
