"""The metrics of caches for prometheus_client; needs the extra ``prometheus``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast
from weakref import ref

from aiohttp_cache_di.errors import MissingDependencyError
from aiohttp_cache_di.telemetry.measures import BOUNDS_S, Histogram
from aiohttp_cache_di.telemetry.metrics import METRICS, Cache, Exported, Metric, exported, histograms_of, readings_of

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.core import Metric as Family
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as _exc:
    raise MissingDependencyError(
        "Metrics for Prometheus need prometheus_client: pip install 'aiohttp-cache-di[prometheus]'"
    ) from _exc

__all__ = ["CacheCollector", "MetricsPage"]

logger: logging.Logger = logging.getLogger(__name__)

_LE = (*map(str, BOUNDS_S), "+Inf")


class CacheCollector(Collector):
    """Collects the metrics of caches: ``REGISTRY.register(CacheCollector(backend))``.

    It may be called in any thread, and does not wait for a store: sizes may be up to a minute old.

    Args:
        caches: backends, such as ``session.cache``; their sizes are collected while the event loop runs in which the
            collector is made.
    """

    def __init__(self, *caches: Cache) -> None:
        self._exported = exported(caches)

    async def refresh(self) -> None:
        """Ask the stores for their sizes, unless that was done within the last minute."""
        for one in self._exported:
            await one.sizes.refresh()

    def collect(self) -> Iterator[Family]:
        """The current metrics."""
        for one in self._exported:
            one.sizes.refresh_soon()
        for metric in METRICS:
            yield _family(metric, self._exported)

    def exposition(self, accept: str, registry: Collector | None = None) -> tuple[bytes, str]:
        """The metrics in the format that the Accept field *accept* prefers, and their content type.

        Args:
            registry: a registry whose metrics are added.
        """
        encode, content_type = choose_encoder(accept)
        both = cast("Any", self if registry is None else _Both(self, registry))
        return encode(both), content_type


class MetricsPage:
    """The metrics of an app's caches, for a route.

    Args:
        registry: a registry whose metrics are added, such as `prometheus_client.REGISTRY`.
    """

    def __init__(self, registry: Collector | None = None) -> None:
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            logger.warning(
                "PROMETHEUS_MULTIPROC_DIR is set, but this route has the metrics of the caches of this process alone: "
                "give each worker a port of its own (docs/monitoring.md), or use OpenTelemetry"
            )
        self._registry = registry
        self._collectors: list[tuple[tuple[ref[Cache], ...], CacheCollector]] = []  # several apps may have one route

    async def show(self, caches: Sequence[Cache], accept: str) -> tuple[bytes, str]:
        """The metrics of *caches* in the format that *accept* prefers, and their content type."""
        collector = self._collector(caches)
        await collector.refresh()
        return collector.exposition(accept, self._registry)

    def _collector(self, caches: Sequence[Cache]) -> CacheCollector:
        present = [(of, one) for of, one in self._collectors if not any(cache() is None for cache in of)]
        for of, one in present:
            if len(of) == len(caches) and all(cache() is other for cache, other in zip(of, caches, strict=True)):
                return one
        made = CacheCollector(*caches)
        self._collectors = [*present, (tuple(map(ref, caches)), made)]
        return made


class _Both:
    """Two collectors as one, for an encoder."""

    def __init__(self, *collectors: Collector) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Family]:
        for collector in self._collectors:
            yield from collector.collect()


def _family(metric: Metric, caches: Iterable[Exported]) -> Family:
    labels = ["cache", metric.label] if metric.label else ["cache"]
    if metric.kind == "histogram":
        family = HistogramMetricFamily(metric.name, metric.help, labels=labels)
        for one in caches:
            for value, histogram in histograms_of(metric, one).items():
                family.add_metric([one.label, value], _buckets(histogram), histogram.total_s)
        return family
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    simple = make(metric.name, metric.help, labels=labels)
    for one in caches:
        for values, number in readings_of(metric, one):
            simple.add_metric([one.label, *values], number)
    return simple


def _buckets(histogram: Histogram) -> Sequence[tuple[str, float]]:
    return list(zip(_LE, histogram.cumulative, strict=True))
