"""What completes a stored part (206): the rest of it, which is asked for by itself (RFC 9111 §3.3 and §3.4)."""

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
    """How to ask for what *stored* lacks of the whole that *request* wants; None where it is to be sent as a whole.

    Only a part that begins with the first byte and has a strong entity tag can be completed so: by If-Range the origin
    sends the rest of the same representation, or else the whole of the new one (RFC 9110 §13.1.5).
    """
    tag = entity_tag(stored.headers)
    bytes_held = held_from_start(stored)
    if request.method != "GET" or any(name in request.headers for name in CONDITIONAL_OR_RANGE):
        return None
    if bytes_held is None or tag is None or not tag.startswith('"') or not tag.isascii():  # weak, or no tag to all
        return None
    return Validate(stored, (("Range", f"bytes={bytes_held}-"), ("If-Range", tag)), reason, completes=True)


def completes(stored: StoredResponse, response: Response) -> bool:
    """Whether *response* is the rest of *stored*, to the last byte, and says how long it is itself."""
    value = single(response.headers, "Content-Range")
    added = None if value is None else parse_content_range(value)
    if response.status != 206 or added is None or not may_combine(stored, response.headers):
        return False
    is_rest = added.first == len(stored.body) and added.complete == added.last + 1
    return is_rest and single(response.headers, "Content-Length") == str(added.last + 1 - added.first)
