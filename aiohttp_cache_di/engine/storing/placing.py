"""Writing the entry of one request among the variants of its URL, without secrets."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import hdrs
from msgspec.structs import replace

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten
from aiohttp_cache_di.engine.answering.describe import Report
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["place", "place_and_tell", "redacted"]


def place_and_tell(lookup: Lookup, entry: StoredResponse, report: Report) -> StoredResponse:
    """Do as `place`, and keep *report* informed about the write."""
    report.fresh_until = entry.fresh_until
    placed: StoredResponse | None = None

    def tell(is_written: bool) -> None:
        is_waiting = placed is not None and lookup.runtime.pending(placed.key) is not None
        report.written(is_written, is_waiting=is_waiting)

    placed = place(lookup, entry, outcome=tell)
    lookup.runtime.flights.supersede(lookup.question.key, entry)
    if not report.is_told:
        backend = lookup.backend
        is_failing = lookup.store_failed or backend.guard.is_failing("write")
        report.accepted(is_failing=is_failing, is_read_early=backend.reads_pending)
    return placed


def place(lookup: Lookup, entry: StoredResponse, *, outcome: OnWritten | None = None) -> StoredResponse:
    """Write *entry*, of the request of *lookup*, among the variants of its URL; return it as it was written.

    Args:
        entry: without secrets, see `redacted`.
        outcome: called about the write of *entry* itself, not of other variants; see `LoopStack.store`.
    """
    here = lookup.runtime.here
    primary = _primary_now(lookup, entry)
    if primary is None:  # the only variant of its URL, the common case
        deleted = lookup.primary
        if deleted is not None and any(ref.key == entry.key for ref in deleted.variants):  # nothing lists it any more
            entry = replace(entry, key=deleted.key, variants=())
        here.store(entry, outcome, counts=outcome is not None)
        if entry.vary_fields:
            lookup.runtime.flights.note_placed(entry, here.deletions.count)
        return entry
    bounds: dict[str, Any] = {"max_variants": lookup.question.rules.max_variants, "now": time.time()}
    try:
        placement = policy.place_variant(primary, entry, **bounds)
    except Exception:  # caused by a bad primary entry, which this one replaces
        placement = policy.place_variant(None, entry, **bounds)
    placed = placement.writes[-1]
    for write in placement.writes:  # an entry that was read has its secrets decrypted: redact it again
        kept, told = (write, outcome) if write is placed else (redacted(lookup.backend, write), None)
        here.store(kept, outcome=told, counts=told is not None)
        if kept.key == primary.key:
            lookup.runtime.flights.note_placed(kept, here.deletions.count)
    if placement.deletes:
        _delete_later(lookup, set(placement.deletes))
    return placed


def redacted(backend: CacheBackend, entry: StoredResponse, names: frozenset[bytes] | None = None) -> StoredResponse:
    """*entry* without secrets, as it may be stored.

    Args:
        names: the lower-case names of its header fields, if they are known.
    """
    return keys.redacted(entry, backend.ignored_params, backend.digest_key, names=names)


def _primary_now(lookup: Lookup, entry: StoredResponse) -> StoredResponse | None:
    """The latest primary entry of the URL that is known without waiting: other variants may have been stored.

    None if it was deleted since it was read, or is being: written again as a variant, it would be used again.
    """
    primary = lookup.primary
    if entry.method == hdrs.METH_HEAD and primary is not None and primary.method != hdrs.METH_HEAD:
        primary = None  # a response to HEAD has its own key
    key = entry.key if primary is None else primary.key
    deletions = lookup.runtime.here.deletions
    latest = lookup.runtime.pending(key) if deletions.is_under_way(key) else lookup.runtime.peek(key)
    placed = lookup.runtime.flights.placed(key) if latest is None else None
    if placed is not None and not deletions.has(key, after=placed[1]):
        latest = placed[0]
    if latest is not None and latest.key == key and latest.partition == entry.partition:
        return latest
    return None if lookup.is_outdated() else primary


def _delete_later(lookup: Lookup, dropped: set[str]) -> None:
    """Delete variants in the background."""
    backend = lookup.backend

    async def delete() -> None:
        await backend.guard.run("delete", lambda: backend.stack.delete(dropped), None)

    lookup.runtime.spawn(delete(), owner=backend)
