"""Counting requests, and when to yield to other tasks: a hit that awaits nothing never yields by itself."""

from __future__ import annotations

from typing import Final

from aiohttp_cache_di.telemetry import Result
from aiohttp_cache_di.telemetry.counters import Counts
from aiohttp_cache_di.telemetry.watch import Watch

__all__ = ["FAIR_SHARE", "count", "is_turn_over"]

FAIR_SHARE: Final = 128  # hits after which other tasks get their turn


def count(result: Result | None, counts: Counts) -> None:
    """Count a request by how it was answered; None counts nowhere."""
    match result:
        case "hit":
            counts.hits += 1
        case "stale":
            counts.hits += 1
            counts.stale += 1
        case "miss":
            counts.misses += 1
        case "revalidated":
            counts.revalidated += 1
        case "coalesced":
            counts.coalesced += 1
        case "bypass":
            counts.bypassed += 1
        case _:
            pass


def is_turn_over(counts: Counts, watch: Watch) -> bool:
    """Whether to yield to other tasks after the hit that has just been counted."""
    if counts.hits % FAIR_SHARE:
        return False
    watch.refresh()
    return True
