"""What a private cache stores and reuses, in whole exchanges that the policy alone decides."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.policy import decisions
from aiohttp_cache_di.policy.rules.book import Rules
from tests.messages import NOW, PRIVATE, SHARED, Fields, a_request, a_stored, date, fields_of
from tests.sync_cache import is_reused, reply, scripted

RULES = Rules(lifetime_s=60)


def test_every_decision_is_a_name_of_the_policy() -> None:
    assert all(hasattr(policy, name) for name in policy.__all__)
    assert set(decisions.__all__) <= set(policy.__all__)


@pytest.mark.parametrize("status", [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 503, 599])
def test_any_status_with_explicit_freshness_is_reused(status: int) -> None:
    assert is_reused({"Cache-Control": "max-age=60"}, status=status)
    assert is_reused({"Expires": date(60)}, status=status)


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_heuristically_cacheable_statuses_are_reused(status: int) -> None:
    assert is_reused({"Last-Modified": date(-86400)}, status=status)


@pytest.mark.parametrize("status", [201, 202, 299, 302, 303, 307, 400, 403, 412, 416, 429, 499, 500, 502, 503, 599])
def test_other_statuses_get_no_heuristic_freshness_unless_public(status: int) -> None:
    assert not is_reused({"Last-Modified": date(-86400)}, status=status)
    assert is_reused({"Last-Modified": date(-86400), "Cache-Control": "public"}, status=status)


@pytest.mark.parametrize(
    ("fields", "reused"),
    [
        ({}, False),
        ({"ETag": '"a"'}, False),
        ({"Cache-Control": "max-age=60"}, True),
        ({"Cache-Control": "max-age=2"}, False),
        ({"Cache-Control": "max-age=60, no-store"}, False),
        ({"Cache-Control": "No-Store, max-age=60"}, False),
        ({"Cache-Control": "max-age=60, no-cache"}, False),
        ({"Cache-Control": "private, max-age=60"}, True),
        ({"Cache-Control": "private"}, False),
        ({"Cache-Control": "s-maxage=60"}, False),
        ({"Cache-Control": "s-maxage=1, max-age=60"}, True),
        ({"Cache-Control": "max-age=60, must-revalidate"}, True),
        ({"Cache-Control": "max-age=60, only-if-cached"}, True),
        ({"Cache-Control": "max-age=60", "Pragma": "no-cache"}, True),
        ({"Cache-Control": "max-age=60", "Surrogate-Control": "no-store"}, True),
        ({"Cache-Control": "max-age=60", "CDN-Cache-Control": "no-store"}, True),
        ({"Cache-Control": "max-age=60", "Set-Cookie": "a=b"}, True),
        ({"Cache-Control": "max-age=60", "Age": "30"}, True),
        ({"Cache-Control": "max-age=60", "Age": "58"}, False),
        ({"Cache-Control": "max-age=60", "Age": "2147483648"}, False),
        ({"Cache-Control": "max-age=60", "Date": date(-59)}, False),
        ({"Cache-Control": "max-age=60", "Date": date(600)}, True),
        ({"Cache-Control": "max-age=60", "Date": "foo"}, True),
        ({"Expires": date(60), "Date": "foo"}, True),
        ({"Expires": date(600), "Age": "700"}, False),
        ({"Expires": "0"}, False),
        ({"Cache-Control": "max-age=60", "Vary": "*"}, False),
        ({"Cache-Control": "max-age=60", "Vary": "Foo, *"}, False),
    ],
)
def test_freshness_decides_about_reuse(fields: Fields, reused: bool) -> None:
    assert is_reused(fields) is reused


def test_a_response_without_date_is_reused_and_gets_one() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"}, dated=False)])
    cache.send(a_request())
    answer = cache.send(a_request())
    assert answer.from_cache
    assert answer.headers["Date"] == date()


def test_a_query_prevents_only_heuristic_freshness() -> None:
    url = "http://example.org/thing?a=1"
    assert not is_reused({"Last-Modified": date(-86400)}, url=url)
    assert is_reused({"Last-Modified": date(-86400)}, url=url, rules=replace(PRIVATE, heuristic_with_query=True))
    assert is_reused({"Cache-Control": "max-age=60"}, url=url)


def test_a_shared_cache_uses_s_maxage_and_refuses_private() -> None:
    assert is_reused({"Cache-Control": "s-maxage=60, max-age=1"}, rules=SHARED)
    assert not is_reused({"Cache-Control": "s-maxage=1, max-age=60"}, rules=SHARED)
    assert not is_reused({"Cache-Control": "private, max-age=60"}, rules=SHARED)


def test_age_is_emitted_with_what_came() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=600", "Age": "100"})])
    cache.send(a_request())
    cache.now += 7.5
    assert cache.send(a_request()).age_s == 107


def test_fields_that_must_not_be_stored_are_not_served_again() -> None:
    fields = {
        "Cache-Control": 'max-age=60, no-cache="X-B"',
        "Connection": "X-A",
        "Keep-Alive": "1",
        "Set-Cookie": "a=b",
        "X-A": "1",
        "X-B": "1",
        "X-C": "1",
    }
    cache = scripted([reply(fields)])
    first = cache.send(a_request())
    assert {"X-A", "X-B", "Set-Cookie"} <= set(first.headers)
    assert set(cache.send(a_request()).headers) == {"Cache-Control", "X-C", "Date"}


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "TRACE", "FOO"])
def test_only_get_and_head_are_answered_from_the_store(method: str) -> None:
    rules = replace(PRIVATE, allowed_methods=frozenset({"GET", "HEAD", "POST", "OPTIONS", "TRACE", "FOO"}))
    cache = scripted([reply({"Cache-Control": "max-age=60"})], rules)
    cache.send(a_request(method=method))
    assert not cache.send(a_request(method=method)).from_cache


def test_a_head_request_is_answered_from_a_stored_get() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"})])
    cache.send(a_request())
    answer = cache.send(a_request(method="HEAD"))
    assert (answer.from_cache, answer.body) == (True, b"")


@pytest.mark.parametrize(
    ("second", "after_s", "reused"),
    [
        ({"Cache-Control": "no-cache"}, 3, False),
        ({"Cache-Control": "no-store"}, 3, False),
        ({"Pragma": "no-cache"}, 3, False),
        ({"Pragma": "no-cache", "Cache-Control": "foo"}, 3, True),
        ({"Cache-Control": "max-age=0"}, 0, False),
        ({"Cache-Control": "max-age=2"}, 3, False),
        ({"Cache-Control": "max-age=3"}, 3, True),
        ({"Cache-Control": "max-age=1, max-stale=5"}, 3, True),
        ({"Cache-Control": "max-age=x"}, 3, False),
        ({"Cache-Control": "min-fresh=10"}, 3, True),
        ({"Cache-Control": "min-fresh=58"}, 3, False),
        ({"Cache-Control": "max-stale"}, 70, True),
        ({"Cache-Control": "max-stale=20"}, 70, True),
        ({"Cache-Control": "max-stale=5"}, 70, False),
        ({"Cache-Control": "only-if-cached"}, 3, True),
        ({"Cache-Control": "foo, bar=1"}, 3, True),
        ({"Authorization": "Basic eA=="}, 3, True),
    ],
)
def test_request_directives_bound_reuse(second: Fields, after_s: float, reused: bool) -> None:
    assert is_reused({"Cache-Control": "max-age=60"}, second=second, after_s=after_s) is reused


def test_a_request_with_no_store_leaves_no_trace() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"})])
    cache.send(a_request({"Cache-Control": "no-store"}))
    assert cache.entries == {}


def test_a_stored_head_response_or_part_answers_no_plain_request() -> None:
    for rules in (PRIVATE, RULES):
        for stored in (a_stored(method="HEAD"), a_stored({"Content-Range": "bytes 0-9/20"}, status=206)):
            assert isinstance(policy.on_request(a_request(), stored, rules, now=NOW), policy.Fetch)


def test_max_stale_says_so_and_yields_to_the_origin() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=1"})])
    cache.send(a_request())
    cache.now += 11
    answer = cache.send(a_request({"Cache-Control": "max-stale"}))
    assert answer.stale
    assert answer.cache_status == "aiohttp-cache-di; hit; ttl=-10; detail=max-stale"
    for forbidding in ("must-revalidate", "no-cache"):
        fields = {"Cache-Control": f"max-age=1, {forbidding}"}
        assert not is_reused(fields, second={"Cache-Control": "max-stale"})


def test_only_if_cached_gets_504_instead_of_a_request() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"})])
    answer = cache.send(a_request({"Cache-Control": "only-if-cached"}))
    assert (answer.status, cache.sent) == (504, [])
    assert "detail=only-if-cached" in answer.cache_status
    cache.send(a_request())
    cache.now += 70
    assert cache.send(a_request({"Cache-Control": "only-if-cached"})).status == 504
    assert cache.send(a_request({"Cache-Control": "only-if-cached, max-stale"})).status == 200


def test_immutable_is_not_validated_upon_a_reload() -> None:
    fields = {"Cache-Control": "max-age=60, immutable"}
    assert is_reused(fields, second={"Cache-Control": "max-age=0"})
    assert not is_reused(fields, second={"Cache-Control": "no-cache"})
    assert not is_reused(fields, second={"Cache-Control": "max-age=0"}, after_s=70)


def test_only_fields_that_ask_for_something_need_the_policy() -> None:
    assert not policy.needs_policy(fields_of({"Accept": "*/*", "User-Agent": "x", "Authorization": "y"}))
    for name in ("cache-control", "PRAGMA", "Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match"):
        assert policy.needs_policy(fields_of({name: "x"}))
    assert policy.needs_policy(fields_of({"If-Unmodified-Since": "x"}))


@pytest.mark.parametrize(
    ("method", "rules"),
    [("POST", PRIVATE), ("GET", replace(PRIVATE, lifetime_s=0, override_origin=True))],
)
def test_only_if_cached_holds_where_nothing_is_ever_cached(method: str, rules: Rules) -> None:
    request = a_request({"Cache-Control": "only-if-cached"}, method=method)
    assert isinstance(policy.on_request(request, None, rules, now=NOW), decisions.GatewayTimeout)
