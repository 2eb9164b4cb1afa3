"""Taps, by which tests see each request that goes to the origin, and may answer it.

A tap has the signature of an aiohttp middleware, and is called after all of those: it sees each hop of a redirect that
the store did not answer, a validation with its conditions, and requests that bypass the cache. Outside of tests there
are no taps.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

__all__ = ["TAPS", "Tap", "tapped", "through_tap"]


class Tap(Protocol):
    """Answers a request, with *handler* or without it."""

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse: ...


TAPS: list[Tap] = []
"""The taps of the process, the innermost first."""


def tapped(handler: ClientHandlerType) -> ClientHandlerType:
    """*handler*, with all taps called before it."""
    for tap in TAPS:
        handler = partial(tap, handler=handler)
    return handler


@contextmanager
def through_tap(tap: Tap) -> Generator[None]:
    """Inside the ``with`` statement, send all requests to the origin through *tap*, in all threads."""
    TAPS.append(tap)
    try:
        yield
    finally:
        TAPS.remove(tap)
