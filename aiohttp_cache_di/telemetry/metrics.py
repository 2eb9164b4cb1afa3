"""The metrics of a cache: their names, and how they are read; one table for Prometheus and OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from aiohttp_cache_di.telemetry.counters import CacheStats
from aiohttp_cache_di.telemetry.measures import Histogram, Measures
from aiohttp_cache_di.telemetry.names import distinct
from aiohttp_cache_di.telemetry.sizes import Sizes

__all__ = ["METRICS", "Cache", "Exported", "Metric", "Reading", "exported", "histograms_of", "readings_of"]


class Cache(Protocol):
    """What exporters use of a backend."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def stats(self) -> CacheStats:
        """Its counters."""
        ...


class Exported:
    """A cache whose metrics are exported; measuring its durations begins with this.

    Args:
        label: its name in metrics.
    """

    def __init__(self, cache: Cache, label: str) -> None:
        self.label = label
        self.stats: CacheStats = cache.stats
        self.measures: Measures = cache.stats.measure()
        self.sizes: Sizes = Sizes(cache, cache.stats)


def exported(caches: Iterable[Cache]) -> list[Exported]:
    """*caches*, each with a label of its own."""
    found: dict[str, Exported] = {}
    for cache in caches:
        label = distinct(cache.name, found)
        found[label] = Exported(cache, label)
    return list(found.values())


Reading: TypeAlias = tuple[tuple[str, ...], float]
"""The values of the labels that a metric has besides ``cache``, and the value of the metric."""


Kind: TypeAlias = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One metric.

    Args:
        name: its name in Prometheus.
        otel_name: its name in OpenTelemetry.
        unit: its unit in the notation of UCUM.
        label: the label that it has besides ``cache``; "" for none.
        help: its description.
    """

    name: str
    otel_name: str
    kind: Kind
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
    """Make the function that reads a metric without a label of its own; no reading while *read* returns None."""

    def reading(of: Exported) -> Iterator[Reading]:
        value = read(of)
        if value is not None:
            yield (), value

    return reading


def _errors(of: Exported) -> Iterator[Reading]:
    for kind, count in of.stats.store_errors.items():
        yield (kind,), count


def _metric(name: str, otel_name: str, kind: Kind, unit: str, meaning: str, label: str = "") -> Metric:
    return Metric(f"aiohttp_cache_{name}", f"http.client.cache.{otel_name}", kind, unit, label, meaning)


def _counter(name: str, unit: str, meaning: str, otel_name: str = "", label: str = "") -> Metric:
    return _metric(f"{name}_total", otel_name or name, "counter", unit, meaning, label)


_STORE_ERRORS: Final = "operations of the store that failed"
_SKIPPED: Final = "operations not tried, as the store is left alone"
_SAVED_S: Final = "seconds that the origin took for what hits were answered with"
_DEGRADED: Final = "1 while the store fails, or did so lately and has not worked since, else 0"
_REQUEST_S: Final = "time until the response was there; of one of the origin's, until its head was"
_OPERATION_S: Final = "time that operations of the store took"

_READ: Final[Mapping[Metric, Callable[[Exported], Iterator[Reading]]]] = {
    _counter("requests", "{request}", "requests, by how they were answered", label="result"): _requests,
    _counter("stored", "{response}", "responses written to the store"): _alone(lambda of: of.stats.stored),
    _counter("evicted", "{entry}", "entries dropped to make room"): _alone(lambda of: of.stats.evicted),
    _counter("invalidated", "{entry}", "entries dropped because of a change"): _alone(lambda of: of.stats.invalidated),
    _counter("purged", "{entry}", "entries dropped or made stale by a purge"): _alone(lambda of: of.stats.purged),
    _counter("unreadable", "{entry}", "entries that could not be read"): _alone(lambda of: of.stats.unreadable),
    _counter("store_errors", "{error}", _STORE_ERRORS, "store.errors", "kind"): _errors,
    _counter("store_skipped", "{operation}", _SKIPPED, "store.skipped"): _alone(lambda of: of.stats.skipped),
    _counter("saved_requests", "{request}", "requests the origin was spared", "saved.requests"): _alone(
        lambda of: of.measures.saved.requests
    ),
    _counter("saved_bytes", "By", "bytes of bodies the origin was spared", "saved.bytes"): _alone(
        lambda of: of.measures.saved.bytes
    ),
    _counter("saved_seconds", "s", _SAVED_S, "saved.time"): _alone(lambda of: of.measures.saved.seconds),
    _metric("entries", "entries", "gauge", "{entry}", "entries in the store"): _alone(lambda of: of.sizes.entries),
    _metric("size_bytes", "size", "gauge", "By", "bytes that the entries take"): _alone(lambda of: of.sizes.size_bytes),
    _metric("degraded", "degraded", "gauge", "1", _DEGRADED): _alone(lambda of: float(not of.stats.health().is_ok)),
}

_MEASURED: Final[Mapping[Metric, Callable[[Exported], Mapping[str, Histogram]]]] = {
    _metric("request_duration_seconds", "request.duration", "histogram", "s", _REQUEST_S, "result"): lambda of: {
        str(result): histogram for result, histogram in of.measures.requests.items()
    },
    _metric(
        "store_operation_duration_seconds", "store.operation.duration", "histogram", "s", _OPERATION_S, "operation"
    ): lambda of: of.measures.operations,
}

METRICS: Final = (*_READ, *_MEASURED)


def readings_of(metric: Metric, of: Exported) -> Iterator[Reading]:
    """The current readings of *metric*, a counter or a gauge."""
    return _READ[metric](of)


def histograms_of(metric: Metric, of: Exported) -> Mapping[str, Histogram]:
    """The current histograms of *metric*, by the value of its label."""
    return _MEASURED[metric](of)
