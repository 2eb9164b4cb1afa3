"""What a cache did with one request, as it is handed to all who observe the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

__all__ = ["RESULTS", "Decision", "Observer", "Result"]

Result: TypeAlias = Literal["hit", "stale", "revalidated", "coalesced", "miss", "bypass", "error"]
"""How a request was answered; docs/monitoring.md tells what each means."""

RESULTS: tuple[Result, ...] = get_args(Result)
"""All of them, in the order of the pages."""


class Decision(Struct, frozen=True):
    """What a cache did with one request; each hop of a redirect is one.

    Attributes:
        method: of the request.
        target: its URL without secrets, or a function that makes that when it is asked for.
        result: how the request was answered.
        seconds: until the response was there; of one of the origin's, until its head was.
        key: under which its response is stored, or would be; "" where there is none.
        answer: the response.
        error: the name of what was raised in place of a response.
        body_bytes: how long the stored body is that it was answered with.
        origin_s: seconds that the origin took to begin that response, when it was fetched or last confirmed.
        is_short: it has not gone through aiohttp at all, so that no trace of aiohttp's tells of it.
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
        """Why, as the value of a Cache-Status field (RFC 9211); "" where there is no response."""
        return str(getattr(self.answer, "cache_status", ""))


class Observer:
    """Is handed what a cache does, in the event loop and on the way of each request; override what you need.

    What it raises is logged, and reaches no request.
    """

    def decided(self, decision: Decision) -> None:
        """A request has been answered, or its failure is about to be raised."""

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        """An operation of the store has ended; one on a store in memory is none.

        Args:
            operation: "read", "write" …, a word of a small set.
        """
