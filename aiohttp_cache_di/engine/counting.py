"""Counting hits, and when to yield to other tasks: a hit that awaits nothing never yields by itself."""

from __future__ import annotations

from typing import Final

from aiohttp_cache_di.telemetry.counters import Counts
from aiohttp_cache_di.telemetry.watch import Watch

__all__ = ["FAIR_SHARE", "count_hit", "count_stale_hit", "is_turn_over"]

FAIR_SHARE: Final = 128  # hits after which other tasks get their turn


def count_hit(counts: Counts) -> None:
    """Count a hit."""
    counts.hits += 1


def count_stale_hit(counts: Counts) -> None:
    """Count a hit with a stale response."""
    counts.hits += 1
    counts.stale += 1


def is_turn_over(counts: Counts, watch: Watch) -> bool:
    """Whether to yield to other tasks after the hit that has just been counted."""
    if counts.hits % FAIR_SHARE:
        return False
    watch.refresh()
    return True
