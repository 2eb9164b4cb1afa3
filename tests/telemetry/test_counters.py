from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from typing import Any

import pytest

from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.telemetry import CacheStats, Health
from tests.interleaving import at_each_step, in_thread

NO_SESSION: Any = None


def count_hit(stats: CacheStats) -> None:
    Call(NO_SESSION, result="hit").count(stats.counts.here())


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


@pytest.mark.parametrize("name", ["hit", "errors", "store_errors"])
def test_what_is_no_counter_is_refused(name: str) -> None:
    counted: Any = {name: 3}
    with pytest.raises(TypeError, match=f"^{name}=3: CacheStats has no counter"):
        CacheStats(**counted)
    with pytest.raises(AttributeError):
        setattr(CacheStats(), name, 3)


def test_every_counter_is_in_the_snapshot() -> None:
    names = {"hits", "misses", "stale", "revalidated", "coalesced", "stored", "evicted", "invalidated", "bypassed"}
    names |= {"unreadable", "skipped"}
    stats = CacheStats()
    for name in names:
        setattr(stats, name, 2)
    snapshot = stats.snapshot()
    assert {name: getattr(snapshot, name) for name in names} == dict.fromkeys(names, 2)


@pytest.mark.parametrize("count", [count_hit, CacheStats.count_evicted, CacheStats.count_error])
def test_what_another_thread_counts_at_any_moment_is_not_lost(count: Callable[..., None]) -> None:
    stats, counted = CacheStats(), itertools.count(1)
    arguments = {"count_evicted": (1,), "count_error": ("read", "timeout")}.get(count.__name__, ())

    def meanwhile() -> None:
        count(stats, *arguments)
        next(counted)

    with at_each_step(in_thread(meanwhile)):
        count(stats, *arguments)
    assert stats.hits + stats.evicted + sum(stats.store_errors.values()) == next(counted) > 5


def test_threads_that_count_at_the_same_time_lose_nothing() -> None:
    stats, times, threads = CacheStats(), 20_000, 4
    go = threading.Barrier(threads)

    def run() -> None:
        go.wait()
        for _ in range(times):
            stats.counts.here().hits += 1
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


def test_what_threads_that_have_ended_counted_is_kept() -> None:
    stats = CacheStats(hits=1)
    for _ in range(100):
        in_thread(partial(count_hit, stats))()
    assert stats.hits == 101
    assert len(stats.counts.all()) < 10  # a later thread goes on with the counters of one that has ended


def test_a_counter_that_is_set_has_that_value() -> None:
    stats = CacheStats(hits=3)
    in_thread(partial(count_hit, stats))()
    stats.hits += 1
    assert stats.hits == 5
    stats.hits = 2
    assert (stats.hits, stats.snapshot().hits) == (2, 2)


@pytest.mark.parametrize("read", [CacheStats.snapshot, CacheStats.health, attrgetter("circuit")])
def test_counters_are_read_while_another_thread_counts_for_the_first_time(read: Callable[[CacheStats], object]) -> None:
    stats, kinds = CacheStats(hits=1), itertools.count()

    def meanwhile() -> None:
        kind = f"{min(next(kinds), 5)}"
        stats.count_error(kind, kind)
        stats.set_circuit(kind, "open")

    with at_each_step(in_thread(meanwhile)):
        read(stats)
    assert next(kinds) > 5
    assert stats.circuit == "open"


def test_health_is_read_while_another_thread_counts() -> None:
    stats, numbers = CacheStats(), itertools.count()
    stats.count_error("read", "timeout")
    with at_each_step(in_thread(lambda: stats.count_error(f"operation {next(numbers)}", "timeout"))):
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
