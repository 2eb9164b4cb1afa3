"""Validating a stale response in the background (RFC 5861 §3), by a request that has no caller and counts no hit."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from functools import partial
from time import perf_counter

from aiohttp import ClientError, ClientHandlerType, ClientRequest, ClientResponse
from msgspec.structs import replace
from multidict import CIMultiDict

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.fetching import fetch_alone
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.watching import tell_of
from aiohttp_cache_di.policy import PRIVATE_TO_CALLER, ServeStale
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Validation"]

logger: logging.Logger = logging.getLogger(__name__)

LIMIT_S = 60.0  # there is no caller whose timeout would end it


class Validation:
    """The validation of a response that was served stale.

    It works on copies of the objects of the request that was answered with that response.

    Args:
        stored: the stale response.
        request, handler, call, lookup: those of the request that was answered.
    """

    def __init__(
        self,
        stored: StoredResponse,
        request: ClientRequest,
        handler: ClientHandlerType,
        call: Call,
        lookup: Lookup,
    ) -> None:
        own = _own_request(request)
        message = replace(lookup.question.request, headers=own.headers)
        question = replace(lookup.question, request=message)
        # Without the caller's options, which were for the response that they got; with the hops before this one.
        self._call = Call(call.session, decoded=call.decoded, follows=False, keys=list(call.keys), key=stored.key)
        self._stored = stored
        self._request = own
        self._handler = handler
        self._lookup = lookup.for_another(question)
        self._plan = policy.background_plan(message, stored, question.rules, now=time.time())

    def start(self) -> None:
        """Start the validation in a background task, unless one of the same response is running."""
        self._lookup.runtime.spawn(self._run(), owner=self._request.session, name=self._stored.key)

    async def _run(self) -> None:
        """Ask the origin and read the whole body, so that it is stored."""
        response: ClientResponse | None = None
        request, backend = self._request, self._lookup.backend
        tell = partial(tell_of, self._call, request, backend, perf_counter()) if backend.stats.watch.is_on else None
        try:
            async with asyncio.timeout(LIMIT_S):
                outcome = await self._fetched()
                self._call.count(self._lookup.runtime.counts)
                if not isinstance(outcome, ServeStale):  # a stale response instead of an error has no caller to get it
                    response = outcome
                    await response.read()
            if tell is not None:
                tell(response)
        except (ClientError, OSError) as error:
            logger.info("A validation in the background failed: %s", type(error).__name__)
            if tell is not None:
                tell(error=error)
        finally:
            if response is not None:
                response.release()

    async def _fetched(self) -> ClientResponse | ServeStale:
        """Ask the origin; once more if only an idle connection had been closed, as aiohttp does for callers."""
        fetch = partial(fetch_alone, self._plan, self._request, self._handler, self._call, self._lookup)
        try:
            return await fetch()
        except (ClientError, OSError):
            if not self._call.comes_again:
                raise
        return await fetch()


def _own_request(request: ClientRequest) -> ClientRequest:
    """A copy of *request*, which was not sent, without its caller's conditions and ranges."""
    own = copy.copy(request)
    own.headers = CIMultiDict(
        (name, value) for name, value in request.headers.items() if name.lower() not in PRIVATE_TO_CALLER
    )
    return own
