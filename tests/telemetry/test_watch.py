from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest

from aiohttp_cache_di.telemetry import CacheStats, Decision, Measures, Observer, Saved
from aiohttp_cache_di.telemetry.measures import BOUNDS_S, MAX_OPERATIONS, Histogram
from tests.interleaving import at_each_line, at_each_step, at_line, in_thread

LOG = "aiohttp_cache_di.telemetry.log"


class FakeObserver(Observer):
    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.operations: list[tuple[str, bool]] = []

    def decided(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        self.operations.append((operation, failed))


class FakeAnswer:
    cache_status = "aiohttp-cache-di; hit; ttl=5"


def decision(result: Any = "hit", **fields: Any) -> Decision:
    return Decision("GET", "https://example.org/", result, 0.002, "5d1f0c2ab3", FakeAnswer(), **fields)


def test_a_cache_that_no_one_watches_turns_its_watch_off_with_the_first_decision() -> None:
    stats = CacheStats()
    assert stats.watch.is_on
    stats.watch.decided(decision())
    assert not stats.watch.is_on


def test_an_observer_is_handed_what_happens_until_it_is_taken_away() -> None:
    stats, observer = CacheStats(), FakeObserver()
    stats.watch.decided(decision())
    end = stats.observe(observer)
    assert stats.watch.is_on
    stats.watch.decided(decision("miss"))
    stats.watch.operated("read", 0.1, failed=True)
    end()
    assert not stats.watch.is_on
    stats.watch.decided(decision("stale"))
    assert [one.result for one in observer.decisions] == ["miss"]
    assert observer.operations == [("read", True)]


def test_what_an_observer_raises_reaches_no_request_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Observer):
        def decided(self, decision: Decision) -> None:
            raise RuntimeError("of the observer")

        def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
            raise RuntimeError("of the observer")

    stats, observer = CacheStats(), FakeObserver()
    stats.observe(Broken())
    stats.observe(observer)
    for _ in range(3):
        stats.watch.decided(decision())
        stats.watch.operated("read", 0.1, failed=False)
    assert len(observer.decisions) == len(observer.operations) == 3
    assert [record.message for record in caplog.records] == ["Broken fails; what it raises is not logged again"]


def test_an_observer_may_override_one_method_alone() -> None:
    stats = CacheStats()
    stats.observe(Observer())
    stats.watch.decided(decision())
    stats.watch.operated("read", 0.1, failed=False)
    assert stats.watch.is_on


def test_a_level_that_is_set_later_is_found_out_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    stats = CacheStats()
    stats.watch.decided(decision())
    caplog.set_level(logging.DEBUG, LOG)
    assert not stats.watch.is_on
    stats.watch.refresh()
    assert stats.watch.is_on
    stats.watch.decided(decision())
    assert [record.message for record in caplog.records] == [
        "GET https://example.org/: hit (aiohttp-cache-di; hit; ttl=5), key 5d1f0c2a, 2000 µs"
    ]


def test_a_url_that_cannot_be_logged_costs_only_its_line(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise RuntimeError("no URL")

    caplog.set_level(logging.DEBUG, LOG)
    CacheStats().watch.decided(Decision("GET", broken, "miss", 0.1))
    assert [record.message for record in caplog.records] == ["A decision could not be logged"]


def test_an_error_without_a_response_is_logged_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOG)
    CacheStats().watch.decided(Decision("GET", lambda: "https://example.org/", "error", 0.1, error="TimeoutError"))
    assert [record.message for record in caplog.records] == [
        "GET https://example.org/: error (TimeoutError), 100000 µs"
    ]


def test_a_cache_logs_its_start_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    stats = CacheStats(hits=1, misses=1, stored=1)
    stats.ended("rates")
    for _ in range(2):
        stats.started("rates", "SQLiteBackend", "/tmp/c.sqlite", "your rules")
    for _ in range(2):
        stats.ended("rates")
    assert [record.message for record in caplog.records] == [
        "The cache 'rates' starts: SQLiteBackend, /tmp/c.sqlite, by your rules",
        "The cache 'rates' is closed: 2 requests, 50.0 % of them hits, 1 stored, 0 evicted, 0 errors of the store",
    ]


def test_a_histogram_counts_each_duration_once_and_adds_them_up() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[0] * 1.01, 100.0):
        histogram.add(seconds)
    assert sum(histogram.counts) == histogram.cumulative[-1] == 4
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-1]) == (2, 1, 1)
    assert histogram.total_s == pytest.approx(100.0 + BOUNDS_S[0] * 2.01)
    assert tuple(sorted(set(BOUNDS_S))) == BOUNDS_S


