"""The place of one request's response: put there, and cleared."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar
from weakref import ref

from aiohttp import ClientResponse, ClientSession, hdrs
from msgspec.structs import replace

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.backends.wrap import leases
from aiohttp_cache_di.backends.wrap.write import OnWritten
from aiohttp_cache_di.engine.describe import Report
from aiohttp_cache_di.engine.flights import Flight, Outcome
from aiohttp_cache_di.engine.framing import has_known_end
from aiohttp_cache_di.engine.origin import Reply
from aiohttp_cache_di.engine.question import key_after_redirect
from aiohttp_cache_di.engine.recording import Failed, Unkept, note_failure, record, why_not_kept
from aiohttp_cache_di.engine.spooled import MAX_JOINED_BYTES, largest_bytes, spools_of
from aiohttp_cache_di.engine.tagged import Tagged
from aiohttp_cache_di.entries.build import SET_COOKIE, kept_lines, reason_of, version_of
from aiohttp_cache_di.entries.checks import leads_on
from aiohttp_cache_di.entries.fields import expires_at
from aiohttp_cache_di.entries.filed import FiledBody, with_body
from aiohttp_cache_di.entries.tags import TooManyTagsError, joined
from aiohttp_cache_di.policy import Store
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import Detail
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, RawHeaders, Response, StoredResponse

__all__ = ["ResponseStoring"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

SLOW_S = 0.25  # of a response for which other processes are worth being told that they wait in vain
UNREAD_BYTES = 2**16  # aiohttp lets about twice as much in before it is read
_OF_THIS_REQUEST = frozenset({"headers", "cookies", "data", "decoded", "principal"})
"""Arguments of a key that tell of one request rather than of the way to the origin."""


class ResponseStoring(Tagged):
    """Where the response to one request is kept: looked for, put there, and cleared."""

    _lease: str | None = None
    _leased_at: float = 0.0
    is_named: bool = False
    """Whether it is for a principal, whatever its credentials are."""
    is_asking_user: bool = False
    """Whether a method of the user's has a say in whether the response is stored."""

    # ---- putting

    def store_when_whole(
        self, reply: Reply, decision: Store, flight: Flight, hops: Sequence[str], owner: ref[ClientSession]
    ) -> None:
        """Store a response once its last byte has arrived; end *flight* with the entry, or with why there is none.

        Raises nothing: what goes wrong with the cache is not the caller's.

        Args:
            hops: keys of the redirects that led to it.
            owner: a reference to the session that asked.
        """
        report = Report(reply.response, decision.cache_status, received_at=reply.head.received_at)
        failed = partial(self.backend.stats.count_error, "record")
        try:
            self._record(reply, decision, flight, report, hops, owner, failed)
        except Exception as error:
            note_failure(error, failed)
            report.not_stored("error")
            flight.end(Outcome.UNSHARED)
        report.begin()

    def _record(
        self,
        reply: Reply,
        decision: Store,
        flight: Flight,
        report: Report,
        hops: Sequence[str],
        owner: ref[ClientSession],
        failed: Failed,
    ) -> None:
        response = reply.response
        max_bytes = largest_bytes(self.runtime, self.backend)
        why_not = self._why_not(reply, owner, max_bytes)
        if why_not is not None:
            report.not_stored(why_not)
            self.end_unshared(flight)
            return
        # What a caller does to the response afterwards makes no difference.
        read = reason_of(response), version_of(response), response.raw_headers
        make = partial(self._entry, read, reply.head, decision, self._links(response, hops))
        finished = partial(self._finished, make, flight, report)
        flight.hand_over()
        record(
            response,
            max_bytes=max_bytes,
            finished=finished,
            watch=reply.watch,
            failed=failed,
            arrived=flight.arrived,
            spools=spools_of(
                self.runtime,
                self.backend,
                self.key,
                joined=decision.combine_with is not None,
                spawn=partial(self._finish_later, flight, owner),
            ),
        )
        if not flight.is_over:
            self._expect_body(response, flight, owner)

    def _expect_body(self, response: ClientResponse, flight: Flight, owner: ref[ClientSession]) -> None:
        """Something is still to come: the rest of the body, or a word of the user's about it."""
        flight.expect_body(self.backend.coalesce_timeout_s, has_end=has_known_end(response))
        if self.is_asking_user:
            return
        length = response.headers.get(hdrs.CONTENT_LENGTH, "")
        if not length.isdecimal() or int(length) <= UNREAD_BYTES:
            flight.body_for = owner
            flight.leader = None  # a task that asks again waits for what comes by itself

    def _finish_later(self, flight: Flight, owner: ref[ClientSession], rest: Coroutine[Any, Any, None]) -> None:
        """All has arrived, and the *rest* is being written: a request that comes now waits for that."""
        flight.body_for, flight.leader = owner, None
        self.runtime.spawn(rest, owner=self.backend)

    def _why_not(self, reply: Reply, owner: ref[ClientSession], max_bytes: float) -> Detail | None:
        """Why the body is not even copied: a detail of Cache-Status."""
        response, session = reply.response, owner()
        if not reply.is_as_asked(self.backend.credential_headers, is_named=self.is_named):
            if session is not None:
                self.runtime.has_changed(session)
            return "changed"
        try:
            self.tagging = self.tagging_of(response.headers, response.raw_headers)
        except TooManyTagsError:
            return "too-many-tags"
        unkept = why_not_kept(response, max_bytes)
        if unkept is not None:
            return unkept.value
        # A parameter that is not to be stored is nothing to lead the next caller to, either.
        location = response.headers.get(hdrs.LOCATION) or response.headers.get(hdrs.URI)
        if location is not None and keys.has_param(location, self.backend.ignored_params):
            return "ignored-param"
        is_odd = response.status in REDIRECTS and not leads_on(response.headers, self.message.url, self.message.method)
        return "odd-location" if is_odd else None

    def end_unshared(self, flight: Flight) -> None:
        """End *flight*, and let later requests for the key go out side by side for a while (hit-for-miss)."""
        if not flight.is_over:
            self.runtime.flights.remember_hit_for_miss(self.key, now=time.monotonic())
            flight.end(Outcome.UNSHARED)

    def _finished(
        self,
        make: Callable[[bytes | FiledBody], StoredResponse],
        flight: Flight,
        report: Report,
        body: bytes | FiledBody | Unkept,
    ) -> None:
        flight.body_for = flight.leader = None
        try:
            if isinstance(body, Unkept):
                report.not_stored(body.value)
                if body.is_lasting:
                    self.end_unshared(flight)
                flight.end(Outcome.ABANDONED if body is Unkept.CUT else Outcome.UNSHARED)
            elif not flight.store_allowed:
                report.not_stored("invalidated")
                flight.end(Outcome.UNSHARED)
            elif self.tagging is not None and self.runtime.here.purges.has_purged(self.tagging):
                report.not_stored("purged")
                flight.end(Outcome.UNSHARED)
            else:
                self._put(make(body), flight, report)
        except Exception:
            logger.exception("A response could not be stored")
            report.not_stored("error")
            flight.end(Outcome.UNSHARED)

    def _put(self, entry: StoredResponse, flight: Flight, report: Report) -> None:
        if self.hooks.judges_entries:
            self.is_asking_user = True
            self.runtime.spawn(self._put_if_asked(entry, flight, report), owner=self.backend)
        else:
            flight.end(self.place_and_tell(entry, report))

    def place_and_tell(self, entry: StoredResponse, report: Report) -> StoredResponse:
        """As `place`, letting *report* say what becomes of it."""
        report.fresh_until = entry.fresh_until
        placed: StoredResponse | None = None

        def tell(is_written: bool) -> None:
            is_waiting = placed is not None and self.runtime.pending(placed.key) is not None
            report.written(is_written, is_waiting=is_waiting)

        placed = self.place(entry, outcome=tell)
        report.accepted(self._is_failing)
        return placed

    def _is_failing(self) -> bool:
        return self._store_failed or self.backend.guard.is_failing("write")

    async def _put_if_asked(self, entry: StoredResponse, flight: Flight, report: Report) -> None:
        backend = self.backend
        try:
            if self.hooks.tags:
                entry = await self.tagged_by_user(entry)
            response = CachedResponse.from_stored(entry)
            verdict: Any = backend.is_cacheable(response, self.actions)
            if not (await verdict if inspect.isawaitable(verdict) else verdict):
                report.not_stored("filtered")
                self.end_unshared(flight)
            elif self.hooks.saves:
                await self._save_by_user(response, report)
                flight.end(entry)
            else:
                flight.end(self.place_and_tell(entry, report))
        except TooManyTagsError:
            report.not_stored("too-many-tags")
        except BaseException:
            report.not_stored("error")
            raise
        finally:
            flight.end(Outcome.UNSHARED)  # has no effect on a flight that has ended

    async def _save_by_user(self, response: CachedResponse, report: Report) -> None:
        """Let the user's own method store *response*."""
        backend, entry = self.backend, response.stored

        async def save() -> bool:
            await backend.save_response(response, entry.key, expires_at(entry))
            return True

        is_saved = await backend.guard.run("write", save, False)
        backend.stats.stored += is_saved
        report.fresh_until = entry.fresh_until
        report.accepted(bool)  # which says no
        report.written(is_saved)

    def place(self, entry: StoredResponse, *, outcome: OnWritten | None = None) -> StoredResponse:
        """Write *entry* where it belongs among the variants of its URL; return it as it was written.

        Args:
            entry: as it may be stored: see `redacted`.
            outcome: told of the entry's own write; see `Runtime.store`.
        """
        primary = self._primary_now(entry)
        bounds: dict[str, Any] = {"max_variants": self.rules.max_variants, "now": time.time()}
        try:
            placement = policy.place_variant(primary, entry, **bounds)
        except Exception:  # of what lies there, which this takes the place of
            placement = policy.place_variant(None, entry, **bounds)
        placed = placement.writes[-1]
        for write in placement.writes:  # of which one may be what was read, and opened for that
            kept = write if write is placed else self.redacted(write)
            self.runtime.here.store(kept, outcome=outcome if write is placed else None)
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

    def _entry(
        self,
        read: tuple[bytes | None, tuple[int, int], RawHeaders],
        head: Response,
        decision: Store,
        history: tuple[str, ...],
        body: bytes | FiledBody,
    ) -> StoredResponse:
        reason, version, lines = read
        drop = decision.drop - SET_COOKIE if self.backend.store_cookies else decision.drop
        entry = StoredResponse(
            reason=reason,
            version=version,
            raw_headers=kept_lines(lines, drop, add=decision.add),
            key=self.key,
            method=self.message.method,
            url=keys.redact_url(self.message.url, self.backend.ignored_params),
            status=head.status,
            requested_at=head.requested_at,
            received_at=head.received_at,
            created_at=head.received_at,
            fresh_until=decision.fresh_until,
            store_until=decision.store_until,
            partition=self.partition,
            vary_fields=decision.vary_fields,
            vary_digest=decision.vary_digest,
            history=history,
            tagging=self.tagging,
            body=body if isinstance(body, bytes) else b"",
        )
        if not isinstance(body, bytes):
            entry = with_body(entry, body)
        if decision.combine_with is not None and decision.combine_with.body_bytes <= MAX_JOINED_BYTES:
            first = decision.combine_with
            entry = policy.combine(first, entry)
            entry = replace(entry, tagging=joined(first.tagging, self.tagging))
        return self.redacted(entry)

    def _links(self, response: ClientResponse, hops: Sequence[str]) -> tuple[str, ...]:
        """The keys of the redirects that led here (*hops*), or of what this redirect leads to."""
        return self.following(response) if policy.leads_on(response.status, response.headers) else tuple(hops)

    def following(self, response: ClientResponse) -> tuple[str, ...]:
        """The key of what a redirect leads to, if that is a URL."""
        location = response.headers[hdrs.LOCATION]
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
        self.backend.stats.invalidated += 1
        await self.drop(outdated)

    # ---- one request to the origin per key, and one process

    def may_have_company(self) -> bool:
        """Whether another process may be fetching this key, or something has come since the store was asked."""
        here = self.runtime.here
        if here.leases is not None:
            return True
        at_hand = here.peek(self.key)
        return at_hand is not None and at_hand is not self.primary

    def place_of_own(self) -> str:
        """What tells the request from others that it cannot share a response with, as far as what is stored tells.

        The key, or for a URL whose responses vary, that of the variant; so that none waits for another's language.
        """
        fields = () if self.primary is None else self.primary.vary_fields
        if not fields:
            return self.key
        digest = policy.vary_digest(fields, self.message.selecting_headers, self.rules.digest_key)
        return policy.variant_key(self.key, fields, digest)

    async def lease(
        self, place: str, patience_s: float | None, usable: Callable[[StoredResponse], Awaitable[T | None]]
    ) -> T | leases.Spared | None:
        """Become the only process that fetches this key, or return what *usable* makes of another one's response.

        Args:
            place: see `place_of_own`.
            patience_s: after which to fetch without a lease; None to wait for as long as it is held.
        """
        here, lease_s, key = self.runtime.here, self.backend.lease_s, self.key
        at_hand = here.peek(key)
        if at_hand is not None and at_hand is not self.primary:  # it came after the store was asked
            answer = await self.look_again(usable)
            if answer is not None:
                return answer
        if self._store_failed or lease_s <= 0 or here.leases is None:
            return None
        loop = asyncio.get_running_loop()
        until = None if patience_s is None else loop.time() + patience_s
        is_held, found = await here.leases.obtain(place, lease_s, until=until, look=partial(self.look_again, usable))
        if is_held and found is None and place != key:  # the store has only told what is in that place
            found = await self.look_again(usable)
        if is_held:
            self._lease, self._leased_at = place, loop.time()
            if found is not None:
                self.release_lease()
        return found

    async def look_again(self, usable: Callable[[StoredResponse], Awaitable[T | None]]) -> T | None:
        """What *usable* makes of what is stored by now."""
        if self._store_failed:  # one deadline per request is enough
            return None
        try:
            entry = await self._select(self.key)
        except Exception as error:
            await self.discard(error)
            return None
        return None if entry is None else await usable(entry)

    def drop_early_lease(self) -> None:
        """Give the lease back that has come with a look, if it was not used."""
        self.runtime.here.drop_early_lease(self.key, owner=self.backend)

    def release_lease(self, flight: Flight | None = None) -> None:
        """Let other processes fetch again, once what this one has stored is there to be seen.

        Args:
            flight: what it was taken for; if that took its time and brings nothing for others, they all are told so.
        """
        place, self._lease = self._lease, None
        if place is None:
            return
        is_of_one = flight is not None and flight.outcome in (None, Outcome.UNSHARED) and flight.store_allowed
        is_slow = asyncio.get_running_loop().time() - self._leased_at >= SLOW_S
        self.runtime.give_back(place, owner=self.backend, written=self.key, spare=is_of_one and is_slow)
