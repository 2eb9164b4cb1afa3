"""Request coalescing: whether the response to a request under way, here or in another process, answers this one.

In this process, a request finds a flight of the same place and waits for it (`Sharing.follow`), or starts one. Before
that asks the origin, it obtains the lease on the place from the store (`Sharing.lease`), so that one process at a time
asks; while another process holds it, the request looks its response up.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from aiohttp import hdrs

from aiohttp_cache_di import policy
from aiohttp_cache_di.backends.wrap.looking.leases import SPARED, Spared
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.flights import Flight, Outcome
from aiohttp_cache_di.engine.hop import Hop
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.policy import Plan, Reuse, decide
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Sharing"]

MAX_ABANDONED = 1  # abandoned flights that one request waits for before it asks the origin by itself
SLOW_S = 0.25  # only for slower responses are other processes told that waiting for them is of no use
_SHAREABLE = frozenset(
    {"uri-miss", "vary-miss", "miss", "stale", "partial"}
)  # reasons to ask the origin for which the response to another request may do as well


class Sharing:
    """How one request can use the response to another.

    Args:
        hop: the request, whose look-up has found nothing that answers it.
    """

    place: str
    """The name of its flight and of its lease, the same for all requests that it can share a response with.

    It is the key of the variant that the request is likely to get: it does not wait for one in another language.
    """

    def __init__(self, hop: Hop) -> None:
        lookup = hop.lookup
        self.hop = hop
        self.call: Call = hop.call
        self.lookup: Lookup = lookup
        question, primary = lookup.question, lookup.primary
        fields = () if primary is None else primary.vary_fields
        self.place = policy.wanted_variant(question.request, question.key, fields, question.rules.digest_key)

    def may_share(self, plan: Plan) -> bool:
        """Whether this request may wait for others, and others for this one."""
        question, flights = self.lookup.question, self.lookup.runtime.flights
        return (
            self.lookup.backend.coalesce
            and not self.call.failures
            and plan.reason in _SHAREABLE
            and hdrs.RANGE not in question.request.headers
            and not flights.hits_for_miss.has(question.key)
        )

    # ---- requests of this process

    async def follow(self) -> Reuse | Flight | None:
        """Wait for the flight under way at this request's place.

        Returns how its entry answers this request; the flight, if it has no entry that does; None without a flight to
        wait for.
        """
        current, abandoned = self.lookup.runtime.flights.current, 0
        while (flight := current(self.place)) is not None:
            if flight.leader is asyncio.current_task():
                return None if flight.is_announced else flight
            self.lookup.drop_early_lease()  # the flight's leader may be waiting for this lease
            outcome = await flight.join(self.call.read_timeout_s)
            if outcome is Outcome.ABANDONED and abandoned < MAX_ABANDONED:
                abandoned += 1
                continue
            usable = await self._usable(outcome, comes=True) if isinstance(outcome, StoredResponse) else None
            if usable is None:  # an entry may have been stored meanwhile, by this flight or another
                usable = await self._look_again()
            return flight if usable is None else usable
        return None

    # ---- other processes

    def may_have_company(self, *, waited: bool) -> bool:
        """Whether another process may be asking the origin, or an entry may have been stored since the look-up.

        Args:
            waited: whether the request has waited for another one since.
        """
        return waited or not self.lookup.is_known_absent or self.lookup.runtime.here.leases is not None

    async def lease(self, flight: Flight) -> Reuse | None:
        """Obtain the lease on the place; or return how the response of another process answers this request.

        None to ask the origin: with the lease, or without it if leases are not possible or the call's time is over. If
        another process found that its response cannot be shared, *flight* ends here. The lease is released when
        requests stop waiting for *flight*.
        """
        lookup, place = self.lookup, self.place
        here, lease_s, key = lookup.runtime.here, lookup.backend.lease_s, lookup.question.key
        found: Reuse | Spared | None = None
        at_hand = here.peek(key)
        if at_hand is not None and at_hand is not lookup.primary:  # it came after the store was asked
            found = await self._look_again()
        if found is None and here.leases is not None and lease_s > 0 and not lookup.store_failed:
            loop, patience_s = asyncio.get_running_loop(), self.call.read_timeout_s
            until = None if patience_s is None else loop.time() + patience_s
            is_held, found = await here.leases.obtain(
                place, lease_s, until=until, look=self._look_again, owner=lookup.backend
            )
            if is_held and found is None:
                flight.when_free(partial(self._release, flight, loop.time()))
                if place != key:  # obtaining the lease has looked at *place* only
                    found = await self._look_again()
            elif is_held:
                here.release_lease(place, owner=lookup.backend, written=key)
        if found is SPARED:
            lookup.runtime.flights.end_unshared(flight)
            return None
        if found is not None:
            flight.end(found.stored)
        return found

    def _release(self, flight: Flight, leased_at: float) -> None:
        """Give the lease back, once the response that this process has stored is visible to others.

        If *flight* was slow and its response cannot be shared, all waiting processes are told to go on at once.
        """
        lookup = self.lookup
        is_of_one = flight.outcome in (None, Outcome.UNSHARED) and flight.store_allowed
        is_slow = asyncio.get_running_loop().time() - leased_at >= SLOW_S
        here, owner, key = lookup.runtime.here, lookup.backend, lookup.question.key
        here.release_lease(self.place, owner=owner, written=key, spare=is_of_one and is_slow)

    # ---- the response to another request

    async def _look_again(self) -> Reuse | None:
        """How the entry that is stored now answers this request, if it does."""
        lookup = self.lookup
        if lookup.store_failed:  # a request waits for one deadline of the store at most
            return None
        try:
            entry = await lookup.select(lookup.question.key)
        except Exception as error:
            await lookup.discard(error)
            return None
        return None if entry is None else await self._usable(entry)

    def usable_at_once(self, entry: StoredResponse) -> Reuse | None:
        """As `_usable`, but without waiting; None if that would take waiting."""
        try:
            if entry.tagging is not None and not self.lookup.runtime.here.purges.is_current(entry):
                return None
            may = not self.call.follows or policy.may_be_used_alone(entry, self.lookup.question.rules, now=time.time())
            return self._answer_of(entry) if may else None
        except Exception:  # the next request that finds it discards it
            return None

    async def _usable(self, entry: StoredResponse, *, comes: bool = False) -> Reuse | None:
        """How *entry* answers this request, if it does; see `Hop.why_unusable` for redirects.

        An entry that cannot be judged is dropped.

        Args:
            comes: *entry* has just come from a flight; if it is a redirect that its call follows, wait for the target.
        """
        try:
            if entry.tagging is not None:
                judged = await self.lookup.runtime.here.purges.judge(entry)
                if judged is None:
                    return None
                entry = judged
            usable = self._answer_of(entry)
            if usable is None:
                return None
            why = await self.hop.why_unusable(entry)
            return None if why and not (comes and await self._is_followed(entry)) else usable
        except Exception as error:
            await self.lookup.discard(error, entry)
            return None

    def _answer_of(self, entry: StoredResponse) -> Reuse | None:
        """How the policy answers this request with *entry*, if it does, and not stale."""
        now, opened = time.time(), self.lookup.opened(entry)
        if opened is None:
            return None
        decision = decide(self.lookup.question, opened, now)
        if decision is policy.PLAIN_HIT:
            return policy.serve(opened, now=now)
        return decision if isinstance(decision, Reuse) and not decision.stale else None

    async def _is_followed(self, redirect: StoredResponse) -> bool:
        """Wait for a flight to the target of *redirect*; return whether the target is stored then."""
        flight = self.lookup.runtime.flights.current(redirect.history[0]) if redirect.history else None
        if flight is None or flight.leader is asyncio.current_task():
            return False
        await flight.join(self.call.read_timeout_s)
        return await self.lookup.is_ahead(redirect)
