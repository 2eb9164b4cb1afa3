"""Writing a large body to the store while it arrives, so that it is never in memory as a whole.

The thread that writes may fall behind a fast origin. Chunks that wait to be written are in memory, and count in the
budget of all copies. If more than `FULL_BYTES` wait, the reader has to wait too, until `LOW_BYTES` are left: so memory
stays bounded without losing the copy. In total, the reader waits no longer than the origin itself has taken, plus
`Spools.patience_s`. If the disk is slower than that, or hangs, the copy is given up.
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

SPOOL_FROM_BYTES: Final = 1024 * 1024  # smaller bodies are faster when they are collected in memory
MAX_JOINED_BYTES: Final = 8 * 1024 * 1024  # of a part that is joined with another one, which happens in memory
FULL_BYTES: Final = 2 * 1024 * 1024  # if more than this waits to be written, the reader has to wait
LOW_BYTES: Final = 1 * 1024 * 1024  # when no more than this waits, the reader goes on


class Spools(Struct, frozen=True):
    """How large bodies are written to a store.

    Args:
        begin: begins to write one; returns None if the store takes none at present.
        patience_s: how long a reader may have to wait, beyond the time that the origin has taken.
        spawn: runs the coroutine that finishes a body in the background.
        refused: called with errors of the store.
        from_bytes: larger bodies are written this way; others are collected in memory.
    """

    begin: Callable[[], Spool | None]
    patience_s: float
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    refused: Callable[[Exception], object]
    from_bytes: int = SPOOL_FROM_BYTES


def largest_spooled(spooled: float, backend: CacheBackend) -> float:
    """The size of the largest body to copy, if the store takes bodies of up to *spooled* bytes as they arrive."""
    spooled = max(spooled, SPOOL_FROM_BYTES)  # for smaller bodies, which are written whole, the store decides
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
    """How a large body is written to the store of *backend* as it arrives.

    Args:
        key: the key of its entry.
        joined: it may be a part that is joined with another one, which happens in memory.
        spawn: see `Spools`.
    """
    return Spools(
        partial(runtime.here.spool, key),
        patience_s=backend.guard.deadline_s,
        spawn=spawn,
        refused=partial(backend.guard.note_failure, "write"),
        from_bytes=MAX_JOINED_BYTES if joined else SPOOL_FROM_BYTES,
    )


class SpooledCopy:
    """One body that is being written to the store."""

    def __init__(self, spool: Spool, spools: Spools, budget: Budget) -> None:
        self._spool = spool
        self._spools = spools
        self._budget = budget
        self._held = 0
        self._began_at = time.monotonic()
        self._waited_s = 0.0

    def append(self, data: bytes) -> Unkept | None:
        """Queue *data* for writing; return the reason if the copy has to be given up."""
        spool = self._spool
        spool.append(data)
        if spool.error is not None:
            return self._refused(spool.error)
        return None if self._settle() else Unkept.NO_ROOM

    @property
    def is_full(self) -> bool:
        """Whether the reader has to wait."""
        return self._spool.waiting_bytes > FULL_BYTES

    async def drain(self) -> Unkept | None:
        """Wait until the reader may go on; return the reason if the copy has to be given up."""
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
        """Write the rest in the background, and call *finished* with the body, or with why there is none."""
        self._spools.spawn(self._finish(finished))

    def abandon(self) -> None:
        """Discard the bytes that were written, and release the memory."""
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
                finished(outcome)  # ends the flight, in any case

    def _settle(self) -> bool:
        """Take as much of the budget as waits in memory; return whether there was enough."""
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
