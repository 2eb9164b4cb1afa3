"""All decisions of the policy, as immutable values: a driver of the policy matches on them and carries them out.

Those made for each request are exempt from garbage collection (``gc=False``): they are never part of a cycle.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.rfc9111.cache_status import Detail, FwdReason
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = [
    "Bypass",
    "Complete",
    "Fetch",
    "Freshen",
    "GatewayTimeout",
    "Load",
    "NotModified",
    "Partial",
    "Pass",
    "Plan",
    "RangeNotSatisfiable",
    "Refetch",
    "RequestDecision",
    "ResponseDecision",
    "Reuse",
    "Serve",
    "ServeStale",
    "Store",
    "Validate",
]


class Bypass(Struct, frozen=True):
    """Send the request unchanged; its response is neither stored nor used to update a stored one."""

    reason: FwdReason


class Fetch(Struct, frozen=True, gc=False):
    """Send the request unchanged.

    Args:
        reason: why no stored response was used: a ``fwd`` token of RFC 9211.
        fallback: the stored response that `on_failure` and `on_response` may use if the origin fails.
        stored: the stored response that could not be used, if there is one.
    """

    reason: FwdReason
    fallback: StoredResponse | None = None
    stored: StoredResponse | None = None


class Serve(Struct, frozen=True):
    """Answer with a stored response (a HEAD request: with its head).

    Args:
        age_s: the Age to state.
        cache_status: the member of Cache-Status to state (RFC 9211).
        stale: its lifetime is over.
        revalidate: validate it in the background (`background_plan` tells how).
    """

    stored: StoredResponse
    age_s: int
    cache_status: str
    stale: bool = False
    revalidate: bool = False


class NotModified(Struct, frozen=True):
    """Answer the caller's own condition with 304, from a stored response."""

    stored: StoredResponse
    age_s: int
    cache_status: str
    stale: bool = False
    revalidate: bool = False


class Partial(Struct, frozen=True):
    """Answer the caller's Range with 206, from a stored response.

    Args:
        first: position of the first byte of the representation to send.
        last: position of the last one, inclusive.
        complete_bytes: length of the whole representation, None when it is not known.
        body_at: position in the representation of the first byte of ``stored.body`` (0 for a stored 200): what is sent
            is ``stored.body[first - body_at : last - body_at + 1]``.
    """

    stored: StoredResponse
    first: int
    last: int
    age_s: int
    cache_status: str
    complete_bytes: int | None = None
    body_at: int = 0
    stale: bool = False
    revalidate: bool = False


class RangeNotSatisfiable(Struct, frozen=True):
    """Answer the caller's Range with 416: it lies beyond the representation, which has *complete_bytes*."""

    stored: StoredResponse
    cache_status: str
    complete_bytes: int = 0
    stale: bool = False
    revalidate: bool = False


class GatewayTimeout(Struct, frozen=True):
    """Answer 504: the caller accepts only a stored response, and none can be used.

    Args:
        reason: why not: the ``fwd`` token that the request would have had.
    """

    reason: FwdReason
    cache_status: str


class Validate(Struct, frozen=True, gc=False):
    """Send the request with *headers*, which replace the caller's fields of the same names.

    Args:
        stored: the response to validate; None when only variants for other requests are known, whose entity tags
            are offered all the same (RFC 9111 §4.1).
        headers: the conditions, or the fields that request the rest of a part.
        reason: a ``fwd`` token of RFC 9211.
        fallback: as in `Fetch`.
        completes: *headers* request the rest of *stored*, which is a part.
    """

    stored: StoredResponse | None
    headers: tuple[tuple[str, str], ...]
    reason: FwdReason
    fallback: StoredResponse | None = None
    completes: bool = False


Reuse: TypeAlias = Serve | NotModified | Partial | RangeNotSatisfiable
"""An answer made from a stored response."""

Plan: TypeAlias = Fetch | Validate
"""A request to the origin about whose response the policy decides (`on_response`, `on_failure`)."""

RequestDecision: TypeAlias = Bypass | Plan | Reuse | GatewayTimeout


class Store(Struct, frozen=True, gc=False):
    """Pass the response on, and store it after its body has arrived completely.

    Args:
        drop: names (lower case) of header fields that must not be stored.
        fresh_until: as in `StoredResponse`.
        store_until: as in `StoredResponse`.
        vary_fields: as in `StoredResponse`.
        vary_digest: as in `StoredResponse`.
        add: additional header fields to store (a missing Date, RFC 9110 §6.6.1).
        combine_with: a stored part of the same representation, to be joined with this one by
            `rfc9111.ranges.combine` (RFC 9111 §3.4).
    """

    drop: frozenset[str]
    fresh_until: float
    store_until: float
    vary_fields: tuple[str, ...]
    vary_digest: bytes
    cache_status: str
    add: tuple[tuple[str, str], ...] = ()
    combine_with: StoredResponse | None = None


class Complete(Struct, frozen=True):
    """The response is the rest of a stored part: pass both on as one 200, the part first.

    Args:
        stored: the part, from the first byte on.
        complete_bytes: length of both together.
        then: what to do with the response itself.
    """

    stored: StoredResponse
    complete_bytes: int
    then: Store | Pass


class Freshen(Struct, frozen=True):
    """A 304 confirmed a stored response: replace it by that of *answer*, which is updated, and answer so."""

    answer: Reuse


class Load(Struct, frozen=True):
    """Read the variant stored under *key*, and call `on_response` again with it as a candidate, if it still exists."""

    key: str


class Pass(Struct, frozen=True, gc=False):
    """Pass the response on, and store nothing.

    Args:
        forget: delete the stored response for this request, which is known to be outdated.
        is_lasting: the next response is likely not to be stored, either, so that for a while requests need not wait
            for each other (hit-for-miss).
    """

    reason: Detail | Literal["not-modified"]
    cache_status: str
    forget: bool = False
    is_lasting: bool = True


class Refetch(Struct, frozen=True):
    """Send the request again without our condition: the 304 confirms no stored response, or the origin refused it."""


class ServeStale(Struct, frozen=True):
    """Answer from a stale response instead of with an error."""

    answer: Reuse


ResponseDecision: TypeAlias = Store | Complete | Freshen | Load | Pass | Refetch | ServeStale
