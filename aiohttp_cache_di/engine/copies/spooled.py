"""A copy that goes into the store as it arrives: the part of a recording that has no body in memory.

The thread that writes may fall behind a fast origin. What waits to be written is in memory, and shares the budget of
all copies. A reader who goes on reading while much of it waits is held up until some is written: so that memory stays
bounded though the copy is kept, and never for longer than the origin has taken so far. A disk that is slower than that,
or hangs, costs the copy.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from msgspec import Struct

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.store.capabilities import Spool
from aiohttp_cache_di.engine.copies.budget import Budget
from aiohttp_cache_di.engine.copies.framing import Unkept
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.entries.filed import FiledBody

__all__ = ["MAX_JOINED_BYTES", "SPOOL_FROM_BYTES", "SpooledCopy", "Spools", "largest_spooled", "spools_of"]

SPOOL_FROM_BYTES: Final = 1024 * 1024  # of a body; smaller ones take less time in memory than on this way
MAX_JOINED_BYTES: Final = 8 * 1024 * 1024  # of a part that is joined with another one, in memory
FULL_BYTES: Final = 2 * 1024 * 1024  # that wait to be written, when a reader is held up
LOW_BYTES: Final = 1 * 1024 * 1024


class Spools(Struct, frozen=True):
    """How large bodies go into a store.

    Args:
        begin: begins one; None where the store is left alone.
        patience_s: how long a reader may be held up besides the time that the origin has taken.
        spawn: runs what finishes a body in the background.
        refused: told of the store's errors.
        from_bytes: the size of those that are not kept in memory.
    """

    begin: Callable[[], Spool | None]
    patience_s: float
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    refused: Callable[[Exception], object]
    from_bytes: int = SPOOL_FROM_BYTES


def largest_spooled(spooled: float, backend: CacheBackend) -> float:
    """The size of the largest body that is kept where the store takes those of up to *spooled* bytes as they arrive."""
    spooled = max(spooled, SPOOL_FROM_BYTES)  # whether it keeps what it takes whole, the store says
    allowed = backend.max_body_bytes
    return spooled if allowed is None else min(allowed, spooled)


def spools_of(
    runtime: Runtime,
    backend: CacheBackend,
    key: str,
    *,
    joined: bool,
    spawn: Callable[[Coroutine[Any, Any, None]], object],
) -> Spools:
    """How a large body goes into a store that takes it as it arrives.

    Args:
        key: under which it will be put.
        joined: it may be a part that is joined with another one, in memory.
        spawn: runs what finishes a body in the background.
    """
    return Spools(
        partial(runtime.here.spool, key),
        patience_s=backend.guard.deadline_s,
        spawn=spawn,
        refused=partial(backend.guard.note_failure, "write"),
        from_bytes=MAX_JOINED_BYTES if joined else SPOOL_FROM_BYTES,
    )


class SpooledCopy:
    """One body on its way into the store."""

    def __init__(self, spool: Spool, spools: Spools, budget: Budget) -> None:
        self._spool = spool
        self._spools = spools
        self._budget = budget
        self._held = 0
        self._began_at = time.monotonic()
        self._waited_s = 0.0

    def append(self, data: bytes) -> Unkept | None:
        """Have *data* written; why the copy is to be given up, if it is."""
        spool = self._spool
        spool.append(data)
        if spool.error is not None:
            return self._refused(spool.error)
        return None if self._settle() else Unkept.NO_ROOM

    @property
    def is_full(self) -> bool:
        """Whether the reader is to wait."""
        return self._spool.waiting_bytes > FULL_BYTES

    async def drain(self) -> Unkept | None:
        """Wait until the reader may go on; why the copy is to be given up, if it is."""
        began_at = time.monotonic()
        may_wait_s = self._spools.patience_s + (began_at - self._began_at) - 2 * self._waited_s
        try:
            async with asyncio.timeout(None if may_wait_s == math.inf else may_wait_s):
                await self._spool.drain(LOW_BYTES)
        except TimeoutError:
            return Unkept.NO_ROOM
        finally:
            self._waited_s += time.monotonic() - began_at
        self._settle()
        return None

    def finish(self, finished: Callable[[FiledBody | Unkept], None]) -> None:
        """All has arrived: write what is left, and tell *finished* what came of it."""
        self._spools.spawn(self._finish(finished))

    def abandon(self) -> None:
        """Let go of what was written."""
        held, self._held = self._held, 0
        try:
            self._spool.abandon()
        finally:
            self._budget.give_back(held)

    async def _finish(self, finished: Callable[[FiledBody | Unkept], None]) -> None:
        outcome: FiledBody | Unkept = Unkept.FAILED
        try:
            outcome = await self._spool.finish()
        except Exception as error:
            outcome = self._refused(error)
        finally:
            try:
                if isinstance(outcome, Unkept):
                    self.abandon()
                else:
                    self._budget.give_back(self._held)
                    self._held = 0
            finally:
                finished(outcome)  # what waits for it goes on

    def _settle(self) -> bool:
        """Hold as much of the budget as waits in memory; whether there is as much."""
        waiting = self._spool.waiting_bytes
        more = waiting - self._held
        if more > 0 and not self._budget.take(more, held=self._held):
            return False
        self._budget.give_back(-more if more < 0 else 0)
        self._held = waiting
        return True

    def _refused(self, error: Exception) -> Unkept:
        self._spools.refused(error)
        return Unkept.REFUSED
