"""Iterating over the files of a cache in short steps, so that the thread can run other jobs in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Final, TypeAlias, TypeVar

from aiohttp_cache_di.backends.filesystem.looking.reader import Reader
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import BODY, ENTRY, LEAVES, entry_of, is_name_of_mark, name_of
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.files import Seen, drop, see
from aiohttp_cache_di.backends.filesystem.records.packing import NO_TOKEN, Head
from aiohttp_cache_di.backends.store import Row
from aiohttp_cache_di.backends.store.inspecting import InfoRow, Wanted
from aiohttp_cache_di.backends.store.sizes import item_bytes
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["cleared", "dropped", "heads", "info_rows", "rows"]

T = TypeVar("T")
Look: TypeAlias = Callable[[Directory, str], T | None]
"""What is wanted of the entry in a file; None for nothing."""

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

    return _in_steps(tree, lambda _: row, lambda row: item_bytes(row.item))


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

    return _in_steps(tree, lambda _: look)


def heads(tree: Tree) -> Iterator[list[Seen]]:
    """The head of each record, and the size of its files on the disk."""
    return _in_steps(tree, lambda _: see)


def dropped(tree: Tree, may_go: Callable[[Head], bool]) -> Iterator[list[str]]:
    """Delete the records for whose head *may_go* is true; the names of their files."""

    def delete(leaf: Directory, name: str) -> str | None:
        seen = see(leaf, name)
        if seen is None or not may_go(seen.head):
            return None
        return None if drop(leaf, name) is None else name

    return _in_steps(tree, lambda _: delete)


def cleared(tree: Tree) -> Iterator[list[str]]:
    """Delete all records, those of purges last; the names of their files.

    Only those with a body in a file of its own are read.
    """
    for marks in (False, True):
        yield from _in_steps(tree, partial(_clearing, marks=marks))


def _clearing(names: Collection[str], *, marks: bool) -> Look[str]:
    with_body = {entry_of(name) for name in names if BODY.fullmatch(name)}

    def delete(leaf: Directory, name: str) -> str | None:
        if is_name_of_mark(name) is not marks:
            return None
        return None if drop(leaf, name, may_have_body=name in with_body) is None else name

    return delete


def _in_steps(
    tree: Tree, looking: Callable[[Collection[str]], Look[T]], weigh: Callable[[T], int] = lambda _: 0
) -> Iterator[list[T]]:
    """What is found in the files of all entries, in lists for `STEP_S` or `STEP_BYTES` each.

    Args:
        looking: how to look, by the names in a directory.
    """
    found: list[T] = []
    weight, until = 0, time.monotonic() + STEP_S
    for leaf in filter(None, map(tree.leaf, LEAVES)):
        names = leaf.names()
        look = looking(names)
        for name in filter(ENTRY.fullmatch, names):
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
