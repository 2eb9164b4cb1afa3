"""Walks over what the files of a cache tell without the bodies that are in files of their own; in a thread."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.filesystem.directory import Directory
from aiohttp_cache_di.backends.filesystem.files import look_at, see
from aiohttp_cache_di.backends.filesystem.names import LEAVES, name_of
from aiohttp_cache_di.backends.filesystem.records import NO_TOKEN
from aiohttp_cache_di.backends.filesystem.tree import Tree
from aiohttp_cache_di.backends.filesystem.walk import Position, entry_names
from aiohttp_cache_di.backends.store.inspecting import Glance, Wanted
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Glances", "glances", "measured"]

STEP_S: Final = 0.02  # in a thread that others wait for


class Glances(NamedTuple):
    """A part of a walk, and where the next one begins; None at the end."""

    found: list[Glance]
    then: Position | None


def glances(tree: Tree, position: Position, codec: EntryCodec, wanted: Wanted) -> Glances:
    """What is told from *position* on, for a moment, of records that are *wanted* or of which nothing is known."""
    found: list[Glance] = []
    until = time.monotonic() + STEP_S
    for number in range(position.leaf, len(LEAVES)):
        leaf = tree.leaf(LEAVES[number])
        names = [] if leaf is None else entry_names(leaf)
        if number == position.leaf:
            names = [name for name in names if name > position.after]
        for name in names:
            glance = None if leaf is None else _glance(leaf, name, codec)
            if glance is not None and (glance.info is None or wanted(glance.info)):
                found.append(glance)
            if time.monotonic() >= until:
                return Glances(found, Position(number, name))
    return Glances(found, None)


def _glance(leaf: Directory, name: str, codec: EntryCodec) -> Glance | None:
    seen = look_at(leaf, name, codec)
    if seen is None or name_of(seen[0].key) != name:  # or it is another key's file
        return None
    head, item = seen
    if not isinstance(item, StoredResponse):
        return Glance(head.key, None)
    is_apart = head.token != NO_TOKEN
    return Glance(head.key, info_of(item, body_bytes=head.body_bytes if is_apart else None))


def measured(tree: Tree, number: int) -> tuple[int, int]:
    """How many records are in one leaf of *tree*, and what their files take."""
    leaf = tree.leaf(LEAVES[number])
    seen = [see(leaf, name) for name in entry_names(leaf)] if leaf is not None else []
    sizes = [each.disk_bytes for each in seen if each is not None]
    return len(sizes), sum(sizes)
