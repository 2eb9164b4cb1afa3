"""A validation in the background (RFC 5861 §3): a request of its own, which answers no one and counts no hit."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable

from aiohttp import ClientError, ClientRequest, ClientResponse
from multidict import CIMultiDict

from aiohttp_cache_di.policy import PRIVATE_TO_CALLER

__all__ = ["own_request", "read_and_release"]

logger = logging.getLogger(__name__)

BACKGROUND_LIMIT_S = 60.0  # it has no caller whose timeout would end it


def own_request(request: ClientRequest) -> ClientRequest:
    """A request like *request*, which was not sent, without what asks for its caller's own answer."""
    own = copy.copy(request)
    own.headers = CIMultiDict(
        (name, value) for name, value in request.headers.items() if name.lower() not in PRIVATE_TO_CALLER
    )
    return own


async def read_and_release(fetch: Callable[[], Awaitable[ClientResponse]]) -> None:
    """Fetch a response and let it arrive, for it to be stored."""
    response: ClientResponse | None = None
    try:
        async with asyncio.timeout(BACKGROUND_LIMIT_S):
            response = await fetch()
            await response.read()
    except (ClientError, OSError) as error:
        logger.info("A validation in the background failed: %s", type(error).__name__)
    finally:
        if response is not None:
            response.release()
