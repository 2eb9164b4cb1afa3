"""What a request would find, and what the cache would do with it; nothing is changed."""

from __future__ import annotations

from typing import cast

from aiohttp import hdrs

from aiohttp_cache_di import policy
from aiohttp_cache_di.backends.configured import Configured
from aiohttp_cache_di.backends.operating.store_view import StoreView
from aiohttp_cache_di.backends.wrap.marks import softened_by
from aiohttp_cache_di.entries.info import short_id
from aiohttp_cache_di.policy import FullQuestion, RequestDecision, Serve
from aiohttp_cache_di.policy.tracing import Step, Trace, length_of
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse, VariantRef

__all__ = ["Search"]

MAX_HOPS = 10  # aiohttp's default


class Search:
    """Looks a request up in the same way as `engine.lookup.Lookup`, and records the reasons.

    Args:
        trace: records each step and its reason.
        now: POSIX time, UTC.
    """

    def __init__(self, backend: Configured, view: StoreView, question: FullQuestion, trace: Trace, now: float) -> None:
        self.view = view
        self.question = question
        self.trace = trace
        self.now = now
        self.purged: str = ""
        """The tag whose purge affects the stored response; "" for none."""
        self._is_refused = False  # by filter_fn
        self._backend = backend

    async def find(self, get_key: str) -> tuple[StoredResponse | None, StoredResponse | None]:
        """The primary response under the key of the request, and the variant that the request selects.

        Args:
            get_key: the key of the same request with the method GET.
        """
        is_head = self.question.method == hdrs.METH_HEAD and self._backend.cache_control
        primary: StoredResponse | None = None
        for key in (*([get_key] if is_head else []), self.question.key):
            primary, entry = await self._select(key)
            if entry is not None:
                return primary, entry
        return primary, None

    async def decide(
        self, primary: StoredResponse | None, entry: StoredResponse | None, *, follows: bool
    ) -> RequestDecision:
        """The decision on the responses that `find` has returned.

        Args:
            follows: whether the request follows redirects.
        """
        candidates: tuple[StoredResponse | VariantRef, ...] = ()
        if primary is not None:
            candidates = (primary, *primary.variants)
        found = policy.decide(self.question, entry, self.now, candidates, self.trace)
        decision = cast("RequestDecision", found)  # with a trace, there is no short cut for plain hits
        if isinstance(decision, Serve) and follows and not await self._may_use(decision.stored):
            decision = policy.hop_anew(decision.stored, self.question.rules)
            self.trace.steps.append(Step("hop", False, "what the redirect leads to is not at hand"))
        return policy.not_at_hand(decision) if self.view.is_incomplete or self._is_refused else decision

    async def _may_use(self, hop: StoredResponse) -> bool:
        """Whether *hop* is no redirect, may be used by itself, or leads to a response that may be used."""
        rules = self.question.rules
        for _ in range(MAX_HOPS):
            if hop.status == 200 or policy.may_be_used_alone(hop, rules, now=self.now):
                return True
            if not hop.history:
                return False
            _, following = await self._select(hop.history[0], of_any=True)
            if following is None or self.now >= following.fresh_until:
                return False
            hop = following
        return False

    async def _select(self, key: str, *, of_any: bool = False) -> tuple[StoredResponse | None, StoredResponse | None]:
        """The primary response under *key*, and the variant of it that the request selects."""
        primary = entry = await self._read(key, of_any=of_any)
        if primary is not None and (primary.vary_fields or primary.variants):
            chosen = policy.select_variant(self.question.request, primary, self.question.rules.digest_key)
            if chosen is None:
                return primary, None
            if chosen != primary.key:
                entry = await self._read(chosen, of_any=of_any)
        if entry is None or await self._passes(entry):
            return primary, entry
        return None, None

    async def _read(self, key: str, *, of_any: bool) -> StoredResponse | None:
        hints = self.trace.hints
        entry = await self.view.get(key) if key else None
        if entry is None:
            tag = self._backend.stack.here().purges.reasons.get(key)
            if tag:
                self.purged, hints["selected"] = tag, f"tag {tag} was purged"
            return None
        softened = softened_by(entry)
        if softened:
            hints["usable"] = f"tag {softened} was purged softly"
        self.purged = softened if entry.tagging is not None else self.purged
        if entry.key != key:
            return None
        if self.now >= entry.store_until:
            hints["selected"] = f"what is stored has ended {length_of(self.now - entry.store_until)} ago"
            return None
        if entry.partition != self.question.partition and not of_any:
            hints["selected"] = f"what is stored is for principal {short_id(entry.partition) or 'everyone'}"
            return None
        return entry

    async def _passes(self, entry: StoredResponse) -> bool:
        try:
            if await self._backend.passes_filter(CachedResponse.from_stored(entry)):
                return True
            self.trace.hints["selected"] = "filter_fn refuses what is stored"
        except Exception as error:  # raised by the user's function
            self.trace.hints["selected"] = f"filter_fn fails on what is stored: {type(error).__name__}"
        self._is_refused = True
        return False
