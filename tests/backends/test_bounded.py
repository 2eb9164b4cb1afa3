"""A table that remembers a limited number of keys."""

from __future__ import annotations

from aiohttp_cache_di.backends.bounded import Bounded
from tests.interleaving import at_each_line


def test_the_keys_noted_longest_ago_are_dropped() -> None:
    table = Bounded[str, int](2)
    for number, key in enumerate("abac"):
        table.note(key, number)
    assert list(table.items()) == [("a", 2), ("c", 3)]


def test_another_thread_may_delete_a_key_while_it_is_noted() -> None:
    table = Bounded[str, int](2)
    with at_each_line(lambda: table.pop("k", None)):
        table.note("k", 1)
    table.note("k", 2)
    assert table == {"k": 2}


def test_another_thread_may_empty_a_full_table_while_a_key_is_noted() -> None:
    table = Bounded[str, int](1)
    table.note("earlier", 1)
    with at_each_line(table.clear):
        table.note("k", 1)
    table.note("k", 2)
    assert table == {"k": 2}
