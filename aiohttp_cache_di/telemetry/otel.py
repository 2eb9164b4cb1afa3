"""Caches in OpenTelemetry, through its API alone: nothing is recorded where no provider is configured.

Counters and gauges are read when a reader collects. Durations are recorded at that time, too: recording one takes the
SDK longer than a hit takes, so the event loop only keeps a sample of them for the reader's thread.

Instruments cannot be removed, and of two with the same name in one scope the SDK reads only the first. So a provider
has one set of them for each name of a cache, which serves one cache after the other: an app that is started again in
the same process has a new cache of the same name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias
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
    with _beginning:
        exports = _exports_to(meter_provider or metrics.get_meter_provider())
        ends = [exports.begin(cache, meter_provider) for cache in caches]

    def end() -> None:
        for each in ends:
            each()

    return end


class _Sample:
    """Every *stride*-th duration; the stride doubles when there are too many."""

    __slots__ = ("kept", "skip", "stride")

    def __init__(self) -> None:
        self.kept: list[float] = []
        self.stride = 1
        self.skip = 0


class Samples:
    """Samples by name. Threads may add and take at once; a duration that is added at that moment may be lost."""

    def __init__(self) -> None:
        self._samples: dict[str, _Sample] = {}

    def add(self, name: str, seconds: float) -> None:
        """Keep the duration if it falls into the sample."""
        sample = self._samples.get(name)
        if sample is None:
            if len(self._samples) >= MAX_NAMES:
                return
            sample = self._samples[name] = _Sample()
        if sample.skip > 0:  # threads that add at once may count too far
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


class _State(NamedTuple):
    """The cache that is exported by a set of instruments, and what those before it have counted."""

    exporter: _Exporter | None
    past: Counts


class _Instruments:
    """The instruments for all caches of one name, of which one at a time is exported."""

    def __init__(self, meter: Meter, label: str) -> None:
        self.state: _State = _State(None, {})  # replaced as a whole, since readers collect in threads of their own
        self._label = label
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

    def begin(self, cache: Cache, counted: Counts) -> None:
        """Export *cache*, of whose counts those *counted* have been exported already."""
        past = _sum(self.state.past, {name: -number for name, number in counted.items()})
        self.state = _State(_Exporter(Exported(cache, self._label)), past)

    def end(self) -> Counts:
        """Export the cache no longer, and return its counts, which are kept."""
        exporter, past = self.state
        if exporter is None:
            return {}
        exporter.end()
        counts: Counts = {
            (metric, values): number
            for metric in METRICS
            if metric.kind == "counter"
            for values, number in readings_of(metric, exporter.of)
        }
        self.state = _State(None, _sum(past, counts))
        return counts

    def _observe(self, metric: Metric) -> None:
        def callback(options: CallbackOptions) -> Iterator[Observation]:
            exporter, counted = self.state
            if exporter is None:
                return
            self._record(exporter)
            exporter.of.sizes.refresh_soon()
            past = {values: number for (of, values), number in counted.items() if of is metric}
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


class _Exports:
    """What is exported to one provider."""

    def __init__(self) -> None:
        self._named: dict[str, _Instruments] = {}
        self._users: Counter[str] = Counter()  # calls of `instrument` that have not ended, by the label of the cache
        self._counted: dict[int, Counts] = {}  # what has been exported of caches that may be exported again, by `id`

    def begin(self, cache: Cache, provider: MeterProvider | None) -> Callable[[], object]:
        """Export one cache, unless it is exported already; return the function that ends that."""
        in_use = {label: each.state.exporter for label, each in self._named.items() if each.state.exporter is not None}
        label = next((label for label, exporter in in_use.items() if exporter.of.stats is cache.stats), None)
        if label is None:
            label = distinct(cache.name, in_use)
            if label not in self._named:
                meter = metrics.get_meter(SCOPE, meter_provider=provider, attributes={"cache.name": label})
                self._named[label] = _Instruments(meter, label)
            self._named[label].begin(cache, self._counted.pop(id(cache), {}))
        self._users[label] += 1
        return _when_gone(cache, self._end, label, ref(cache))

    def _end(self, label: str, cache: ref[Cache]) -> None:
        """End the export of one call of `instrument`; the last one of a cache ends that of the cache."""
        self._users[label] -= 1
        if self._users[label]:
            return
        counts = self._named[label].end()
        if (left := cache()) is not None:
            self._counted[id(left)] = counts
            _when_gone(left, self._counted.pop, id(left), None)


def _when_gone(cache: Cache, function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    """Call *function* when *cache* is garbage-collected, or at once when the result is called; only the first time."""
    call = finalize(cache, function, *arguments)
    call.atexit = False
    return call


def _sum(one: Counts, other: Counts) -> Counts:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}


# Apps in several threads may begin at once, with caches of one name. An end takes no lock: a garbage collection may be
# its caller, in a thread that holds a lock of the SDK.
_beginning: Final = Lock()
_EXPORTS: Final[WeakKeyDictionary[MeterProvider, _Exports]] = WeakKeyDictionary()


def _exports_to(provider: MeterProvider) -> _Exports:
    found = _EXPORTS.get(provider)
    if found is None:
        # Before a global provider is set, a proxy stands for it, whose instruments become those of the provider.
        early = next((each for each in _EXPORTS if type(each).__name__ == "_ProxyMeterProvider"), None)
        is_global = provider is metrics.get_meter_provider()
        found = _EXPORTS.pop(early) if early is not None and is_global else _Exports()
        _EXPORTS[provider] = found
    return found
