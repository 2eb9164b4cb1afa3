"""Complete a stored part (206) by requesting only the rest of it (RFC 9111 §3.3 and §3.4)."""

from __future__ import annotations

from aiohttp_cache_di.policy.decisions import Validate
from aiohttp_cache_di.rfc9111.cache_status import FwdReason
from aiohttp_cache_di.rfc9111.fields import single
from aiohttp_cache_di.rfc9111.messages import Request, Response, StoredResponse
from aiohttp_cache_di.rfc9111.ranges import held_from_start, may_combine, parse_content_range
from aiohttp_cache_di.rfc9111.storability import CONDITIONAL_OR_RANGE
from aiohttp_cache_di.rfc9111.validation import entity_tag

__all__ = ["asks_for_rest", "completes"]


def asks_for_rest(request: Request, stored: StoredResponse, reason: FwdReason) -> Validate | None:
    """How to request the rest of *stored*, for a *request* for the whole; None if the whole has to be requested.

    This works only for a part that begins with the first byte and has a strong entity tag: with If-Range the origin
    sends the rest of the same representation, or all of a new one (RFC 9110 §13.1.5).
    """
    tag = entity_tag(stored.headers)
    bytes_held = held_from_start(stored)
    if request.method != "GET" or any(name in request.headers for name in CONDITIONAL_OR_RANGE):
        return None
    is_strong = tag is not None and tag.startswith('"') and tag.isascii()  # others are weak, or not read by all servers
    if bytes_held is None or tag is None or not is_strong:
        return None
    return Validate(stored, (("Range", f"bytes={bytes_held}-"), ("If-Range", tag)), reason, completes=True)


def completes(stored: StoredResponse, response: Response) -> bool:
    """Whether *response* is the rest of *stored*, up to the last byte, and states its own length."""
    value = single(response.headers, "Content-Range")
    added = None if value is None else parse_content_range(value)
    if response.status != 206 or added is None or not may_combine(stored, response.headers):
        return False
    is_rest = added.first == len(stored.body) and added.complete == added.last + 1
    return is_rest and single(response.headers, "Content-Length") == str(added.last + 1 - added.first)
