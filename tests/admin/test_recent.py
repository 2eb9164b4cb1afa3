"""What is counted of the last minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from aiohttp_cache_di.admin.recent import KEPT_S, MAX_HOSTS, OTHERS, STEP_S, BusyHost, Recent
from aiohttp_cache_di.telemetry import Decision, Result
from tests.posix import in_forked_child, posix_only


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def decided(result: Result, seconds: float = 0.001, url: str = "https://a.test/x") -> Decision:
    return Decision("GET", url, result, seconds)


def test_requests_are_counted_by_step_and_result(clock: Clock) -> None:
    recent = Recent(clock)
    for result in ("hit", "hit", "stale", "miss", "error"):
        recent.decided(decided(result))
    clock.now += 2 * STEP_S
    recent.decided(decided("hit"))
    recent.operated("read", 0.002, failed=True)
    first, second = recent.samples()
    assert first.results == {"hit": 2, "stale": 1, "miss": 1, "error": 1}
    assert (sum(n for _, n in first.cached), sum(n for _, n in first.origin)) == (3, 1)
    assert (second.at - first.at, second.results, second.failed) == (2 * STEP_S, {"hit": 1}, 1)
    assert sum(n for _, n in second.store) == 1
    assert first.at % STEP_S == 0
    assert recent.samples(after=first.at) == [second]


def test_what_is_older_than_the_plot_is_forgotten(clock: Clock) -> None:
    recent = Recent(clock)
    for _ in range(3 * KEPT_S // STEP_S):
        recent.decided(decided("hit"))
        clock.now += STEP_S
    assert len(recent.samples()) <= KEPT_S // STEP_S
    clock.now += 2 * KEPT_S
    assert recent.samples() == []
    assert recent.busiest() == []


def test_a_clock_that_is_set_back_ends_no_counting(clock: Clock) -> None:
    recent = Recent(clock)
    recent.decided(decided("hit"))
    clock.now -= 3600
    recent.decided(decided("miss"))
    assert [sample.results for sample in recent.samples()] == [{"hit": 1}, {"miss": 1}]


def test_the_busiest_upstreams_come_first(clock: Clock) -> None:
    recent = Recent(clock)
    for result, host, times in (("hit", "a.test", 2), ("miss", "b.test:8443", 3), ("hit", "b.test:8443", 1)):
        for _ in range(times):
            recent.decided(decided(result, url=f"https://{host}/x?y=/z"))  # type: ignore[arg-type]  # a Result by name
    clock.now += 120
    recent.decided(decided("hit", url="https://a.test/y"))
    assert recent.busiest() == [BusyHost("b.test:8443", 4, 1), BusyHost("a.test", 3, 3)]
    assert recent.busiest(within_s=30) == [BusyHost("a.test", 1, 1)]


def test_very_many_upstreams_take_bounded_memory(clock: Clock) -> None:
    recent = Recent(clock)
    for number in range(3 * MAX_HOSTS):
        recent.decided(decided("miss", url=f"https://h{number}.test/"))
    found = recent.busiest(limit=10 * MAX_HOSTS)
    assert len(found) == MAX_HOSTS + 1
    assert found[0] == BusyHost(OTHERS, 2 * MAX_HOSTS, 0)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("quick_switches")
def test_loops_in_several_threads_lose_no_count(clock: Clock) -> None:
    recent, often = Recent(clock), 3000

    def use() -> None:
        for _ in range(often):
            recent.decided(decided("hit"))

    with ThreadPoolExecutor(4) as threads:
        for used in [threads.submit(use) for _ in range(4)]:
            used.result()
    assert [sample.results for sample in recent.samples()] == [{"hit": 4 * often}]


@pytest.mark.usefixtures("quick_switches")
def test_it_is_read_while_another_thread_begins_steps_and_adds_upstreams() -> None:
    ticks = count()
    recent = Recent(lambda: 1_700_000_000 + next(ticks) * 0.1)

    def use() -> None:
        for number in range(5000):
            recent.decided(decided("hit", url=f"https://h{number}.test/"))

    with ThreadPoolExecutor(1) as thread:
        used = thread.submit(use)
        while not used.done():
            recent.samples()
            recent.busiest()
    used.result()


@posix_only
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the fork is what is tested
def test_a_fork_while_a_thread_counts_stops_no_child_from_counting(clock: Clock) -> None:
    recent = Recent(clock)

    def counts() -> bool:
        recent.decided(decided("hit"))
        return [sample.results for sample in recent.samples()] == [{"hit": 1}]

    with recent._lock:  # the forking thread may stand for any other, as the lock knows no owner
        assert in_forked_child(counts)
