"""What a cache tells of itself.

`counters.CacheStats` is handed to all who count: the engine counts requests by how they were answered, the guard counts
storage operations that failed, a store counts what it drops. `health` has what is read of them: a snapshot for metrics,
and a verdict for readiness probes. `reasons` says in words what a response tells of itself. Nothing here knows a
request, a store or a framework, and counting takes an addition at most; the standard library and `msgspec` are all that
may be imported.

What is more than a count is told to observers: the engine hands each `decisions.Decision` to the `watch.Watch` of the
cache, and the guard each operation of the store. The watch hands it on to the log (`log`), to what measures
(`measures`) and to users' own.

`metrics` is the table of what exporters show, under the `names` of the caches; `sizes` asks stores for theirs, rarely.
`prometheus` and `otel` (with an even `sampling` of durations) read it, each by a package that is an extra; nothing else
here imports them. `exposing` answers a route for Prometheus, and `probe` a readiness probe.
"""

from __future__ import annotations

from aiohttp_cache_di.telemetry.counters import CacheStats
from aiohttp_cache_di.telemetry.decisions import RESULTS, Decision, Observer, Result
from aiohttp_cache_di.telemetry.health import CircuitState, Health, StatsSnapshot
from aiohttp_cache_di.telemetry.measures import Histogram, Measures, Saved
from aiohttp_cache_di.telemetry.reasons import CacheDecision

__all__ = [
    "RESULTS",
    "CacheDecision",
    "CacheStats",
    "CircuitState",
    "Decision",
    "Health",
    "Histogram",
    "Measures",
    "Observer",
    "Result",
    "Saved",
    "StatsSnapshot",
]
