"""Tests of short times on a machine that may stall: an attempt that was delayed proves nothing, and is repeated."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

__all__ = ["in_time", "shortest"]

TRIES: Final = 5
T = TypeVar("T")


async def in_time(first_s: float, attempt: Callable[[float], Awaitable[T]]) -> tuple[float, T]:
    """Call *attempt* with longer and longer times until it returns before its time is over.

    Returns the time in seconds, and what *attempt* has returned; raises AssertionError after the last try.

    Args:
        first_s: the time of the first try; each further one is four times as long.
        attempt: takes the time in seconds; it must not depend on the state that an earlier try has left.
    """
    time_s = first_s
    for _ in range(TRIES):
        begun = time.monotonic()
        answer = await attempt(time_s)
        if time.monotonic() - begun < time_s:
            return time_s, answer
        time_s *= 4
    raise AssertionError(f"the machine was slower than {time_s / 4} s")


async def shortest(within_s: float, measure: Callable[[], Awaitable[float]]) -> float:
    """The shortest time in seconds of up to five calls of *measure*; the first below *within_s* ends the series."""
    found = await measure()
    for _ in range(TRIES - 1):
        if found < within_s:
            break
        found = min(found, await measure())
    return found
