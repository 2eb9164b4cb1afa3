"""Log lines about a cache: its start and its end (INFO), and each decision (DEBUG)."""

from __future__ import annotations

import logging

from aiohttp_cache_di.telemetry.decisions import Decision
from aiohttp_cache_di.telemetry.health import StatsSnapshot
from aiohttp_cache_di.telemetry.names import short

__all__ = ["decisions_log", "log_decision", "log_end", "log_start"]

logger: logging.Logger = logging.getLogger(__name__)
decisions_log = logger
"""The logger of decisions, with level DEBUG."""

_KEY_CHARS = 8  # enough to distinguish the keys in a log


def log_decision(decision: Decision) -> None:
    """Log *decision* in one line, without secrets."""
    key = f", key {decision.key[:_KEY_CHARS]}" if decision.key else ""
    logger.debug(
        "%s %s: %s (%s)%s, %d µs",
        decision.method,
        decision.url,
        decision.result,
        decision.error or decision.cache_status,
        key,
        decision.seconds * 1e6,
    )


def log_start(name: str, kind: str, where: str, mode: str) -> None:
    """Log that a cache is used for the first time.

    Args:
        kind: the class of its backend.
        where: the path or address of its store, without credentials.
        mode: whose rules it follows.
    """
    logger.info("The cache %r starts: %s, %s, by %s", short(name), kind, where, mode)


def log_end(name: str, done: StatsSnapshot) -> None:
    """Log that a cache is closed, and what it has done."""
    logger.info(
        "The cache %r is closed: %d requests, %.1f %% of them hits, %d stored, %d evicted, %d errors of the store",
        short(name),
        done.requests,
        100 * done.hit_ratio,
        done.stored,
        done.evicted,
        sum(done.store_errors.values()),
    )
