"""Leases by locks on the bytes of a file: they are cheap, and end with the process that holds them.

A lease is a lock on one byte, at an offset made from the digest of its key. Two keys with the same offset would only
wait for each other. The kernel releases the locks of a dead process, but not of one that is blocked. So the file also
has times, until which the holder of the lease at an offset *vouches* for it (it extends that time by renewing the
lease). A process that finds a byte locked after that time locks the next byte for the same lease instead: there are
`RANKS` of them.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from aiohttp_cache_di.backends.disk import byte_locks
from aiohttp_cache_di.backends.forks import note_forks

__all__ = ["OFFSET_DIGITS", "SLOTS", "LeaseFile", "LockedLeases", "Times"]

OFFSET_DIGITS: Final = 14  # hexadecimal digits; a digit above them is the rank of a holder
SLOTS: Final = 512  # of times; offsets that share a slot share the latest time
RANKS: Final = 8  # bytes of one lease, since its holders may be blocked one after the other
SOUND_S: Final = 3600.0  # a time further in the future is from a damaged file


class Times(Protocol):
    """The times of the `SLOTS`, shared by all processes; 0 if no holder has vouched yet."""

    def __getitem__(self, slot: int, /) -> float: ...

    def __setitem__(self, slot: int, until: float, /) -> None: ...


class LeaseFile(Protocol):
    """The open file; with the last reference to it, it is closed and its locks are released."""

    @property
    def fd(self) -> int:
        """The file descriptor."""
        ...

    @property
    def times(self) -> Times:
        """The times until which leases are vouched for, by the clock of `LockedLeases.now`."""
        ...


File = TypeVar("File", bound=LeaseFile)


@dataclass(slots=True)
class _Held(Generic[File]):
    file: File
    byte: int
    until: float = 0.0

    def vouch(self, offset: int, now: float, ttl_s: float) -> None:
        """Vouch for the lease at *offset* (and others with the same slot) for at least *ttl_s* seconds."""
        self.until = until = now + ttl_s
        times, slot = self.file.times, offset % SLOTS
        if not until <= times[slot] < now + SOUND_S:
            times[slot] = until


class LockedLeases(ABC, Generic[File]):
    """The leases of one store; used by its threads."""

    def __init__(self) -> None:
        self._file: File | None = None
        self.after_fork()
        note_forks(self)

    @abstractmethod
    def offset_of(self, key: str) -> int:
        """The offset of the lease on *key*: a number of `OFFSET_DIGITS` hexadecimal digits at most."""

    @abstractmethod
    def opened(self, file: File | None) -> File:
        """*file*, if it is still the one at the path that others open; else that one, opened. Raises like `acquire`."""

    def now(self) -> float:
        """The time, by a clock that all processes which share the file have in common."""
        return time.monotonic()

    def acquire(self, key: str, ttl_s: float) -> bool:
        """Ask for the lease on *key* for *ttl_s* seconds.

        Raises:
            NoLocksError: the platform or the file system has no locks on bytes.
            OSError: the file system fails.
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
        """Extend the lease on *key* to *ttl_s* seconds from now, if it is held here; takes no lock of this process."""
        offset = self.offset_of(key)
        held = self._held.get(offset)
        if held is None:
            return False
        held.vouch(offset, self.now(), ttl_s)
        return True

    def release(self, key: str) -> bool:
        """Release the lease on *key*; return whether it was held here."""
        offset = self.offset_of(key)
        if offset not in self._held:
            return False
        with self._guard:
            held = self._held.pop(offset, None)
            if held is not None:
                try:  # noqa: SIM105  # suppress() would cost each stored response a microsecond
                    byte_locks.release(held.file.fd, held.byte)
                except OSError:  # the lock ends with its file at the latest, when the cache closes it
                    pass
        return held is not None

    def may_be_had(self, key: str) -> bool:
        """Whether another request for the lease on *key* may be granted."""
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
        """Whether the file is open, so that leases may be held."""
        return self._file is not None

    def close(self) -> None:
        """Release all leases."""
        with self._guard:
            self._held.clear()
            self._file = None  # this also releases all locks

    def after_fork(self) -> None:
        """Forget all leases without releasing them, in a forked child: its parent has them, by the same open file."""
        self._guard = threading.Lock()  # the old one may have been held by a thread of the parent
        self._held: dict[int, _Held[File]] = {}
        self._file = None


def _lock(file: LeaseFile, offset: int, now: float) -> int | None:
    """Lock a byte of the lease at *offset*, and return its offset; None if the lease is held and vouched for."""
    for rank in range(RANKS):
        byte = offset | rank << 4 * OFFSET_DIGITS
        if byte_locks.take(file.fd, byte):
            return byte
        if not _is_overdue(file, offset, now):
            return None
    return None


def _is_overdue(file: LeaseFile, offset: int, now: float) -> bool:
    """Whether the holder of the lease at *offset* has vouched for it, but only until before *now*."""
    return 0 < file.times[offset % SLOTS] < now
