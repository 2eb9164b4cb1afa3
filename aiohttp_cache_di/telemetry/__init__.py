"""What a cache reports about itself: counters, health, decisions, durations and sizes.

Counting is cheap and always on: the engine, the guard around the store and the store itself count in `CacheStats`
(``counters``), each thread by itself (``per_thread``). ``health`` has what is derived from the counts: a snapshot, and
whether the cache works. ``reasons`` explains in words what the Cache-Status of a response says.

Everything else is told to observers. The engine reports each `Decision` (``decisions``), and the guard each operation
of the store, to the `Watch` of the cache (``watch``), which passes them on to the log (``log``), to `Measures`
(``measures``: durations and savings) and to users' own observers.

Exporters read all of it: ``metrics`` lists the metrics that both have, with the cache's name (``names``) and its sizes
(``sizes``, which asks the store at most once a minute). ``prometheus`` and ``otel`` each need an extra, and are
imported only when they are used. ``routes`` has the answers to a readiness probe and to Prometheus.

Nothing here knows a request, a store or a framework; of this package only the leaves below are imported.
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
