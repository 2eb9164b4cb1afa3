"""Counting hits, and when to yield to other tasks: a hit that awaits nothing never yields by itself."""

from __future__ import annotations

from typing import Final

from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["FAIR_SHARE", "count_hit", "count_stale_hit", "is_turn_over"]

FAIR_SHARE: Final = 128  # hits after which other tasks get their turn


def count_hit(stats: CacheStats) -> None:
    """Count a hit."""
    stats.hits += 1


def count_stale_hit(stats: CacheStats) -> None:
    """Count a hit with a stale response."""
    stats.hits += 1
    stats.stale += 1


def is_turn_over(stats: CacheStats) -> bool:
    """Whether to yield to other tasks after the hit that has just been counted."""
    if stats.hits % FAIR_SHARE:
        return False
    stats.watch.refresh()
    return True
