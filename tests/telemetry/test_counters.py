from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from aiohttp_cache_di.telemetry import CacheStats, Health
from tests.interleaving import at_each_line


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_new_cache_has_counted_nothing_and_is_well() -> None:
    stats = CacheStats()
    snapshot = stats.snapshot()
    assert (snapshot.hits, snapshot.misses, snapshot.store_errors, snapshot.circuit) == (0, 0, {}, "closed")
    assert snapshot.hit_ratio == 0.0
    assert stats.health() == Health("ok")
    assert stats.health().is_ok


def test_a_snapshot_does_not_follow_the_counters_and_cannot_be_changed() -> None:
    stats = CacheStats(hits=3, misses=1)
    stats.count_error("read", "timeout")
    snapshot: Any = stats.snapshot()
    stats.hits += 1
    stats.count_error("read", "timeout")
    stats.count_evicted(5)
    stats.count_unreadable()
    assert (snapshot.hits, snapshot.store_errors, snapshot.evicted, snapshot.unreadable) == (3, {"timeout": 1}, 0, 0)
    assert (stats.snapshot().evicted, stats.snapshot().unreadable) == (5, 1)
    with pytest.raises(AttributeError):
        snapshot.hits = 7
    with pytest.raises(TypeError):
        snapshot.store_errors["timeout"] = 0


def test_every_counter_is_in_the_snapshot() -> None:
    names = {"hits", "misses", "stale", "revalidated", "coalesced", "stored", "evicted", "invalidated", "bypassed"}
    names |= {"unreadable", "skipped"}
    stats = CacheStats()
    for name in names:
        setattr(stats, name, 2)
    snapshot = stats.snapshot()
    assert {name: getattr(snapshot, name) for name in names} == dict.fromkeys(names, 2)


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="without a GIL, no counter is exact")
def test_threads_that_count_at_the_same_time_lose_nothing() -> None:
    stats, times, threads = CacheStats(), 20_000, 4
    go = threading.Barrier(threads)

    def run() -> None:
        go.wait()
        for _ in range(times):
            stats.hits += 1
            stats.count_evicted(1)
            stats.count_error("read", "timeout")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(threads):
                pool.submit(run)
    finally:
        sys.setswitchinterval(interval)
    counted = times * threads
    assert (stats.hits, stats.evicted, stats.store_errors) == (counted, counted, {"timeout": counted})


def test_health_is_read_while_another_thread_counts() -> None:
    stats, numbers = CacheStats(), count()
    stats.count_error("read", "timeout")
    with at_each_line(lambda: stats.count_error(f"operation {next(numbers)}", "timeout")):
        health = stats.health()
    assert not health.is_ok


def test_the_hit_ratio_counts_all_requests() -> None:
    stats = CacheStats(hits=6, misses=2, revalidated=1, bypassed=1)
    assert stats.snapshot().requests == 10
    assert stats.snapshot().hit_ratio == 0.6


def test_the_worst_circuit_is_shown() -> None:
    stats = CacheStats()
    stats.set_circuit("write", "half-open")
    assert stats.snapshot().circuit == "half-open"
    stats.set_circuit("read", "open")
    assert stats.snapshot().circuit == "open"
    stats.set_circuit("read", "closed")
    stats.set_circuit("write", "closed")
    assert stats.circuit == "closed"


def test_a_recent_error_degrades_for_a_while_and_is_named() -> None:
    clock = FakeClock()
    stats = CacheStats(clock=clock)
    stats.count_error("write", "OSError")
    assert stats.health().status == "degraded"
    assert not stats.health().is_ok
    assert "'OSError' on write" in stats.health().reason
    clock.now += 31
    assert stats.health() == Health("ok")
    assert stats.health(recent_s=60).status == "degraded"


def test_an_error_is_history_once_that_operation_works_again() -> None:
    stats = CacheStats(clock=FakeClock())
    stats.count_error("write", "OSError")
    stats.count_error("read", "timeout")
    stats.recovered("read")
    assert "'OSError' on write" in stats.health().reason
    stats.recovered("write")
    assert stats.health() == Health("ok")
    assert stats.store_errors == {"OSError": 1, "timeout": 1}


def test_an_open_circuit_degrades_for_as_long_as_it_is_open() -> None:
    clock = FakeClock()
    stats = CacheStats(clock=clock)
    stats.count_error("read", "timeout")
    stats.set_circuit("read", "open")
    clock.now += 3600
    assert stats.health().status == "degraded"
    assert "read" in stats.health().reason
    stats.set_circuit("read", "closed")
    assert stats.health().is_ok
