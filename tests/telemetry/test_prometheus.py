"""What Prometheus is told of caches."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession
from fastapi import FastAPI
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.telemetry import CacheStats
from aiohttp_cache_di.telemetry.metrics import METRICS
from aiohttp_cache_di.telemetry.prometheus import CacheCollector, MetricsPage
from aiohttp_cache_di.telemetry.sizes import ASK_AFTER_S, Sizes
from tests.interleaving import at_each_line
from tests.origin import Origin, answer
from tests.pages import as_module, block_with
from tests.server import free_port
from tests.telemetry.test_watch import decision


class Used(Struct):
    entries: int
    bytes_in_use: int


class FakeCache:
    """A backend whose store tells its size, or fails to."""

    def __init__(self, name: str = "rates", used: Used | Exception | None = None) -> None:
        self.name = name
        self.stats = CacheStats()
        self.asked = 0
        self._used = used or Used(3, 4096)

    async def usage(self) -> Used:
        self.asked += 1
        if isinstance(self._used, Exception):
            raise self._used
        return self._used


class SlowCache(FakeCache):
    """A backend whose store does not answer before the event is set."""

    def __init__(self, name: str = "rates") -> None:
        super().__init__(name)
        self.was_asked = asyncio.Event()
        self.answered = asyncio.Event()

    async def usage(self) -> Used:
        used = await super().usage()
        self.was_asked.set()
        await self.answered.wait()
        return used


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def shown(*caches: Any) -> dict[tuple[str, ...], float]:
    return samples(CacheCollector(*caches).exposition("")[0])


def test_counters_are_those_of_the_cache() -> None:
    cache = FakeCache()
    cache.stats.hits, cache.stats.stale, cache.stats.misses, cache.stats.coalesced = 5, 2, 3, 1
    cache.stats.count_error("read", "timeout")
    found = shown(cache)
    assert found["aiohttp_cache_requests_total", "rates", "hit"] == 3
    assert found["aiohttp_cache_requests_total", "rates", "stale"] == 2
    assert found["aiohttp_cache_requests_total", "rates", "miss"] == 3
    assert found["aiohttp_cache_requests_total", "rates", "coalesced"] == 1
    assert found["aiohttp_cache_store_errors_total", "rates", "timeout"] == 1
    assert found["aiohttp_cache_degraded", "rates"] == 1
    results = [value for (name, *_), value in found.items() if name == "aiohttp_cache_requests_total"]
    assert sum(results) == cache.stats.snapshot().requests


def test_durations_and_what_is_saved_are_measured_from_when_a_cache_is_exported() -> None:
    cache = FakeCache()
    collector = CacheCollector(cache)
    cache.stats.watch.decided(decision(body_bytes=100, origin_s=0.5))
    cache.stats.watch.decided(decision("error"))
    cache.stats.watch.operated("read", 0.3, failed=False)
    found = samples(collector.exposition("")[0])
    assert found["aiohttp_cache_request_duration_seconds_count", "rates", "hit"] == 1
    assert found["aiohttp_cache_request_duration_seconds_sum", "rates", "hit"] == pytest.approx(0.002)
    assert found["aiohttp_cache_request_duration_seconds_bucket", "rates", "0.001", "hit"] == 0
    assert found["aiohttp_cache_request_duration_seconds_bucket", "rates", "0.0025", "hit"] == 1
    assert found["aiohttp_cache_store_operation_duration_seconds_count", "rates", "read"] == 1
    assert found["aiohttp_cache_requests_total", "rates", "error"] == 1
    assert found["aiohttp_cache_saved_requests_total", "rates"] == 1
    assert found["aiohttp_cache_saved_bytes_total", "rates"] == 100
    assert found["aiohttp_cache_saved_seconds_total", "rates"] == 0.5


def test_caches_of_one_name_are_told_apart_and_count_for_themselves() -> None:
    one, other = FakeCache(), FakeCache()
    one.stats.misses = 1
    found = shown(one, other)
    assert found["aiohttp_cache_requests_total", "rates", "miss"] == 1
    assert found["aiohttp_cache_requests_total", "rates-2", "miss"] == 0


@pytest.mark.parametrize(
    ("name", "label"),
    [("rates", "rates"), ("/var/cache/app/rates.sqlite", "rates"), ("files/rates", "rates"), ("rates.v2", "rates.v2")],
)
def test_a_cache_that_is_called_like_its_file_is_labelled_without_its_directories(name: str, label: str) -> None:
    assert ("aiohttp_cache_degraded", label) in shown(FakeCache(name))


def test_kinds_of_errors_are_bounded() -> None:
    stats = CacheStats()
    for number in range(1000):
        stats.count_error("read", f"Error{number}")
    assert len(stats.store_errors) < 100
    assert sum(stats.store_errors.values()) == 1000
    assert stats.store_errors["other"] > 900


async def test_sizes_are_asked_for_once_a_minute_and_are_unknown_where_the_store_fails() -> None:
    cache, page = FakeCache(), MetricsPage()
    for _ in range(3):
        await page.show([cache], "")
    found = samples((await page.show([cache], ""))[0])
    assert (found["aiohttp_cache_entries", "rates"], found["aiohttp_cache_size_bytes", "rates"]) == (3, 4096)
    assert cache.asked == 1
    failing = FakeCache("weather", OSError("gone"))
    found = samples((await page.show([cache, failing], ""))[0])
    assert ("aiohttp_cache_entries", "weather") not in found
    assert found["aiohttp_cache_entries", "rates"] == 3


async def test_a_collector_of_another_thread_has_sizes_asked_for_in_the_loop() -> None:
    cache = FakeCache()
    collector = CacheCollector(cache)
    await asyncio.to_thread(collector.exposition, "")
    await asyncio.sleep(0)
    assert cache.asked == 0  # of a cache that is not open
    cache.stats.started("rates", "FakeCache", "nowhere", "your rules")
    async with asyncio.timeout(10):
        while True:
            found = samples((await asyncio.to_thread(collector.exposition, ""))[0])
            if ("aiohttp_cache_entries", "rates") in found:
                break
    assert cache.asked == 1


@pytest.mark.parametrize("make", [CacheBackend, SQLiteBackend], ids=lambda made: made.__name__)
async def test_a_backend_tells_its_size(make: Callable[[str], CacheBackend], origin: Origin, tmp_path: Path) -> None:
    backend, page = make(str(tmp_path / "rates.sqlite")), MetricsPage()
    async with CachedSession(cache=backend) as session, session.get(origin.on("/a", answer("text" * 100))) as response:
        await response.read()
        await backend.settle()
        found = samples((await page.show([backend], ""))[0])
    await backend.close()
    assert found["aiohttp_cache_entries", "rates"] == 1
    assert found["aiohttp_cache_size_bytes", "rates"] >= 400


async def test_sizes_are_asked_for_anew_after_a_while() -> None:
    now = 100.0
    cache = FakeCache()
    sizes = Sizes(cache, cache.stats, lambda: now)
    await sizes.refresh()
    now += ASK_AFTER_S - 1
    await sizes.refresh()
    assert cache.asked == 1
    now += 2
    await sizes.refresh()
    assert cache.asked == 2


async def test_sizes_are_those_of_before_until_the_store_answers() -> None:
    now, cache = 100.0, SlowCache()
    sizes = Sizes(cache, cache.stats, lambda: now)
    cache.answered.set()
    await sizes.refresh()
    now += ASK_AFTER_S + 1
    cache.answered.clear()
    cache.was_asked.clear()
    asking = asyncio.create_task(sizes.refresh())
    await cache.was_asked.wait()
    assert (sizes.entries, sizes.size_bytes) == (3, 4096)
    cache.answered.set()
    await asking
    assert (sizes.entries, sizes.size_bytes) == (3, 4096)


async def test_apps_that_share_a_route_are_each_shown_their_own_caches() -> None:
    one, other, page = SlowCache("one"), SlowCache("other"), MetricsPage()
    showing = [asyncio.create_task(page.show([cache], "")) for cache in (one, other)]
    for cache in (one, other):
        await cache.was_asked.wait()
    for cache in (one, other):
        cache.answered.set()
    shown_to_each = [samples(text) for text, _ in await asyncio.gather(*showing)]
    labels = [{label for name, label, *_ in found if name == "aiohttp_cache_degraded"} for found in shown_to_each]
    assert labels == [{"one"}, {"other"}]
    for cache in (one, other):
        await page.show([cache], "")
    assert (one.asked, other.asked) == (1, 1)


def test_without_a_loop_no_store_is_asked() -> None:
    cache = FakeCache()
    assert ("aiohttp_cache_entries", "rates") not in shown(cache)
    assert cache.asked == 0


def test_the_format_is_the_one_that_is_asked_for_and_another_registry_is_shown_too() -> None:
    registry = CollectorRegistry()
    Counter("orders", "of the app", registry=registry).inc(2)
    collector = CacheCollector(FakeCache())
    text, content_type = collector.exposition("application/openmetrics-text; version=1.0.0", registry)
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert text.count(b"# EOF") == 1
    assert b"orders_total 2.0" in text
    assert b"aiohttp_cache_requests_total" in text
    registry.register(collector)
    assert registry.get_sample_value("aiohttp_cache_requests_total", {"cache": "rates", "result": "hit"}) == 0


async def test_no_label_has_a_url_a_host_or_a_key(origin: Origin) -> None:
    async with CachedSession() as session:
        page = MetricsPage()
        await page.show([session.cache], "")
        for number in range(50):
            async with session.get(origin.on(f"/{number}", answer("text"))) as response:
                await response.read()
        text, _ = await page.show([session.cache], "")
    found = samples(text)
    assert not [label for labels in found for label in labels if "127.0.0.1" in label or "/" in label]
    assert len(found) < 100
    assert found["aiohttp_cache_requests_total", "aiohttp-cache", "miss"] == 50


def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in METRICS:
        assert metric.name.startswith("aiohttp_cache_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert (metric.unit == "By") == ("_bytes" in metric.name)
        assert (metric.unit == "s") == ("_seconds" in metric.name)


def test_importing_the_package_imports_no_exporter() -> None:
    code = "import sys, aiohttp_cache_di, aiohttp_cache_di.telemetry.routes, aiohttp_cache_di.telemetry.metrics; "
    code += "print([name for name in sys.modules if name.partition('.')[0] in ('prometheus_client', 'opentelemetry')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"


def test_without_prometheus_client_the_extra_is_named() -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; import aiohttp_cache_di.telemetry.prometheus"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "MissingDependencyError" in ran.stderr
    assert "aiohttp-cache-di[prometheus]" in ran.stderr


@pytest.mark.parametrize("lines", range(6))
def test_a_loop_that_ends_while_its_sizes_are_asked_for_breaks_no_page(lines: int) -> None:
    cache, loop = FakeCache(), asyncio.new_event_loop()
    cache.stats.started("rates", "", "", "")

    async def make() -> Sizes:
        return Sizes(cache, cache.stats)

    def run() -> None:
        loop.run_forever()
        loop.run_until_complete(asyncio.sleep(0))  # the task that has been started, if any
        loop.close()

    sizes = loop.run_until_complete(make())
    thread = threading.Thread(target=run)
    thread.start()
    while not loop.is_running():
        time.sleep(0.001)
    left = iter(range(lines))

    def meanwhile() -> None:
        if next(left, None) is None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    with at_each_line(meanwhile):
        sizes.refresh_soon()
    left = iter(())
    meanwhile()


async def test_a_route_in_multiprocess_mode_warns_that_it_has_one_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    MetricsPage()
    assert caplog.text == ""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/tmp/x")
    MetricsPage()
    assert (
        "PROMETHEUS_MULTIPROC_DIR is set, but this route has the metrics of the caches of this process" in caplog.text
    )


async def test_each_worker_can_be_scraped_as_the_page_shows(cache_in_memory: CacheSettings, origin: Origin) -> None:
    page = as_module(block_with("monitoring", "def scraped"), "scraped_workers")
    first = free_port()
    page.PORTS = range(first, first + 8)
    url, apps = origin.on("/a", answer("text")), [FastAPI(lifespan=page.app.router.lifespan_context) for _ in range(2)]
    first_app, second_app = (app.router.lifespan_context(app) for app in apps)
    async with first_app, second_app, ClientSession() as plain:
        for app, count in zip(apps, (1, 3), strict=True):
            for _ in range(count):
                await (await app.state.cached_session.get(url)).read()
        told = list[Any]()
        for port in page.PORTS:
            with suppress(ClientConnectorError):
                async with plain.get(f"http://127.0.0.1:{port}/metrics") as response:
                    told.append(samples(await response.read()))
    assert [sum(value for name, value in one.items() if name[0] == "aiohttp_cache_requests_total") for one in told] == [
        1,
        3,
    ]
