"""Validating a stale response in the background (RFC 5861 §3), by a request that has no caller and counts no hit."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from functools import partial
from time import perf_counter

from aiohttp import ClientError, ClientRequest, ClientResponse
from msgspec.structs import replace
from multidict import CIMultiDict

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.fetching import fetch_alone
from aiohttp_cache_di.engine.hop import Hop
from aiohttp_cache_di.engine.watching import tell_of
from aiohttp_cache_di.policy import PRIVATE_TO_CALLER, Plan, ServeStale
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["validate_later"]

logger: logging.Logger = logging.getLogger(__name__)

LIMIT_S = 60.0  # there is no caller whose timeout would end it


def validate_later(hop: Hop, stored: StoredResponse) -> None:
    """Validate *stored*, by which *hop* is answered, in a background task; unless one for the same response is running.

    The task works on copies of the objects of *hop*.
    """
    call, request = hop.call, _own_request(hop.request)
    message = replace(hop.lookup.question.request, headers=request.headers)
    question = replace(hop.lookup.question, request=message)
    plan = policy.background_plan(message, stored, question.rules, now=time.time())
    # Without the caller's options, which were for the response that they got; with the hops before this one.
    own = Call(call.session, decoded=call.decoded, follows=False, keys=list(call.keys), key=stored.key)
    validation = _validate(Hop(request, hop.handler, own, hop.lookup.for_another(question)), plan)
    hop.lookup.runtime.spawn(validation, owner=request.session, name=stored.key)


async def _validate(hop: Hop, plan: Plan) -> None:
    """Ask the origin and read the whole body, so that it is stored."""
    response: ClientResponse | None = None
    call, backend = hop.call, hop.lookup.backend
    tell = partial(tell_of, call, hop.request, backend, perf_counter()) if backend.stats.watch.is_on else None
    try:
        async with asyncio.timeout(LIMIT_S):
            outcome = await _fetched(plan, hop)
            call.count(hop.lookup.runtime.counts)
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


async def _fetched(plan: Plan, hop: Hop) -> ClientResponse | ServeStale:
    """Ask the origin; once more if only an idle connection had been closed, as aiohttp does for callers."""
    try:
        return await fetch_alone(plan, hop)
    except (ClientError, OSError):
        if not hop.call.comes_again:
            raise
    return await fetch_alone(plan, hop)


def _own_request(request: ClientRequest) -> ClientRequest:
    """A copy of *request*, which was not sent, without its caller's conditions and ranges."""
    own = copy.copy(request)
    own.headers = CIMultiDict(
        (name, value) for name, value in request.headers.items() if name.lower() not in PRIVATE_TO_CALLER
    )
    return own
