"""The place of one request's response: an entry is put there, among the variants of its URL, and cleared."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from aiohttp import hdrs

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten
from aiohttp_cache_di.engine.answering.describe import Report
from aiohttp_cache_di.engine.keeping.leasing import Leasing
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Placing"]

_OF_THIS_REQUEST = frozenset({"headers", "cookies", "data", "decoded", "principal"})
"""Arguments of a key that tell of one request rather than of the way to the origin."""


class Placing(Leasing):
    """Where entries for one request are put and cleared."""

    # ---- putting

    def place_and_tell(self, entry: StoredResponse, report: Report) -> StoredResponse:
        """As `place`, letting *report* say what becomes of it."""
        report.fresh_until = entry.fresh_until
        placed: StoredResponse | None = None

        def tell(is_written: bool) -> None:
            is_waiting = placed is not None and self.runtime.pending(placed.key) is not None
            report.written(is_written, is_waiting=is_waiting)

        placed = self.place(entry, outcome=tell)
        if not report.is_told:
            is_failing = self.store_failed or self.backend.guard.is_failing("write")
            report.accepted(is_failing=is_failing, is_read_early=self.backend.reads_pending)
        return placed

    def place(self, entry: StoredResponse, *, outcome: OnWritten | None = None) -> StoredResponse:
        """Write *entry* where it belongs among the variants of its URL; return it as it was written.

        Args:
            entry: as it may be stored: see `redacted`.
            outcome: told of the entry's own write; see `Runtime.store`.
        """
        primary = self._primary_now(entry)
        if primary is None:  # it is the only one of its URL, as nearly all are
            self.runtime.here.store(entry, outcome, counts=outcome is not None)
            return entry
        bounds: dict[str, Any] = {"max_variants": self.rules.max_variants, "now": time.time()}
        try:
            placement = policy.place_variant(primary, entry, **bounds)
        except Exception:  # of what lies there, which this takes the place of
            placement = policy.place_variant(None, entry, **bounds)
        placed = placement.writes[-1]
        for write in placement.writes:  # of which one may be what was read, and opened for that
            kept, told = (write, outcome) if write is placed else (self.redacted(write), None)
            self.runtime.here.store(kept, outcome=told, counts=told is not None)
        if placement.deletes:
            self._delete_later(set(placement.deletes))
        return placed

    def redacted(self, entry: StoredResponse) -> StoredResponse:
        """*entry* as it may be stored."""
        return keys.redacted(entry, self.backend.ignored_params, self.backend.digest_key)

    def _primary_now(self, entry: StoredResponse) -> StoredResponse | None:
        """What lies where *entry* goes by now, as far as that can be told at once: other variants may have come."""
        primary = self.primary
        if entry.method == hdrs.METH_HEAD and primary is not None and primary.method != hdrs.METH_HEAD:
            primary = None  # a response to HEAD lies under a key of its own
        key = entry.key if primary is None else primary.key
        latest = self.runtime.peek(key)
        if latest is not None and latest.key == key and latest.partition == entry.partition:
            return latest
        return primary

    def _delete_later(self, dropped: set[str]) -> None:
        backend = self.backend

        async def delete() -> None:
            await backend.guard.run("delete", lambda: backend.stack.delete(dropped), None)

        self.runtime.spawn(delete(), owner=backend)

    # ---- clearing

    async def forget(self) -> None:
        """Drop what is stored for the request."""
        await self.drop({self.key if self.head_of is None else self.head_of.key})

    async def invalidate(self, urls: Iterable[str]) -> None:
        """Drop what is stored for *urls*: for these credentials and for none (RFC 9111 §4.4)."""
        way = {name: value for name, value in self.key_arguments.items() if name not in _OF_THIS_REQUEST}
        own = {name: self.key_arguments.get(name) for name in ("headers", "cookies")}
        if "principal" in self.key_arguments:
            own["principal"] = self.key_arguments["principal"]
        plain: dict[str, Any] = {"headers": [(hdrs.HOST, host) for host in self.message.headers.getall(hdrs.HOST, ())]}
        if "tls" in way:
            plain["tls"] = keys.without_client(way["tls"])
        outdated = {
            self.backend.create_key(method, spelling, decoded=decoded, **{**way, **fields})
            for url in urls
            for spelling in keys.spellings(url)
            for method in (hdrs.METH_GET, hdrs.METH_HEAD)
            for fields in (own, plain)
            for decoded in (True, False)
        }
        self.backend.stats.invalidated += await self.drop(outdated)
