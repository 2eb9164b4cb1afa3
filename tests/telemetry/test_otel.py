"""What OpenTelemetry is told of caches, with its SDK, and beside its instrumentation of aiohttp."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor, create_trace_config
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aiohttp_cache_di import CachedSession, CacheMiddleware
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.telemetry.metrics import METRICS
from aiohttp_cache_di.telemetry.otel import HIT, MAX_KEPT, RESULT, STATUS, Samples, instrument
from tests.interleaving import at_line
from tests.origin import Origin, answer
from tests.telemetry.test_prometheus import FakeCache
from tests.telemetry.test_watch import decision


class Metered:
    """A provider of meters, and what its reader collects."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def collect(self) -> dict[tuple[Any, ...], Any]:
        """Each data point by the metric's name and the values of its attributes."""
        data = self._reader.get_metrics_data()
        points: dict[tuple[Any, ...], Any] = {}
        for resource in () if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        points[metric.name, *(point.attributes or {}).values()] = point
        return points


class Traced:
    """A provider of tracers, and the spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def metered() -> Iterator[Metered]:
    made = Metered()
    yield made
    made.provider.shutdown()


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.provider.shutdown()


def test_counts_and_durations_are_collected(metered: Metered) -> None:
    cache: Any = FakeCache()
    instrument(cache, meter_provider=metered.provider)
    cache.stats.hits = 2
    cache.stats.count_error("read", "timeout")
    for _ in range(2):
        cache.stats.watch.decided(decision(body_bytes=10, origin_s=0.5))
    cache.stats.watch.operated("read", 0.25, failed=False)
    found = metered.collect()
    assert found["http.client.cache.requests", "rates", "hit"].value == 2
    assert found["http.client.cache.request.duration", "rates", "hit"].count == 2
    assert found["http.client.cache.request.duration", "rates", "hit"].sum == pytest.approx(0.004)
    assert found["http.client.cache.store.operation.duration", "rates", "read"].count == 1
    assert found["http.client.cache.store.errors", "rates", "timeout"].value == 1
    assert found["http.client.cache.saved.bytes", "rates"].value == 20
    assert found["http.client.cache.saved.time", "rates"].value == 1
    assert found["http.client.cache.degraded", "rates"].value == 1
    assert {name for name, *_ in found} <= {metric.otel_name for metric in METRICS}
    later = metered.collect()
    assert later["http.client.cache.request.duration", "rates", "hit"].count == 2


def test_caches_are_exported_together_or_one_by_one_with_counts_of_their_own(metered: Metered) -> None:
    one, other, third = (FakeCache(name) for name in ("one", "other", "other"))
    one.stats.hits, other.stats.hits, third.stats.hits = 1, 2, 3
    end = instrument(one, meter_provider=metered.provider)
    instrument(other, third, meter_provider=metered.provider)
    for cache in (one, other, third):
        cache.stats.watch.decided(decision())
    found = metered.collect()
    hits = {name: found["http.client.cache.requests", name, "hit"].value for name in ("one", "other", "other-2")}
    assert hits == {"one": 1, "other": 2, "other-2": 3}
    assert found["http.client.cache.request.duration", "other-2", "hit"].count == 1
    end()
    assert ("http.client.cache.requests", "one", "hit") not in metered.collect()


def test_caches_of_one_name_that_begin_in_several_threads_are_all_exported(metered: Metered) -> None:
    caches = [FakeCache("rates") for _ in range(8)]
    go = threading.Barrier(len(caches))

    def begin(cache: Any) -> None:
        go.wait()
        instrument(cache, meter_provider=metered.provider)
        cache.stats.hits = 1

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(caches)) as pool:
            list(pool.map(begin, caches))
    finally:
        sys.setswitchinterval(usual)
    found = metered.collect()
    names = ["rates", *(f"rates-{number}" for number in range(2, len(caches) + 1))]
    assert [found["http.client.cache.requests", name, "hit"].value for name in names] == [1] * len(caches)


async def test_sizes_are_collected_after_the_store_has_answered(metered: Metered) -> None:
    cache: Any = FakeCache()
    cache.stats.started("rates", "FakeCache", "nowhere", "your rules")
    instrument(cache, meter_provider=metered.provider)
    metered.collect()
    for _ in range(100):
        await asyncio.sleep(0)
    found = metered.collect()
    assert found["http.client.cache.entries", "rates"].value == 3
    assert found["http.client.cache.size", "rates"].value == 4096


def test_nothing_is_exported_after_the_end(metered: Metered) -> None:
    cache: Any = FakeCache()
    end = instrument(cache, meter_provider=metered.provider)
    end()
    cache.stats.watch.decided(decision())
    assert metered.collect() == {}


def test_a_cache_goes_on_with_the_counts_of_one_of_its_name_that_has_ended(metered: Metered) -> None:
    for hits in (2, 3):  # an app that is started twice
        cache: Any = FakeCache()
        end = instrument(cache, meter_provider=metered.provider)
        cache.stats.hits = hits
        cache.stats.count_error("read", f"kind-{hits}")
        cache.stats.watch.decided(decision())
        found = metered.collect()
        end()
    assert found["http.client.cache.requests", "rates", "hit"].value == 5
    assert found["http.client.cache.request.duration", "rates", "hit"].count == 2
    assert found["http.client.cache.store.errors", "rates", "kind-2"].value == 1
    assert found["http.client.cache.store.errors", "rates", "kind-3"].value == 1


def test_the_counts_of_a_cache_that_is_exported_again_are_not_doubled(metered: Metered) -> None:
    cache, other = FakeCache(), FakeCache()
    for hits, each in ((2, cache), (1, other), (5, cache)):
        end = instrument(each, meter_provider=metered.provider)
        each.stats.hits = hits
        found = metered.collect()
        end()
    assert found["http.client.cache.requests", "rates", "hit"].value == 6


def test_counts_are_not_doubled_by_a_cache_that_takes_the_label_of_another(metered: Metered) -> None:
    one, other = FakeCache(), FakeCache()
    one.stats.hits, other.stats.hits = 10, 100
    ends = [instrument(cache, meter_provider=metered.provider) for cache in (one, other)]
    for end in ends:
        end()
    for cache in (other, one):
        instrument(cache, meter_provider=metered.provider)
    found = metered.collect()
    assert sum(found["http.client.cache.requests", name, "hit"].value for name in ("rates", "rates-2")) == 110


def test_caches_of_one_name_that_are_exported_one_by_one_are_told_apart(metered: Metered) -> None:
    one, other = FakeCache(), FakeCache()
    one.stats.hits, other.stats.hits = 1, 2
    ends = [instrument(cache, meter_provider=metered.provider) for cache in (one, other)]
    found = metered.collect()
    hits = {name: found["http.client.cache.requests", name, "hit"].value for name in ("rates", "rates-2")}
    assert hits == {"rates": 1, "rates-2": 2}
    for end in ends:
        end()


def test_a_cache_that_is_exported_twice_is_counted_once_until_both_exports_have_ended(metered: Metered) -> None:
    cache: Any = FakeCache()
    ends = [instrument(cache, meter_provider=metered.provider) for _ in range(2)]
    cache.stats.watch.decided(decision())
    ends[0]()
    ends[0]()
    found = metered.collect()
    assert found["http.client.cache.request.duration", "rates", "hit"].count == 1
    assert {name for _, name, *_ in found} == {"rates"}
    ends[1]()
    assert not any(name == "http.client.cache.requests" for name, *_ in metered.collect())


def test_the_export_of_a_cache_ends_with_it(metered: Metered) -> None:
    found: dict[tuple[Any, ...], Any] = {}
    for _ in range(2):
        cache = CacheBackend("forgotten")
        cache.stats.hits = 1
        instrument(cache, meter_provider=metered.provider)
        found = metered.collect()
        del cache
        gc.collect()
    assert found["http.client.cache.requests", "forgotten", "hit"].value == 2


REPLACED = """
from aiohttp_cache_di import CacheBackend
from aiohttp_cache_di.telemetry.otel import instrument
from opentelemetry import metrics
from opentelemetry.metrics import _internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.util._once import Once

