"""Caches in OpenTelemetry, through its API alone: nothing is recorded where no provider is configured.

Counters and gauges are read when a reader collects. Durations are recorded at that time, too: recording one takes the
SDK longer than a hit takes, so the event loop only keeps a sample of them for the reader's thread.

Instruments cannot be removed, and of two with the same name in one scope the SDK reads only the first. So a provider
has one set of them for each name of a cache, which serves one cache after the other: an app that is started again in
the same process has a new cache of the same name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary, finalize, ref

from aiohttp_cache_di.errors import MissingDependencyError
from aiohttp_cache_di.telemetry.decisions import Decision, Observer
from aiohttp_cache_di.telemetry.measures import BOUNDS_S
from aiohttp_cache_di.telemetry.metrics import METRICS, Cache, Exported, Metric, readings_of
from aiohttp_cache_di.telemetry.names import distinct

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation
except ImportError as _exc:
    raise MissingDependencyError(
        "OpenTelemetry needs opentelemetry-api: pip install 'aiohttp-cache-di[otel]'"
    ) from _exc

__all__ = ["MAX_KEPT", "Samples", "instrument"]

SCOPE: Final = "aiohttp_cache_di"
ATTRIBUTES: Final = {"result": "cache.result", "operation": "cache.operation", "kind": "error.type"}
"""The attributes in OpenTelemetry for the labels of metrics."""

MAX_KEPT: Final = 1024  # durations of each name between two collections
MAX_NAMES: Final = 64

HIT: Final = "http.cache.hit"
RESULT: Final = "http.cache.result"
STATUS: Final = "http.response.header.cache-status"
_FROM_CACHE: Final = frozenset({"hit", "stale", "revalidated", "coalesced"})


def instrument(*caches: Cache, meter_provider: MeterProvider | None = None) -> Callable[[], None]:
    """Export the metrics of *caches* to OpenTelemetry, and note in the client spans of requests how they were answered.

    A cache that has the name of another one gets a number: ``name-2``. If the export of that other one has ended, the
    counts of both are added up instead. A cache that is exported already is not exported twice.

    Args:
        caches: backends, such as ``session.cache``; their sizes are exported while the event loop runs in which this is
            called.
        meter_provider: None for the global one, which may be set later.

    Returns:
        A function that ends the export. It ends by itself when a cache is garbage-collected.
    """
    if meter_provider is None or meter_provider is metrics.get_meter_provider():
        named = _GLOBAL
    else:
        named = _OTHERS.setdefault(meter_provider, {})
    ends = [_export(cache, named, meter_provider) for cache in caches]

    def end() -> None:
        for each in ends:
            each()

    return end


def _export(cache: Cache, named: dict[str, _Instruments], provider: MeterProvider | None) -> Callable[[], object]:
    """Export one cache; return the function that ends that."""
    in_use = {label: each for label, each in named.items() if each.exporter is not None}
    found = next((each for each in in_use.values() if each.exports(cache)), None)
    if found is None:
        label = distinct(cache.name, in_use)
        found = named.get(label)
        if found is None:
            meter = metrics.get_meter(SCOPE, meter_provider=provider, attributes={"cache.name": label})
            found = named[label] = _Instruments(meter, label)
    return found.export(cache)


class _Sample:
    """Every *stride*-th duration; the stride doubles when there are too many."""

    __slots__ = ("kept", "skip", "stride")

    def __init__(self) -> None:
        self.kept: list[float] = []
        self.stride = 1
        self.skip = 0


class Samples:
    """Samples by name. One thread adds and another takes; a duration that is added at that moment may be lost."""

    def __init__(self) -> None:
        self._samples: dict[str, _Sample] = {}

    def add(self, name: str, seconds: float) -> None:
        """Keep the duration if it falls into the sample."""
        sample = self._samples.get(name)
        if sample is None:
            if len(self._samples) >= MAX_NAMES:
                return
            sample = self._samples[name] = _Sample()
        if sample.skip:
            sample.skip -= 1
            return
        sample.skip = sample.stride - 1
        sample.kept.append(seconds)
        if len(sample.kept) >= MAX_KEPT:
            sample.kept = sample.kept[::2]
            sample.stride *= 2

    def take(self) -> dict[str, list[float]]:
        """The durations kept since the last call."""
        taken, self._samples = self._samples, {}
        return {name: sample.kept for name, sample in list(taken.items())}


class _Exporter(Observer):
    """Observes one cache: keeps its durations until they are recorded, and completes the spans of its requests."""

    def __init__(self, of: Exported) -> None:
        self.of = of
        self.samples = {"result": Samples(), "operation": Samples()}
        self._requests, self._operations = self.samples.values()
        self.end: Callable[[], None] = of.stats.observe(self)

    def decided(self, decision: Decision) -> None:
        """Keep the duration of a request, and set the attributes of its span."""
        self._requests.add(decision.result, decision.seconds)
        if decision.is_short:
            return
        span = trace.get_current_span()
        # Only a client span is the request's own; any other is that of what the app is doing.
        if span.is_recording() and getattr(span, "kind", None) is trace.SpanKind.CLIENT:
            span.set_attribute(HIT, decision.result in _FROM_CACHE)
            span.set_attribute(RESULT, decision.result)
            if decision.cache_status:
                span.set_attribute(STATUS, [decision.cache_status])

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Keep the duration of an operation on the store."""
        self._operations.add(operation, seconds)


