"""What one event loop has of a stack: what a request asks, and what it leaves to be done."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from typing import Protocol

from aiohttp_cache_di.backends.store import Found, Record, Store
from aiohttp_cache_di.backends.store.capabilities import LookingOrLeasing, Spool, Spooling
from aiohttp_cache_di.backends.wrap.abilities import Abilities
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, Failed, StoreGuard
from aiohttp_cache_di.backends.wrap.looking.batching import BatchedReads, UnansweredError
from aiohttp_cache_di.backends.wrap.looking.first_looks import FirstLooks
from aiohttp_cache_di.backends.wrap.looking.leases import Leases
from aiohttp_cache_di.backends.wrap.near import NearTier
from aiohttp_cache_di.backends.wrap.packing import Packing
from aiohttp_cache_di.backends.wrap.purges import PurgeCount, Purges
from aiohttp_cache_di.backends.wrap.tasks import FINISH_WITHIN_S, Tasks
from aiohttp_cache_di.backends.wrap.writing.pending import PendingWrites
from aiohttp_cache_di.backends.wrap.writing.tombstones import Tombstones
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten
from aiohttp_cache_di.entries.filed import FiledResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FAILED", "Failed", "LoopStack", "UnderWay"]


class UnderWay(Protocol):
    """The requests of one event loop that are on their way to the origin, and will store what they get."""

    async def drain_bodies(self, keys: Collection[str] | None) -> None:
        """Wait a moment for bodies on their way that will be stored under *keys* (None: all)."""

    def invalidate(self, keys: Collection[str] | None) -> None:
        """What is on its way for *keys* (None: all) is not to be stored: it may have been sent before a change."""


class LoopStack:
    """The part of a stack in one event loop: what is pending there, its near tier, and its reads.

    Args:
        whole: where records are kept, for items of any size.
        abilities: what the store can do besides.
        near_bytes: what copies in memory may weigh; 0 keeps none.
        near_lifetime_s: seconds for which such a copy is believed at most.
        purge_count: of the purges by tag that this process has begun.
    """

    def __init__(
        self,
        whole: Store,
        abilities: Abilities,
        guard: StoreGuard,
        tombstones: Tombstones,
        packing: Packing,
        near_bytes: int,
        near_lifetime_s: float,
        purge_count: PurgeCount,
    ) -> None:
        self.guard = guard
        self.tombstones = tombstones
        self.tasks: Tasks = Tasks()
        self.leases: Leases | None = None if abilities.leasing is None else Leases(abilities.leasing, guard, self.tasks)
        self.under_way: UnderWay | None = None
        self.direct: dict[asyncio.Future[None], str] = {}
        """Writes that their users wait for, by what ends with them: a deletion of their key waits too."""
        self.pending: PendingWrites = PendingWrites(
            whole,
            guard,
            tombstones,
            pack=packing.packed,
            written=self._note_written,
            release=self._release_later,
        )
        self.tells_all: bool = abilities.immediate is not None
        """Whether what is not at hand is not there."""
        self._entry_of = packing.entry_of
        self._spooling = abilities.spooling if packing.serializer is None else None
        self.largest_spooled_bytes: float | None = _largest(self._spooling)
        """The size of the largest body that the store takes as it arrives; None where it takes none so."""
        self._keep = None if abilities.immediate is None else abilities.immediate.keep
        self._look = _looking(abilities)
        self._pending = self.pending.entries
        self.near: NearTier | None = (
            NearTier(abilities, near_bytes, near_lifetime_s, pending=self._pending, doubted=tombstones)
            if near_bytes
            else None
        )
        self.purges: Purges = Purges(self, purge_count)
        """What is known of purges by tag."""
        is_all = self.tells_all or self.near is not None
        self._at_hand = _at_hand(abilities, self.near, self.purges)
        self.peek: Callable[[str], StoredResponse | None] = self._at_hand if is_all else self._peek
        """Gives the response under a key, if it is at hand; what is on its way counts as stored."""
        self._reads = BatchedReads(whole, guard)
        self.first_looks: FirstLooks | None = None
        """Looks that bring a lease, if the store has them."""
        if self.leases is not None and abilities.looking_or_leasing is not None and isinstance(whole, LookingOrLeasing):
            self.first_looks = FirstLooks(whole, guard, self.leases, doubts=whole.limits.doubts)
        self._patient_reads = BatchedReads(whole)

    # ---- reading

    def _peek(self, key: str) -> StoredResponse | None:
        entry = self._pending.get(key)
        if entry is None and key not in self.tombstones:
            entry = self._at_hand(key)
        return entry if entry is None or entry.tagging is None else None  # which takes a look at what is stored

    def _unsure(self, key: str) -> StoredResponse | None:
        """What is at hand under *key*, if it was not given for its tags."""
        entry = self._pending.get(key)
        if entry is None and self.near is not None:
            entry = self.near.unsure(key)
        return None if entry is None or entry.tagging is None else entry

    async def fetch(self, key: str, *, lease_s: float = 0.0) -> StoredResponse | Failed | None:
        """The response that the store has under *key*, asked within a deadline that begins when it is sent.

        Args:
            lease_s: if nothing is there, ask for the lease on it for so many seconds, where *first_looks* are due. What
                may have come must be used (`Leases.obtain`), or dropped by `drop_early_lease`.
        """
        if self.tells_all:
            return self.peek(key)
        if self._pending or self.near is not None:
            unsure = self._unsure(key)
            if unsure is not None:
                return await self.purges.judged(unsure)
        near, first_looks = self.near, self.first_looks
        token, entry, version = None if near is None else near.begin(key), None, 0
        try:
            if first_looks is not None and lease_s > 0:
                found = await first_looks.get(key, lease_s)
            else:
                found = await self._reads.get(key)
            if found is not None:
                item, version = found.item, found.version
                entry = item if type(item) is StoredResponse else self._entry_of(item, key)
        except UnansweredError:
            return FAILED
        finally:
            if near is not None:
                near.end(key, token, entry, version)
        if first_looks is not None:
            first_looks.note(key, entry)
        return entry if entry is None or entry.tagging is None else await self.purges.judged(entry)

    async def get(self, key: str) -> Found | None:
        """What the store has under *key*, without a deadline."""
        return await self._patient_reads.get(key)

    # ---- writing

    def store(self, entry: StoredResponse, outcome: OnWritten | None = None, *, counts: bool = True) -> None:
        """Write *entry*: at once where that takes no waiting, else in the background.

        Args:
            counts: it is a response that has come, rather than a record of a purge, or one that is stored already and
                is written anew for what else has changed, such as the list of its variants.
        """
        if isinstance(entry, FiledResponse) and not (self._spooling and self._spooling.holds(entry.file)):
            if outcome is not None:  # its body is in a file of another store
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
        self.guard.stats.stored += is_written and counts
        if outcome is not None:
            outcome(is_written)

    def spool(self, key: str) -> Spool | None:
        """Begin a body that will be stored under *key*; None where the store is left alone, or takes none."""
        if self._spooling is None or self.guard.probe_in_s("write") is not None:
            return None
        return self._spooling.spool(key)

    def invalidate(self, keys: Collection[str] | None) -> None:
        """*keys* (None: all) are being deleted: nothing older is to be stored or read any more."""
        if self.under_way is not None:
            self.under_way.invalidate(keys)
        self.pending.forget(keys)
        if self.near is not None:
            if keys is None:
                self.near.clear()
            else:
                self.near.drop(keys)

    def invalidate_from_afar(self, keys: Collection[str] | None) -> None:
        """As `invalidate`, by another loop, which cannot wait for what is being put here."""
        self.invalidate(keys)
        self.pending.delete_again(keys)

    def give_back(self, key: str, *, owner: object, written: str = "", spare: bool = False) -> None:
        """Give the lease on *key* back, once what is being written under it is there to be seen.

        Args:
            written: another key under which it may have been written.
            spare: tell those who wait for it that it is in vain, so that they need not go one after the other.
        """
        leases = self.leases
        if leases is None:
            return
        leases.keep_no_longer(key)
        if spare:
            self.tasks.spawn(leases.spare(key), owner=owner)
        elif (written not in ("", key) and written in self.pending.entries) or not self.pending.give_back_with(key):
            self.tasks.spawn(self._release(key, written or key), owner=owner)

    def drop_early_lease(self, key: str, *, owner: object) -> None:
        """Give the lease on *key* back that came with a look and was not used, if there is one."""
        if self.leases is not None and self.leases.take_early(key):
            self.give_back(key, owner=owner)

    async def close(self) -> None:
        """Write what is left, for a moment."""
        await self.pending.finish(FINISH_WITHIN_S)
        await self.pending.give_up()
        if self.leases is not None:
            self.leases.close()
            await self.tasks.finish()  # leases that are given back
        if self.near is not None:
            self.near.clear()

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


def _largest(spooling: Spooling | None) -> float | None:
    if spooling is None:
        return None
    largest = spooling.largest_body_bytes
    return math.inf if largest is None else largest


def _nothing(key: str) -> StoredResponse | None:
    """What is at hand where all has to be asked for."""
    return None


def _looking(abilities: Abilities) -> Callable[[str], StoredResponse | None]:
    """How a response is had at once from a store that can give one, whatever its tags are."""
    if abilities.peeking is not None:
        return abilities.peeking.peek
    immediate = abilities.immediate
    if immediate is None:
        return _nothing

    def look(key: str) -> StoredResponse | None:
        item = immediate.look(key)
        return item if isinstance(item, StoredResponse) else None

    return look


def _at_hand(abilities: Abilities, near: NearTier | None, purges: Purges) -> Callable[[str], StoredResponse | None]:
    """How a response is had at once."""
    if near is not None:
        near.is_current = purges.is_current
        return near.peek
    look = _looking(abilities)
    if abilities.immediate is None:
        return look
    if abilities.judging is not None:
        abilities.judging.judge = purges.judge_at_once
        return look

    def peek(key: str) -> StoredResponse | None:
        entry = look(key)
        return entry if entry is None or entry.tagging is None else purges.judge_at_once(entry)

    return peek
