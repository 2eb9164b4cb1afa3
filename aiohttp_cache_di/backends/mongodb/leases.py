"""The operations on leases, each with one call to the server where that is possible."""

from __future__ import annotations

from typing import Final

from bson.datetime_ms import DatetimeMS
from pymongo import DeleteOne, ReturnDocument, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from aiohttp_cache_di.backends.mongodb.client import Connection
from aiohttp_cache_di.backends.mongodb.documents import Document, name_of, record_in
from aiohttp_cache_di.backends.rows import LeaseTerms, RowRecord
from aiohttp_cache_di.backends.store import Lease

__all__ = ["DUPLICATE_KEY", "DocumentLeases"]

DUPLICATE_KEY: Final = 11000


class DocumentLeases:
    """Takes, renews and releases leases; see `RowLeases`."""

    async def take(self, here: Connection, terms: LeaseTerms) -> Lease:
        """Ask for a lease."""
        try:
            before: Document | None = await here.leasing.find_one_and_update(
                _if_free(terms),
                _taking(terms),
                upsert=True,
                projection={"f": 1, "until": 1},
                return_document=ReturnDocument.BEFORE,
            )
        except DuplicateKeyError:
            return Lease.REFUSED
        except AutoReconnect as exc:
            row = await _document_after(exc, here, terms.key)
            if row is None or row.get("o") != terms.token:
                return Lease.REFUSED  # the caller asks again
            return Lease.GRANTED_LATE if terms.live(record_in(row)) else Lease.GRANTED
        if before is None:  # there was no document; some servers also return this while another process writes one
            row = await here.collection.find_one({"_id": name_of(terms.key)}, {"f": 1, "until": 1, "o": 1}) or {}
            if terms.live(record_in(row)):
                return Lease.GRANTED_LATE
            return Lease.GRANTED if row.get("o", terms.token) == terms.token else Lease.REFUSED
        if terms.live(record_in(before)):
            return Lease.GRANTED_LATE
        await here.leasing.update_one({**_unchanged(terms.key, before), "o": terms.token}, _emptying(terms))
        return Lease.GRANTED

    async def look_or_take(self, here: Connection, terms: LeaseTerms) -> RowRecord | Lease | None:
        """The record of the key if there is one; else whether the lease was granted, None if no lease was asked.

        A miss is likely, so a document with the lease is inserted, which fails if there is one already. That costs a
        server less than an upsert that returns the document; a record that is found takes a second call.
        """
        try:
            if await _is_inserted(here, terms):
                return Lease.GRANTED
            row: Document | None = await here.collection.find_one({"_id": name_of(terms.key)})
            record = terms.live(record_in(row))
            if row is None or record is not None:
                return record
            if _is_leased(row, terms):
                return Lease.REFUSED
            free = {**_unchanged(terms.key, row), **_if_free(terms)}
            return Lease((await here.leasing.update_one(free, _emptying(terms))).matched_count)
        except AutoReconnect as exc:
            row = await _document_after(exc, here, terms.key)
            if row is None:
                return None
            return Lease.GRANTED if row.get("o") == terms.token else record_in(row)

    async def renew(self, here: Connection, terms: LeaseTerms) -> bool:
        """Let a lease end at the time of *terms*; False if it is no longer held."""
        return bool((await here.calls.run(here.leasing.bulk_write(_renewing(terms)))).matched_count)

    async def release(self, here: Connection, key: str, token: str) -> None:
        """Release the lease on *key*, unless it has passed to another process."""
        await here.leasing.bulk_write(_giving_back(key, token))


async def _document_after(exc: PyMongoError, here: Connection, key: str) -> Document | None:
    """The document of *key*, read after a primary has gone that may have granted the lease.

    Raises:
        PyMongoError: *exc*, if no server can be found, or the server does not answer.
    """
    if isinstance(exc, (NetworkTimeout, ServerSelectionTimeoutError)):
        raise exc
    return await here.collection.find_one({"_id": name_of(key)})


async def _is_inserted(here: Connection, terms: LeaseTerms) -> bool:
    """Insert a document with the lease; False if the key has a document.

    Sent as a command, since the driver's method may send a retryable write, which costs the server another write.

    Raises:
        PyMongoError: the server has refused it for another reason.
    """
    collection = here.leasing
    asked: Document = {
        "insert": collection.name,
        "documents": [{"_id": name_of(terms.key), **_lease_alone(terms)}],
        "writeConcern": collection.write_concern.document,
    }
    answer: Document = await collection.database.command(asked, codec_options=collection.codec_options)
    errors: list[Document] = answer.get("writeErrors") or []
    if errors and errors[0].get("code") != DUPLICATE_KEY:
        raise OperationFailure("the lease was not written", errors[0].get("code"), errors[0])
    return not errors


# ---- documents, filters and updates, without update pipelines, which some servers do not support


def _lease_alone(lease: LeaseTerms) -> Document:
    """The fields of a document that has the lease and no record."""
    return {"o": lease.token, "l": lease.end_ms, "until": DatetimeMS(lease.end_ms)}


def _is_leased(document: Document, lease: LeaseTerms) -> bool:
    """Whether *document* has a lease that has not ended; as `_if_free`, before another call is made."""
    end_ms = document.get("l")
    return isinstance(end_ms, int | float) and end_ms > lease.now_ms


def _if_free(lease: LeaseTerms) -> Document:
    """The filter for the key's document without a lease; if it has one, an upsert reports a duplicate key."""
    return {"_id": name_of(lease.key), "l": {"$not": {"$gt": lease.now_ms}}}  # also matches documents without the field


def _taking(lease: LeaseTerms) -> Document:
    """The update of an upsert that takes the lease; apply `emptying` after that if the record has expired."""
    return {"$set": {"o": lease.token, "l": lease.end_ms}, "$setOnInsert": {"until": DatetimeMS(lease.end_ms)}}


def _unchanged(key: str, before: Document) -> Document:
    """The filter for the document of *key* if its expiry is still that of *before*."""
    return {"_id": name_of(key), "until": before.get("until")}


def _emptying(lease: LeaseTerms) -> Document:
    """The update that removes an expired record and gives the document the lease's expiry, so that it is kept."""
    return {"$set": _lease_alone(lease), "$unset": {"v": "", "f": "", "i": ""}}


def _renewing(lease: LeaseTerms) -> list[UpdateOne]:
    """The updates that extend the lease; it is still held if one of them matches a document."""
    ours = {"_id": name_of(lease.key), "o": lease.token}
    longer = {"$set": {"until": DatetimeMS(lease.end_ms)}}  # for a document without a record
    return [UpdateOne(ours, {"$set": {"l": lease.end_ms}}), UpdateOne({**ours, "f": {"$exists": False}}, longer)]


def _giving_back(key: str, token: str) -> list[DeleteOne | UpdateOne]:
    """The operations that release the lease of *token* on *key*: delete a document without a record, or else update."""
    ours = {"_id": name_of(key), "o": token}
    return [DeleteOne({**ours, "f": {"$exists": False}}), UpdateOne(ours, {"$unset": {"o": "", "l": ""}})]
