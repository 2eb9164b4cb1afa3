"""Counting hits, and letting other tasks have their turn after some: a hit that waits for nothing gives none."""

from __future__ import annotations

from typing import Final

from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["FAIR_SHARE", "count_hit", "count_stale_hit", "is_turn_over"]

FAIR_SHARE: Final = 128  # hits in a row after which other tasks get their turn


def count_hit(stats: CacheStats) -> None:
    """Count an answer from the store."""
    stats.hits += 1


def count_stale_hit(stats: CacheStats) -> None:
    """Count an answer from the store whose lifetime is over."""
    stats.hits += 1
    stats.stale += 1


def is_turn_over(stats: CacheStats) -> bool:
    """Whether, after the hit that has just been counted, other tasks get their turn."""
    if stats.hits % FAIR_SHARE:
        return False
    stats.watch.refresh()
    return True
