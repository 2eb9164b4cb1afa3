"""Iterating over the files of a cache in short steps, so that the thread can run other jobs in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from aiohttp_cache_di.backends.filesystem.looking.reader import Reader
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import ENTRY, LEAVES, name_of
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.files import Seen, drop, see
from aiohttp_cache_di.backends.filesystem.records.packing import NO_TOKEN, Head
from aiohttp_cache_di.backends.store import Row
from aiohttp_cache_di.backends.store.inspecting import InfoRow, Wanted
from aiohttp_cache_di.backends.store.sizes import item_bytes
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["dropped", "heads", "info_rows", "rows"]

T = TypeVar("T")

STEP_S: Final = 0.02  # time limit of a step, since other jobs wait for the thread
STEP_BYTES: Final = 4 * 1024 * 1024  # size limit of a step's items


def rows(tree: Tree, reader: Reader, *, items: bool) -> Iterator[list[Row]]:
    """All records; their items, too, if *items* is true."""

    def row(leaf: Directory, name: str) -> Row | None:
        head = _head(leaf, name)
        if head is None or not items:
            return None if head is None else Row(head.key, head.leads_on)
        item = reader.listed_item(leaf, name, head.key)
        return None if item is None else Row(head.key, head.leads_on, item)

    return _in_steps(tree, row, lambda row: item_bytes(row.item))


def info_rows(tree: Tree, reader: Reader, wanted: Wanted) -> Iterator[list[InfoRow]]:
    """Infos of records that are *wanted* or have none; bodies in files of their own are not read."""

    def look(leaf: Directory, name: str) -> InfoRow | None:
        seen = reader.entry(leaf, name)
        if seen is None or not _is_in_place(seen[0], name):
            return None
        head, item = seen
        if not isinstance(item, StoredResponse):
            return InfoRow(head.key, None)
        info = info_of(item, body_bytes=None if head.token == NO_TOKEN else head.body_bytes)
        return InfoRow(head.key, info) if wanted(info) else None

    return _in_steps(tree, look)


def heads(tree: Tree) -> Iterator[list[Seen]]:
    """The head of each record, and the size of its files on the disk."""
    return _in_steps(tree, see)


def dropped(tree: Tree, may_go: Callable[[Head], bool] | None) -> Iterator[list[int]]:
    """Delete the records for whose head *may_go* is true, or (None) all; the size of each one's files on the disk."""

    def size(leaf: Directory, name: str) -> int | None:
        if may_go is not None:
            seen = see(leaf, name)
            if seen is None or not may_go(seen.head):
                return None
        return drop(leaf, name)

    return _in_steps(tree, size)


def _in_steps(
    tree: Tree, look: Callable[[Directory, str], T | None], weigh: Callable[[T], int] = lambda _: 0
) -> Iterator[list[T]]:
    """The results of *look* for the files of all entries, in lists for `STEP_S` or `STEP_BYTES` each."""
    found: list[T] = []
    weight, until = 0, time.monotonic() + STEP_S
    for leaf in filter(None, map(tree.leaf, LEAVES)):
        for name in filter(ENTRY.fullmatch, leaf.names()):
            each = look(leaf, name)
            if each is not None:
                found.append(each)
                weight += weigh(each)
            if weight >= STEP_BYTES or time.monotonic() >= until:
                yield found
                found, weight, until = [], 0, time.monotonic() + STEP_S
    yield found


def _head(leaf: Directory, name: str) -> Head | None:
    seen = see(leaf, name)
    return seen.head if seen is not None and _is_in_place(seen.head, name) else None


def _is_in_place(head: Head, name: str) -> bool:
    """Whether the file's *name* belongs to the key in its head."""
    return name_of(head.key) == name
