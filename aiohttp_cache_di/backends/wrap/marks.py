"""The records that tell of purges by tag, and what they say of a response; `purges` tells how they are used.

A record is an ordinary entry under a key that begins with `MARK_PREFIX`, and holds a number in the place of a body.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from msgspec.structs import replace

from aiohttp_cache_di.backends.store import MARK_PREFIX
from aiohttp_cache_di.backends.wrap.guarding.guard import Failed
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.rfc9111.messages import MAX_PURGES, StoredResponse, Tagging

__all__ = [
    "KEPT_S",
    "LAST_PURGE_KEY",
    "LONG_LIVED_KEY",
    "MarkedTag",
    "hard_keys",
    "key_of",
    "keys_for",
    "marked_tag",
    "number_of",
    "purge_records",
    "record_of",
    "softened",
    "softened_by",
    "tagging_in",
]

LAST_PURGE_KEY: Final = f"{MARK_PREFIX}purges"
"""The key of the record of the last purge, of whatever it was: it changes with each."""

LONG_LIVED_KEY: Final = f"{MARK_PREFIX}long"
"""The key of the record that says that there are tagged responses which are kept for longer than `KEPT_S`."""

KEPT_S: Final = 31 * 86_400.0
"""For how long a purge is remembered where all tagged responses are gone by then; else it is for ever."""

_URL: Final = "http://tag.invalid/"  # a record has one
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
    marks = [record_of(key_of(tag, soft=soft, origin=origin), number, until) for tag in dict.fromkeys(tags)]
    return marks, record_of(LAST_PURGE_KEY, number, math.inf)


def softened(entry: StoredResponse, marked: MarkedTag) -> StoredResponse:
    """*entry*, which is stale since a tag of it was purged softly."""
    stale = replace(entry, fresh_until=min(entry.fresh_until, marked.at, time.time()))
    vars(stale)[_SOFTENED] = marked.tag
    return stale


def softened_by(entry: StoredResponse) -> str:
    """The tag whose soft purge has made *entry* stale; "" for none."""
    tag: str = vars(entry).get(_SOFTENED, "")
    return tag


def keys_for(entry: StoredResponse | EntryInfo) -> list[str]:
    """The keys of the records that tell whether *entry* has been purged: of its groups, its tags, and softly."""
    tagging = tagging_in(entry)
    return [] if tagging is None else [*hard_keys(tagging), *(key_of(name, soft=True) for name in tagging.names)]


def hard_keys(tagging: Tagging) -> list[str]:
    """As `keys_for`, without those of soft purges."""
    groups = [key_of(name, origin=tagging.origin) for name in tagging.names[: tagging.groups]]
    return [*groups, *map(key_of, tagging.names)]


def tagging_in(entry: StoredResponse | EntryInfo) -> Tagging | None:
    """The tags of *entry*, whose names what is told of it has elsewhere."""
    tagging = entry.tagging
    return tagging if tagging is None or isinstance(entry, StoredResponse) else replace(tagging, names=entry.tags)


def marked_tag(tagging: Tagging | None, found: Sequence[StoredResponse | Failed | None]) -> MarkedTag | None:
    """The tag that was purged after the response was asked for, by the records under `keys_for`; rather for good."""
    if tagging is None:
        return None
    names = (*tagging.names[: tagging.groups], *tagging.names, *tagging.names)
    hard = tagging.groups + len(tagging.names)
    for place, (name, mark) in enumerate(zip(names, found, strict=True)):
        if isinstance(mark, StoredResponse) and number_of(mark) > tagging.purges:
            return MarkedTag(name, place >= hard, mark.created_at)
    return None


def key_of(tag: str, *, soft: bool = False, origin: str = "") -> str:
    """The key of the record of *tag*, or of a group of *origin*'s."""
    digest = blake2b(digest_size=20, person=b"soft" if soft else b"group" if origin else b"hard")
    for text in (origin, tag):
        packed = text.encode("utf-8", "surrogatepass")
        digest.update(len(packed).to_bytes(4, "big") + packed)
    return MARK_PREFIX + digest.hexdigest()


_encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> msgspec.msgpack.Decoder[Mark]:
    return msgspec.msgpack.Decoder(Mark)


def record_of(key: str, number: int, until: float) -> StoredResponse:
    """A record under *key* that tells of the purge of that *number*, kept until then (POSIX time)."""
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


def number_of(mark: StoredResponse | Failed | None) -> int:
    """The number of a purge that *mark* tells; what is no such record tells none."""
    if not isinstance(mark, StoredResponse):
        return 0
    try:
        return _decoder().decode(mark.body).number
    except (msgspec.MsgspecError, ValueError):
        return 0
