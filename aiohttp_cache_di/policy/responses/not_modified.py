"""What a 304, or the answer to a HEAD request, says of stored responses (RFC 9111 §4.3.4, §4.3.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from aiohttp_cache_di.policy.decisions import (
    Freshen,
    Load,
    NotModified,
    Pass,
    Plan,
    Refetch,
    ResponseDecision,
    Validate,
)
from aiohttp_cache_di.policy.lifetimes import lifetime
from aiohttp_cache_di.policy.requests.reuse import answer_from
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.rfc9111.cache_status import forwarded
from aiohttp_cache_di.rfc9111.dates import format_http_date
from aiohttp_cache_di.rfc9111.directives import response_directives
from aiohttp_cache_di.rfc9111.fields import combined, single
from aiohttp_cache_di.rfc9111.freshness import current_age_s, whole_s
from aiohttp_cache_di.rfc9111.messages import Request, Response, StoredResponse, VariantRef
from aiohttp_cache_di.rfc9111.storability import forbidding_directive, unstorable_fields
from aiohttp_cache_di.rfc9111.validation import (
    candidate_tag,
    entity_tag,
    listed_entity_tags,
    matches_weakly,
    tag_before_coding,
    updated_headers,
)
from aiohttp_cache_di.rfc9111.vary import VARIES_ON_ALL, is_of_preferred_language, vary_digest, vary_fields

__all__ = ["on_head_response", "on_not_modified"]

Candidate = StoredResponse | VariantRef


def on_not_modified(
    request: Request,
    response: Response,
    plan: Plan,
    rules: Rules,
    *,
    now: float,
    candidates: Sequence[Candidate],
) -> ResponseDecision:
    """Decide about a 304, which confirms one of *candidates*, answers the caller's own condition, or does neither."""
    is_ours = isinstance(plan, Validate)
    if isinstance(plan, Validate):
        confirmed = _confirmed_by_us(response, plan, candidates)
    else:
        confirmed = _by_caller(request, response, candidates)
    if confirmed is None:
        return Refetch() if is_ours else Pass("not-modified", forwarded(plan.reason))
    if isinstance(confirmed, VariantRef):
        return Load(confirmed.key)
    updated = _freshened(request, confirmed, response, rules)
    is_kept = updated.store_until > response.received_at and updated.vary_fields == confirmed.vary_fields
    if is_ours and is_kept and not _is_selected(request, confirmed, rules):
        # Another variant answers this request, too (RFC 9111 §4.1): what is stored for it is a copy.
        digest = vary_digest(confirmed.vary_fields, request.selecting_headers, rules.digest_key)
        updated = msgspec.structs.replace(updated, vary_digest=digest, variants=())
    status = forwarded(plan.reason, fwd_status=304 if is_ours else None)
    if not is_ours:
        answer = NotModified(updated, whole_s(current_age_s(updated, now=now)), status)
        return Freshen(answer)
    reused = answer_from(request, updated, now=now)
    if reused is None:
        return Refetch()
    # Validated a moment ago, whatever lifetime it has.
    return Freshen(msgspec.structs.replace(reused, cache_status=status, stale=False))


def _confirmed_by_us(response: Response, plan: Validate, candidates: Sequence[Candidate]) -> Candidate | None:
    """The stored response that a 304 to our own condition is about (RFC 9111 §4.3.4)."""
    stored, tag = plan.stored, entity_tag(response.headers)
    confirmed = None if tag is None else _with_tag(tag, candidates)
    if confirmed is not None:
        return confirmed
    if stored is not None and tag is not None and _is_before_coding(tag, stored):
        return stored
    modified = single(response.headers, "Last-Modified")
    if stored is not None and entity_tag(stored.headers) is None and modified is not None:
        # Validated by its date only, so only the same date confirms it: a restored file has an older one.
        return stored if modified == single(stored.headers, "Last-Modified") else None
    if tag is not None:
        return None
    # Many origins leave the tag out of a 304; if only one was offered, its response is confirmed.
    tagged = [candidate for candidate in candidates if candidate_tag(candidate) is not None]
    if len(set(map(candidate_tag, tagged))) > 1:
        return None
    return stored if stored is not None else next(iter(tagged), None)


