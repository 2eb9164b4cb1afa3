"""`Backlog`: the pending writes of one event loop, and the state of each.

A write is *ready* until a put takes it, *busy* during the put, and *resting* after a failure, until it is ready again.
It is *over* when it is written, deleted, or replaced by a later write of its key, or when the memory for all pending
writes is needed: then failed writes are dropped, the oldest first, or if none is left, the new write.

Reads are answered from the newest write of a key. While that is ready, an older one may be busy: it ends by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Final

from aiohttp_cache_di.backends.wrap.writing.write import State, Write
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["MAX_BATCH_BYTES", "MAX_PENDING_BYTES", "Backlog"]

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Most bytes of pending writes in one event loop; further entries are not stored."""

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Most bytes in one put, so that it ends within its deadline; a single write may have more."""


class Backlog:
    """The pending writes."""

    def __init__(self) -> None:
        self.entries: dict[str, StoredResponse] = {}
        """By key, the entries to read instead of what is stored. Others keep references to this dict."""
        self.total_bytes: int = 0
        self.ready: dict[str, Write] = {}
        """The ready writes by key, the oldest first."""
        self.when_ready: Callable[[], None] = _ignore
        """Called when a write is ready again after its rest."""
        self._newest: dict[str, Write] = {}  # the writes in `entries`, the oldest first
        self._busy: dict[str, Write] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is pending."""
        return not (self._newest or self._busy)

    def newest(self, key: str) -> Write | None:
        """The write from which reads of *key* are answered."""
        return self._newest.get(key)

    def of(self, keys: Collection[str] | None) -> list[Write]:
        """The writes of *keys* (None: all)."""
        tables = self._newest, self._busy
        return [write for table in tables for key, write in table.items() if keys is None or key in keys]

    # ---- adding

    def add(self, write: Write) -> list[Write]:
        """Add *write*, in place of one of its key unless that is busy.

        Returns:
            The writes that were dropped for lack of memory; the last may be *write* itself.
        """
        key = write.entry.key
        earlier = self._newest.pop(key, None)
        if earlier is not None and earlier.state is not State.BUSY:
            self.end(earlier)
            write.stand_in_for(earlier)
            write.is_leased = earlier.is_leased
        dropped = self._make_room(write.size)
        if not self._has_room(write.size):
            self.entries.pop(key, None)
            write.state = State.OVER
            return [*dropped, write]
        self.total_bytes += write.size
        self._newest[key] = self.ready[key] = write
        self.entries[key] = write.entry
        return dropped

    def _has_room(self, size: int) -> bool:
        return self.total_bytes + size <= MAX_PENDING_BYTES

    def _make_room(self, size: int) -> list[Write]:
        dropped: list[Write] = []
        if not self._has_room(size):
            for write in [each for each in self._newest.values() if each.failures and each.state is not State.BUSY]:
                self.end(write)
                dropped.append(write)
                if self._has_room(size):
                    break
        return dropped

    # ---- putting

    @property
    def may_take(self) -> bool:
        """Whether `take` would find something."""
        return not self.ready.keys() <= self._busy.keys()

    def take(self, most: int) -> list[Write]:
        """Make *most* ready writes busy, the oldest first, or fewer if they are large.

        A write whose key is busy is left out, as two puts of one key could overtake each other.
        """
        batch: list[Write] = []
        total_bytes = 0
        for key, write in islice(self.ready.items(), 2 * most + len(self._busy)):
            if key in self._busy:
                continue
            total_bytes += write.size
            if batch and total_bytes > MAX_BATCH_BYTES:
                break
            batch.append(write)
            if len(batch) >= most:
                break
        for write in batch:
            key = write.entry.key
            self._busy[key] = self.ready.pop(key)
            write.state = State.BUSY
        return batch

    def put_back(self, batch: Iterable[Write]) -> list[Write]:
        """Note that the put of *batch* is over; what is still busy was not put, since the put was cancelled.

        Returns:
            Those that were dropped, since their keys have later writes or were deleted.
        """
        dropped: list[Write] = []
        for write in batch:
            key = write.entry.key
            del self._busy[key]
            if write.state is State.BUSY:
                if self._newest.get(key) is write:
                    self.ready[key] = write
                    write.state = State.READY
                else:
                    self.drop(write)
                    dropped.append(write)
        return dropped

    def drop(self, write: Write) -> None:
        """End *write*, which was not put; a later write of its key, if there is one, stands in for it."""
        if not self.end(write) and (later := self._newest.get(write.entry.key)) is not None:
            later.stand_in_for(write)

    def end(self, write: Write) -> bool:
        """End *write*; return whether reads were answered from it."""
        if self.ready.get(write.entry.key) is write:
            del self.ready[write.entry.key]
        write.stop_resting()
        write.state = State.OVER
        self.total_bytes -= write.size
        return self._stop_answering(write)

    def rest(self, write: Write) -> None:
        """Note that the put of *write* has failed; it is ready again after a while."""
        write.rest(self._wake)

    def wake_all(self) -> None:
        """End all rests."""
        for write in list(self._newest.values()):
            self._wake(write)

    def _wake(self, write: Write) -> None:
        if write.state is State.RESTING:
            write.stop_resting()
            write.state = State.READY
            self.ready[write.entry.key] = write
            self.when_ready()

    # ---- deletions

    def forget(self, keys: Collection[str] | None) -> list[Write]:
        """Answer no more reads of *keys* (None: all); return their writes, of which all but busy ones are over."""
        forgotten: list[Write] = []
        for key in list(self._newest) if keys is None else keys:
            write = self._newest.get(key)
            if write is None:
                continue
            if write.state is State.BUSY:
                self._stop_answering(write)
            else:
                self.end(write)
            forgotten.append(write)
        return forgotten

    def delete_again(self, keys: Collection[str] | None) -> None:
        """Delete those of *keys* (None: all) that are being put now, when that has ended."""
        for key, write in self._busy.items():
            if keys is None or key in keys:
                write.is_deleted = True

    def _stop_answering(self, write: Write) -> bool:
        key = write.entry.key
        if self._newest.get(key) is not write:
            return False
        del self._newest[key]
        del self.entries[key]
        return True


def _ignore() -> None:
    """Do nothing."""
