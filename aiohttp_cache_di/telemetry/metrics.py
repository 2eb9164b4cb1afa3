"""The metrics that exporters show: their names, and how they are read; one table for Prometheus and OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from aiohttp_cache_di.telemetry.counters import CacheStats
from aiohttp_cache_di.telemetry.measures import Histogram, Measures
from aiohttp_cache_di.telemetry.names import distinct
from aiohttp_cache_di.telemetry.sizes import Sizes

__all__ = ["METRICS", "Cache", "Exported", "Metric", "Reading", "exported", "histograms_of", "readings_of"]


class Cache(Protocol):
    """What is exported of: a backend."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def stats(self) -> CacheStats:
        """Its counters."""
        ...


class Exported:
    """A cache that is exported, and measured from now on.

    Args:
        label: what it is called in metrics.
    """

    def __init__(self, cache: Cache, label: str) -> None:
        self.label = label
        self.stats: CacheStats = cache.stats
        self.measures: Measures = cache.stats.measure()
        self.sizes: Sizes = Sizes(cache, cache.stats)


def exported(caches: Iterable[Cache]) -> list[Exported]:
    """Those of *caches*, by labels that tell them apart."""
    found: dict[str, Exported] = {}
    for cache in caches:
        label = distinct(cache.name, found)
        found[label] = Exported(cache, label)
    return list(found.values())


Reading: TypeAlias = tuple[tuple[str, ...], float]
"""The values of a metric's own labels, and the metric's."""


class Metric(NamedTuple):
    """One metric.

    Args:
        name: for Prometheus.
        otel_name: for OpenTelemetry.
        unit: as UCUM has it.
        label: that it has besides ``cache``; "" for none.
        help: what it is.
    """

    name: str
    otel_name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    label: str
    help: str


def _requests(of: Exported) -> Iterator[Reading]:
    stats = of.stats
    yield ("hit",), stats.hits - stats.stale
    yield ("stale",), stats.stale
    yield ("revalidated",), stats.revalidated
    yield ("coalesced",), stats.coalesced
    yield ("miss",), stats.misses
    yield ("bypass",), stats.bypassed
    errors = of.measures.requests.get("error")
    yield ("error",), 0 if errors is None else sum(errors.counts)


def _alone(read: Callable[[Exported], float | None]) -> Callable[[Exported], Iterator[Reading]]:
    """Reads a metric without labels of its own; nothing where it is not known."""

    def reading(of: Exported) -> Iterator[Reading]:
        value = read(of)
        if value is not None:
            yield (), value

    return reading


def _errors(of: Exported) -> Iterator[Reading]:
    for kind, count in dict(of.stats.store_errors).items():
        yield (kind,), count


_P, _O = "aiohttp_cache_", "http.client.cache."

_READ: Final[Mapping[Metric, Callable[[Exported], Iterator[Reading]]]] = {
    Metric(
        f"{_P}requests_total", f"{_O}requests", "counter", "{request}", "result", "requests, by how they were answered"
    ): _requests,
    Metric(f"{_P}stored_total", f"{_O}stored", "counter", "{response}", "", "responses written to the store"): _alone(
        lambda of: of.stats.stored
    ),
    Metric(f"{_P}evicted_total", f"{_O}evicted", "counter", "{entry}", "", "entries dropped to make room"): _alone(
        lambda of: of.stats.evicted
    ),
    Metric(
        f"{_P}invalidated_total", f"{_O}invalidated", "counter", "{entry}", "", "entries dropped because of a change"
    ): _alone(lambda of: of.stats.invalidated),
    Metric(
        f"{_P}purged_total", f"{_O}purged", "counter", "{entry}", "", "entries dropped or made stale by a purge"
    ): _alone(lambda of: of.stats.purged),
    Metric(
        f"{_P}unreadable_total", f"{_O}unreadable", "counter", "{entry}", "", "entries that could not be read"
    ): _alone(lambda of: of.stats.unreadable),
    Metric(
        f"{_P}store_errors_total",
        f"{_O}store.errors",
        "counter",
        "{error}",
        "kind",
        "operations of the store that failed",
    ): _errors,
    Metric(
        f"{_P}store_skipped_total",
        f"{_O}store.skipped",
        "counter",
        "{operation}",
        "",
        "operations not tried, as the store is left alone",
    ): _alone(lambda of: of.stats.skipped),
    Metric(
        f"{_P}saved_requests_total", f"{_O}saved.requests", "counter", "{request}", "", "requests the origin was spared"
    ): _alone(lambda of: of.measures.saved.requests),
    Metric(
        f"{_P}saved_bytes_total", f"{_O}saved.bytes", "counter", "By", "", "bytes of bodies the origin was spared"
    ): _alone(lambda of: of.measures.saved.bytes),
    Metric(
        f"{_P}saved_seconds_total",
        f"{_O}saved.time",
        "counter",
        "s",
        "",
        "seconds that the origin took for what hits were answered with",
    ): _alone(lambda of: of.measures.saved.seconds),
    Metric(f"{_P}entries", f"{_O}entries", "gauge", "{entry}", "", "entries in the store"): _alone(
        lambda of: of.sizes.entries
    ),
    Metric(f"{_P}size_bytes", f"{_O}size", "gauge", "By", "", "bytes that the entries take"): _alone(
        lambda of: of.sizes.size_bytes
    ),
    Metric(
        f"{_P}degraded",
        f"{_O}degraded",
        "gauge",
        "1",
        "",
        "1 while the store fails, or did so lately and has not worked since, else 0",
    ): _alone(lambda of: float(not of.stats.health().is_ok)),
}

_MEASURED: Final[Mapping[Metric, Callable[[Exported], Mapping[str, Histogram]]]] = {
    Metric(
        f"{_P}request_duration_seconds",
        f"{_O}request.duration",
        "histogram",
        "s",
        "result",
        "time until the response was there; of one of the origin's, until its head was",
    ): lambda of: {str(result): histogram for result, histogram in dict(of.measures.requests).items()},
    Metric(
        f"{_P}store_operation_duration_seconds",
        f"{_O}store.operation.duration",
        "histogram",
        "s",
        "operation",
        "time that operations of the store took",
    ): lambda of: of.measures.operations,
}

METRICS: Final = (*_READ, *_MEASURED)


def readings_of(metric: Metric, of: Exported) -> Iterator[Reading]:
    """What *metric*, a counter or a gauge, is now."""
    return _READ[metric](of)


def histograms_of(metric: Metric, of: Exported) -> Mapping[str, Histogram]:
    """What *metric*, a histogram, is now, by the value of its label."""
    return dict(_MEASURED[metric](of))
