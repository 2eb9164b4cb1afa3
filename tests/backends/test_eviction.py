"""Which entry is evicted first."""

from __future__ import annotations

import random
from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.backends.eviction import FEW, MAX_SPARED, EvictionOrder
from aiohttp_cache_di.backends.memory import DictCache
from tests.backends.entries import make_entry


class Table:
    """A table of entries of weight 1, bounded by their number, used as stores use it."""

    def __init__(self, bound: int) -> None:
        self.entries: OrderedDict[str, int] = OrderedDict()
        self.order = EvictionOrder[str](self.entries)
        self._bound = bound

    def put(self, key: str) -> None:
        if key in self.entries:
            self.order.used(key)
            return
        self.entries[key] = 1
        total = len(self.entries)
        self.order.came(key, 1, has_room=total < 0.9 * self._bound, total=total)
        while len(self.entries) > self._bound:
            self.drop(self.order.next_to_go(len(self.entries)))

    def drop(self, key: str) -> None:
        del self.entries[key]
        self.order.went(key)


def test_of_few_entries_the_oldest_goes_that_was_not_used() -> None:
    table = Table(3)
    for key in "abc":
        table.put(key)
    table.order.used("a")
    table.put("d")
    assert set(table.entries) == {"a", "c", "d"}
    table.put("e")
    assert set(table.entries) == {"a", "d", "e"}


def test_what_has_just_come_is_never_the_one_to_go() -> None:
    table = Table(1)
    for key in "abc":
        table.put(key)
        assert set(table.entries) == {key}


def test_a_flood_of_what_is_asked_for_once_leaves_what_is_asked_for_often() -> None:
    table = Table(1_000)
    popular = [f"popular {number}" for number in range(500)]
    for key in popular * 3:
        table.put(key)
    for number in range(10_000):
        table.put(f"once {number}")
    assert set(popular) <= set(table.entries)


def test_what_comes_back_soon_stays() -> None:
    table = Table(1_000)
    for number in range(2_000):
        table.put(f"old {number}")
    wanted = [f"wanted {number}" for number in range(50)]
    for key in wanted:
        table.put(key)
    for number in range(500):
        table.put(f"new {number}")
    assert not set(wanted) & set(table.entries)
    for key in wanted:
        table.put(key)
    for number in range(500):
        table.put(f"newer {number}")
    assert len(set(wanted) & set(table.entries)) > 10  # marks of evicted keys may be overwritten


def test_an_eviction_looks_at_a_bounded_number_of_entries() -> None:
    table = Table(10_000)
    for number in range(10_000):
        table.put(f"{number}")
    for key in table.entries:
        table.order.used(key)
    moved: list[str] = []

    class Watched(OrderedDict[str, int]):
        def move_to_end(self, key: str, last: bool = True) -> None:
            moved.append(key)
            super().move_to_end(key, last)

    watched = Watched(table.entries)
    table.order._table = watched
    table.order.next_to_go(len(watched))
    assert len(moved) <= MAX_SPARED


@given(st.lists(st.tuples(st.sampled_from("pud"), st.integers(0, 40)), max_size=400), st.integers(1, 30))
def test_the_order_knows_what_the_table_holds(steps: list[tuple[str, int]], bound: int) -> None:
    table = Table(bound)
    for what, number in steps:
        key = f"{number}"
        if what == "p":
            table.put(key)
            assert key in table.entries
        elif key in table.entries:
            table.order.used(key) if what == "u" else table.drop(key)
        assert len(table.entries) <= bound
        assert set(table.order._on_trial) <= set(table.entries)
        assert set(table.order._used) <= set(table.entries)
        assert table.order._trial_weight == len(table.order._on_trial)


def test_in_memory_what_is_read_outlives_what_is_not() -> None:
    storage = DictCache(max_entries=4 * FEW)
    for number in range(FEW):
        storage.put(make_entry(f"read {number}"))
        storage.peek(f"read {number}")
    chance = random.Random(1)
    for number in range(20 * FEW):
        storage.put(make_entry(f"unread {number}"))
        storage.peek(f"read {chance.randrange(FEW)}")
    assert sum(f"read {number}" in storage for number in range(FEW)) == FEW
    assert len(storage) == 4 * FEW


def test_uses_that_other_threads_report_of_what_has_gone_do_not_pile_up() -> None:
    table = Table(10)
    for number in range(1_000):
        table.put(f"{number}")
        table.order.used(f"{number - 50}")  # a thread has found it before it went
    assert len(table.order._used) <= 11
