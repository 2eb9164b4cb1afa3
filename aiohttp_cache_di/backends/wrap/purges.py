"""Purges by tag, which take as long for a million responses as for one: a purge only writes a record for each tag.

**Numbers.** Each purge has a number that is greater than the number of any purge that ended before it began: one more
than the greatest known number, or the time in microseconds if that is greater. A response is stored with the number of
the latest purge that was known when it was requested (`Tagging.purges`). It is purged if one of its tags has a purge
with a greater number; so a response that was requested before a purge and stored after it counts as purged. No clocks
are compared: a number is only compared with numbers that were read from the store.

**Records** (`marks`). For each tag there is one record with the number of its latest purge, and another for its latest
soft purge; cache groups of an origin (RFC 9875) have records of their own. The record under `LAST_PURGE_KEY` is written
after those of each purge. They are ordinary entries, which pass through the stack like all others: batching, near tier,
pending writes, and the store's notifications of changes by other processes. So a purge is seen as soon as any other
change would be, and at the latest when a copy of the response would expire.

**Checks.** A response in memory remembers the record of the latest purge at the time when its tags were last checked.
While that record is the same, one comparison is enough. When it differs, there was a purge of some tag, and the tags of
the response are checked once. Responses without tags are never checked.

The record of a purge is kept for as long as a response to which it applies can be stored; see `KEPT_S`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol, cast

from msgspec.structs import replace

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.bounded import Bounded
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.backends.store.capabilities import Immediate
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, Failed
from aiohttp_cache_di.backends.wrap.marks import (
    KEPT_S,
    LAST_PURGE_KEY,
    LONG_LIVED_KEY,
    hard_keys,
    key_of,
    keys_for,
    marked_tag,
    number_of,
    purge_records,
    record_of,
    softened,
    tagging_in,
)
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.rfc9111.messages import MAX_PURGES, StoredResponse, Tagging

__all__ = ["InMemory", "PurgeCount", "Purges"]

MAX_REASONS: Final = 1000  # and the bound of the other tables here
ASKED_AT_A_TIME: Final = 500
_CHECKED: Final = "_checked"


class PurgeCount:
    """The purges that this process has begun; their tags are checked again even before their records are written.

    Shared by the parts of a stack in all loops.
    """

    __slots__ = ("recent", "token")

    def __init__(self) -> None:
        self.token: object = object()
        """Another one after each purge. No number: threads that count at once could give two purges the same."""
        self.recent: Bounded[str, int] = Bounded(MAX_REASONS)
        """The numbers of the latest purges that were not soft, by the keys of their records."""

    def add(self, marks: Sequence[StoredResponse], number: int) -> None:
        """Note that the purge *number* is about to write *marks*."""
        self.token = object()
        for mark in marks:
            self.recent.note(mark.key, number)


class Part(Protocol):
    """The part of a stack in one loop, as far as it is used here."""

    is_in_memory: bool

    @property
    def peek(self) -> Callable[[str], StoredResponse | None]:
        """See `LoopStack`."""
        ...

    async def fetch(self, key: str) -> StoredResponse | Failed | None:
        """See `LoopStack`."""
        ...

    def store(self, entry: StoredResponse, outcome: OnWritten | None = None, *, counts: bool = True) -> None:
        """See `LoopStack`."""


class InMemory:
    """As `Part`, a store in memory by itself, which belongs to no loop."""

    def __init__(self, store: Immediate) -> None:
        self.is_in_memory: bool = True
        self.peek: Callable[[str], StoredResponse | None] = store.peek
        self._keep = store.keep

    async def fetch(self, key: str) -> StoredResponse | Failed | None:
        """See `LoopStack`."""
        return self.peek(key)

    def store(self, entry: StoredResponse, outcome: OnWritten | None = None, *, counts: bool = True) -> None:
        """See `LoopStack`; only records of purges are stored here, which are not counted."""
        is_written = self._keep(Record(entry.key, entry, entry.store_until))
        if outcome is not None:
            outcome(is_written)


class Purges:
    """What is known of purges by tag, by one event loop or of a store in memory; it checks responses, begins purges."""

    def __init__(self, part: Part, count: PurgeCount) -> None:
        self._part = part
        self._count = count
        self.latest: int = 0
        """The number of the latest known purge."""
        self.is_used: bool = False
        """Whether a tagged response, or a purge, has been seen yet."""
        self.is_open: bool = True
        """Whether `observe` has to read the record of the latest purge, rather than return `latest`."""
        self._says_long = False
        self._verified: Bounded[Tagging, tuple[bytes, object]] = Bounded(MAX_REASONS)
        """Tags that were not purged when they were last checked, with the record of the latest purge at that time."""
        self.reasons: Bounded[str, str] = Bounded(MAX_REASONS)
        """By key of a response that is not used: the tag whose purge is the reason. The latest ones."""

    # ---- checking responses

    def is_current(self, entry: StoredResponse) -> bool:
        """Whether it is known without waiting that no tag of *entry* has been purged since they were checked."""
        last = self._part.peek(LAST_PURGE_KEY)
        return last is not None and vars(entry).get(_CHECKED) == (last.body, self._count.token)

    def judge_at_once(self, entry: StoredResponse) -> StoredResponse | None:
        """Like `judge`, for a store in memory, where all records can be read without waiting."""
        peek, token = self._part.peek, self._count.token
        last = peek(LAST_PURGE_KEY)
        if last is not None:
            now = last.body, token
            if vars(entry).get(_CHECKED) == now or self._verified.get(cast("Tagging", entry.tagging)) == now:
                return entry
        return self._by_marks(entry, token, last, [peek(key) for key in keys_for(entry)])

    async def judge(self, entry: StoredResponse) -> StoredResponse | None:
        """*entry*; made stale if one of its tags was purged softly; None if one was purged.

        None also if the store fails, so that it is not known.
        """
        judged = await self.judge_or_fail(entry)
        return None if isinstance(judged, Failed) else judged

    async def judge_or_fail(self, entry: StoredResponse) -> StoredResponse | Failed | None:
        """Like `judge`, but FAILED if the store fails."""
        if entry.tagging is None or self.is_current(entry):
            return entry
        token = self._count.token  # before all reads: a purge that begins during one is not known to have been checked
        last = await self._read(LAST_PURGE_KEY)  # read before the tags, since a purge writes it after them
        if isinstance(last, StoredResponse) and self._verified.get(entry.tagging) == (last.body, token):
            vars(entry)[_CHECKED] = last.body, token
            return entry
        found = await asyncio.gather(*map(self._read, keys_for(entry)))
        if last is FAILED or FAILED in found:
            marked = marked_tag(entry.tagging, found)
            if marked is not None:
                self.remember(entry.key, marked.tag)
            return FAILED if marked is None else None
        return self._by_marks(entry, token, last, found)

    async def unpurged(self, infos: Sequence[EntryInfo], wanted: Callable[[EntryInfo], bool]) -> list[EntryInfo]:
        """*infos* without purged ones; softly purged ones are made stale, and left out if not *wanted* then."""
        tagged = [info for info in infos if info.tagging is not None]
        if not tagged or (await self._read(LAST_PURGE_KEY) is None and not self._part.is_in_memory):
            return list(infos)  # nothing has been purged yet
        keys = {info.key: keys_for(info) for info in tagged}
        asked = list(dict.fromkeys(key for each in keys.values() for key in each))
        found: dict[str, StoredResponse | Failed | None] = {}
        for part in in_batches(asked, ASKED_AT_A_TIME):
            found |= zip(part, await asyncio.gather(*map(self._read, part)), strict=True)
        unpurged: list[EntryInfo] = []
        for info in infos:
            marked = marked_tag(tagging_in(info), [found[key] for key in keys.get(info.key, ())])
            if marked is None:
                unpurged.append(info)
            elif marked.is_soft:
                stale = replace(info, fresh_until=min(info.fresh_until, marked.at, time.time()))
                unpurged += [stale] if wanted(stale) else []
        return unpurged

    async def observe(self) -> int:
        """The number of the latest purge, for a response about to be requested; up to date once anything has tags."""
        if self.is_open:
            last = await self._read(LAST_PURGE_KEY)
            self.is_open = self.is_used or last is FAILED
            self._hear(last)
        return self.latest

    async def _read(self, key: str) -> StoredResponse | Failed | None:
        mark = self._part.peek(key)
        return await self._part.fetch(key) if mark is None and not self._part.is_in_memory else mark

    def _hear(self, mark: StoredResponse | Failed | None) -> int:
        """Note the number in *mark*, and return it; 0 for none."""
        number = number_of(mark)
        self.latest = max(self.latest, number)
        return number

    def _by_marks(
        self,
        entry: StoredResponse,
        token: object,
        last: StoredResponse | Failed | None,
        found: Sequence[StoredResponse | Failed | None],
    ) -> StoredResponse | None:
        """What `judge` returns, by the records that were *found* under the keys for *entry*, and the *last* one."""
        self.is_used = self.is_open = True
        if entry.tagging is not None and entry.tagging.purges > self.latest:
            self.latest = entry.tagging.purges
        self._hear(last)
        for mark in found:
            self._hear(mark)
        marked = marked_tag(entry.tagging, found)
        if marked is None:
            if not isinstance(last, StoredResponse):
                last = record_of(LAST_PURGE_KEY, self.latest, math.inf)
                self._part.store(last, counts=False)
            vars(entry)[_CHECKED] = now = last.body, token
            if entry.tagging is not None:
                self._verified.note(entry.tagging, now)
            return entry
        self.remember(entry.key, marked.tag)
        return softened(entry, marked) if marked.is_soft else None

    def remember(self, key: str, tag: str) -> None:
        """Remember that the response under *key* is not used because of *tag*."""
        self.reasons.note(key, tag)

    # ---- storing

    def has_purged(self, tagging: Tagging) -> bool:
        """Whether it is known without waiting that one of these tags was purged, not softly, after *tagging*."""
        peek, recent = self._part.peek, self._count.recent
        keys = hard_keys(tagging)
        return any(max(number_of(peek(key)), recent.get(key, 0)) > tagging.purges for key in keys)

    def note_stored(self, entry: StoredResponse) -> None:
        """Note that *entry*, which has tags, is about to be stored."""
        self.is_used = self.is_open = True
        if not self._says_long and entry.store_until - entry.received_at > KEPT_S:
            self._says_long = True
            if self._part.peek(LONG_LIVED_KEY) is None:
                self._part.store(record_of(LONG_LIVED_KEY, 0, math.inf), counts=False)

    # ---- purging

    async def begin(self, tags: Collection[str]) -> tuple[int, float]:
        """Begin a purge of *tags*; return its number, and until when its records are kept (POSIX time)."""
        self.is_used = self.is_open = True
        long = await self._read(LONG_LIVED_KEY)
        for mark in await asyncio.gather(self._read(LAST_PURGE_KEY), *(self._read(key_of(tag)) for tag in tags)):
            self._hear(mark)
        self.latest = min(max(self.latest + 1, time.time_ns() // 1000), MAX_PURGES - 1)
        return self.latest, time.time() + KEPT_S if long is None and not self._says_long else math.inf

    async def purge_groups(self, groups: Collection[str], origin: str) -> tuple[Collection[str], ...]:
        """Purge all responses in the *groups* of *origin*: at once in this loop, elsewhere when that is written.

        Returns:
            The keys of the pending records: those of the groups, and the one that is written after them.
        """
        number, until = await self.begin(groups)
        marks, last = purge_records(groups, number, until, origin=origin)
        self._count.add(marks, number)
        unwritten = len(marks)

        def tell(is_written: bool) -> None:
            nonlocal unwritten
            unwritten -= is_written
            if not unwritten:
                self._part.store(last, counts=False)

        for mark in marks:
            self._part.store(mark, tell, counts=False)
        return {mark.key for mark in marks}, {LAST_PURGE_KEY}
