"""Leases by locks on bytes, for which their holders vouch: what the stores share that have a file of locks.

Of a process that stands still a lock does not tell. So there are times beside the locks, until which the leases at an
offset are vouched for. Who finds a byte locked for longer than that asks for the next one of the same lease.
"""

from __future__ import annotations

from typing import Final, Protocol

from aiohttp_cache_di.backends.disk import byte_locks

__all__ = ["SLOTS", "Times", "is_overdue", "take", "vouch"]

SLOTS: Final = 512  # times; that of an offset is the latest of all that share its slot
RANKS: Final = 8  # holders of one lease that may stand still
SOUND_S: Final = 3600.0  # a time that is further ahead is from a damaged file


class Times(Protocol):
    """As many times as there are `SLOTS`, which the processes share; 0 where none has vouched yet."""

    def __getitem__(self, slot: int, /) -> float: ...

    def __setitem__(self, slot: int, until: float, /) -> None: ...


def take(fd: int, offset: int, rank_bit: int, times: Times, now: float) -> int | None:
    """Lock a byte of the lease at *offset*, and return which; None while it is held, and vouched for.

    Args:
        rank_bit: the first bit above those of an offset.
        now: by the clock of *times*.

    Raises:
        NoLocksError: there are none here.
        OSError: the file system does not work.
    """
    for rank in range(RANKS):
        byte = offset | rank << rank_bit
        if byte_locks.take(fd, byte):
            return byte
        if not is_overdue(times, offset, now):
            return None
    return None


def vouch(times: Times, offset: int, until: float, now: float) -> None:
    """Vouch for the lease at *offset*, and for those that share its slot, *until* then at least."""
    slot = offset % SLOTS
    if not until <= times[slot] < now + SOUND_S:
        times[slot] = until


def is_overdue(times: Times, offset: int, now: float) -> bool:
    """Whether someone has vouched for the leases at *offset*, and none until *now*."""
    return 0 < times[offset % SLOTS] < now
