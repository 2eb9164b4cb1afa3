"""The documents of a collection, as pure functions.

A document is ``{_id: key, v: frame, f: leads on, i: info, until: date, o: owner, l: leased until}``. Record and lease
share it, so that one call looks the record up or takes the lease, and another one writes the record and releases the
lease. A lease on a key without a record is a document without ``v`` and ``f``.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

from bson.datetime_ms import DatetimeMS
from pymongo import UpdateOne

from aiohttp_cache_di.backends.rows import RowRecord

__all__ = [
    "FRAME_BYTES",
    "KEY_BYTES",
    "Document",
    "date_of",
    "key_of",
    "name_of",
    "record_in",
    "writing",
]

Document: TypeAlias = dict[str, Any]

DOCUMENT_BYTES: Final = 16 * 1024 * 1024  # BSON document limit (maxBsonObjectSize), key and names included
KEY_BYTES: Final = 8 * 1024  # longest key
FRAME_BYTES: Final = DOCUMENT_BYTES - KEY_BYTES - 8 * 1024  # for the other fields


def name_of(key: str) -> str | bytes:
    """The ``_id`` of *key*: itself, or bytes if UTF-8 cannot encode it (a lone surrogate)."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return key.encode("utf-8", "surrogatepass")
    return key


def key_of(name: object) -> str:
    """The key whose ``_id`` is *name*."""
    return name.decode("utf-8", "surrogatepass") if isinstance(name, bytes) else str(name)


def date_of(at: float) -> DatetimeMS:
    """The POSIX time *at* as a date, rounded up to milliseconds."""
    return DatetimeMS(math.ceil(at * 1000))


def record_in(document: Document | None) -> RowRecord | None:
    """The record in *document*; None if there is no document, or only a lease."""
    if document is None or "f" not in document:
        return None
    until = document.get("until")
    return RowRecord(
        key_of(document["_id"]),
        bool(document["f"]),
        int(until) / 1000 if isinstance(until, DatetimeMS) else math.inf,
        document.get("v"),
        document.get("i"),
    )


def writing(record: RowRecord, token: str | None) -> UpdateOne:
    """The upsert that writes *record*.

    Args:
        token: the owner's token of the lease to release with it. If that lease has ended or passed to another process,
            the server reports a duplicate key.
    """
    query: Document = {"_id": name_of(record.key)}
    fields: Document = {"v": record.frame, "f": record.leads_on, "i": record.info}
    gone: Document = {}
    if record.until < math.inf:
        fields["until"] = date_of(record.until)
    else:
        gone["until"] = ""
    if token is not None:
        query["o"] = token
        gone |= {"o": "", "l": ""}
    return UpdateOne(query, {"$set": fields, "$unset": gone} if gone else {"$set": fields}, upsert=True)
