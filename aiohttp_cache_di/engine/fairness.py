"""When to yield to other tasks: a hit that awaits nothing never yields by itself."""

from __future__ import annotations

from typing import Final

from aiohttp_cache_di.telemetry.counters import Counts
from aiohttp_cache_di.telemetry.watch import Watch

__all__ = ["FAIR_SHARE", "is_turn_over"]

FAIR_SHARE: Final = 128  # hits after which other tasks get their turn


def is_turn_over(counts: Counts, watch: Watch) -> bool:
    """Whether to yield to other tasks after the hit that has just been counted."""
    if counts.hits % FAIR_SHARE:
        return False
    watch.refresh()
    return True
