"""A trial: a request that the store may answer, before a base class below the cache is asked to send it.

A base class that limits rates overrides ``_request``, and would spend its limit on hits. So the request is made without
that class first, and ends with `NotStored` where it would go to the origin. Only then is it made again, through the
class. If the second request differs from the first, the class adds something, which may identify the user: from then
on, it gets every request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import ClientRequest, ClientSession
from multidict import CIMultiDict

__all__ = ["NotStored", "Trial", "may_try"]

_REPEATABLE = (str, bytes, bytearray, dict, type(None))


class NotStored(BaseException):
    """Ends a trial that found no answer; not an `Exception`, so that no handler takes it for a failure."""


class Trial:
    """One trial, and the request that follows if the trial finds no answer."""

    def __init__(self) -> None:
        self.is_over = False
        self.differs: bool = False
        """Whether the request that followed differed from that of the trial."""
        self._seen: tuple[Any, ...] | None = None

    def see(self, request: ClientRequest) -> None:
        """Remember the first hop of the trial, or compare *request*, the first hop after the trial, with that."""
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


def may_try(session: ClientSession, options: Mapping[str, Any], middlewares: int) -> bool:
    """Whether a request can be made twice without side effects: no traces, middlewares or bodies that are read once.

    Args:
        options: the arguments of the request, which aiohttp all knows.
        middlewares: the number of the session's middlewares, the cache included.
    """
    own = options.get("middlewares")
    return (
        (middlewares if own is None else len(own)) == 1
        and not session.trace_configs
        and isinstance(options.get("data"), _REPEATABLE)
        and options.get("upload_tracker") is None
    )
