"""Marks: the records of purges by tag, and what they mean for a response; `purges` explains how they are used.

A mark is an ordinary entry under a key that begins with `MARK_PREFIX`, with the number of the purge as its body.
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
"""The key of the record of the latest purge of any tag; it changes with each purge."""

LONG_LIVED_KEY: Final = f"{MARK_PREFIX}long"
"""The key of the record which says that some tagged responses are stored for longer than `KEPT_S`."""

KEPT_S: Final = 31 * 86_400.0
"""Seconds for which a mark is kept if no tagged response is stored for longer; otherwise it is kept for ever."""

_URL: Final = "http://tag.invalid/"  # an entry must have a URL
_SOFTENED: Final = "_softened"


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The body of the record of a purge.

    Args:
        number: the number of the purge.
        id: random, so that the bodies of two records are never equal.
    """

    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_PURGES)]
    id: bytes


class MarkedTag(msgspec.Struct, frozen=True):
    """A tag of a response that has been purged since the response was requested."""

    tag: str
    is_soft: bool
    at: float


def purge_records(
    tags: Iterable[str], number: int, until: float, *, soft: bool = False, origin: str = ""
) -> tuple[list[StoredResponse], StoredResponse]:
    """The records of a purge, and the record of the latest purge, which is to be written after them.

    Args:
        tags: the tags that are purged.
        number: the number of the purge.
        until: POSIX time at which the records expire.
        soft: responses become stale, rather than unusable.
        origin: if given, the tags are cache groups of this origin (RFC 9875).
    """
    marks = [record_of(key_of(tag, soft=soft, origin=origin), number, until) for tag in dict.fromkeys(tags)]
    return marks, record_of(LAST_PURGE_KEY, number, math.inf)


def softened(entry: StoredResponse, marked: MarkedTag) -> StoredResponse:
    """*entry*, made stale by the soft purge of one of its tags."""
    stale = replace(entry, fresh_until=min(entry.fresh_until, marked.at, time.time()))
    vars(stale)[_SOFTENED] = marked.tag
    return stale


def softened_by(entry: StoredResponse) -> str:
    """The tag whose soft purge has made *entry* stale; "" if none has."""
    tag: str = vars(entry).get(_SOFTENED, "")
    return tag


def keys_for(entry: StoredResponse | EntryInfo) -> list[str]:
    """The keys of the marks for *entry*: of its groups, of its tags, and of soft purges of its tags."""
    tagging = tagging_in(entry)
    return [] if tagging is None else [*hard_keys(tagging), *(key_of(name, soft=True) for name in tagging.names)]


def hard_keys(tagging: Tagging) -> list[str]:
    """Like `keys_for`, without the keys for soft purges."""
    groups = [key_of(name, origin=tagging.origin) for name in tagging.names[: tagging.groups]]
    return [*groups, *map(key_of, tagging.names)]


def tagging_in(entry: StoredResponse | EntryInfo) -> Tagging | None:
    """The tags of *entry*; an `EntryInfo` has their names in ``tags``."""
    tagging = entry.tagging
    return tagging if tagging is None or isinstance(entry, StoredResponse) else replace(tagging, names=entry.tags)


def marked_tag(tagging: Tagging | None, found: Sequence[StoredResponse | Failed | None]) -> MarkedTag | None:
    """The tag that was purged after the response was requested; None if none was.

    Soft purges come last, so a tag that was purged for good is found first.

    Args:
        found: the records under the keys of `keys_for`, in their order.
    """
    if tagging is None:
        return None
    names = (*tagging.names[: tagging.groups], *tagging.names, *tagging.names)
    hard = tagging.groups + len(tagging.names)
    for place, (name, mark) in enumerate(zip(names, found, strict=True)):
        if isinstance(mark, StoredResponse) and number_of(mark) > tagging.purges:
            return MarkedTag(name, place >= hard, mark.created_at)
    return None


def key_of(tag: str, *, soft: bool = False, origin: str = "") -> str:
    """The key of the mark for *tag*, or for a group of *origin*."""
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
    """The record of the purge *number* under *key*; it expires at *until* (POSIX time)."""
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
    """The number of the purge in *mark*; 0 if *mark* is not such a record."""
    if not isinstance(mark, StoredResponse):
        return 0
    try:
        return _decoder().decode(mark.body).number
    except (msgspec.MsgspecError, ValueError):
        return 0
