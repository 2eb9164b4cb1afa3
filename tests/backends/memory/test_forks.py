"""The store in memory, in a forked child."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from aiohttp_cache_di.backends.memory.store import MemoryStore
from tests.backends.entries import make_entry
from tests.posix import in_forked_child, posix_only

pytestmark = [
    posix_only,
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),  # the fork is what is tested
]


@contextmanager
def changing(store: MemoryStore) -> Generator[None]:
    """Another thread is just changing *store*."""
    has_begun, may_end = Event(), Event()

    def change() -> None:
        with store._lock:
            has_begun.set()
            may_end.wait()

    thread = Thread(target=change)
    thread.start()
    has_begun.wait()
    try:
        yield
    finally:
        may_end.set()
        thread.join()


def stores(store: MemoryStore, key: str) -> bool:
    store.set(key, make_entry(key))
    entry = store.peek(key)
    return entry is not None and entry.raw_headers == make_entry(key).raw_headers


def test_a_forked_child_has_what_its_parent_has_stored() -> None:
    store = MemoryStore()
    assert stores(store, "a")
    assert in_forked_child(lambda: store.peek("a") is not None and stores(store, "b"))
    assert store.peek("b") is None


def test_a_fork_while_a_thread_changes_the_store_leaves_the_child_an_empty_one() -> None:
    store = MemoryStore()
    assert stores(store, "a")
    with changing(store):
        assert in_forked_child(lambda: not store.data and store.total_bytes == 0 and stores(store, "a"))
    assert store.peek("a") is not None
