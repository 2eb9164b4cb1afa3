"""A look before a request: is it answered by what is stored? Then a base below the cache is not asked to send it.

A base that limits rates sends requests by a ``_request`` of its own, which would spend its limit on hits. So a request
is made without it first, and ends where it would go to the origin. What it looked like is remembered: a base that sends
it otherwise is asked each time from then on, since what it adds may say in whose name the request is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import ClientRequest, ClientSession
from multidict import CIMultiDict

from aiohttp_cache_di._aiohttp import genuine_request, own_request
from aiohttp_cache_di.arguments import named_parameters

__all__ = ["Look", "NotStored", "may_look"]

_KNOWN = named_parameters(own_request() or genuine_request())
_REPEATABLE = (str, bytes, bytearray, dict, type(None))


class NotStored(BaseException):
    """Ends a look; no failure, so that nothing takes it for one."""


class Look:
    """One look, and the request that follows if it finds nothing."""

    def __init__(self) -> None:
        self.is_over = False
        self.differs: bool = False
        """Whether the request that followed was another one."""
        self._seen: tuple[Any, ...] | None = None

    def see(self, request: ClientRequest) -> None:
        """Take note of *request*, the first hop of either."""
        seen = (
            request.method,
            request.original_url,
            CIMultiDict(request.headers),
            request.proxy,
            request.proxy_auth,
            request.proxy_headers,
            request.ssl,
            request.server_hostname,
        )
        if not self.is_over:
            self._seen = self._seen or seen
        elif self._seen is not None:
            self.differs, self._seen = seen != self._seen, None


def may_look(session: ClientSession, options: Mapping[str, Any], middlewares: int) -> bool:
    """Whether a request may be made twice without anything else noticing.

    Args:
        options: of the request.
        middlewares: how many the session has, the cache among them.
    """
    own = options.get("middlewares")
    return (
        _KNOWN is not None
        and options.keys() <= _KNOWN
        and (middlewares if own is None else len(own)) == 1
        and not session.trace_configs
        and isinstance(options.get("data"), _REPEATABLE)
        and options.get("upload_tracker") is None
    )
