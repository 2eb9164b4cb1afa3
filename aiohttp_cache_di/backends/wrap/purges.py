"""Purges by tag, which take as long for a million responses as for one: what is written is a record of the tag.

**Numbers.** Each purge has a number, greater than those of all purges that had ended when it began: the greatest that
is known and one, or the time in microseconds if that is more. A response says which purge had begun when it was asked
for (`Tagging.purges`), as far as this process had heard of it. So a response that was asked for before a purge and
stored after it counts as purged, and no two clocks are compared: a number is only compared with one that was read.

**Records.** Under a key that is made of a tag there is the number of its latest purge, if there was one; under another
one that of its latest soft purge, and for a group of an origin's (RFC 9875) there is a third. `CLOCK` is written after
each of them. They are ordinary records, which take the way of all others through the stack: batches, near tier, pending
writes, and what each store knows of changes by other processes. So a purge is seen as soon as any other change is, and
never later than a copy of the response may be believed.

**A look** at a response that is at hand compares one record, `CLOCK`, with the one that was there when the tags of that
very object were looked at the last time. Only if it is another one, there was a purge, of whatever: then its tags are
looked at, once. What has no tags is never looked at.

A record of a purge is kept for as long as a response can be that it is about: see `KEPT_S`.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from hashlib import blake2b
from typing import Annotated, Final, Protocol, cast

import msgspec
from msgspec.structs import replace

from aiohttp_cache_di.backends.store import MARK_PREFIX
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, Failed
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.rfc9111.messages import MAX_PURGES, StoredResponse, Tagging

__all__ = ["CLOCK", "LONG", "MarkedTag", "PurgeCount", "Purges", "purge_records", "softened_by"]

CLOCK: Final = f"{MARK_PREFIX}purges"
"""The key of the record that changes with each purge."""

LONG: Final = f"{MARK_PREFIX}long"
"""The key of the record that says that there are tagged responses which are kept for longer than `KEPT_S`."""

KEPT_S: Final = 31 * 86_400.0
"""For how long a purge is remembered where all tagged responses are gone by then; else it is for ever."""

MAX_REASONS: Final = 1000  # and as many of whatever else is remembered
ASKED_AT_A_TIME: Final = 500
_URL: Final = "http://tag.invalid/"  # a record has one
_CHECKED: Final = "_checked"
_SOFTENED: Final = "_softened"


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What the record of a purge holds, in the place of a body.

    Args:
        number: of the purge.
        id: random, so that two records are never taken for each other.
    """

    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_PURGES)]
    id: bytes


