"""Header fields that are anything: the rules find something in them or nothing, and raise nothing."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di.rfc9111 import dates, directives, fields, freshness, ranges, validation, vary
from aiohttp_cache_di.rfc9111.invalidation import invalidated_urls, is_same_url
from aiohttp_cache_di.rfc9111.messages import Headers, Request, StoredResponse
from aiohttp_cache_di.rfc9111.storability import forbidding_directive, unstorable_fields
from tests.fuzz.fuzzing import fuzzed

NOW = 1_700_000_000.0
NAMES = [
    *("Cache-Control", "Vary", "Date", "Age", "Expires", "ETag", "Last-Modified", "Range", "If-Range", "Pragma"),
    *("If-None-Match", "If-Modified-Since", "Content-Range", "Content-Language", "Accept-Language", "Accept"),
    *("Location", "Content-Location", "Authorization", "Content-Length", "Accept-Encoding", "Cookie", "Warning"),
]
PIECES = [
    *("max-age", "=", "60", '"', "\\", ",", ";", " ", "\t", "no-cache", "private", "s-maxage", "stale-if-error", "*"),
    *("bytes", "-", "0", "9" * 400, "/", "W/", '"tag"', "q=", "0.5", "en", "de-DE", "Thu, ", "31 Feb ", "9999 ", "24:"),
    *(
        "GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "http://[",
        "//",
        "x:",
        "é",
        "\udcff",
        "\x00",
    ),
    *(
        "must-understand",
        "only-if-cached",
        "max-stale",
        "+",
        ".",
        "e9",
        "_",
        "\u0661",
        "\x85",
        "inf",
        "nan",
        "#",
        "%",
        "?",
    ),
]
values = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(st.characters(max_codepoint=0xFF), max_size=40),
    st.text(max_size=40),
)
headers = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=6).map(
    lambda lines: CIMultiDictProxy(CIMultiDict(lines))
)


def stored_with(found: Headers) -> StoredResponse:
    lines = tuple((name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in found.items())
    return StoredResponse(
        key="k",
        method="GET",
        url="http://origin.test/a",
        status=200,
        reason=b"OK",
        raw_headers=lines,
        requested_at=NOW - 2,
        received_at=NOW - 1,
        created_at=NOW - 1,
        fresh_until=NOW + 60,
        vary_fields=vary.vary_fields(found),
        body=b"0123456789",
    )


@fuzzed(400)
@given(values)
def test_a_value_is_read_or_means_nothing(value: str) -> None:
    at = dates.parse_http_date(value, now=NOW)
    assert at is None or math.isfinite(at)
    seconds = fields.parse_delta_s(value)
    assert seconds is None or 0 <= seconds <= 2**31
    directives.parse_members(value)
    fields.split_list(value)
    fields.unquote(value)
    ranges.parse_range(value)
    ranges.parse_content_range(value)
    validation.listed_entity_tags(value)
    for name in NAMES:
        vary.normalised(name, value)
    is_same_url("http://origin.test/a", value)


@fuzzed(400)
@given(headers, headers, st.sampled_from(["GET", "POST", "PUT"]), st.booleans())
def test_messages_of_any_fields_are_judged(asked: Headers, answered: Headers, method: str, shared: bool) -> None:
    request = Request(method, "http://origin.test/a", asked)
    found = directives.response_directives(answered)
    directives.request_directives(asked)
    lifetime = freshness.explicit_lifetime_s(answered, found, received_at=NOW, shared=shared)
    assert lifetime is None or 0 <= lifetime < math.inf
    assert freshness.initial_age_s(answered, requested_at=NOW - 1, received_at=NOW) >= 0
    assert math.isfinite(freshness.date_at(answered, received_at=NOW))
    freshness.last_modified_at(answered, now=NOW)
    forbidding_directive(request, 200, found, shared=shared)
    names = unstorable_fields(answered, found, shared=shared)
    invalidated_urls(request, 200, answered)
    stored = stored_with(answered)
    assert freshness.current_age_s(stored, now=NOW) >= 0
    freshness.remaining_s(stored, now=NOW)
    ranges.select_range(asked.get("Range", "bytes=0-1"), stored)
    ranges.may_combine(stored, answered)
    for name, value in validation.conditions(stored):
        assert "\n" not in name + value
    validation.is_not_modified(asked, stored)
    validation.if_range_holds(asked, stored)
    validation.updated_headers(stored.raw_headers, answered, names)
    digest = vary.vary_digest(stored.vary_fields, asked)
    vary.variant_key("k", stored.vary_fields, digest)
    vary.select_variant(request, stored)
    vary.is_of_preferred_language(stored, asked)
