"""Short times on a machine that may stand still: a try that was held up says nothing, and is made again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

__all__ = ["in_time", "shortest"]

TRIES: Final = 5
T = TypeVar("T")


async def in_time(first_s: float, attempt: Callable[[float], Awaitable[T]]) -> tuple[float, T]:
    """A time in seconds, and what *attempt* has returned for it before it was over.

    Args:
        first_s: the time of the first try; each further one is longer.
        attempt: is given the time, and must not depend on what an earlier try has left.
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
    """The shortest of the times in seconds that *measure* tells, as soon as one is within *within_s*."""
    found = await measure()
    for _ in range(TRIES - 1):
        if found < within_s:
            break
        found = min(found, await measure())
    return found