def _by_caller(request: Request, response: Response, candidates: Sequence[Candidate]) -> Candidate | None:
    """The stored response that a 304 to the caller's own condition confirms, if that is certain."""
    tag = entity_tag(response.headers)
    if tag is not None:
        return _with_tag(tag, candidates)
    listed = combined(request.headers, "If-None-Match")
    if listed is not None:
        tags = listed_entity_tags(listed)
        return _with_tag(tags[0], candidates) if len(tags) == 1 else None
    since = single(request.headers, "If-Modified-Since")
    modified = single(response.headers, "Last-Modified") or since
    if modified is None:
        return None
    loaded = (candidate for candidate in candidates if isinstance(candidate, StoredResponse))
    return next((candidate for candidate in loaded if single(candidate.headers, "Last-Modified") == modified), None)


def _with_tag(tag: str, candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate with exactly *tag*, or else one that it matches weakly."""
    matching = [candidate for candidate in candidates if (own := candidate_tag(candidate)) and matches_weakly(own, tag)]
    return next((candidate for candidate in matching if candidate_tag(candidate) == tag), next(iter(matching), None))


def _is_before_coding(tag: str, stored: StoredResponse) -> bool:
    """Whether *tag* is, by weak comparison, the one that *stored* had before the server encoded it."""
    before = tag_before_coding(stored.headers)
    return before is not None and matches_weakly(before, tag)


def _freshened(request: Request, stored: StoredResponse, response: Response, rules: Rules) -> StoredResponse:
    """*stored*, updated with the header fields and times of *response*."""
    # The stored Cache-Control applies unless the response has one.
    directives = response_directives(response.headers if "Cache-Control" in response.headers else stored.headers)
    drop = unstorable_fields(response.headers, directives, shared=rules.shared)
    if (tag := entity_tag(response.headers)) is not None and _is_before_coding(tag, stored):
        drop |= {"etag"}  # that of the bytes before they were encoded
    lines = updated_headers(stored.raw_headers, response.headers, drop)
    if "Date" not in response.headers:
        lines += ((b"Date", format_http_date(response.received_at).encode()),)
    updated = msgspec.structs.replace(
        stored, raw_headers=lines, requested_at=response.requested_at, received_at=response.received_at
    )
    merged = Response(stored.status, updated.headers, response.requested_at, response.received_at)
    times = lifetime(request, merged, response_directives(merged.headers), rules)
    fields = vary_fields(updated.headers)
    if fields not in (stored.vary_fields, VARIES_ON_ALL) and _selects(request, stored, rules):
        digest = vary_digest(fields, request.selecting_headers, rules.digest_key)
        stored = updated = msgspec.structs.replace(updated, vary_fields=fields, vary_digest=digest)
    forbidden = forbidding_directive(request, stored.status, directives, shared=rules.shared)
    if times is None or forbidden or fields != stored.vary_fields:
        # It answers only this request, and the store drops it: it may not be kept, or not be selected, any more.
        return msgspec.structs.replace(updated, fresh_until=-math.inf, store_until=response.received_at)
    return msgspec.structs.replace(updated, fresh_until=times.fresh_until, store_until=times.store_until)


def _selects(request: Request, stored: StoredResponse, rules: Rules) -> bool:
    return vary_digest(stored.vary_fields, request.selecting_headers, rules.digest_key) == stored.vary_digest


def _is_selected(request: Request, stored: StoredResponse, rules: Rules) -> bool:
    return _selects(request, stored, rules) or is_of_preferred_language(stored, request.selecting_headers)


def on_head_response(
    request: Request, response: Response, stored: StoredResponse, rules: Rules, *, now: float
) -> StoredResponse | None:
    """Update a stored GET response after the response to a HEAD request (RFC 9111 §4.3.5).

    Returns the entry to write: with updated header fields if the two agree, stale if they do not; None to keep it.

    Args:
        now: POSIX time, UTC.
    """
    if not rules.cache_control or response.status != 200 or stored.status != 200 or stored.method == "HEAD":
        return None
    if all(_agrees(name, response, stored) for name in ("ETag", "Last-Modified", "Content-Length")):
        return _freshened(request, stored, response, rules)
    return None if stored.fresh_until <= now else msgspec.structs.replace(stored, fresh_until=now)


def _agrees(name: str, response: Response, stored: StoredResponse) -> bool:
    value, known = single(response.headers, name), single(stored.headers, name)
    if value is None:
        return True
    if known is None and name == "Content-Length":
        # A chunked body came without one; once decoded, its length tells nothing.
        return "Content-Encoding" in stored.headers or value == str(stored.body_bytes)
    return value == known