class MarkedTag(msgspec.Struct, frozen=True):
    """A tag of a response that has been purged since that was asked for."""

    tag: str
    is_soft: bool
    at: float


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
        """Tags that none was purged of when they were looked at, by the clock of then; the latest ones."""
        self.reasons: OrderedDict[str, str] = OrderedDict()
        """The tags for which what was stored under some keys is not used, by these keys; the latest ones."""

    # ---- looking

    def is_current(self, entry: StoredResponse) -> bool:
        """Whether it is known at once that no tag of *entry* has been purged since it was looked at."""
        clock = self._part.peek(CLOCK)
        return clock is not None and vars(entry).get(_CHECKED) == (clock.body, self._count.number)

    def judge_at_once(self, entry: StoredResponse) -> StoredResponse | None:
        """As `judge`, where all is at hand."""
        peek = self._part.peek
        clock = peek(CLOCK)
        if clock is not None:
            now = clock.body, self._count.number
            if vars(entry).get(_CHECKED) == now or self._verified.get(cast("Tagging", entry.tagging)) == now:
                return entry
        return self._judged(entry, clock, [peek(key) for key in _keys_of(entry)])

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
        clock = await self._read(CLOCK)  # before the tags, whose purges write it after them
        if isinstance(clock, StoredResponse) and self._verified.get(entry.tagging) == (clock.body, self._count.number):
            vars(entry)[_CHECKED] = clock.body, self._count.number
            return entry
        found = await asyncio.gather(*map(self._read, _keys_of(entry)))
        if clock is FAILED or FAILED in found:
            marked = _marked(entry.tagging, found)
            if marked is not None:
                self.remember(entry.key, marked.tag)
            return FAILED if marked is None else None
        return self._judged(entry, clock, found)

    async def unpurged(self, infos: Sequence[EntryInfo], wanted: Callable[[EntryInfo], bool]) -> list[EntryInfo]:
        """*infos* without those that were purged; of those that were so softly, the ones that are still *wanted*."""
        tagged = [info for info in infos if info.tagging is not None]
        if not tagged or (await self._read(CLOCK) is None and not self._part.tells_all):
            return list(infos)  # there was no purge yet
        keys = {info.key: _keys_of(info) for info in tagged}
        asked = list(dict.fromkeys(key for each in keys.values() for key in each))
        found: dict[str, StoredResponse | Failed | None] = {}
        for first in range(0, len(asked), ASKED_AT_A_TIME):
            part = asked[first : first + ASKED_AT_A_TIME]
            found |= zip(part, await asyncio.gather(*map(self._read, part)), strict=True)
        told: list[EntryInfo] = []
        for info in infos:
            marked = _marked(_tagging_of(info), [found[key] for key in keys.get(info.key, ())])
            if marked is None:
                told.append(info)
            elif marked.is_soft:
                stale = replace(info, fresh_until=min(info.fresh_until, marked.at, time.time()))
                told += [stale] if wanted(stale) else []
        return told

    async def observe(self) -> int:
        """The number of the latest purge, for what is about to be asked for; as of now, once anything has tags."""
        if self.is_open:
            clock = await self._read(CLOCK)
            self.is_open = self.is_used or clock is FAILED
            self._hear(clock)
        return self.latest

    async def _read(self, key: str) -> StoredResponse | Failed | None:
        mark = self._part.peek(key)
        return await self._part.fetch(key) if mark is None and not self._part.tells_all else mark

    def _hear(self, mark: StoredResponse | Failed | None) -> int:
        """The number in *mark*, which becomes known; 0 for none."""
        number = _number_of(mark)
        self.latest = max(self.latest, number)
        return number

    def _judged(
        self,
        entry: StoredResponse,
        clock: StoredResponse | Failed | None,
        found: Sequence[StoredResponse | Failed | None],
    ) -> StoredResponse | None:
        self.is_used = self.is_open = True
        if entry.tagging is not None and entry.tagging.purges > self.latest:
            self.latest = entry.tagging.purges
        self._hear(clock)
        for mark in found:
            self._hear(mark)
        marked = _marked(entry.tagging, found)
        if marked is None:
            if not isinstance(clock, StoredResponse):
                clock = _record(CLOCK, self.latest, math.inf)
                self._part.store(clock, counts=False)
            vars(entry)[_CHECKED] = now = clock.body, self._count.number
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
        keys = _hard_keys(tagging)
        return any(max(_number_of(peek(key)), recent.get(key, 0)) > tagging.purges for key in keys)

    def note_stored(self, entry: StoredResponse) -> None:
        """*entry*, which has tags, is about to be stored."""
        self.is_used = self.is_open = True
        if not self._says_long and entry.store_until - entry.received_at > KEPT_S:
            self._says_long = True
            if self._part.peek(LONG) is None:
                self._part.store(_record(LONG, 0, math.inf), counts=False)

    # ---- purging

    async def begin(self, tags: Collection[str]) -> tuple[int, float]:
        """The number of a purge of *tags* that begins now, and until when its records are kept (POSIX time)."""
        self.is_used = self.is_open = True
        long = await self._read(LONG)
        for mark in await asyncio.gather(self._read(CLOCK), *(self._read(_key_of(tag)) for tag in tags)):
            self._hear(mark)
        self.latest = min(max(self.latest + 1, time.time_ns() // 1000), MAX_PURGES - 1)
        return self.latest, time.time() + KEPT_S if long is None and not self._says_long else math.inf

    async def purge_groups(self, groups: Collection[str], origin: str) -> tuple[Collection[str], ...]:
        """Have all members of the *groups* of *origin* gone: at once in this loop, and elsewhere once that is written.

        Returns:
            The keys that are being written, one after the other.
        """
        number, until = await self.begin(groups)
        marks, clock = purge_records(groups, number, until, origin=origin)
        self._count.add(marks, number)
        unwritten = len(marks)

        def tell(is_written: bool) -> None:
            nonlocal unwritten
            unwritten -= is_written
            if not unwritten:
                self._part.store(clock, counts=False)

        for mark in marks:
            self._part.store(mark, tell, counts=False)
        return {mark.key for mark in marks}, {CLOCK}


def purge_records(
    tags: Iterable[str], number: int, until: float, *, soft: bool = False, origin: str = ""
) -> tuple[list[StoredResponse], StoredResponse]:
    """The records of a purge, and the one that is to be written after them.

    Args:
        number: of the purge.
        until: when they may be dropped (POSIX time).
        soft: what is fresh is stale from now on, rather than gone.
        origin: the tags are groups of that origin's.
    """
    marks = [_record(_key_of(tag, soft=soft, origin=origin), number, until) for tag in dict.fromkeys(tags)]
    return marks, _record(CLOCK, number, math.inf)


def softened(entry: StoredResponse, marked: MarkedTag) -> StoredResponse:
    """*entry*, which is stale since a tag of it was purged softly."""
    stale = replace(entry, fresh_until=min(entry.fresh_until, marked.at, time.time()))
    vars(stale)[_SOFTENED] = marked.tag
    return stale


def softened_by(entry: StoredResponse) -> str:
    """The tag whose soft purge has made *entry* stale; "" for none."""
    tag: str = vars(entry).get(_SOFTENED, "")
    return tag


def keys_of(tagging: Tagging) -> list[str]:
    """The keys of the records that tell whether a response has been purged: of its groups, its tags, and softly."""
    return [*_hard_keys(tagging), *(_key_of(name, soft=True) for name in tagging.names)]


def _hard_keys(tagging: Tagging) -> list[str]:
    groups = [_key_of(name, origin=tagging.origin) for name in tagging.names[: tagging.groups]]
    return [*groups, *map(_key_of, tagging.names)]


def _keys_of(entry: StoredResponse | EntryInfo) -> list[str]:
    tagging = _tagging_of(entry)
    return [] if tagging is None else keys_of(tagging)


def _tagging_of(entry: StoredResponse | EntryInfo) -> Tagging | None:
    """The tags of *entry*, whose names what is told of it has elsewhere."""
    tagging = entry.tagging
    return tagging if tagging is None or isinstance(entry, StoredResponse) else replace(tagging, names=entry.tags)


def _marked(tagging: Tagging | None, found: Sequence[StoredResponse | Failed | None]) -> MarkedTag | None:
    """The tag that was purged after the response was asked for, by the records under `keys_of`; rather for good."""
    if tagging is None:
        return None
    names = (*tagging.names[: tagging.groups], *tagging.names, *tagging.names)
    hard = tagging.groups + len(tagging.names)
    for place, (name, mark) in enumerate(zip(names, found, strict=True)):
        if isinstance(mark, StoredResponse) and _number_of(mark) > tagging.purges:
            return MarkedTag(name, place >= hard, mark.created_at)
    return None


def _key_of(tag: str, *, soft: bool = False, origin: str = "") -> str:
    digest = blake2b(digest_size=20, person=b"soft" if soft else b"group" if origin else b"hard")
    for text in (origin, tag):
        packed = text.encode("utf-8", "surrogatepass")
        digest.update(len(packed).to_bytes(4, "big") + packed)
    return MARK_PREFIX + digest.hexdigest()


_encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> msgspec.msgpack.Decoder[Mark]:
    return msgspec.msgpack.Decoder(Mark)


def _record(key: str, number: int, until: float) -> StoredResponse:
    now = time.time()
    return StoredResponse(
        key=key,
        method="PURGE",
        url=_URL,
        status=200,
        reason=None,
        requested_at=now,
        received_at=now,
        created_at=now,
        fresh_until=until,
        store_until=until,
        body=_encode(Mark(number, os.urandom(8))),
    )


def _number_of(mark: StoredResponse | Failed | None) -> int:
    """The number of a purge that *mark* tells; what is no such record tells none."""
    if not isinstance(mark, StoredResponse):
        return 0
    try:
        return _decoder().decode(mark.body).number
    except (msgspec.MsgspecError, ValueError):
        return 0
