"""`EntryInfo`: the description of a stored response without its body."""

from __future__ import annotations

import math
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from aiohttp_cache_di.entries.tags import TAG_FIELDS, as_shown, tags_in
from aiohttp_cache_di.rfc9111.messages import StoredResponse, Tagging

__all__ = ["EntryInfo", "has_tags_in_fields_alone", "info_of", "pack_info", "short_id", "unpack_info"]

_SHORT_BYTES: Final = 4
_CONTENT_TYPE: Final = b"content-type"
_TOLD: Final = TAG_FIELDS | {_CONTENT_TYPE}


class EntryInfo(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """The description of a stored response for lists and selections: no body, no header field that may be secret.

    Attributes:
        key: its key.
        method: the method of the request that it answers.
        url: the URL of that request as it is stored: without userinfo, fragment and values of ignored and secret
            parameters.
        status: the status code.
        content_type: as the origin sent it; "" for none.
        body_bytes: the length of the body.
        stored_at: POSIX time at which this body was first stored.
        validated_at: POSIX time at which the origin sent it, or last confirmed it.
        fresh_until: POSIX time until which it is used without validation; ``-inf`` if each use needs a validation.
        kept_until: POSIX time after which the store may delete it; ``inf`` for never.
        tags: the tags by which it can be purged.
        variant: for a response that varies: the names of the request fields in Vary, and a short id of their values.
        partition: a short id of the principal or the credentials that it belongs to; "" if it is for all users.
        tagging: tells whether one of its tags has been purged; its names are left out, they are *tags*.
    """

    key: str
    method: str
    url: str
    status: int
    content_type: str = ""
    body_bytes: int
    stored_at: float
    validated_at: float
    fresh_until: float
    kept_until: float = math.inf
    tags: tuple[str, ...] = ()
    variant: str = ""
    partition: str = ""
    tagging: Tagging | None = None

    def as_dict(self) -> dict[str, Any]:
        """The attributes as values for JSON, with None instead of an infinite time."""
        told = msgspec.structs.asdict(self)
        del told["tagging"]
        return {name: None if value in (math.inf, -math.inf) else value for name, value in told.items()}


def info_of(entry: StoredResponse, *, body_bytes: int | None = None) -> EntryInfo:
    """The description of *entry*.

    Args:
        body_bytes: the length of its body, if *entry* does not contain the body.
    """
    content_type = ""
    tagging = entry.tagging
    tags: tuple[str, ...] = () if tagging is None else tagging.names
    found = [(low, value) for name, value in entry.raw_headers if (low := name.lower()) in _TOLD]
    for name, value in found:
        if name == _CONTENT_TYPE:
            content_type = as_shown(value.decode("utf-8", "replace"))
    if tagging is None and len(found) > bool(content_type):  # stored by an earlier version
        tags = tags_in(found)
    return EntryInfo(
        key=entry.key,
        method=entry.method,
        url=entry.url,
        status=entry.status,
        content_type=content_type,
        body_bytes=entry.body_bytes if body_bytes is None else body_bytes,
        stored_at=entry.created_at,
        validated_at=entry.received_at,
        fresh_until=entry.fresh_until,
        kept_until=entry.store_until,
        tags=tags,
        variant=f"{', '.join(entry.vary_fields)} {entry.vary_digest.hex()[:8]}" if entry.vary_fields else "",
        partition=short_id(entry.partition),
        tagging=None if tagging is None else msgspec.structs.replace(tagging, names=()),
    )


def has_tags_in_fields_alone(entry: StoredResponse) -> bool:
    """Whether *entry* was stored by an earlier version, with tags in its header fields only."""
    return entry.tagging is None and not TAG_FIELDS.isdisjoint(map(bytes.lower, dict(entry.raw_headers)))


def short_id(partition: str) -> str:
    """A few digits that distinguish *partition* from others without identifying its user; "" for ""."""
    return blake2b(partition.encode("utf-8", "replace"), digest_size=_SHORT_BYTES).hexdigest() if partition else ""


_encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> msgspec.msgpack.Decoder[EntryInfo]:
    return msgspec.msgpack.Decoder(EntryInfo)


def pack_info(info: EntryInfo) -> bytes:
    """The bytes that a store keeps beside an entry; they do not contain its key."""
    return _encode(msgspec.structs.replace(info, key=""))


def unpack_info(data: object, key: str) -> EntryInfo | None:
    """The description that was packed for the entry under *key*; None for other data. Not used to answer requests."""
    if not isinstance(data, bytes):
        return None
    try:
        info = _decoder().decode(data)
    except (msgspec.MsgspecError, ValueError):
        return None
    origin = "" if info.tagging is None else info.tagging.origin
    texts = (origin, info.method, info.url, info.content_type, info.variant, info.partition, *info.tags)
    times = (info.stored_at, info.validated_at, info.fresh_until, info.kept_until)
    if not all(map(str.isprintable, texts)) or any(map(math.isnan, times)):
        return None
    force_setattr(info, "key", key)  # nothing else refers to the object yet
    return info
