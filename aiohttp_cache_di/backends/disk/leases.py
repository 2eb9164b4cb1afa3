"""Leases by locks on the bytes of a file: what costs nothing, and ends with its process.

A lease is a lock on one byte, at an offset from the digest of its key; two keys that share one would wait for each
other, and be answered right. The kernel frees what a dead process held. Of a process that stands still no lock tells:
so the file has times besides, until which the leases at an offset are vouched for. Who finds a byte locked for longer
than that asks for the next one of the same lease, its *heir's*.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from aiohttp_cache_di.backends.disk import byte_locks

__all__ = ["OFFSET_DIGITS", "SLOTS", "LeaseFile", "LockedLeases", "Times"]

OFFSET_DIGITS: Final = 14  # hexadecimal ones; above those, an offset has the rank of a holder
SLOTS: Final = 512  # times; that of an offset is the latest of all that share its slot
RANKS: Final = 8  # holders of one lease that may stand still
SOUND_S: Final = 3600.0  # a time that is further ahead is from a damaged file


class Times(Protocol):
    """As many times as there are `SLOTS`, which the processes share; 0 where none has vouched yet."""

    def __getitem__(self, slot: int, /) -> float: ...

    def __setitem__(self, slot: int, until: float, /) -> None: ...


class LeaseFile(Protocol):
    """The open file; it is closed, and its locks are dropped, with the last reference to it."""

    @property
    def fd(self) -> int:
        """The descriptor."""
        ...

    @property
    def times(self) -> Times:
        """By the clock of `LockedLeases.now`."""
        ...


File = TypeVar("File", bound=LeaseFile)


@dataclass(slots=True)
class _Held(Generic[File]):
    file: File
    byte: int
    until: float = 0.0

    def vouch(self, offset: int, now: float, ttl_s: float) -> None:
        """Vouch for the lease at *offset*, and for those that share its slot, for *ttl_s* seconds at least."""
        self.until = until = now + ttl_s
        times, slot = self.file.times, offset % SLOTS
        if not until <= times[slot] < now + SOUND_S:
            times[slot] = until


class LockedLeases(ABC, Generic[File]):
    """The leases of one store, for its threads."""

    def __init__(self) -> None:
        self._file: File | None = None
        self.forget()

    @abstractmethod
    def offset_of(self, key: str) -> int:
        """Where the lease on *key* is: a number of `OFFSET_DIGITS` at most."""

    @abstractmethod
    def opened(self, file: File | None) -> File:
        """*file*, if it is the one that others find; else that one. Raises as `acquire` does."""

    def now(self) -> float:
        """The time, by a clock that all who share the file have."""
        return time.monotonic()

    def acquire(self, key: str, ttl_s: float) -> bool:
        """Ask for the lease on *key*, vouched for by its holder for *ttl_s* seconds.

        Raises:
            NoLocksError: there are none.
            OSError: the file system does not work.
        """
        offset, now = self.offset_of(key), self.now()
        with self._guard:
            held = self._held.get(offset)
            if held is None:
                self._file = file = self.opened(self._file)
                byte = _lock(file, offset, now)
                if byte is None:
                    return False
                self._held[offset] = held = _Held(file, byte)
            elif now < held.until:
                return False
            held.vouch(offset, now, ttl_s)
            return True

    def renew(self, key: str, ttl_s: float) -> bool:
        """Vouch for the lease on *key* for *ttl_s* seconds from now, if it is held here; waits for no other thread."""
        offset = self.offset_of(key)
        held = self._held.get(offset)
        if held is None:
            return False
        held.vouch(offset, self.now(), ttl_s)
        return True

    def release(self, key: str) -> bool:
        """Give the lease on *key* back; tell whether it was held here."""
        offset = self.offset_of(key)
        if offset not in self._held:
            return False
        with self._guard:
            held = self._held.pop(offset, None)
            if held is not None:
                try:  # noqa: SIM105  # suppress() takes a microsecond, for each response that is stored
                    byte_locks.give_back(held.file.fd, held.byte)
                except OSError:
                    pass
        return held is not None

    def may_be_had(self, key: str) -> bool:
        """Whether it is worth asking for the lease on *key* again."""
        offset, now = self.offset_of(key), self.now()
        with self._guard:
            held, file = self._held.get(offset), self._file
            if held is not None:
                return now >= held.until
            try:
                return file is None or byte_locks.is_free(file.fd, offset) or _is_overdue(file, offset, now)
            except OSError:
                return True

    @property
    def are_open(self) -> bool:
        """Whether the file is open, and may have leases."""
        return self._file is not None

    def close(self) -> None:
        """Give all back."""
        with self._guard:
            self._held.clear()
            self._file = None  # and with it, all locks

    def forget(self) -> None:
        """Be without any: in a forked child they are its parent's, which has the same open file."""
        self._guard = threading.Lock()  # a thread of the parent's may have had the other one
        self._held: dict[int, _Held[File]] = {}
        self._file = None


def _lock(file: LeaseFile, offset: int, now: float) -> int | None:
    """Lock a byte of the lease at *offset*, and return which; None while it is held, and vouched for."""
    for rank in range(RANKS):
        byte = offset | rank << 4 * OFFSET_DIGITS
        if byte_locks.take(file.fd, byte):
            return byte
        if not _is_overdue(file, offset, now):
            return None
    return None


def _is_overdue(file: LeaseFile, offset: int, now: float) -> bool:
    """Whether someone has vouched for the leases at *offset*, and none until *now*."""
    return 0 < file.times[offset % SLOTS] < now