Counts: TypeAlias = Mapping[tuple[Metric, tuple[str, ...]], float]
"""Readings of counters, by metric and the values of its labels."""


class _Instruments:
    """The instruments for all caches of one name, of which one at a time is exported."""

    def __init__(self, meter: Meter, label: str) -> None:
        self.exporter: _Exporter | None = None
        self._label = label
        self._users = 0
        # The counts of the caches whose export has ended: together, and of each that may be exported again.
        self._past: defaultdict[tuple[Metric, tuple[str, ...]], float] = defaultdict(float)
        self._counted: WeakKeyDictionary[Cache, Counts] = WeakKeyDictionary()
        self._histograms: dict[str, Histogram] = {}
        self._make: dict[str, Callable[..., Any]] = {
            "counter": meter.create_observable_counter,
            "gauge": meter.create_observable_gauge,
        }
        for metric in METRICS:
            if metric.kind == "histogram":
                self._histograms[metric.label] = meter.create_histogram(
                    metric.otel_name, metric.unit, metric.help, explicit_bucket_boundaries_advisory=BOUNDS_S
                )
            else:
                self._observe(metric)

    def exports(self, cache: Cache) -> bool:
        """Whether *cache* is the one that is exported."""
        return self.exporter is not None and self.exporter.of.stats is cache.stats

    def export(self, cache: Cache) -> Callable[[], object]:
        """Export *cache*, if it is not the one that is exported already; the returned function ends that."""
        if self.exporter is None:
            for name, number in self._counted.pop(cache, {}).items():  # it counts on from there
                self._past[name] -= number
            self.exporter = _Exporter(Exported(cache, self._label))
        self._users += 1
        end = finalize(cache, self._leave, ref(cache))
        end.atexit = False
        return end

    def _leave(self, cache: ref[Cache]) -> None:
        """End the export if no other call of `instrument` has asked for it."""
        self._users -= 1
        exporter = self.exporter
        if self._users or exporter is None:
            return
        self.exporter = None
        exporter.end()
        counts: Counts = {
            (metric, values): number
            for metric in METRICS
            if metric.kind == "counter"
            for values, number in readings_of(metric, exporter.of)
        }
        for name, number in counts.items():
            self._past[name] += number
        if (left := cache()) is not None:
            self._counted[left] = counts

    def _observe(self, metric: Metric) -> None:
        def callback(options: CallbackOptions) -> Iterator[Observation]:
            exporter = self.exporter
            if exporter is None:
                return
            self._record(exporter)
            exporter.of.sizes.refresh_soon()
            past = {values: number for (of, values), number in list(self._past.items()) if of is metric}
            now = dict(readings_of(metric, exporter.of))
            for values in past | now:
                number = past.get(values, 0) + now.get(values, 0)
                attributes = {"cache.name": self._label}
                if values:
                    attributes[ATTRIBUTES[metric.label]] = values[0]
                yield Observation(number, attributes)

        self._make[metric.kind](metric.otel_name, callbacks=[callback], unit=metric.unit, description=metric.help)

    def _record(self, exporter: _Exporter) -> None:
        """Record the durations that have been kept, for the collection that is running."""
        for label, samples in exporter.samples.items():
            histogram = self._histograms.get(label)
            if histogram is None:
                continue
            for value, seconds in samples.take().items():
                attributes = {"cache.name": self._label, ATTRIBUTES[label]: value}
                for one in seconds:
                    histogram.record(one, attributes)


_GLOBAL: Final[dict[str, _Instruments]] = {}  # of the global provider, also before it is set
_OTHERS: Final[WeakKeyDictionary[MeterProvider, dict[str, _Instruments]]] = WeakKeyDictionary()
