"""Writing the entry of one request among the variants of its URL, and deleting entries that it makes invalid."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from aiohttp import hdrs

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten
from aiohttp_cache_di.engine.answering.describe import Report
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Placing"]

_OF_THIS_REQUEST = frozenset({"headers", "cookies", "data", "decoded", "principal"})
"""Arguments of `create_key` that belong to one request, rather than to how the origin is reached."""


class Placing(Lookup):
    """A look-up that can also write and delete the entries of its request."""

    # ---- writing

    def place_and_tell(self, entry: StoredResponse, report: Report) -> StoredResponse:
        """Do as `place`, and keep *report* informed about the write."""
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
        """Write *entry* among the variants of its URL; return it as it was written.

        Args:
            entry: without secrets, see `redacted`.
            outcome: called about the write of *entry* itself, not of other variants; see `Runtime.store`.
        """
        primary = self._primary_now(entry)
        if primary is None:  # the only variant of its URL, the common case
            self.runtime.here.store(entry, outcome, counts=outcome is not None)
            return entry
        bounds: dict[str, Any] = {"max_variants": self.question.rules.max_variants, "now": time.time()}
        try:
            placement = policy.place_variant(primary, entry, **bounds)
        except Exception:  # caused by a bad primary entry, which this one replaces
            placement = policy.place_variant(None, entry, **bounds)
        placed = placement.writes[-1]
        for write in placement.writes:  # an entry that was read has its secrets decrypted: redact it again
            kept, told = (write, outcome) if write is placed else (self.redacted(write), None)
            self.runtime.here.store(kept, outcome=told, counts=told is not None)
        if placement.deletes:
            self._delete_later(set(placement.deletes))
        return placed

    def redacted(self, entry: StoredResponse, names: frozenset[bytes] | None = None) -> StoredResponse:
        """*entry* without secrets, as it may be stored.

        Args:
            names: the lower-case names of its header fields, if they are known.
        """
        return keys.redacted(entry, self.backend.ignored_params, self.backend.digest_key, names=names)

    def _primary_now(self, entry: StoredResponse) -> StoredResponse | None:
        """The latest primary entry of the URL that is known without waiting: other variants may have been stored."""
        primary = self.primary
        if entry.method == hdrs.METH_HEAD and primary is not None and primary.method != hdrs.METH_HEAD:
            primary = None  # a response to HEAD has its own key
        key = entry.key if primary is None else primary.key
        latest = self.runtime.peek(key)
        if latest is not None and latest.key == key and latest.partition == entry.partition:
            return latest
        return primary

    def _delete_later(self, dropped: set[str]) -> None:
        """Delete variants in the background."""
        backend = self.backend

        async def delete() -> None:
            await backend.guard.run("delete", lambda: backend.stack.delete(dropped), None)

        self.runtime.spawn(delete(), owner=backend)

    # ---- deleting

    async def forget(self) -> None:
        """Delete the stored response to the request."""
        await self.drop({self.question.key if self.head_of is None else self.head_of.key})

    async def invalidate(self, urls: Iterable[str]) -> None:
        """Delete stored responses for *urls*, those for this request's credentials and for none (RFC 9111 §4.4)."""
        way = {name: value for name, value in self.key_arguments.items() if name not in _OF_THIS_REQUEST}
        own = {name: self.key_arguments.get(name) for name in ("headers", "cookies")}
        if "principal" in self.key_arguments:
            own["principal"] = self.key_arguments["principal"]
        plain: dict[str, Any] = {
            "headers": [(hdrs.HOST, host) for host in self.question.request.headers.getall(hdrs.HOST, ())]
        }
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
        count = await self.drop(outdated)  # read first: the counter may change meanwhile
        self.backend.stats.invalidated += count
