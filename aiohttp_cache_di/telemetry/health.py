"""What the counters of a cache come to at one moment, and whether the cache does what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["CircuitState", "Health", "StatsSnapshot"]

CircuitState: TypeAlias = Literal["closed", "half-open", "open"]
"""Whether a storage is asked (closed), tried again (half-open), or left alone (open)."""


class StatsSnapshot(Struct, frozen=True):
    """The counters of `CacheStats` at one moment.

    Attributes:
        store_errors: storage operations that failed, by kind of failure.
        circuit: the worst state of any operation's circuit.
    """

    hits: int
    misses: int
    stale: int
    revalidated: int
    coalesced: int
    stored: int
    evicted: int
    invalidated: int
    purged: int
    bypassed: int
    unreadable: int
    skipped: int
    store_errors: Mapping[str, int]
    circuit: CircuitState

    @property
    def requests(self) -> int:
        """All requests that the cache has seen."""
        return self.hits + self.misses + self.revalidated + self.coalesced + self.bypassed

    @property
    def hit_ratio(self) -> float:
        """The share of requests that were answered from the cache without asking the origin; 0 before the first."""
        return self.hits / self.requests if self.requests else 0.0


class Health(Struct, frozen=True):
    """Whether a cache does what it is for. A degraded one costs its service time, never an answer.

    Attributes:
        status: "degraded" while a storage fails, or did so lately and has not worked since.
        reason: why, in words without secrets; "" when all is well.
    """

    status: Literal["ok", "degraded"]
    reason: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.status == "ok"
