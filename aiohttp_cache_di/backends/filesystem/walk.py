"""Walks over the files of a cache, in steps that a thread does between other things."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.filesystem.directory import Directory
from aiohttp_cache_di.backends.filesystem.files import OpenBody, drop, read_item, see
from aiohttp_cache_di.backends.filesystem.names import ENTRY, LEAVES, name_of
from aiohttp_cache_di.backends.filesystem.records import Head
from aiohttp_cache_di.backends.filesystem.tree import Tree
from aiohttp_cache_di.backends.filesystem.uses import Known
from aiohttp_cache_di.backends.store import Item, Row, Unreadable
from aiohttp_cache_di.entries.codec import EntryCodec, Opaque
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["BEGIN", "Page", "Position", "drop_where", "entry_names", "page"]

PAGE_ROWS: Final = 256
PAGE_BYTES: Final = 4 * 1024 * 1024
STEP_S: Final = 0.02


class Position(NamedTuple):
    """How far a walk has come: the number of a leaf, and the last file that was met in it."""

    leaf: int
    after: str = ""


BEGIN: Final = Position(0)


class Page(NamedTuple):
    """A part of a walk, and where the next one begins; None at the end."""

    rows: list[Row]
    then: Position | None


def entry_names(directory: Directory) -> list[str]:
    """The names of entries' files in *directory*, in order."""
    return sorted(filter(ENTRY.fullmatch, directory.names()))


def page(tree: Tree, position: Position, codec: EntryCodec, known: Known, open_body: OpenBody, *, items: bool) -> Page:
    """The rows from *position* on, as many as may be held at a time."""
    rows: list[Row] = []
    weight, before = 0, position.after
    for number in range(position.leaf, len(LEAVES)):
        leaf = tree.leaf(LEAVES[number])
        for name in _after(leaf, position.after if number == position.leaf else ""):
            if len(rows) >= PAGE_ROWS or weight >= PAGE_BYTES:
                return Page(rows, Position(number, before))
            before = name
            seen = see(leaf, name) if leaf is not None else None
            if leaf is None or seen is None or name_of(seen.head.key) != name:  # or it is another key's file
                continue
            key, leads_on = seen.head.key, seen.head.leads_on
            if not items:
                rows.append(Row(key, leads_on))
                continue
            item = read_item(leaf, name, key, codec, known, open_body, is_use=False)
            if item is not None:
                rows.append(Row(key, leads_on, item))
                weight += _weight(item)
    return Page(rows, None)


def drop_where(tree: Tree, position: Position, may_go: Callable[[Head], bool] | None) -> tuple[int, Position | None]:
    """Drop, for a moment, the records whose head *may_go*, or (None) all of them.

    Returns:
        How many went, and where to go on; None at the end.
    """
    until, count = time.monotonic() + STEP_S, 0
    for number in range(position.leaf, len(LEAVES)):
        if time.monotonic() >= until:
            return count, Position(number)
        leaf = tree.leaf(LEAVES[number])
        if leaf is None:
            continue
        for name in entry_names(leaf):
            if may_go is not None:
                seen = see(leaf, name)
                if seen is None or not may_go(seen.head):
                    continue
            count += drop(leaf, name) is not None
    return count, None


def _after(leaf: Directory | None, name: str) -> Iterator[str]:
    if leaf is not None:
        yield from (each for each in entry_names(leaf) if each > name)


def _weight(item: Item | Unreadable) -> int:
    if isinstance(item, StoredResponse):
        return item.size_bytes
    return len(item.payload) if isinstance(item, Opaque) else 0
