"""Documents and updates of them: what stands in a collection, as pure functions.

A document is ``{_id: key, v: frame, f: leads on, i: info, until: date, o: owner, l: leased until}``. Record and
lease share it, so that one call of the server takes the lease and tells whether something is stored, and another one
writes the record and gives the lease back. A lease on a key that has no record is a document without ``v`` and ``f``.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

from bson.datetime_ms import DatetimeMS
from pymongo import DeleteOne, UpdateOne

from aiohttp_cache_di.backends.inspecting import packed_info
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.entries.codec import leads_on

__all__ = [
    "DOCUMENT_BYTES",
    "SPARE_BYTES",
    "Document",
    "date_of",
    "frame_bytes",
    "giving_back",
    "is_over",
    "key_of",
    "name_of",
    "renewing",
    "taking",
    "writing",
]

Document: TypeAlias = dict[str, Any]

DOCUMENT_BYTES: Final = 16 * 1024 * 1024  # BSON document limit (maxBsonObjectSize), key and names included
SPARE_BYTES: Final = 16 * 1024  # for the key and the other fields
FAR_AT: Final = 253_402_300_800.0  # the year 10000: what is kept as long has no date

_NOW_MS: Final = {"$toLong": "$$NOW"}  # by the server's clock
_IS_FREE: Final = {"$lte": ["$l", _NOW_MS]}  # true too where there is no lease: what is missing sorts first


def name_of(key: str) -> str | bytes:
    """The ``_id`` of *key*: itself, or bytes where UTF-8 cannot say it (a lone surrogate)."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return key.encode("utf-8", "surrogatepass")
    return key


def key_of(name: object) -> str:
    """The key that has *name* for its ``_id``."""
    return name.decode("utf-8", "surrogatepass") if isinstance(name, bytes) else str(name)


def date_of(at: float) -> DatetimeMS:
    """The first millisecond that is not before *at* (POSIX time)."""
    return DatetimeMS(math.ceil(max(at, 0.0) * 1000))


def is_over(document: Document, now_ms: float) -> bool:
    """Whether the server may have dropped *document* by *now_ms*."""
    until = document.get("until")
    return isinstance(until, DatetimeMS) and int(until) <= now_ms


def frame_bytes(document: Document) -> int:
    """How large the record in *document* is; 0 where none is."""
    frame = document.get("v")
    return len(frame) if isinstance(frame, bytes) else 0


def writing(record: Record, frame: bytes, token: str | None) -> UpdateOne:
    """Write *record*, and take away the lease if its owner is *token*; that of another stays."""
    until = date_of(record.until) if record.until < FAR_AT else None
    query: Document = {"_id": name_of(record.key)}
    fields: Document = {"v": frame, "f": leads_on(frame), "i": packed_info(record)}
    if token is not None:
        is_ours = {"$eq": ["$o", token]}
        fields |= {"v": {"$literal": frame}, "until": until or "$$REMOVE"}
        fields |= {field: {"$cond": [is_ours, "$$REMOVE", f"${field}"]} for field in ("o", "l")}
        return UpdateOne(query, [{"$set": fields}], upsert=True)
    if until is None:
        return UpdateOne(query, {"$set": fields, "$unset": {"until": ""}}, upsert=True)
    return UpdateOne(query, {"$set": fields | {"until": until}}, upsert=True)


def taking(token: str, ttl_ms: int) -> list[Document]:
    """Give a free lease to *token*; to be used as an upsert, after which the owner tells whether it was free.

    The condition stands in the update because ``$expr`` may not stand in the query of an upsert.
    """
    end = {"$add": ["$$NOW", ttl_ms]}
    fields = {
        "o": {"$cond": [_IS_FREE, token, "$o"]},
        "l": {"$cond": [_IS_FREE, {"$add": [_NOW_MS, ttl_ms]}, "$l"]},
        "until": {"$cond": [{"$eq": [{"$type": "$f"}, "missing"]}, end, "$until"]},
    }
    return [{"$set": fields}]


def renewing(ttl_ms: int) -> list[Document]:
    """Let a lease hold for longer, and a document without a record stay as long."""
    end = {"$add": ["$$NOW", ttl_ms]}
    fields = {
        "l": {"$add": [_NOW_MS, ttl_ms]},
        "until": {"$cond": [{"$eq": [{"$type": "$f"}, "missing"]}, end, "$until"]},
    }
    return [{"$set": fields}]


def giving_back(key: str, token: str) -> list[DeleteOne | UpdateOne]:
    """Take the lease on *key* away from *token*, and the document if there is no record in it; in this order."""
    ours = {"_id": name_of(key), "o": token}
    return [DeleteOne({**ours, "f": {"$exists": False}}), UpdateOne(ours, {"$unset": {"o": "", "l": ""}})]
