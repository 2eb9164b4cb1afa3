"""What the policy can decide, as immutable values: a driver of the policy matches on them and does as they say."""

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
    """Send the request as it is; its response is neither stored nor used for anything."""

    reason: FwdReason


class Fetch(Struct, frozen=True):
    """Send the request as it is.

    Args:
        reason: why nothing stored was used: a ``fwd`` token of RFC 9211.
        fallback: what `on_failure` and `on_response` may fall back to when the origin fails.
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
    """Answer 504: the caller wants what is stored or nothing, and nothing stored can be used.

    Args:
        reason: why not: the ``fwd`` token that the request would have had.
    """

    reason: FwdReason
    cache_status: str


class Validate(Struct, frozen=True):
    """Send the request with *headers* set in place of the caller's of those names; everything else stays.

    Args:
        stored: the response to validate; None when only variants for other requests are known, whose entity tags
            are offered all the same (RFC 9111 §4.1).
        headers: the conditions, or what asks for the rest of a part.
        reason: a ``fwd`` token of RFC 9211.
        fallback: as in `Fetch`.
        completes: *headers* ask for what *stored*, a part, lacks at its end.
    """

    stored: StoredResponse | None
    headers: tuple[tuple[str, str], ...]
    reason: FwdReason
    fallback: StoredResponse | None = None
    completes: bool = False


Reuse: TypeAlias = Serve | NotModified | Partial | RangeNotSatisfiable
"""An answer made from a stored response."""

Plan: TypeAlias = Bypass | Fetch | Validate
"""A request to the origin."""

RequestDecision: TypeAlias = (
    Bypass | Fetch | Serve | NotModified | Partial | RangeNotSatisfiable | GatewayTimeout | Validate
)


class Store(Struct, frozen=True):
    """Hand the response on, and store it once its body has arrived completely.

    Args:
        drop: names (lower case) of header fields that must not be stored.
        fresh_until: as in `StoredResponse`.
        store_until: as in `StoredResponse`.
        vary_fields: as in `StoredResponse`.
        vary_digest: as in `StoredResponse`.
        add: header lines to store besides (a missing Date, RFC 9110 §6.6.1).
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
    """The response is the rest of a stored part: hand on both as one 200, the part first.

    Args:
        stored: the part, from the first byte on.
        complete_bytes: length of both together.
        then: what to do with the response itself.
    """

    stored: StoredResponse
    complete_bytes: int
    then: Store | Pass


class Freshen(Struct, frozen=True):
    """A 304 confirmed a stored response: write *stored* (updated) in place of it, and answer with it.

    Args:
        stored: with updated header fields and times.
        answer: how the caller is to be answered from it.
    """

    stored: StoredResponse
    cache_status: str
    answer: Reuse


class Load(Struct, frozen=True):
    """Read the variant stored under *key* and ask again with it among the candidates (without it when it is gone)."""

    key: str


class Pass(Struct, frozen=True):
    """Hand the response on and store nothing.

    Args:
        forget: what is stored for this request is known to be outdated and must be dropped.
    """

    reason: Detail | FwdReason | Literal["not-modified"]
    cache_status: str
    forget: bool = False


class Refetch(Struct, frozen=True):
    """Send the request again without our condition: a 304 is about nothing that is stored, or it was refused."""

    reason: FwdReason


class ServeStale(Struct, frozen=True):
    """Answer with a stored response whose lifetime is over, in place of an error.

    Args:
        answer: how the caller is to be answered from it.
    """

    stored: StoredResponse
    age_s: int
    cache_status: str
    answer: Reuse


ResponseDecision: TypeAlias = Store | Complete | Freshen | Load | Pass | Refetch | ServeStale
