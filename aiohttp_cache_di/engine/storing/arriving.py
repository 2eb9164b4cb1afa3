"""Storing one response: copying its body, and writing its entry when the last byte has arrived."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Coroutine, Sequence
from typing import Any
from weakref import ref

from aiohttp import ClientResponse, ClientSession, hdrs
from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.answering.describe import Report
from aiohttp_cache_di.engine.copies.framing import Unkept, has_known_end, why_not_kept
from aiohttp_cache_di.engine.copies.recording import record
from aiohttp_cache_di.engine.copies.spooled import MAX_JOINED_BYTES, Spools, largest_spooled, spools_of
from aiohttp_cache_di.engine.flights import Flight, Outcome
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.notes import note_failure, note_too_many_tags, note_users_failure, users_function
from aiohttp_cache_di.engine.origin import Reply
from aiohttp_cache_di.engine.storing.locations import history_of, why_not_led
from aiohttp_cache_di.engine.storing.making import ReceivedHead, entry_by
from aiohttp_cache_di.engine.storing.placing import place_and_tell, redacted
from aiohttp_cache_di.engine.storing.tagging import tagged_by_user, tagging_of
from aiohttp_cache_di.entries.build import names_in, reason_of, version_of
from aiohttp_cache_di.entries.fields import expires_at
from aiohttp_cache_di.entries.filed import FiledBody, with_body
from aiohttp_cache_di.entries.tags import TooManyTagsError, joined
from aiohttp_cache_di.policy import Store
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import Detail
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, StoredResponse, Tagging

__all__ = ["ArrivingResponse", "store_when_whole"]

logger: logging.Logger = logging.getLogger(__name__)

UNREAD_BYTES = 2**16  # aiohttp buffers about twice as much before it pauses a connection whose body is not read


def store_when_whole(
    lookup: Lookup, reply: Reply, decision: Store, flight: Flight, hops: Sequence[str], owner: ref[ClientSession]
) -> bool:
    """Store a response once its last byte has arrived; end *flight* with the entry, or with why there is none.

    Raises nothing: an error of the cache must not reach the caller. Returns whether a user's method is deciding whether
    the response is stored.

    Args:
        lookup: that of its request.
        hops: keys of the redirects that led to the response.
        owner: a reference to the session that asked.
    """
    at, hidden = reply.head.received_at, lookup.backend.ignored_params
    status = lookup.status_of(decision.cache_status)
    report = Report(reply.response, status, received_at=at, values=lookup.why_asked, hidden=hidden)
    arriving = ArrivingResponse(lookup, decision, flight, report, owner, purges=reply.sent.purges)
    try:
        arriving.begin(reply, hops)
    except Exception as error:
        note_failure(error, arriving.failed)
        report.not_stored("error")
        flight.end(Outcome.UNSHARED)
    return arriving.is_asking_user


class ArrivingResponse:
    """A response that is stored once its last byte has arrived; the `Recipient` of the copy of its body.

    It must not refer to the response itself, whose stream refers to it: a response that its caller drops is freed at
    once, and frees its connection.

    Args:
        lookup: that of its request.
        flight: ends with the entry, or with the reason why there is none.
        owner: a reference to the session that asked.
        purges: the number of the latest purge by tag that was known before it was asked for.
    """

    entry: StoredResponse
    """Its entry, without the body."""
    tagging: Tagging | None = None
    is_asking_user: bool = False
    """Whether a user's method is deciding whether it is stored."""

    def __init__(
        self,
        lookup: Lookup,
        decision: Store,
        flight: Flight,
        report: Report,
        owner: ref[ClientSession],
        *,
        purges: int,
    ) -> None:
        self.lookup = lookup
        self.decision = decision
        self.flight = flight
        self.report = report
        self.owner = owner
        self.purges = purges

    # ---- its head

    def begin(self, reply: Reply, hops: Sequence[str]) -> None:
        """Begin to copy the body; or end the flight, if the head says that it cannot be stored.

        Args:
            hops: keys of the redirects that led to the response.
        """
        lookup, flight, response, head = self.lookup, self.flight, reply.response, reply.head
        backend, question, names = lookup.backend, lookup.question, names_in(response.raw_headers)
        spools_up_to = lookup.runtime.here.largest_spooled_bytes
        in_memory = backend.largest_in_memory_bytes
        max_bytes = in_memory if spools_up_to is None else largest_spooled(spools_up_to, backend)
        why_not = self._why_not(reply, names, max_bytes)
        if why_not is not None:
            self.report.not_stored(why_not)
            lookup.runtime.flights.end_unshared(flight)
            return
        history = tuple(hops)
        if head.status in REDIRECTS:
            arguments = lookup.key_arguments
            history = history_of(question.request, head.status, response.headers, arguments, backend, hops)
        # Made now: the caller may change the response later.
        received = ReceivedHead(
            head.status,
            reason_of(response),
            version_of(response),
            response.raw_headers,
            head.requested_at,
            head.received_at,
            names,
        )
        entry = entry_by(self.decision, question, received, backend, history=history, tagging=self.tagging)
        self.entry = redacted(backend, entry, names)
        flight.coming, flight.is_handed_over = self.entry, True
        spools = None if spools_up_to is None else self._spools()
        record(response, self, max_bytes=max_bytes, watch=reply.sent.watch, spools=spools)
        if flight.outcome is None:
            self._expect_body(response)

    def _why_not(self, reply: Reply, names: frozenset[bytes], max_bytes: float) -> Detail | None:
        """Why the body is not even copied, as a detail of Cache-Status; None to copy it.

        Args:
            names: the lower-case names of the header fields.
        """
        lookup, response = self.lookup, reply.response
        question = lookup.question
        if not reply.is_as_asked(lookup.backend.names_of_credentials, is_named=question.is_named):
            session = self.owner()
            if session is not None:
                lookup.runtime.has_changed(session)
            return "changed"
        try:
            self.tagging = tagging_of(question, response.raw_headers, names, self.purges)
        except TooManyTagsError as error:
            note_too_many_tags(error, lookup.told)
            return "too-many-tags"
        unkept = why_not_kept(response, max_bytes)
        if unkept is not None:
            return unkept.value
        if b"location" not in names and b"uri" not in names:
            return None
        return why_not_led(question.request, response.status, response.headers, lookup.backend.ignored_params)

    # ---- its body

    def _spools(self) -> Spools:
        """How a large body is written to the store while it arrives."""
        lookup, is_part = self.lookup, self.decision.combine_with is not None
        key = lookup.question.key
        return spools_of(lookup.runtime, lookup.backend, key, joined=is_part, spawn=self._finish_later)

    def _expect_body(self, response: ClientResponse) -> None:
        """Let the flight watch the body, of which a part is still to arrive, or which a user's method judges."""
        flight = self.flight
        flight.expect_body(self.lookup.backend.coalesce_timeout_s, has_end=has_known_end(response))
        if self.is_asking_user:
            return
        length = response.headers.get(hdrs.CONTENT_LENGTH, "")
        if not length.isdecimal() or int(length) <= UNREAD_BYTES:
            flight.body_for = self.owner
            flight.leader = None  # the body arrives without being read, so even the leading task may wait for it

    def _finish_later(self, rest: Coroutine[Any, Any, None]) -> None:
        """Run *rest*, which writes the last part of a body that has arrived; requests wait for the flight meanwhile."""
        self.flight.body_for, self.flight.leader = self.owner, None
        self.lookup.runtime.spawn(rest, owner=self.lookup.backend)

    def arrived(self) -> None:
        """See `Recipient`."""
        self.flight.arrived()

    def failed(self, kind: str) -> None:
        """See `Recipient`."""
        self.lookup.backend.stats.count_error("record", kind)

    def finished(self, body: bytes | FiledBody | Unkept) -> None:
        """Write the entry of a *body* that has arrived, or end the flight with the reason why there is none."""
        flight, report, runtime = self.flight, self.report, self.lookup.runtime
        flight.body_for = flight.leader = None
        try:
            if isinstance(body, Unkept):
                report.not_stored(body.value)
                if body.is_lasting:
                    runtime.flights.end_unshared(flight)
                flight.end(Outcome.ABANDONED if body is Unkept.CUT else Outcome.UNSHARED)
            elif not flight.store_allowed:
                report.not_stored("invalidated")
                flight.end(Outcome.UNSHARED)
            elif self.tagging is not None and runtime.here.purges.has_purged(self.tagging):
                report.not_stored("purged")
                flight.end(Outcome.UNSHARED)
            else:
                self._put(self._entry(body))
        except Exception:
            logger.exception("A response could not be stored")
            report.not_stored("error")
            flight.end(Outcome.UNSHARED)

    # ---- its entry

    def _entry(self, body: bytes | FiledBody) -> StoredResponse:
        """The entry with its *body*, and with the stored part before it if it continues one."""
        first = self.decision.combine_with
        entry = replace(self.entry, body=body) if isinstance(body, bytes) else with_body(self.entry, body)
        if first is None or first.body_bytes > MAX_JOINED_BYTES:
            return entry
        tagging = joined(first.tagging, self.tagging)
        return redacted(self.lookup.backend, replace(policy.combine(first, entry), tagging=tagging))

    def _put(self, entry: StoredResponse) -> None:
        """Write *entry*, after the user's methods have judged it if there are any."""
        lookup = self.lookup
        if lookup.hooks.judges_entries:
            self.is_asking_user = True
            lookup.runtime.spawn(self._put_if_wanted(entry), owner=lookup.backend)
        else:
            self._end_with(place_and_tell(lookup, entry, self.report))

    def _end_with(self, entry: StoredResponse) -> None:
        """End the flight with *entry*; or as one that cannot be shared, if those who wait could not use it."""
        if policy.answers_others(entry, self.lookup.question.rules):
            self.flight.end(entry)
        else:
            self.lookup.runtime.flights.end_unshared(self.flight)

    # ---- with methods of the user's

    async def _put_if_wanted(self, entry: StoredResponse) -> None:
        lookup, report, flight = self.lookup, self.report, self.flight
        try:
            judged = await self._judged_by_user(entry)
            if isinstance(judged, str):
                report.not_stored(judged)
                if judged == "filtered":
                    lookup.runtime.flights.end_unshared(flight)
                return
            if not flight.store_allowed:  # the resource has changed meanwhile
                report.not_stored("invalidated")
                return
            entry, response = judged
            if lookup.hooks.saves:
                await self._save_by_user(response)
                flight.end(entry)
            else:
                self._end_with(place_and_tell(lookup, entry, report))
        except BaseException:
            report.not_stored("error")
            raise
        finally:
            flight.end(Outcome.UNSHARED)  # no effect if the flight has ended already

    async def _judged_by_user(self, entry: StoredResponse) -> tuple[StoredResponse, CachedResponse] | Detail:
        """*entry* with the user's tags, and a response made from it; or why it is not to be stored."""
        lookup, function = self.lookup, ""
        backend = lookup.backend
        try:
            if lookup.hooks.tags:
                function = users_function("tag_fn", backend.tag_fn)
                entry = await tagged_by_user(backend, entry, self.purges)
            response = CachedResponse.from_stored(entry)
            own = "is_cacheable" in backend.overridden
            function = "is_cacheable()" if own else users_function("filter_fn", backend.filter_fn)
            verdict: Any = backend.is_cacheable(response, lookup.actions)
            is_wanted = await verdict if inspect.isawaitable(verdict) else verdict
        except TooManyTagsError as error:
            note_too_many_tags(error, lookup.told)
            return "too-many-tags"
        except Exception as error:  # do not store it: without its tags, a purge would miss it
            note_users_failure(error, function, "the response is handed on and not stored", of=lookup.told)
            return "error"
        return (entry, response) if is_wanted else "filtered"

    async def _save_by_user(self, response: CachedResponse) -> None:
        """Let the user's own method store *response*."""
        backend, entry, report = self.lookup.backend, response.stored, self.report

        async def save() -> bool:
            await backend.save_response(response, entry.key, expires_at(entry))
            return True

        is_saved = await backend.guard.run("write", save, False)
        backend.stats.counts.here().stored += is_saved
        report.fresh_until = entry.fresh_until
        report.accepted(is_failing=False)
        report.written(is_saved)
