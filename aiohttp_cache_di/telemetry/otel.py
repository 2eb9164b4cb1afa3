"""Caches in OpenTelemetry, through its API alone: nothing is recorded where no provider is configured.

Counters and gauges are read when a reader collects. Durations are recorded at that time, too: recording one takes the
SDK longer than a hit takes, so the event loop only keeps a sample of them for the reader's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from aiohttp_cache_di.errors import MissingDependencyError
from aiohttp_cache_di.telemetry.decisions import Decision, Observer
from aiohttp_cache_di.telemetry.measures import BOUNDS_S
from aiohttp_cache_di.telemetry.metrics import METRICS, Cache, Exported, Metric, exported, readings_of

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

    Args:
        caches: backends, such as ``session.cache``; their sizes are exported while the event loop runs in which this is
            called.
        meter_provider: None for the global one, which may be set later.

    Returns:
        A function that ends the export.
    """
    ends: list[Callable[[], None]] = []
    for one in exported(caches):
        # One scope per cache: of two instruments with the same name in one scope, the SDK reads only the first.
        scope = {"cache.name": one.label}
        instruments = _Instruments(metrics.get_meter(SCOPE, meter_provider=meter_provider, attributes=scope), one)
        ends += [one.stats.observe(instruments.exporter), instruments.end]

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


class _Instruments:
    """The instruments of one cache."""

    def __init__(self, meter: Meter, of: Exported) -> None:
        self.exporter = _Exporter(of)
        self._is_over = False
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

    def end(self) -> None:
        """Report nothing any more: instruments cannot be removed."""
        self._is_over = True

    def _observe(self, metric: Metric) -> None:
        def callback(options: CallbackOptions) -> Iterator[Observation]:
            if self._is_over:
                return
            of = self.exporter.of
            self._record()
            of.sizes.refresh_soon()
            for values, number in readings_of(metric, of):
                attributes = {"cache.name": of.label}
                if values:
                    attributes[ATTRIBUTES[metric.label]] = values[0]
                yield Observation(number, attributes)

        self._make[metric.kind](metric.otel_name, callbacks=[callback], unit=metric.unit, description=metric.help)

    def _record(self) -> None:
        """Record the durations that have been kept, for the collection that is running."""
        for label, samples in self.exporter.samples.items():
            histogram = self._histograms.get(label)
            if histogram is None:
                continue
            for value, seconds in samples.take().items():
                attributes = {"cache.name": self.exporter.of.label, ATTRIBUTES[label]: value}
                for one in seconds:
                    histogram.record(one, attributes)
