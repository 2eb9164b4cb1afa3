"""The place of one request's response: put there, and cleared."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, TypeVar

from aiohttp import ClientResponse, hdrs

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di._aiohttp import DecodingWatch, is_decoded
from aiohttp_cache_di.backends.base import accept_all
from aiohttp_cache_di.backends.storage import BaseCache, Lease
from aiohttp_cache_di.engine.call import Call
from aiohttp_cache_di.engine.flights import Flight, Outcome
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.question import key_after_redirect
from aiohttp_cache_di.engine.recording import Unkept, may_be_kept, record
from aiohttp_cache_di.entries.fields import expires_at
from aiohttp_cache_di.policy import Store
from aiohttp_cache_di.policy.rules import is_redirect
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import Response, StoredResponse

__all__ = ["Shelf"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

LEASE_POLL_S = 0.01  # at first; it doubles up to LEASE_POLL_MAX_S
LEASE_POLL_MAX_S = 0.08
UNREAD_BYTES = 2**16  # aiohttp lets about twice as much in before somebody reads
_OF_THIS_REQUEST = frozenset({"headers", "cookies", "data", "decoded"})
"""Arguments of a key that tell of one request rather than of the way to the origin."""
_SET_COOKIE = frozenset({"set-cookie", "set-cookie2"})


class Shelf(Lookup):
    """Where the response to one request is kept: looked for, put there, and cleared."""

    _lease: str | None = None

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
        """Store *response* once its last byte has arrived; end *flight* with the entry, or with why there is none."""
        length, limit = response.headers.get(hdrs.CONTENT_LENGTH, ""), self.backend.max_body_bytes
        target = response.headers.get(hdrs.LOCATION, "")
        # A parameter that is not to be stored is nothing to lead the next caller to, either.
        if not may_be_kept(response, limit) or keys.has_param(target, self.backend.ignored_params):
            self.settle(flight, "parallel", passes=True)
            return
        if not length.isdecimal() or int(length) <= UNREAD_BYTES:
            flight.arriving_for = call.session
            flight.leader = None  # who asks again waits for what comes by itself
        history = self._links(response, call)
        make = partial(self._entry, response, response.version, response.raw_headers, head, decision, history)
        finished = partial(self._finished, make, flight)
        record(response, max_bytes=limit, finished=finished, watch=watch if is_decoded(response.content) else None)

    def _finished(self, make: Callable[[bytes], StoredResponse], flight: Flight, body: bytes | Unkept) -> None:
        flight.arriving_for = flight.leader = None
        try:
            if body is Unkept.CUT:
                self.settle(flight, "abandoned")
            elif body is Unkept.UNFIT or not flight.store_allowed:
                self.settle(flight, "parallel", passes=body is Unkept.UNFIT)
            else:
                self._put(make(body), flight)
        except Exception:
            logger.exception("A response could not be stored")
            self.settle(flight, "parallel")

    def _put(self, entry: StoredResponse, flight: Flight) -> None:
        backend = self.backend
        if backend.filter_fn is not accept_all or backend.overridden & {"is_cacheable", "save_response"}:
            self.runtime.spawn(self._put_if_asked(entry, flight), owner=backend)
            return
        entry = self.place(entry)
        self.settle(flight, entry)

    async def _put_if_asked(self, entry: StoredResponse, flight: Flight) -> None:
        backend = self.backend
        try:
            response = CachedResponse.from_stored(entry)
            verdict: Any = backend.is_cacheable(response, self.actions)
            if not (await verdict if inspect.isawaitable(verdict) else verdict):
                self.settle(flight, "parallel", passes=True)
            elif "save_response" in backend.overridden:
                expires = expires_at(entry)
                await backend.guard.run("write", lambda: backend.save_response(response, entry.key, expires), None)
                self.settle(flight, entry)
            else:
                self.settle(flight, self.place(entry))
        finally:
            self.settle(flight, "parallel")  # has no effect on a flight that has ended

    def place(self, entry: StoredResponse) -> StoredResponse:
        """Write *entry* where it belongs among the variants of its URL; return it as it was written."""
        entry = keys.redacted(entry, self.backend.ignored_params)
        primary = self._primary_now(entry)
        placement = policy.place_variant(primary, entry, max_variants=self.rules.max_variants, now=time.time())
        for write in placement.writes:
            storage = self.backend.storage_for(write)
            self.runtime.store(write, storage)
            if self._found_in is not None and self._found_in is not storage:
                self._delete_later(self._found_in, {write.key})
        if placement.deletes:
            self._delete_later(self.backend.responses, set(placement.deletes))
        return placement.writes[-1]

    def _primary_now(self, entry: StoredResponse) -> StoredResponse | None:
        """What lies where *entry* goes by now, as far as that can be told at once: other variants may have come."""
        primary, backend = self.primary, self.backend
        if entry.method == hdrs.METH_HEAD and primary is not None and primary.method != hdrs.METH_HEAD:
            primary = None  # a response to HEAD lies under a key of its own
        key = entry.key if primary is None else primary.key
        for latest in (self.runtime.pending(key), backend.responses.peek(key), backend.redirects.peek(key)):
            if latest is not None and latest.key == key and latest.partition == entry.partition:
                return latest
        return primary

    def _delete_later(self, storage: BaseCache, doomed: set[str]) -> None:
        guard = self.backend.guard

        async def delete() -> None:
            await guard.run("delete", lambda: storage.bulk_delete(doomed), None)

        self.runtime.spawn(delete(), owner=self.backend)

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
        if decision.combine_with is not None:
            entry = policy.combine(decision.combine_with, entry)
        return keys.redacted(entry, self.backend.ignored_params)

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
        plain = {"headers": [(hdrs.HOST, host) for host in self.message.headers.getall(hdrs.HOST, ())]}
        doomed = {
            self.backend.create_key(method, spelling, **fields, decoded=decoded, **way)
            for url in urls
            for spelling in keys.spellings(url)
            for method in (hdrs.METH_GET, hdrs.METH_HEAD)
            for fields in (own, plain)
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
        backend, storage = self.backend, self.backend.responses
        key, loop, pause_s = self.key, asyncio.get_running_loop(), LEASE_POLL_S
        at_hand = self.runtime.pending(key) or storage.peek(key)
        if at_hand is not None and at_hand is not self.primary:  # it came after the storage was asked
            answer = await self._look_again(usable)
            if answer is not None:
                return answer
        if self._store_failed or backend.lease_s <= 0 or type(storage).acquire_lease is BaseCache.acquire_lease:
            return None
        waited = False
        while True:
            lease = await backend.guard.run("lease", lambda: storage.acquire_lease(key, backend.lease_s), Lease.GRANTED)
            if lease:
                self._lease = key
            elif loop.time() + pause_s < until:
                waited = True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LEASE_POLL_MAX_S)
            # Whoever held the lease may have stored its response before it let go.
            if waited or lease is Lease.GRANTED_LATE:
                answer = await self._look_again(usable)
                if answer is not None:
                    self.release_lease()
                    return answer
            if self._lease is not None or loop.time() + pause_s >= until:
                return None

    async def _look_again(self, usable: Callable[[StoredResponse], T | None]) -> T | None:
        entry = await self._select(self.key)
        return None if entry is None else usable(entry)

    def release_lease(self) -> None:
        """Let other processes fetch again, once what this one has stored is there to be seen."""
        key, self._lease = self._lease, None
        if key is None:
            return
        self.runtime.give_back(key, self.backend.responses, owner=self.backend)

    def settle(self, flight: Flight, outcome: Outcome, *, passes: bool = False) -> None:
        """End *flight*; with *passes*, later requests for the key need not wait for one another."""
        if not flight.is_over:
            if passes:
                self.runtime.flights.remember_pass(self.key, now=time.monotonic())
            self.runtime.flights.end(flight, outcome)
        self.release_lease()  # also of a flight that an invalidation has ended


@lru_cache(maxsize=64)
def _in_bytes(names: frozenset[str]) -> frozenset[bytes]:
    return frozenset(name.encode("utf-8", "surrogateescape") for name in names)