def test_saved_is_what_the_origin_was_not_asked_for_or_did_not_send() -> None:
    measures = Measures()
    for result in ("hit", "stale", "revalidated", "coalesced", "miss", "bypass", "error"):
        measures.decided(decision(result, body_bytes=100, origin_s=0.5))
    assert measures.saved == Saved(requests=2, bytes=300, seconds=0.5)
    assert set(measures.requests) == {"hit", "stale", "revalidated", "coalesced", "miss", "bypass", "error"}


def test_operations_are_measured_by_a_bounded_number_of_names() -> None:
    measures = Measures()
    for number in range(MAX_OPERATIONS + 5):
        measures.operated(f"operation-{number}", 0.1, failed=False)
    measures.operated("operation-0", 0.1, failed=False)
    assert len(measures.operations) == MAX_OPERATIONS
    assert measures.operations["operation-0"].cumulative[-1] == 2


def test_one_cache_measures_nothing_of_another() -> None:
    one, other = CacheStats(), CacheStats()
    assert one.measure() is one.measure()
    one.watch.decided(decision())
    other.watch.decided(decision())
    assert one.measure().requests["hit"].cumulative[-1] == 1
    assert other.measure().requests == {}


@pytest.mark.parametrize("observer", [None, FakeObserver, "observer"])
def test_what_is_no_observer_is_refused_when_it_is_given(observer: Any) -> None:
    with pytest.raises(TypeError, match=r"observe\(\) takes an Observer, not "):
        CacheStats().observe(observer)


def test_observers_of_other_threads_may_come_while_one_is_taken_away() -> None:
    stats, others = CacheStats(), list[FakeObserver]()
    stats.observe(FakeObserver())
    end = stats.observe(FakeObserver())

    def meanwhile() -> None:
        others.append(FakeObserver())
        stats.observe(others[-1])

    with at_each_line(meanwhile):
        end()
    stats.watch.decided(decision())
    assert stats.watch.is_on
    assert others
    assert all(other.decisions for other in others)


@pytest.mark.parametrize("what", ["refresh", "decided"])
def test_an_observer_that_comes_while_the_watch_turns_itself_off_is_told_of_the_next_decision(what: str) -> None:
    line = 0
    for line in count():
        stats, observer = CacheStats(), FakeObserver()
        act = stats.watch.refresh if what == "refresh" else partial(stats.watch.decided, decision())
        with at_line(line, partial(stats.observe, observer)) as came:
            act()
        if not came:
            break
        assert stats.watch.is_on, f"line {line}"
    assert line > 1


@pytest.mark.parametrize("kind", ["requests", "operations"])
def test_measures_lose_nothing_that_another_thread_measures_at_any_moment(kind: str) -> None:
    measures, measured = Measures(), count(1)
    measure: Callable[[], None] = (
        partial(measures.decided, decision(body_bytes=1, origin_s=1.0))
        if kind == "requests"
        else partial(measures.operated, "read", 0.1, failed=False)
    )

    def meanwhile() -> None:
        measure()
        next(measured)

    with at_each_step(in_thread(meanwhile)):
        measure()
    times = next(measured)
    (histogram,) = getattr(measures, kind).values()
    assert sum(histogram.counts) == times > 5
    assert histogram.total_s == pytest.approx((0.002 if kind == "requests" else 0.1) * times)
    if kind == "requests":
        assert measures.saved == Saved(times, times, times)


def test_measures_are_read_while_another_thread_measures_for_the_first_time() -> None:
    measures, names = Measures(), count()
    measures.operated("read", 0.1, failed=False)

    def meanwhile() -> None:
        measures.operated(f"{min(next(names), 5)}", 0.1, failed=False)

    with at_each_step(in_thread(meanwhile)):
        assert "read" in measures.operations
    assert next(names) > 5


@pytest.mark.parametrize("number", range(6))
def test_what_two_threads_begin_to_measure_is_measured_once(number: int) -> None:
    stats, found = CacheStats(), list[Measures]()
    with at_line(number, in_thread(lambda: found.append(stats.measure()))):
        found.append(stats.measure())
    stats.watch.decided(decision())
    assert len(found) == 2
    assert found[0] is found[1]
    assert {each.requests["hit"].cumulative[-1] for each in found} == {1}
