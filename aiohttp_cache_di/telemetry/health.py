"""A copy of the counters of a cache at one moment, and whether the cache works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["CircuitState", "Health", "StatsSnapshot"]

CircuitState: TypeAlias = Literal["closed", "half-open", "open"]
"""Whether the store is used (closed), tried again (half-open), or not used because it failed (open)."""


class StatsSnapshot(Struct, frozen=True):
    """The counters of `CacheStats` at one moment.

    Attributes:
        store_errors: operations on the store that failed, by kind of failure.
        circuit: the worst state of all circuits.
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
        """The number of all requests."""
        return self.hits + self.misses + self.revalidated + self.coalesced + self.bypassed

    @property
    def hit_ratio(self) -> float:
        """The share of requests that were answered from the cache without asking the origin; 0 before the first."""
        return self.hits / self.requests if self.requests else 0.0


class Health(Struct, frozen=True):
    """Whether the store of a cache works. Without it requests are slower, since they go to the origin, but succeed.

    Attributes:
        status: "degraded" while the store fails, or has failed lately and has not succeeded since.
        reason: why it is degraded, without secrets; "" if it is not.
    """

    status: Literal["ok", "degraded"]
    reason: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.status == "ok"
