"""The place of one request's response: put there, and cleared."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, TypeVar

from aiohttp import ClientResponse, hdrs

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di._aiohttp import DecodingWatch
from aiohttp_cache_di.backends.base import accept_all
from aiohttp_cache_di.backends.wrap import leases
from aiohttp_cache_di.backends.wrap.write import Outcome
from aiohttp_cache_di.engine.call import Call
from aiohttp_cache_di.engine.describe import Report
from aiohttp_cache_di.engine.flights import Flight
from aiohttp_cache_di.engine.flights import Outcome as Landing
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.question import key_after_redirect
from aiohttp_cache_di.engine.recording import Failed, Unkept, note_failure, record, why_not_kept
from aiohttp_cache_di.entries.fields import expires_at
from aiohttp_cache_di.policy import Store
from aiohttp_cache_di.policy.rules import is_redirect
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import Response, StoredResponse

__all__ = ["Shelf"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

UNREAD_BYTES = 2**16  # aiohttp lets about twice as much in before somebody reads
_OF_THIS_REQUEST = frozenset({"headers", "cookies", "data", "decoded"})
"""Arguments of a key that tell of one request rather than of the way to the origin."""
_SET_COOKIE = frozenset({"set-cookie", "set-cookie2"})


class Shelf(Lookup):
    """Where the response to one request is kept: looked for, put there, and cleared."""

    _lease: str | None = None
    is_asking_user: bool = False
    """Whether a method of the user's has a say in whether the response is stored."""

    def note_hop(self, call: Call) -> None:
        """The call has passed here on its way."""
        call.keys.append(self.key)

    # ---- putting

    def store_when_whole(
        self,
        response: ClientResponse,
        head: Response,
        decision: Store,
        flight: Flight,
        watch: DecodingWatch | None,
        call: Call,
    ) -> None:
        """Store *response* once its last byte has arrived; end *flight* with the entry, or with why there is none.

        Raises nothing: what goes wrong with the cache is not the caller's.
        """
        failed = partial(self.backend.stats.count_error, "record")
        try:
            self._record(response, head, decision, flight, watch, call, failed)
        except Exception as error:
            note_failure(error, failed)
            self.settle(flight, "parallel")

    def _record(
        self,
        response: ClientResponse,
        head: Response,
        decision: Store,
        flight: Flight,
        watch: DecodingWatch | None,
        call: Call,
        failed: Failed,
    ) -> None:
        report = Report(response, decision.cache_status, received_at=head.received_at)
        length, limit = response.headers.get(hdrs.CONTENT_LENGTH, ""), self.backend.max_body_bytes
        target = response.headers.get(hdrs.LOCATION, "")
        unkept = why_not_kept(response, limit)
        why_not = None if unkept is None else unkept.value
        # A parameter that is not to be stored is nothing to lead the next caller to, either.
        if why_not is None and keys.has_param(target, self.backend.ignored_params):
            why_not = "ignored-param"
        if why_not is not None:
            report.not_stored(why_not)
            self.settle(flight, "parallel", passes=True)
            return
        if not length.isdecimal() or int(length) <= UNREAD_BYTES:
            flight.arriving_for = call.session
            flight.leader = None  # who asks again waits for what comes by itself
        history = self._links(response, call)
        make = partial(self._entry, response, response.version, response.raw_headers, head, decision, history)
        finished = partial(self._finished, make, flight, report)
        record(response, max_bytes=limit, finished=finished, watch=watch, failed=failed)

    def _finished(
        self, make: Callable[[bytes], StoredResponse], flight: Flight, report: Report, body: bytes | Unkept
    ) -> None:
        flight.arriving_for = flight.leader = None
        try:
            if isinstance(body, Unkept):
                report.not_stored(body.value)
                self.settle(flight, "abandoned" if body is Unkept.CUT else "parallel", passes=body.is_lasting)
            elif not flight.store_allowed:
                report.not_stored("invalidated")
                self.settle(flight, "parallel")
            else:
                self._put(make(body), flight, report)
        except Exception:
            logger.exception("A response could not be stored")
            report.not_stored("error")
            self.settle(flight, "parallel")

    def _put(self, entry: StoredResponse, flight: Flight, report: Report) -> None:
        backend = self.backend
        if backend.filter_fn is not accept_all or backend.overridden & {"is_cacheable", "save_response"}:
            self.is_asking_user = True
            self.runtime.spawn(self._put_if_asked(entry, flight, report), owner=backend)
            return
        self.settle(flight, self.place_and_tell(entry, report))

    def place_and_tell(self, entry: StoredResponse, report: Report) -> StoredResponse:
        """As `place`, letting *report* say what becomes of it."""
        report.placed(entry.fresh_until)
        placed = self.place(entry, outcome=report.written)
        report.accepted(is_failing=self.backend.guard.is_failing("write"))
        return placed

    async def _put_if_asked(self, entry: StoredResponse, flight: Flight, report: Report) -> None:
        backend = self.backend
        try:
            response = CachedResponse.from_stored(entry)
            verdict: Any = backend.is_cacheable(response, self.actions)
            if not (await verdict if inspect.isawaitable(verdict) else verdict):
                report.not_stored("filtered")
                self.settle(flight, "parallel", passes=True)
            elif "save_response" in backend.overridden:
                await self._save_by_user(response, report)
                self.settle(flight, entry)
            else:
                self.settle(flight, self.place_and_tell(entry, report))
        except BaseException:
            report.not_stored("error")
            raise
        finally:
            self.settle(flight, "parallel")  # has no effect on a flight that has ended

    async def _save_by_user(self, response: CachedResponse, report: Report) -> None:
        """Let the user's own method store *response*."""
        backend, entry = self.backend, response.stored

        async def save() -> bool:
            await backend.save_response(response, entry.key, expires_at(entry))
            return True

        if await backend.guard.run("write", save, False):
            backend.stats.stored += 1
            report.placed(entry.fresh_until)
            report.written(True)
        else:
            report.not_stored("store-failed")

    def place(self, entry: StoredResponse, *, outcome: Outcome | None = None) -> StoredResponse:
        """Write *entry* where it belongs among the variants of its URL; return it as it was written.

        Args:
            outcome: told of the entry's own write; see `Runtime.store`.
        """
        primary = self._primary_now(entry)
        placement = policy.place_variant(primary, entry, max_variants=self.rules.max_variants, now=time.time())
        placed = placement.writes[-1]
        for write in placement.writes:
            self.runtime.store(write, outcome=outcome if write is placed else None)
        if placement.deletes:
            self._delete_later(set(placement.deletes))
        return placed

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

    def _delete_later(self, doomed: set[str]) -> None:
        backend = self.backend

        async def delete() -> None:
            await backend.guard.run("delete", lambda: backend.stack.delete(doomed), None)

        self.runtime.spawn(delete(), owner=backend)

    def _entry(
        self,
        response: ClientResponse,
        version: Any,
        raw_headers: Iterable[tuple[bytes, bytes]],
        head: Response,
        decision: Store,
        history: tuple[str, ...],
        body: bytes,
    ) -> StoredResponse:
        drop = _in_bytes(decision.drop - _SET_COOKIE if self.backend.store_cookies else decision.drop)
        reason = response.reason
        entry = StoredResponse(
            key=self.key,
            method=self.message.method,
            url=keys.redact_url(self.message.url, self.backend.ignored_params),
            status=head.status,
            reason=None if reason is None else reason.encode("utf-8", "surrogateescape"),
            version=(1, 1) if version is None else (version.major, version.minor),
            raw_headers=(
                *[line for line in raw_headers if line[0].lower() not in drop],
                *[(name.encode(), value.encode()) for name, value in decision.add],
            ),
            requested_at=head.requested_at,
            received_at=head.received_at,
            created_at=head.received_at,
            fresh_until=decision.fresh_until,
            store_until=decision.store_until,
            partition=self.partition,
            vary_fields=decision.vary_fields,
            vary_digest=decision.vary_digest,
            history=history,
            body=body,
        )
        return entry if decision.combine_with is None else policy.combine(decision.combine_with, entry)

    def _links(self, response: ClientResponse, call: Call) -> tuple[str, ...]:
        """The keys of the redirects that led here, or of what this redirect leads to."""
        location = response.headers.get(hdrs.LOCATION)
        if location is None or not is_redirect(response.status):
            return tuple(call.keys)
        following = key_after_redirect(self.message, response.status, location, self.key_arguments, self.backend)
        return () if following is None else (following,)

    # ---- clearing

    async def forget(self) -> None:
        """Drop what is stored for the request."""
        await self.drop({self.key if self.head_of is None else self.head_of.key})

    async def invalidate(self, urls: Iterable[str]) -> None:
        """Drop what is stored for *urls*: for these credentials and for none (RFC 9111 §4.4)."""
        way = {name: value for name, value in self.key_arguments.items() if name not in _OF_THIS_REQUEST}
        own = {name: self.key_arguments.get(name) for name in ("headers", "cookies")}
        doomed = {
            self.backend.create_key(method, url, **fields, decoded=decoded, **way)
            for url in urls
            for method in (hdrs.METH_GET, hdrs.METH_HEAD)
            for fields in (own, {})
            for decoded in (True, False)
        }
        self.backend.stats.invalidated += 1
        await self.drop(doomed)

    # ---- one request to the origin per key, and one process

    async def lease(self, until: float, usable: Callable[[StoredResponse], T | None]) -> T | None:
        """Become the only process that fetches this key, or return what *usable* makes of another one's response.

        Args:
            until: loop time after which to fetch without a lease.
        """
        here, lease_s, key = self.runtime.here, self.backend.lease_s, self.key
        at_hand = here.peek(key)
        if at_hand is not None and at_hand is not self.primary:  # it came after the store was asked
            answer = await self._look_again(usable)
            if answer is not None:
                return answer
        if self._store_failed or lease_s <= 0 or here.leasing is None:
            return None
        look = partial(self._look_again, usable)
        is_held, answer = await leases.obtain(here.leasing, here.guard, key, lease_s, until=until, look=look)
        if is_held:
            self._lease = key
            if answer is not None:
                self.release_lease()
        return answer

    async def _look_again(self, usable: Callable[[StoredResponse], T | None]) -> T | None:
        entry = await self._select(self.key)
        return None if entry is None else usable(entry)

    def release_lease(self) -> None:
        """Let other processes fetch again, once what this one has stored is there to be seen."""
        key, self._lease = self._lease, None
        if key is None:
            return
        self.runtime.give_back(key, owner=self.backend)

    def settle(self, flight: Flight, outcome: Landing, *, passes: bool = False) -> None:
        """End *flight*; with *passes*, later requests for the key need not wait for one another."""
        if not flight.is_over:
            if passes:
                self.runtime.flights.remember_pass(self.key, now=time.monotonic())
            self.runtime.flights.end(flight, outcome)
        self.release_lease()  # also of a flight that an invalidation has ended


@lru_cache(maxsize=64)
def _in_bytes(names: frozenset[str]) -> frozenset[bytes]:
    return frozenset(name.encode("utf-8", "surrogateescape") for name in names)
