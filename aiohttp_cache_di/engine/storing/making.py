"""Making the entry of a response that is to be stored: one that has just arrived, or one imported from elsewhere."""

from __future__ import annotations

from msgspec import Struct

from aiohttp_cache_di import keys
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.entries.build import kept_lines
from aiohttp_cache_di.policy import FullQuestion, Store
from aiohttp_cache_di.rfc9111.messages import RawHeaders, StoredResponse, Tagging
from aiohttp_cache_di.rfc9111.storability import SET_COOKIE

__all__ = ["ReceivedHead", "entry_by"]


class ReceivedHead(Struct, frozen=True, gc=False):
    """The head of a response, as it arrived.

    Attributes:
        requested_at, received_at: POSIX times of sending the request and of receiving the head.
        names: the lower-case names of its header fields.
    """

    status: int
    reason: bytes | None
    version: tuple[int, int]
    lines: RawHeaders
    requested_at: float
    received_at: float
    names: frozenset[bytes]


def entry_by(
    decision: Store,
    question: FullQuestion,
    head: ReceivedHead,
    backend: CacheBackend,
    *,
    history: tuple[str, ...],
    tagging: Tagging | None,
    body: bytes = b"",
) -> StoredResponse:
    """The entry to store as *decision* says, with the settings of *backend*; its header fields still contain secrets.

    Args:
        question: that of the request, whose key is that of the entry; secrets in its URL are not stored.
        history: keys of the redirects that led to the response; for a redirect, the key of its target.
    """
    request = question.request
    drop = decision.drop - SET_COOKIE if backend.store_cookies else decision.drop
    return StoredResponse(
        key=question.key,
        method=request.method,
        url=keys.redact_url(request.url, backend.ignored_params),
        status=head.status,
        reason=head.reason,
        version=head.version,
        raw_headers=kept_lines(head.lines, drop, names=head.names, add=decision.add),
        requested_at=head.requested_at,
        received_at=head.received_at,
        created_at=head.received_at,
        fresh_until=decision.fresh_until,
        store_until=decision.store_until,
        partition=question.partition,
        vary_fields=decision.vary_fields,
        vary_digest=decision.vary_digest,
        history=history,
        tagging=tagging,
        body=body,
    )
