"""`LoopStack`: the part of a stack in one event loop, with the calls that a request makes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Container, Mapping
from typing import Protocol

from msgspec.structs import replace

from aiohttp_cache_di.backends.store import Found, Record, Store
from aiohttp_cache_di.backends.store.capabilities import (
    Immediate,
    Judging,
    Leasing,
    LookingOrLeasing,
    Peeking,
    Spool,
    Spooling,
    Versioned,
)
from aiohttp_cache_di.backends.tasks import FINISH_WITHIN_S, Tasks
from aiohttp_cache_di.backends.wrap.deletions import Deletions
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, Failed, StoreGuard
from aiohttp_cache_di.backends.wrap.looking.batching import BatchedReads, UnansweredError
from aiohttp_cache_di.backends.wrap.looking.first_looks import FirstLooks
from aiohttp_cache_di.backends.wrap.looking.leases import Leases
from aiohttp_cache_di.backends.wrap.near import NearTier
from aiohttp_cache_di.backends.wrap.packing import Packing
from aiohttp_cache_di.backends.wrap.purges import PurgeCount, Purges
from aiohttp_cache_di.backends.wrap.writing.pending import PendingWrites
from aiohttp_cache_di.backends.wrap.writing.puts import Puts
from aiohttp_cache_di.backends.wrap.writing.tombstones import Tombstones
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten
from aiohttp_cache_di.entries.filed import FiledResponse, in_memory
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FAILED", "Failed", "LoopStack", "UnderWay"]


class UnderWay(Protocol):
    """The requests of one event loop that wait for the origin, and will store their responses."""

    async def drain_bodies(self, keys: Collection[str] | None) -> None:
        """Wait briefly for bodies that are arriving and will be stored under *keys* (None: all)."""

    def invalidate(self, keys: Collection[str] | None) -> None:
        """Do not store responses to requests under way for *keys* (None: all): they may be older than a change."""


class LoopStack:
    """The part of a stack in one event loop: pending writes, the near tier, reads, leases and purges.

    Args:
        store: the store itself, for its capabilities.
        whole: the store, for items of any size.
        guard: limits the time of operations; shared by all loops.
        tombstones: shared by all loops.
        packing: turns entries into items and back.
        near_bytes: size of the near tier; 0 for none.
        near_lifetime_s: most seconds for which a copy in the near tier is used.
        purge_count: counts the purges by tag of this process; shared by all loops.
        purges: what is known of purges by tag if all loops share that; else each loop has its own.
    """

    def __init__(
        self,
        store: Store,
        whole: Store,
        guard: StoreGuard,
        tombstones: Tombstones,
        packing: Packing,
        near_bytes: int,
        near_lifetime_s: float,
        purge_count: PurgeCount,
        purges: Purges | None = None,
    ) -> None:
        self.guard = guard
        self.tombstones = tombstones
        self.tasks: Tasks = Tasks()
        self.leases: Leases | None = Leases(store, guard, self.tasks) if isinstance(store, Leasing) else None
        self.under_way: UnderWay | None = None
        self._whole = whole
        self._puts_under_way: dict[asyncio.Future[None], str] = {}  # the keys of `put`, by futures that end with it
        puts = Puts(
            whole, guard, tombstones, pack=packing.packed, written=self._note_written, release=self._release_later
        )
        self.pending: PendingWrites = PendingWrites(puts, whole.limits, guard)
        self.is_in_memory: bool = isinstance(store, Immediate)
        """Whether the store is in memory, so that what `peek` does not find does not exist."""
        self._entry_of = packing.entry_of
        self._spooling = store if packing.serializer is None and isinstance(store, Spooling) else None
        self._keep = store.keep if isinstance(store, Immediate) else None
        self._pending = self.pending.entries
        self.purges: Purges = Purges(self, purge_count) if purges is None else purges
        """What is known of purges by tag."""
        self.near: NearTier | None = None
        if near_bytes:
            self.near = NearTier(
                store,
                near_bytes,
                near_lifetime_s,
                pending=self._pending,
                doubted=tombstones,
                is_current=self.purges.is_current,
            )
        self.peek: Callable[[str], StoredResponse | None] = (
            _peek_of(store, self.purges, self._pending, tombstones) if self.near is None else self.near.peek
        )
        """Returns the response under a key if it is in memory, pending writes included; never waits."""
        # A notification of a change may come later than the read under way that has brought a copy; a version does not.
        at_hand = self.near.found if self.near is not None and isinstance(store, Versioned) else None
        self._reads = BatchedReads(whole, guard, at_hand)
        self.first_looks: FirstLooks | None = None
        """Looks up and leases in one call, if the store can."""
        if self.leases is not None and isinstance(store, LookingOrLeasing) and isinstance(whole, LookingOrLeasing):
            self.first_looks = FirstLooks(whole, guard, self.leases, doubts=whole.limits.doubts)
        self._patient_reads = BatchedReads(whole)
        self.deletions: Deletions = Deletions()

    # ---- reading

    def _withheld(self, key: str) -> StoredResponse | None:
        """The response in memory under *key* that `peek` has withheld since its tags have to be checked."""
        entry = self._pending.get(key)
        if entry is None and self.near is not None:
            entry = self.near.unsure(key)
        return None if entry is None or entry.tagging is None else entry

    async def fetch(self, key: str, *, lease_s: float = 0.0) -> StoredResponse | Failed | None:
        """The response in the store under *key*; FAILED if the store fails or misses its deadline.

        Args:
            lease_s: if positive and the store can do both in one call, also ask for the lease on *key*, for that many
                seconds, if nothing is stored. The caller must use the lease (`Leases.obtain`) or release it
                (`drop_early_lease`). Call it so only if `first_looks` says that it is due.
        """
        if self.is_in_memory:
            return self.peek(key)
        if self._pending or self.near is not None:
            unsure = self._withheld(key)
            if unsure is not None:
                return await self.purges.judge_or_fail(unsure)
        near, first_looks = self.near, self.first_looks
        token, entry, version = None if near is None else near.begin(key), None, 0
        try:
            if first_looks is not None and lease_s > 0:
                found = await first_looks.get(key, lease_s)
            else:
                found = await self._reads.ask(key)
            if found is not None:
                item, version = found.item, found.version
                entry = item if type(item) is StoredResponse else self._entry_of(item, key)
        except UnansweredError:
            return FAILED
        except asyncio.CancelledError:
            self._reads.leave(key)
            raise
        finally:
            if near is not None:
                near.end(key, token, entry, version)
        if first_looks is not None:
            first_looks.note(key, entry)
        return entry if entry is None or entry.tagging is None else await self.purges.judge_or_fail(entry)

    async def get(self, key: str) -> Found | None:
        """The record in the store under *key*, without a deadline."""
        return await self._patient_reads.get(key)

    # ---- writing

    def store(self, entry: StoredResponse, outcome: OnWritten | None = None, *, counts: bool = True) -> None:
        """Write *entry*: at once into a store in memory, else in the background.

        Args:
            outcome: called with whether it was written; see `OnWritten`.
            counts: count it as a stored response; not for records of purges, or for an update of a stored entry, such
                as a change in its list of variants.
        """
        if self._is_elsewhere(entry):  # it cannot be moved here without waiting
            if outcome is not None:
                outcome(False)
            return
        if entry.tagging is not None:
            self.purges.note_stored(entry)
        if self.purges.reasons:
            self.purges.reasons.pop(entry.key, None)
        if self._keep is None:
            self.pending.add(entry, outcome, counts=counts)
            return
        is_written = self._keep(Record(entry.key, entry, entry.store_until))
        self.guard.stats.counts.here().stored += is_written and counts
        if outcome is not None:
            outcome(is_written)

    async def put(self, record: Record) -> None:
        """Store *record* in place of a pending write of its key; return when it is stored, or raise."""
        item, key = record.item, record.key
        if isinstance(item, FiledResponse) and self._is_elsewhere(item):
            item = await in_memory(item)
            record = replace(record, item=item)
        if isinstance(item, StoredResponse) and item.tagging is not None:
            self.purges.note_stored(item)
        self.purges.reasons.pop(key, None)
        self.pending.forget({key})
        with self.deletions.during({key}):
            await self.pending.settle({key})
            self._puts_under_way[under_way := asyncio.get_running_loop().create_future()] = key
            try:
                (written,) = await self._whole.put((record,))
            finally:
                del self._puts_under_way[under_way]
                under_way.set_result(None)
        if isinstance(written, StorageError):
            raise written
        self.tombstones.pop(key, None)
        if self.near is None:
            return
        if isinstance(item, StoredResponse):
            self.near.wrote(item, written)
        else:
            self.near.drop({key})

    def _is_elsewhere(self, entry: StoredResponse) -> bool:
        """Whether the body of *entry* is in a file of another store."""
        return isinstance(entry, FiledResponse) and not (self._spooling and self._spooling.holds(entry.file))

    @property
    def largest_spooled_bytes(self) -> float | None:
        """Size of the largest body that the store takes piece by piece; None if it cannot do that."""
        if self._spooling is None:
            return None
        largest = self._spooling.largest_body_bytes
        return math.inf if largest is None else largest

    def spool(self, key: str) -> Spool | None:
        """Begin to write a body for *key* piece by piece; None if the store cannot do that or its circuit is open."""
        if self._spooling is None or self.guard.probe_in_s("write") is not None:
            return None
        return self._spooling.spool(key)

    # ---- deletions and other changes

    def invalidate(self, keys: Collection[str] | None) -> None:
        """*keys* (None: all) are being deleted: store or use nothing older in this loop."""
        if self.under_way is not None:
            self.under_way.invalidate(keys)
        self.pending.forget(keys)
        self.deletions.note(keys)
        self.drop_copies(keys)

    def withdraw(self, keys: Collection[str]) -> None:
        """Do as `invalidate`, and do not use what is stored under *keys* until it is deleted, which may take a while.

        It has tombstones from now on, which the end of a put under way must not remove: what that has put is deleted.
        A store in memory is asked without regard to tombstones: its responses expire.
        """
        self.tombstones.add(keys)
        self.invalidate_from_afar(keys)
        if self._keep is not None:
            for key in keys:
                entry = self.peek(key)
                if entry is not None:
                    self._keep(Record(key, replace(entry, fresh_until=0.0, store_until=0.0), 0.0))

    def invalidate_from_afar(self, keys: Collection[str] | None) -> None:
        """Like `invalidate`, for a deletion that cannot wait for this loop's puts under way, such as another loop's."""
        self.invalidate(keys)
        self.pending.delete_again(keys)

    async def end_puts(self, keys: Collection[str] | None, *, within_s: float) -> None:
        """Before *keys* (None: all) are deleted, wait for puts of them; what takes longer is deleted again at its end.

        Args:
            within_s: most seconds to wait for those that no caller waits for.
        """
        await self.pending.settle(keys, within_s)
        self.pending.delete_again(keys)
        puts = [under_way for under_way, key in self._puts_under_way.items() if keys is None or key in keys]
        if puts:
            await asyncio.wait(puts)

    def end_deletion(self, keys: Collection[str] | None) -> None:
        """The deletion of *keys* (None: all) is over: what was read of them before is outdated."""
        self.deletions.end(keys)
        self.drop_copies(keys)

    def drop_copies(self, keys: Collection[str] | None) -> None:
        """Use no copies in memory of *keys* (None: all)."""
        if self.near is not None:
            self.near.drop(keys)

    # ---- leases, and the end

    def release_lease(self, key: str, *, owner: object, written: str = "", spare: bool = False) -> None:
        """Release the lease on *key* in the background, after the pending write of the response.

        Args:
            owner: owner of the background task.
            written: another key under which the response is being written.
            spare: the response is of no use to others; tell the processes that wait, so that all can go on at once.
        """
        leases = self.leases
        if leases is None:
            return
        leases.keep_no_longer(key)
        if spare:
            self.tasks.spawn(leases.spare(key), owner=owner)
        elif (written not in ("", key) and written in self.pending.entries) or not self.pending.release_with(key):
            self.tasks.spawn(self._release(key, written or key), owner=owner)

    def drop_early_lease(self, key: str, *, owner: object) -> None:
        """Release the lease on *key* that a look-up has brought and that was not used, if there is one."""
        if self.leases is not None and self.leases.take_early(key):
            self.release_lease(key, owner=owner)

    async def close(self) -> None:
        """Finish pending writes and release leases, for a second each at most."""
        await self.pending.finish(FINISH_WITHIN_S)
        await self.pending.give_up()
        if self.leases is not None:
            self.leases.close()
            await self.tasks.finish()  # tasks that release leases
        self.drop_copies(None)

    async def _release(self, key: str, written: str) -> None:
        await self.pending.settle({key, written})
        if self.leases is not None:
            await self.leases.release(key)

    def _release_later(self, key: str) -> None:
        self.tasks.spawn(self._release(key, key), owner=self)

    def _note_written(self, entry: StoredResponse, version: int) -> None:
        if self.first_looks is not None:
            self.first_looks.wrote(entry)
        if self.near is not None:
            self.near.wrote(entry, version)


def _nothing(key: str) -> StoredResponse | None:
    """The `peek` of a store that has nothing in memory."""
    return None


def _peek_of(
    store: Store, purges: Purges, pending: Mapping[str, StoredResponse], doubted: Container[str]
) -> Callable[[str], StoredResponse | None]:
    """The `peek` of a store in memory, or of a store without a near tier that has some responses in memory, or none."""
    look = store.peek if isinstance(store, Peeking) else _nothing

    def peek(key: str) -> StoredResponse | None:
        entry = pending.get(key)
        if entry is None and key not in doubted:
            entry = look(key)
        return entry if entry is None or entry.tagging is None else None  # checking its tags may take a read

    def peek_in_memory(key: str) -> StoredResponse | None:  # nothing is pending, and purges are at hand
        entry = look(key)
        return entry if entry is None or entry.tagging is None else purges.judge_at_once(entry)

    if not isinstance(store, Immediate):
        return peek
    return look if isinstance(store, Judging) else peek_in_memory
