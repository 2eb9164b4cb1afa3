"""What a cache tells of itself.

`counters.CacheStats` is handed to all who count: the engine counts requests by how they were answered, the guard counts
storage operations that failed, a store counts what it drops. `health` has what is read of them: a snapshot for metrics,
and a verdict for readiness probes. `reasons` says in words what a response tells of itself. Nothing here knows a
request, a store or a framework, and counting takes an addition at most; the standard library and `msgspec` are all that
may be imported.
"""

from __future__ import annotations

from aiohttp_cache_di.telemetry.counters import CacheStats
from aiohttp_cache_di.telemetry.health import CircuitState, Health, StatsSnapshot
from aiohttp_cache_di.telemetry.reasons import CacheDecision

__all__ = ["CacheDecision", "CacheStats", "CircuitState", "Health", "StatsSnapshot"]
