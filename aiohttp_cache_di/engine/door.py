"""The door to the origin: what a test puts there sees each request that no stored response has answered.

A tap has the signature of a middleware of aiohttp, and stands further in than any: it sees the hop of a redirect that
leaves, a validation with its conditions, and what passes the cache by. Outside of tests there is none.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

__all__ = ["TAPS", "Tap", "tapped", "through_tap"]


class Tap(Protocol):
    """Answers a request, by *handler* or without."""

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse: ...


TAPS: list[Tap] = []
"""Those of the whole process, the innermost first."""


def tapped(handler: ClientHandlerType) -> ClientHandlerType:
    """*handler* with all taps before it."""
    for tap in TAPS:
        handler = partial(tap, handler=handler)
    return handler


@contextmanager
def through_tap(tap: Tap) -> Generator[None]:
    """Send what goes to the origin through *tap* meanwhile, in all threads."""
    TAPS.append(tap)
    try:
        yield
    finally:
        TAPS.remove(tap)
