"""Documents and updates of them: what stands in a collection, as pure functions.

A document is ``{_id: key, v: frame, f: leads on, i: info, until: date, o: owner, l: leased until}``. Record and
lease share it, so that one call of the server looks for the record or takes the lease, and another one writes the
record and gives the lease back. A lease on a key that has no record is a document without ``v`` and ``f``.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

from bson.datetime_ms import DatetimeMS
from msgspec import Struct
from pymongo import DeleteOne, UpdateOne

from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.backends.store.inspecting import packed_info
from aiohttp_cache_di.entries.codec import leads_on

__all__ = [
    "DOCUMENT_BYTES",
    "SPARE_BYTES",
    "Document",
    "DocumentLayout",
    "LeaseTerms",
    "date_of",
    "emptying",
    "giving_back",
    "has_record",
    "if_free",
    "key_of",
    "making",
    "name_of",
    "renewing",
    "taking",
    "unchanged",
    "writing",
]

Document: TypeAlias = dict[str, Any]

DOCUMENT_BYTES: Final = 16 * 1024 * 1024  # BSON document limit (maxBsonObjectSize), key and names included
SPARE_BYTES: Final = 16 * 1024  # for the key and the other fields
FAR_AT: Final = 253_402_300_800.0  # the year 10000: what is kept as long has no date


class LeaseTerms(Struct, frozen=True):
    """Whose a lease is, and how long it holds by the server's clock."""

    token: str
    end_ms: int


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


def has_record(document: Document, now_ms: float) -> bool:
    """Whether *document* is more than a lease, and not to be dropped by *now_ms*."""
    until = document.get("until")
    return "f" in document and not (isinstance(until, DatetimeMS) and int(until) <= now_ms)


class DocumentLayout:
    """What stands where in a document; see `RowLayout`."""

    def key_in(self, row: Document) -> str:
        """The key that *row* is for."""
        return key_of(row["_id"])

    def frame_in(self, row: Document) -> object:
        """What stands in the place of the frame."""
        return row.get("v")

    def info_in(self, row: Document) -> Any:
        """What is told of the record in *row*."""
        return row.get("i")

    def has_record(self, row: Document, now_s: float) -> bool:
        """Whether *row* is more than a lease, and not to be dropped by *now_s*."""
        return has_record(row, now_s * 1000)

    def leads_on(self, row: Document) -> bool:
        """Whether the record in *row* is a redirect or an alias."""
        return bool(row["f"])

    def fits(self, record: Record, frame: bytes) -> bool:
        """Whether MongoDB takes a document for *record*, which holds *frame*."""
        return len(frame) + len(name_of(record.key)) <= DOCUMENT_BYTES - SPARE_BYTES // 2


def writing(record: Record, frame: bytes, token: str | None) -> UpdateOne:
    """Write *record*.

    Args:
        token: of the owner whose lease is to be taken away with it. Where another has it by now, or it has ended, the
            server finds a duplicate key.
    """
    query: Document = {"_id": name_of(record.key)}
    fields: Document = {"v": frame, "f": leads_on(frame), "i": packed_info(record)}
    gone: Document = {}
    if record.until < FAR_AT:
        fields["until"] = date_of(record.until)
    else:
        gone["until"] = ""
    if token is not None:
        query["o"] = token
        gone |= {"o": "", "l": ""}
    return UpdateOne(query, {"$set": fields, "$unset": gone} if gone else {"$set": fields}, upsert=True)


# ---- leases, in words that every server knows: some take no pipeline for an update


def making(lease: LeaseTerms) -> Document:
    """An upsert that takes the lease where no document is, and changes none."""
    return {"$setOnInsert": {"o": lease.token, "l": lease.end_ms, "until": DatetimeMS(lease.end_ms)}}


def if_free(key: str, now_ms: int) -> Document:
    """The document of *key* unless it has a lease; as an upsert's query, that is a duplicate key."""
    return {"_id": name_of(key), "l": {"$not": {"$gt": now_ms}}}  # true too where there is none


def taking(lease: LeaseTerms) -> Document:
    """An upsert that takes the lease; a document that was to go has to be `emptying` then."""
    return {"$set": {"o": lease.token, "l": lease.end_ms}, "$setOnInsert": {"until": DatetimeMS(lease.end_ms)}}


def unchanged(key: str, before: Document) -> Document:
    """The document of *key*, if its time is that of *before*."""
    return {"_id": name_of(key), "until": before.get("until")}


def emptying(lease: LeaseTerms) -> Document:
    """Make a document whose record has expired, or that has none, one of the lease: the server does not drop it."""
    return {"$set": making(lease)["$setOnInsert"], "$unset": {"v": "", "f": "", "i": ""}}


def renewing(key: str, lease: LeaseTerms) -> list[UpdateOne]:
    """Let the lease hold for longer; it is held still if one of these finds a document."""
    ours = {"_id": name_of(key), "o": lease.token}
    longer = {"$set": {"until": DatetimeMS(lease.end_ms)}}  # of a document that has no record
    return [UpdateOne(ours, {"$set": {"l": lease.end_ms}}), UpdateOne({**ours, "f": {"$exists": False}}, longer)]


def giving_back(key: str, token: str) -> list[DeleteOne | UpdateOne]:
    """Take the lease on *key* away from *token*, and the document if there is no record in it; in this order."""
    ours = {"_id": name_of(key), "o": token}
    return [DeleteOne({**ours, "f": {"$exists": False}}), UpdateOne(ours, {"$unset": {"o": "", "l": ""}})]
