"""Reading records: an item is put together from its entry's file and, if it has one, the file of its body."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.filesystem.bodies.reading import Bodies
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import body_name, name_of
from aiohttp_cache_di.backends.filesystem.records.files import ENTRY_SIZES, read_file
from aiohttp_cache_di.backends.filesystem.records.packing import NO_TOKEN, Head, RecordCodec, read_head, set_body
from aiohttp_cache_di.backends.filesystem.records.uses import Uses
from aiohttp_cache_di.backends.store import UNREADABLE, Item, Unreadable
from aiohttp_cache_di.entries.filed import with_body
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Reader"]

TRIES: Final = 3
_SYSTEM_ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE})
"""Errors that concern the process or the file system, rather than one file."""


class Reader:
    """Reads the records of one cache, in threads.

    Args:
        codec: decodes records.
        uses: when uses of entries were recorded.
        bodies: the bodies that are read in pieces; in the same directories, and checked as all bodies.
        value_bytes: returns the size of the largest body that is read into memory.
    """

    def __init__(self, codec: RecordCodec, uses: Uses, bodies: Bodies, value_bytes: Callable[[], int]) -> None:
        self._tree = bodies.tree
        self._codec = codec
        self._uses = uses
        self._bodies = bodies
        self._value_bytes = value_bytes

    def item(self, key: str) -> Item | Unreadable | None:
        """The item under *key*, which is used now; None if there is none.

        Raises:
            StorageError, OSError: the file system does not work.
        """
        name = name_of(key)
        for _ in range(2):
            leaf = self._tree.leaf(name)
            if leaf is None:
                return None
            item = self._item(leaf, name, key, is_use=True)
            if item is not None or not leaf.is_deleted:
                return item
            self._tree.forget()
        return None

    def listed_item(self, leaf: Directory, name: str, key: str) -> Item | Unreadable | None:
        """The item under *key*, whose entry is the file *name*, without using it: its body is opened when it is read.

        Raises:
            OSError: the file system does not work.
        """
        return self._item(leaf, name, key, is_use=False)

    def entry(self, leaf: Directory, name: str) -> tuple[Head, Item | Unreadable] | None:
        """The entry in the file *name*, without a body that is in a file of its own; None if there is no entry."""
        try:
            data, _ = read_file(leaf, name, ENTRY_SIZES)
        except OSError:
            return None
        head = read_head(data)
        return None if head is None else (head, self._codec.unpack(data, head))

    def _item(self, leaf: Directory, name: str, key: str, *, is_use: bool) -> Item | Unreadable | None:
        try:
            for _ in range(TRIES):
                try:
                    data, _ = read_file(leaf, name, ENTRY_SIZES, self._uses if is_use else None)
                except FileNotFoundError:
                    return None
                head = read_head(data)
                if head is None or head.key != key:
                    return UNREADABLE
                item = self._codec.unpack(data, head)
                if head.token == NO_TOKEN or isinstance(item, Unreadable):
                    return item
                with suppress(FileNotFoundError):  # the entry was replaced meanwhile: read it again
                    return self._with_body(leaf, name, item, head, is_use=is_use)
        except OSError as exc:
            if exc.errno in _SYSTEM_ERRORS:
                raise
        return UNREADABLE

    def _with_body(self, leaf: Directory, name: str, item: Item, head: Head, *, is_use: bool) -> Item | Unreadable:
        """*item* with its body, which is in a file of its own. Raises OSError."""
        filed = self._codec.filed_of(item, head)
        if filed is None or isinstance(item, str):
            return UNREADABLE
        if head.is_filed:
            if not isinstance(item, StoredResponse):
                return UNREADABLE
            body = (self._bodies.find if is_use else self._bodies.mention)(leaf, name, filed)
            return UNREADABLE if body is None else with_body(item, body)
        if filed.length > self._value_bytes():
            return UNREADABLE
        content, status = read_file(leaf, body_name(name, filed.token), range(filed.length, filed.length + 1))
        if not self._bodies.checked.is_whole(filed, content, status):
            return UNREADABLE
        set_body(item, content)
        return item
