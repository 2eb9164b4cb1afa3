"""Purges by tag, which take as long for a million responses as for one: what is written is a record of the tag.

**Numbers.** Each purge has a number, greater than those of all purges that had ended when it began: the greatest that
is known and one, or the time in microseconds if that is more. A response says which purge had begun when it was asked
for (`Tagging.purges`), as far as this process had heard of it. So a response that was asked for before a purge and
stored after it counts as purged, and no two clocks are compared: a number is only compared with one that was read.

**Records.** Under a key that is made of a tag there is the number of its latest purge, if there was one; under another
one that of its latest soft purge, and for a group of an origin's (RFC 9875) there is a third. What is under
`LAST_PURGE_KEY` is written after each of them. They are ordinary records (`marks`), which take the way of all others
through the stack: batches, near tier, pending writes, and what each store knows of changes by other processes. So a
purge is seen as soon as any other change is, and never later than a copy of the response may be believed.

**A look** at a response that is at hand compares one record, that of the last purge, with the one that was there when
the tags of that very object were looked at the last time. Only if it is another one, there was a purge, of whatever:
then its tags are looked at, once. What has no tags is never looked at.

A record of a purge is kept for as long as a response can be that it is about: see `KEPT_S`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol, cast

from msgspec.structs import replace

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

__all__ = ["PurgeCount", "Purges"]

MAX_REASONS: Final = 1000  # and as many of whatever else is remembered
ASKED_AT_A_TIME: Final = 500
_CHECKED: Final = "_checked"


class PurgeCount:
    """How many purges a process has begun: what was looked at before is looked at again, though nothing is written yet.

    Shared by all parts of a stack.
    """

    __slots__ = ("number", "recent")

    def __init__(self) -> None:
        self.number: int = 0
        self.recent: OrderedDict[str, int] = OrderedDict()
        """The numbers of the latest purges for good, by the keys of their records."""

    def add(self, marks: Sequence[StoredResponse], number: int) -> None:
        """A purge of that *number* is about to write *marks*."""
        self.number += 1
        self.recent.update({mark.key: number for mark in marks})
        while len(self.recent) > MAX_REASONS:
            self.recent.popitem(last=False)


class Part(Protocol):
    """The part of a stack in one loop, as far as it is needed here."""

    tells_all: bool

    @property
    def peek(self) -> Callable[[str], StoredResponse | None]:
        """See `LoopStack`."""
        ...

    async def fetch(self, key: str) -> StoredResponse | Failed | None:
        """See `LoopStack`."""
        ...

    def store(self, entry: StoredResponse, outcome: OnWritten | None = None, *, counts: bool = True) -> None:
        """See `LoopStack`."""


class Purges:
    """What one event loop knows of purges by tag."""

    def __init__(self, part: Part, count: PurgeCount) -> None:
        self._part = part
        self._count = count
        self.latest: int = 0
        """The number of the latest purge that was heard of."""
        self.is_used: bool = False
        """Whether there was anything tagged yet."""
        self.is_open: bool = True
        """Whether `observe` takes more than a look at `latest`."""
        self._says_long = False
        self._verified: OrderedDict[Tagging, tuple[bytes, int]] = OrderedDict()
        """Tags that none was purged of when they were looked at, by the last purge of then; the latest ones."""
        self.reasons: OrderedDict[str, str] = OrderedDict()
        """The tags for which what was stored under some keys is not used, by these keys; the latest ones."""

    # ---- looking

    def is_current(self, entry: StoredResponse) -> bool:
        """Whether it is known at once that no tag of *entry* has been purged since it was looked at."""
        last = self._part.peek(LAST_PURGE_KEY)
        return last is not None and vars(entry).get(_CHECKED) == (last.body, self._count.number)

    def judge_at_once(self, entry: StoredResponse) -> StoredResponse | None:
        """As `judge`, where all is at hand."""
        peek = self._part.peek
        last = peek(LAST_PURGE_KEY)
        if last is not None:
            now = last.body, self._count.number
            if vars(entry).get(_CHECKED) == now or self._verified.get(cast("Tagging", entry.tagging)) == now:
                return entry
        return self._judged(entry, last, [peek(key) for key in keys_for(entry)])

    async def judge(self, entry: StoredResponse) -> StoredResponse | None:
        """*entry* as it is, stale if one of its tags was purged softly, or None if one was purged.

        None also where the store does not tell.
        """
        judged = await self.judged(entry)
        return None if isinstance(judged, Failed) else judged

    async def judged(self, entry: StoredResponse) -> StoredResponse | Failed | None:
        """As `judge`; FAILED where the store does not tell."""
        if entry.tagging is None or self.is_current(entry):
            return entry
        last = await self._read(LAST_PURGE_KEY)  # before the tags, whose purges write it after them
        if isinstance(last, StoredResponse) and self._verified.get(entry.tagging) == (last.body, self._count.number):
            vars(entry)[_CHECKED] = last.body, self._count.number
            return entry
        found = await asyncio.gather(*map(self._read, keys_for(entry)))
        if last is FAILED or FAILED in found:
            marked = marked_tag(entry.tagging, found)
            if marked is not None:
                self.remember(entry.key, marked.tag)
            return FAILED if marked is None else None
        return self._judged(entry, last, found)

    async def unpurged(self, infos: Sequence[EntryInfo], wanted: Callable[[EntryInfo], bool]) -> list[EntryInfo]:
        """*infos* without those that were purged; of those that were so softly, the ones that are still *wanted*."""
        tagged = [info for info in infos if info.tagging is not None]
        if not tagged or (await self._read(LAST_PURGE_KEY) is None and not self._part.tells_all):
            return list(infos)  # there was no purge yet
        keys = {info.key: keys_for(info) for info in tagged}
        asked = list(dict.fromkeys(key for each in keys.values() for key in each))
        found: dict[str, StoredResponse | Failed | None] = {}
        for first in range(0, len(asked), ASKED_AT_A_TIME):
            part = asked[first : first + ASKED_AT_A_TIME]
            found |= zip(part, await asyncio.gather(*map(self._read, part)), strict=True)
        told: list[EntryInfo] = []
        for info in infos:
            marked = marked_tag(tagging_in(info), [found[key] for key in keys.get(info.key, ())])
            if marked is None:
                told.append(info)
            elif marked.is_soft:
                stale = replace(info, fresh_until=min(info.fresh_until, marked.at, time.time()))
                told += [stale] if wanted(stale) else []
        return told

    async def observe(self) -> int:
        """The number of the latest purge, for what is about to be asked for; as of now, once anything has tags."""
        if self.is_open:
            last = await self._read(LAST_PURGE_KEY)
            self.is_open = self.is_used or last is FAILED
            self._hear(last)
        return self.latest

    async def _read(self, key: str) -> StoredResponse | Failed | None:
        mark = self._part.peek(key)
        return await self._part.fetch(key) if mark is None and not self._part.tells_all else mark

    def _hear(self, mark: StoredResponse | Failed | None) -> int:
        """The number in *mark*, which becomes known; 0 for none."""
        number = number_of(mark)
        self.latest = max(self.latest, number)
        return number

    def _judged(
        self,
        entry: StoredResponse,
        last: StoredResponse | Failed | None,
        found: Sequence[StoredResponse | Failed | None],
    ) -> StoredResponse | None:
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
            vars(entry)[_CHECKED] = now = last.body, self._count.number
            if entry.tagging is not None:
                self._verified[entry.tagging] = now
                if len(self._verified) > MAX_REASONS:
                    self._verified.popitem(last=False)
            return entry
        self.remember(entry.key, marked.tag)
        return softened(entry, marked) if marked.is_soft else None

    def remember(self, key: str, tag: str) -> None:
        """What is stored under *key* is not used because of *tag*."""
        self.reasons[key] = tag
        if len(self.reasons) > MAX_REASONS:
            self.reasons.popitem(last=False)

    # ---- storing

    def has_purged(self, tagging: Tagging) -> bool:
        """Whether a purge for good of one of these tags is known at once, of which *tagging* does not know."""
        peek, recent = self._part.peek, self._count.recent
        keys = hard_keys(tagging)
        return any(max(number_of(peek(key)), recent.get(key, 0)) > tagging.purges for key in keys)

    def note_stored(self, entry: StoredResponse) -> None:
        """*entry*, which has tags, is about to be stored."""
        self.is_used = self.is_open = True
        if not self._says_long and entry.store_until - entry.received_at > KEPT_S:
            self._says_long = True
            if self._part.peek(LONG_LIVED_KEY) is None:
                self._part.store(record_of(LONG_LIVED_KEY, 0, math.inf), counts=False)

    # ---- purging

    async def begin(self, tags: Collection[str]) -> tuple[int, float]:
        """The number of a purge of *tags* that begins now, and until when its records are kept (POSIX time)."""
        self.is_used = self.is_open = True
        long = await self._read(LONG_LIVED_KEY)
        for mark in await asyncio.gather(self._read(LAST_PURGE_KEY), *(self._read(key_of(tag)) for tag in tags)):
            self._hear(mark)
        self.latest = min(max(self.latest + 1, time.time_ns() // 1000), MAX_PURGES - 1)
        return self.latest, time.time() + KEPT_S if long is None and not self._says_long else math.inf

    async def purge_groups(self, groups: Collection[str], origin: str) -> tuple[Collection[str], ...]:
        """Have all members of the *groups* of *origin* gone: at once in this loop, and elsewhere once that is written.

        Returns:
            The keys that are being written, one after the other.
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
