"""Whether a stored response answers a request: one decision, whichever way the request takes.

A `Question` is made once and reused for equal requests. It suffices for the most common decision, a *plain hit*: the
entry is fresh, it was stored for this request, and the request has no special demands. Everything else needs a
`FullQuestion`, which contains the request itself.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Final, TypeAlias, overload

from msgspec import Struct

from aiohttp_cache_di.policy.decisions import Fetch, RequestDecision
from aiohttp_cache_di.policy.requests.redirects import is_fresh_by_origin
from aiohttp_cache_di.policy.requests.request import is_off, may_be_cached, needs_policy, on_request
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.policy.tracing import Trace
from aiohttp_cache_di.rfc9111.freshness import MAX_SKEW_S
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, Request, StoredResponse, VariantRef
from aiohttp_cache_di.rfc9111.vary import VARIES_ON_ALL, is_of_preferred_language, vary_digest

__all__ = ["PLAIN_HIT", "FullQuestion", "PlainHit", "Question", "decide", "may_be_plain", "may_hop"]


class PlainHit(enum.Enum):
    """The decision to answer with the entry as it is."""

    PLAIN_HIT = "the entry is the answer, as it is"


PLAIN_HIT: Final = PlainHit.PLAIN_HIT
NOTHING_STORED: Final = Fetch("uri-miss")

Decision: TypeAlias = RequestDecision | PlainHit


class Question(Struct, frozen=True, gc=False):
    """The facts about a request that decide about plain hits.

    Args:
        method: in upper case.
        key: the storage key of its response.
        partition: the digest of its credentials, "" for none.
        plain_until: POSIX time until which plain hits are allowed; ``-inf`` for never.
        vary_digest: the digest of its values for the Vary fields of the response, b"" for none.
        may_hop: a stored redirect is a plain hit while it is fresh by the origin's own directives.
    """

    method: str
    key: str
    partition: str = ""
    plain_until: float = math.inf
    vary_digest: bytes = b""
    may_hop: bool = False

    def selects(self, entry: StoredResponse) -> bool:
        """Whether it selects *entry*, although the key or the Vary digest differs."""
        return False


class FullQuestion(Question, frozen=True, kw_only=True):
    """A question with everything that any decision needs.

    Args:
        request: the request as it would be sent.
        rules: the rules that apply to it.
        is_named: its partition is that of a principal, independent of its credentials.
    """

    request: Request
    rules: Rules
    is_named: bool = False

    def selects(self, entry: StoredResponse) -> bool:
        """Whether the request has the values for the Vary fields of *entry* with which that was stored."""
        fields = entry.vary_fields
        if not fields or fields == VARIES_ON_ALL:
            return not fields
        headers = self.request.selecting_headers
        is_same = vary_digest(fields, headers, self.rules.digest_key) == entry.vary_digest
        return is_same or is_of_preferred_language(entry, headers)

    @classmethod
    def of(
        cls, request: Request, rules: Rules, *, key: str, partition: str = "", is_named: bool = False
    ) -> FullQuestion:
        """Make the question for *request*."""
        is_plain = may_be_plain(request.method, rules) and not needs_policy(request.headers)
        until = math.inf if is_plain else -math.inf
        hops = may_hop(cache_control=rules.cache_control, shared=rules.shared)
        return cls(request.method, key, partition, until, may_hop=hops, request=request, rules=rules, is_named=is_named)


def may_be_plain(method: str, rules: Rules) -> bool:
    """Whether the rules allow plain hits for *method*."""
    return may_be_cached(method, rules) and not rules.refresh and not is_off(rules)


@overload
def decide(
    question: FullQuestion,
    entry: StoredResponse | None,
    now: float,
    candidates: Sequence[StoredResponse | VariantRef] = (),
    trace: Trace | None = None,
) -> Decision: ...
@overload
def decide(question: Question, entry: StoredResponse | None, now: float) -> Decision | None: ...
def decide(
    question: Question,
    entry: StoredResponse | None,
    now: float,
    candidates: Sequence[StoredResponse | VariantRef] = (),
    trace: Trace | None = None,
) -> Decision | None:
    """Decide what answers *question*; None where that takes a `FullQuestion`.

    Args:
        entry: the stored response: the one under its key, or the selected variant.
        now: POSIX time, UTC.
        candidates: as in `on_request`.
        trace: as in `on_request`, to which the decision is left then.
    """
    if entry is not None:
        if entry.partition == question.partition and (
            (entry.vary_digest == question.vary_digest and entry.key == question.key) or question.selects(entry)
        ):
            if (
                now < entry.fresh_until
                and now < question.plain_until
                and (entry.received_at <= now + MAX_SKEW_S or entry.fresh_until == math.inf)
                and entry.method == question.method
                and (entry.status == 200 or _is_plain(entry, question, now))
            ):
                if trace is None:
                    return PLAIN_HIT
            elif now >= entry.store_until:
                entry = None
        else:
            entry = None
    if not isinstance(question, FullQuestion):
        return None
    if (
        entry is None
        and not candidates
        and trace is None
        and question.plain_until == math.inf
        and question.method == "GET"
        and not question.rules.only_if_cached
    ):  # a plain GET for which nothing is stored: the common miss
        return NOTHING_STORED
    return on_request(question.request, entry, question.rules, now=now, candidates=candidates, trace=trace)


def may_hop(*, cache_control: bool, shared: bool) -> bool:
    """Whether a stored redirect may be a plain hit while it is fresh by the origin's own directives."""
    return cache_control and not shared


def _is_plain(entry: StoredResponse, question: Question, now: float) -> bool:
    if entry.status in REDIRECTS:
        return question.may_hop and is_fresh_by_origin(entry, now=now, shared=False)
    return entry.status != 206
