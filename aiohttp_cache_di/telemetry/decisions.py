"""What a cache did with one request, as observers are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

__all__ = ["RESULTS", "Decision", "Observer", "Result"]

Result: TypeAlias = Literal["hit", "stale", "revalidated", "coalesced", "miss", "bypass", "error"]
"""How a request was answered; docs/monitoring.md explains each."""

RESULTS: tuple[Result, ...] = get_args(Result)
"""All results, in the order of docs/monitoring.md."""


class Decision(Struct, frozen=True):
    """What a cache did with one request; each hop of a redirect is a request of its own.

    Attributes:
        method: the method of the request.
        target: its URL without secrets, or a function that makes it when it is needed.
        result: how the request was answered.
        seconds: the time until the response was there; of one from the origin, until its head was.
        key: the storage key of its response, also if nothing was stored; "" if it has none.
        answer: the response.
        error: the name of the exception that was raised instead of a response.
        body_bytes: the size of the stored body that answered it.
        origin_s: seconds that the origin took to begin the stored response when it was fetched or last confirmed.
        is_short: answered without aiohttp's request machinery, so that aiohttp's traces do not show the request.
    """

    method: str
    target: str | Callable[[], str]
    result: Result
    seconds: float
    key: str = ""
    answer: object = None
    error: str = ""
    body_bytes: int = 0
    origin_s: float = 0.0
    is_short: bool = False

    @property
    def url(self) -> str:
        """The URL of the request, without secrets."""
        return self.target if isinstance(self.target, str) else self.target()

    @property
    def cache_status(self) -> str:
        """The Cache-Status of the response (RFC 9211); "" without a response."""
        return str(getattr(self.answer, "cache_status", ""))


class Observer:
    """Base class of observers of a cache: override what you need.

    Its methods are called in the event loop while a request is answered, so they must be quick. What they raise is
    logged and does not reach the request.
    """

    def decided(self, decision: Decision) -> None:
        """Called when a request has been answered, or before its exception is raised."""

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Called when an operation on the store has ended; not for a store in memory.

        Args:
            operation: "read", "write" …
        """
