"""The operations on leases, each with one call to the server where that is possible."""

from __future__ import annotations

import logging
from typing import Final

from pymongo import ReturnDocument
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from aiohttp_cache_di.backends.mongodb.client import Connection
from aiohttp_cache_di.backends.mongodb.documents import (
    Document,
    LeaseTerms,
    emptying,
    giving_back,
    has_record,
    if_free,
    making,
    name_of,
    renewing,
    taking,
    unchanged,
)
from aiohttp_cache_di.backends.store import Lease

__all__ = ["DocumentLeases"]

logger: logging.Logger = logging.getLogger(__name__)

NO_LEASES: Final = "%s: this server's findAndModify does not upsert: without leases, each process fetches for itself"


class DocumentLeases:
    """Takes, renews and releases leases; see `RowLeases`."""

    async def take(self, here: Connection, key: str, token: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key*."""
        terms, now_ms = await _terms(here, token, ttl_s)
        try:
            before: Document | None = await here.leasing.find_one_and_update(
                if_free(key, now_ms),
                taking(terms),
                upsert=True,
                projection={"f": 1, "until": 1},
                return_document=ReturnDocument.BEFORE,
            )
        except DuplicateKeyError:
            return Lease.REFUSED
        except AutoReconnect as exc:
            row = await _document_after(exc, here, key)
            if row is None or row.get("o") != terms.token:
                return Lease.REFUSED  # the caller asks again
            return Lease.GRANTED_LATE if has_record(row, now_ms) else Lease.GRANTED
        if before is None:  # there was no document; some servers also return this while another process writes one
            row = await here.collection.find_one({"_id": name_of(key)}, {"f": 1, "until": 1, "o": 1}) or {}
            if has_record(row, now_ms):
                return Lease.GRANTED_LATE
            return Lease.GRANTED if row.get("o", terms.token) == terms.token else Lease.REFUSED
        if has_record(before, now_ms):
            return Lease.GRANTED_LATE
        await here.leasing.update_one({**unchanged(key, before), "o": terms.token}, emptying(terms))
        return Lease.GRANTED

    async def look_or_take(self, here: Connection, key: str, token: str, ttl_s: float) -> Document | Lease | None:
        """The document of *key* if it has a record; else whether the lease was granted, None if no lease was asked."""
        terms, now_ms = await _terms(here, token, ttl_s)
        try:
            before = await _made(here, key, terms, now_ms)
            if before is None:
                return Lease.GRANTED
            if has_record(before, now_ms):
                return before
            free = {**unchanged(key, before), **if_free(key, now_ms)}
            return Lease((await here.leasing.update_one(free, emptying(terms))).matched_count)
        except DuplicateKeyError:  # another process has the lease; there may be a record, too
            row = await here.collection.find_one({"_id": name_of(key)})
            return row if row is not None and has_record(row, now_ms) else Lease.REFUSED
        except (AutoReconnect, OperationFailure) as exc:
            if isinstance(exc, OperationFailure):
                here.look_alone()
            row = await _document_after(exc, here, key)
            return Lease.GRANTED if row is not None and row.get("o") == terms.token else row

    async def renew(self, here: Connection, key: str, token: str, ttl_s: float) -> bool:
        """Extend the lease on *key* to *ttl_s* seconds from now; False if it is no longer held."""
        terms, _ = await _terms(here, token, ttl_s)
        return bool((await here.calls.run(here.leasing.bulk_write(renewing(key, terms)))).matched_count)

    async def release(self, here: Connection, key: str, token: str) -> None:
        """Release the lease on *key*, unless it has passed to another process."""
        await here.leasing.bulk_write(giving_back(key, token))


async def _document_after(exc: PyMongoError, here: Connection, key: str) -> Document | None:
    """The document of *key*, read after a primary has gone that may have granted the lease.

    Raises:
        PyMongoError: *exc*, if no server can be found, or the server does not answer.
    """
    if isinstance(exc, (NetworkTimeout, ServerSelectionTimeoutError)):
        raise exc
    return await here.collection.find_one({"_id": name_of(key)})


async def _made(here: Connection, key: str, terms: LeaseTerms, now_ms: int) -> Document | None:
    """The document of *key* if it has no lease; None if there was none and one with the lease was made.

    Sent as a command, since the driver's method may send a retryable write, which costs the server another write.
    """
    collection = here.leasing
    asked: Document = {
        "findAndModify": collection.name,
        "query": if_free(key, now_ms),
        "update": making(terms),
        "upsert": True,
        "writeConcern": collection.write_concern.document,
    }
    answer: Document = await collection.database.command(asked, codec_options=collection.codec_options)
    before: Document | None = answer.get("value") or None
    if before is None and "upserted" not in (answer.get("lastErrorObject") or {}):
        return await _made_unreported(here, key, terms)
    return before


async def _made_unreported(here: Connection, key: str, terms: LeaseTerms) -> Document | None:
    """As `_made`, for servers that do not report the upsert; some report success but have made nothing."""
    row: Document | None = await here.collection.find_one({"_id": name_of(key)})
    owner = row and row.get("o")
    if owner is not None and owner != terms.token:
        raise DuplicateKeyError("another has the lease")
    if owner is None:
        if not here.looks_alone_until:
            logger.warning(NO_LEASES, here.collection.full_name)
        here.look_alone()
        return row
    return None


async def _terms(here: Connection, token: str, ttl_s: float) -> tuple[LeaseTerms, int]:
    """The terms of a lease that begins now, and the time, both by the server's clock."""
    now_ms = await here.clock.now_ms()
    return LeaseTerms(token, now_ms + max(1, round(ttl_s * 1000))), now_ms
