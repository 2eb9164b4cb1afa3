"""Storing one response: copying its body, and writing its entry when the last byte has arrived."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any
from weakref import ref

from aiohttp import ClientResponse, ClientSession, hdrs
from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.answering.describe import Report
from aiohttp_cache_di.engine.copies.framing import has_known_end
from aiohttp_cache_di.engine.copies.recording import Unkept, note_failure, record, why_not_kept
from aiohttp_cache_di.engine.copies.spooled import MAX_JOINED_BYTES, Spools, largest_spooled, spools_of
from aiohttp_cache_di.engine.flight import Flight, Outcome
from aiohttp_cache_di.engine.notes import note_too_many_tags, note_users_failure, users_function
from aiohttp_cache_di.engine.origin import Reply
from aiohttp_cache_di.engine.storing.locations import history_of, next_keys, why_not_led
from aiohttp_cache_di.engine.storing.making import ReceivedHead, entry_by
from aiohttp_cache_di.engine.storing.placing import Placing
from aiohttp_cache_di.engine.storing.tagging import Tagged
from aiohttp_cache_di.entries.build import names_in, reason_of, version_of
from aiohttp_cache_di.entries.fields import expires_at
from aiohttp_cache_di.entries.filed import FiledBody, with_body
from aiohttp_cache_di.entries.tags import TooManyTagsError, joined
from aiohttp_cache_di.policy import Store
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import Detail
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, RawHeaders, StoredResponse, Tagging

__all__ = ["ResponseStoring"]

logger: logging.Logger = logging.getLogger(__name__)

UNREAD_BYTES = 2**16  # aiohttp buffers about twice as much before it pauses a connection whose body is not read


class ResponseStoring(Placing, Tagged):
    """All that is done in the store for one request: look-up, lease, writing the response, deleting."""

    is_asking_user: bool = False
    """Whether a user's method is deciding whether the response is stored."""

    # ---- writing

    def store_when_whole(
        self, reply: Reply, decision: Store, flight: Flight, hops: Sequence[str], owner: ref[ClientSession]
    ) -> None:
        """Store a response once its last byte has arrived; end *flight* with the entry, or with why there is none.

        Raises nothing: an error of the cache must not reach the caller.

        Args:
            hops: keys of the redirects that led to the response.
            owner: a reference to the session that asked.
        """
        at = reply.head.received_at
        hidden = self.backend.ignored_params
        report = Report(reply.response, decision.cache_status, received_at=at, values=self.found, hidden=hidden)
        try:
            self._record(reply, decision, flight, report, hops, owner)
        except Exception as error:
            note_failure(error, self._failed)
            report.not_stored("error")
            flight.end(Outcome.UNSHARED)

    def _failed(self, kind: str) -> None:
        """Count an error of the cache by which a copy was lost."""
        self.backend.stats.count_error("record", kind)

    def _record(
        self,
        reply: Reply,
        decision: Store,
        flight: Flight,
        report: Report,
        hops: Sequence[str],
        owner: ref[ClientSession],
    ) -> None:
        response, head = reply.response, reply.head
        spools_up_to = self.runtime.here.largest_spooled_bytes
        in_memory = self.backend.largest_in_memory_bytes
        max_bytes = in_memory if spools_up_to is None else largest_spooled(spools_up_to, self.backend)
        lines = response.raw_headers
        names = names_in(lines)
        why_not = self._why_not(reply, lines, names, owner, max_bytes)
        if why_not is not None:
            report.not_stored(why_not)
            self.runtime.flights.end_unshared(flight)
            return
        # Read now: the caller may change the response later.
        times = head.requested_at, head.received_at
        received = ReceivedHead(head.status, reason_of(response), version_of(response), lines, *times, names)
        links = tuple(hops)
        if head.status in REDIRECTS:
            links = history_of(
                self.question.request, head.status, response.headers, self.key_arguments, self.backend, hops
            )
        finished = partial(self._finished, received, decision, links, flight, report)
        flight.is_handed_over = True
        record(
            response,
            max_bytes=max_bytes,
            finished=finished,
            watch=reply.watch,
            failed=self._failed,
            arrived=flight.arrived,
            spools=None if spools_up_to is None else self._spools(decision, flight, owner),
        )
        if flight.outcome is None:
            self._expect_body(response, flight, owner)

    def _spools(self, decision: Store, flight: Flight, owner: ref[ClientSession]) -> Spools:
        """How a large body is written to the store while it arrives."""
        is_part = decision.combine_with is not None
        finish = partial(self._finish_later, flight, owner)
        return spools_of(self.runtime, self.backend, self.question.key, joined=is_part, spawn=finish)

    def _expect_body(self, response: ClientResponse, flight: Flight, owner: ref[ClientSession]) -> None:
        """Let the flight watch the body, of which a part is still to arrive, or which a user's method judges."""
        flight.expect_body(self.backend.coalesce_timeout_s, has_end=has_known_end(response))
        if self.is_asking_user:
            return
        length = response.headers.get(hdrs.CONTENT_LENGTH, "")
        if not length.isdecimal() or int(length) <= UNREAD_BYTES:
            flight.body_for = owner
            flight.leader = None  # the body arrives without being read, so even the leading task may wait for it

    def _finish_later(self, flight: Flight, owner: ref[ClientSession], rest: Coroutine[Any, Any, None]) -> None:
        """Run *rest*, which writes the last part of a body that has arrived; requests wait for the flight meanwhile."""
        flight.body_for, flight.leader = owner, None
        self.runtime.spawn(rest, owner=self.backend)

    def _why_not(
        self, reply: Reply, lines: RawHeaders, names: frozenset[bytes], owner: ref[ClientSession], max_bytes: float
    ) -> Detail | None:
        """Why the body is not even copied, as a detail of Cache-Status; None to copy it.

        Args:
            lines: the header lines of the response.
            names: the `names_in` them.
        """
        response, session = reply.response, owner()
        if not reply.is_as_asked(self.backend.names_of_credentials, is_named=self.question.is_named):
            if session is not None:
                self.runtime.has_changed(session)
            return "changed"
        try:
            self.tagging: Tagging | None = self.tagging_of(lines, names)
        except TooManyTagsError as error:
            note_too_many_tags(error, self.told)
            return "too-many-tags"
        unkept = why_not_kept(response, max_bytes)
        if unkept is not None:
            return unkept.value
        if b"location" not in names and b"uri" not in names:
            return None
        return why_not_led(self.question.request, response.status, response.headers, self.backend.ignored_params)

    def _end_with(self, entry: StoredResponse, flight: Flight) -> None:
        """End *flight* with *entry*; or as unshared, if those who wait could not use it."""
        if policy.answers_others(entry, self.question.rules):
            flight.end(entry)
        else:
            self.runtime.flights.end_unshared(flight)

    def _finished(
        self,
        received: ReceivedHead,
        decision: Store,
        links: tuple[str, ...],
        flight: Flight,
        report: Report,
        body: bytes | FiledBody | Unkept,
    ) -> None:
        """Write the entry of a *body* that has arrived, or end the flight with the reason why there is none."""
        flight.body_for = flight.leader = None
        try:
            if isinstance(body, Unkept):
                report.not_stored(body.value)
                if body.is_lasting:
                    self.runtime.flights.end_unshared(flight)
                flight.end(Outcome.ABANDONED if body is Unkept.CUT else Outcome.UNSHARED)
            elif not flight.store_allowed:
                report.not_stored("invalidated")
                flight.end(Outcome.UNSHARED)
            elif self.tagging is not None and self.runtime.here.purges.has_purged(self.tagging):
                report.not_stored("purged")
                flight.end(Outcome.UNSHARED)
            else:
                self._put(self._entry(received, decision, links, body), flight, report)
        except Exception:
            logger.exception("A response could not be stored")
            report.not_stored("error")
            flight.end(Outcome.UNSHARED)

    def _put(self, entry: StoredResponse, flight: Flight, report: Report) -> None:
        """Write *entry*, after the user's methods have judged it if there are any."""
        if self.hooks.judges_entries:
            self.is_asking_user = True
            self.runtime.spawn(self._put_if_wanted(entry, flight, report), owner=self.backend)
        else:
            self._end_with(self.place_and_tell(entry, report), flight)

    async def _put_if_wanted(self, entry: StoredResponse, flight: Flight, report: Report) -> None:
        try:
            judged = await self._judged_by_user(entry)
            if isinstance(judged, str):
                report.not_stored(judged)
                if judged == "filtered":
                    self.runtime.flights.end_unshared(flight)
                return
            entry, response = judged
            if self.hooks.saves:
                await self._save_by_user(response, report)
                flight.end(entry)
            else:
                self._end_with(self.place_and_tell(entry, report), flight)
        except BaseException:
            report.not_stored("error")
            raise
        finally:
            flight.end(Outcome.UNSHARED)  # no effect if the flight has ended already

    async def _judged_by_user(self, entry: StoredResponse) -> tuple[StoredResponse, CachedResponse] | Detail:
        """*entry* with the user's tags, and a response made from it; or why it is not to be stored."""
        backend, function = self.backend, ""
        try:
            if self.hooks.tags:
                function = users_function("tag_fn", backend.tag_fn)
                entry = await self.tagged_by_user(entry)
            response = CachedResponse.from_stored(entry)
            own = "is_cacheable" in backend.overridden
            function = "is_cacheable()" if own else users_function("filter_fn", backend.filter_fn)
            verdict: Any = backend.is_cacheable(response, self.actions)
            is_wanted = await verdict if inspect.isawaitable(verdict) else verdict
        except TooManyTagsError as error:
            note_too_many_tags(error, self.told)
            return "too-many-tags"
        except Exception as error:  # do not store it: without its tags, a purge would miss it
            note_users_failure(error, function, "the response is handed on and not stored", of=self.told)
            return "error"
        return (entry, response) if is_wanted else "filtered"

    async def _save_by_user(self, response: CachedResponse, report: Report) -> None:
        """Let the user's own method store *response*."""
        backend, entry = self.backend, response.stored

        async def save() -> bool:
            await backend.save_response(response, entry.key, expires_at(entry))
            return True

        is_saved = await backend.guard.run("write", save, False)
        backend.stats.stored += is_saved
        report.fresh_until = entry.fresh_until
        report.accepted(is_failing=False)
        report.written(is_saved)

    def _entry(
        self, received: ReceivedHead, decision: Store, history: tuple[str, ...], body: bytes | FiledBody
    ) -> StoredResponse:
        entry = entry_by(
            decision,
            self.question,
            received,
            body if isinstance(body, bytes) else b"",
            self.backend,
            history=history,
            tagging=self.tagging,
        )
        if not isinstance(body, bytes):
            entry = with_body(entry, body)
        if decision.combine_with is not None and decision.combine_with.body_bytes <= MAX_JOINED_BYTES:
            first = decision.combine_with
            entry = policy.combine(first, entry)
            entry = replace(entry, tagging=joined(first.tagging, self.tagging))
            return self.redacted(entry)
        return self.redacted(entry, received.names)

    def following(self, response: ClientResponse) -> tuple[str, ...]:
        """As `next_keys`, of a redirect that is the response to the request."""
        return next_keys(self.question.request, response.status, response.headers, self.key_arguments, self.backend)