for hits in (1, 2):
    cache, reader = CacheBackend("rates"), InMemoryMetricReader()
    _internal._METER_PROVIDER, _internal._METER_PROVIDER_SET_ONCE = None, Once()  # as tests do
    metrics.set_meter_provider(MeterProvider([reader]))
    cache.stats.hits = hits
    end = instrument(cache)
    text = reader.get_metrics_data().to_json()
    assert '"http.client.cache.requests"' in text
    end()
"""


def test_each_global_provider_of_a_run_of_tests_gets_the_metrics() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", REPLACED], check=True)


ANEW = """
from aiohttp_cache_di import CacheBackend
from aiohttp_cache_di.telemetry.otel import instrument
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

one, other = CacheBackend("rates"), CacheBackend("rates")
instrument(one)()
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
other.stats.hits = 3
end = instrument(other)
points = [
    point
    for resource in reader.get_metrics_data().resource_metrics
    for scope in resource.scope_metrics
    for metric in scope.metrics if metric.name == "http.client.cache.requests"
    for point in metric.data.data_points
]
assert [point.value for point in points if point.attributes["cache.result"] == "hit"] == [3], points
"""


def test_the_global_provider_may_be_set_between_two_exports() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", ANEW], check=True)


def test_without_a_provider_nothing_is_kept_beyond_a_bound() -> None:
    cache: Any = FakeCache()
    end = instrument(cache)
    for _ in range(10 * MAX_KEPT):
        cache.stats.watch.decided(decision())
    end()


def test_many_durations_are_sampled_evenly() -> None:
    samples = Samples()
    for number in range(100 * MAX_KEPT):
        samples.add("hit", float(number))
    samples.add("miss", 1.0)
    taken = samples.take()
    assert taken["miss"] == [1.0]
    assert MAX_KEPT / 2 <= len(taken["hit"]) <= MAX_KEPT
    steps = {later - earlier for earlier, later in zip(taken["hit"], taken["hit"][1:], strict=False)}
    assert len(steps) == 1
    assert samples.take() == {}


def test_names_of_samples_are_bounded() -> None:
    samples = Samples()
    for number in range(1000):
        samples.add(f"operation-{number}", 0.1)
    assert len(samples.take()) < 100


def told(span: ReadableSpan) -> tuple[Any, ...]:
    attributes = span.attributes or {}
    return attributes.get(HIT), attributes.get(RESULT), attributes.get(STATUS)


async def test_the_client_span_of_a_hit_has_the_attribute_of_a_hit(origin: Origin, traced: Traced) -> None:
    config = create_trace_config(tracer_provider=traced.provider)
    url = origin.on("/a", answer("text"))
    async with CachedSession(trace_configs=[config], expire_after=60) as session:
        end = instrument(session.cache)
        for _ in range(3):
            async with session.get(url) as response:
                await response.read()
        end()
        async with session.get(url) as response:
            await response.read()
    miss, first, second, after = traced.spans
    assert told(miss) == (False, "miss", ("aiohttp-cache-di; fwd=uri-miss",)) or told(miss)[2][0].endswith("stored")
    assert [told(span)[:2] for span in (first, second)] == [(True, "hit")] * 2
    assert told(first)[2][0].startswith("aiohttp-cache-di; hit")
    assert told(after) == (None, None, None)


@pytest.mark.parametrize("first", [True, False], ids=["instrumented first", "instrumented later"])
async def test_it_works_beside_the_instrumentation_of_all_sessions(
    origin: Origin, traced: Traced, metered: Metered, first: bool
) -> None:
    url = origin.on("/a", answer("text"))
    backend = CacheBackend(expire_after=60)
    instrumentor = AioHttpClientInstrumentor()
    if not first:
        instrument(backend, meter_provider=metered.provider)
    instrumentor.instrument(tracer_provider=traced.provider)
    try:
        if first:
            instrument(backend, meter_provider=metered.provider)
        async with CachedSession(cache=backend) as session:
            for _ in range(2):
                async with session.get(url) as response:
                    assert await response.text() == "text"
        middlewares = (CacheMiddleware(backend),)
        async with aiohttp.ClientSession(middlewares=middlewares) as plain, plain.get(url) as response:
            assert await response.text() == "text"
    finally:
        instrumentor.uninstrument()
    assert [told(span)[:2] for span in traced.spans] == [(False, "miss"), (True, "hit"), (True, "hit")]
    assert metered.collect()["http.client.cache.requests", "aiohttp-cache", "hit"].value == 2


async def test_the_span_of_the_app_is_left_alone(origin: Origin, traced: Traced) -> None:
    tracer = traced.provider.get_tracer("app")
    async with CachedSession() as session:
        instrument(session.cache)
        for kind in (trace.SpanKind.SERVER, trace.SpanKind.INTERNAL):
            with tracer.start_as_current_span("work", kind=kind):
                for _ in range(3):
                    async with session.get(origin.on("/a", answer("text"))) as response:
                        await response.read()
    assert [told(span) for span in traced.spans] == [(None, None, None)] * 2


def test_names_follow_the_conventions_of_opentelemetry() -> None:
    names = [metric.otel_name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.otel_name.startswith("http.client.cache.")
        assert not metric.otel_name.endswith(("_total", ".total", "seconds"))
        if metric.kind == "histogram":
            assert (metric.otel_name.endswith(".duration"), metric.unit) == (True, "s")


def test_without_the_api_the_extra_is_named() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import aiohttp_cache_di.telemetry.otel"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "MissingDependencyError" in ran.stderr
    assert "aiohttp-cache-di[otel]" in ran.stderr


@pytest.mark.parametrize("number", range(8))
def test_threads_that_add_at_the_same_time_do_not_end_the_sample(number: int) -> None:
    samples = Samples()
    for _ in range(MAX_KEPT + 1):
        samples.add("hit", 1.0)  # from now on every second one is kept, and the next one is not
    with at_line(number, lambda: samples.add("hit", 2.0)):
        samples.add("hit", 2.0)
    for _ in range(10):
        samples.add("hit", 3.0)
    assert samples.take()["hit"].count(3.0) >= 2
