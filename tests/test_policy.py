"""What a private cache does with whole exchanges, decided by the policy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from aiohttp_cache_di import decisions, policy
from aiohttp_cache_di.decisions import Rules
from aiohttp_cache_di.rfc9111.messages import Request
from tests.messages import NOW, PRIVATE, SHARED, Fields, a_request, a_response, a_stored, date, fields_of
from tests.sync_cache import Answer, OriginDownError, Reply, SyncCache


def reply(fields: Fields = (), *, status: int = 200, body: bytes = b"0123456789", dated: bool = True) -> Reply:
    headers = fields_of(fields)
    if dated and "Date" not in headers:
        headers["Date"] = date()
    return Reply(status, headers, body)


def scripted(replies: Sequence[Reply | None], rules: Rules = PRIVATE) -> SyncCache:
    """A cache before an origin that gives *replies* in turn, the last one for ever; None: it cannot be reached."""
    waiting = list(replies)

    def origin(request: Request) -> Reply:
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if answer is None:
            raise OriginDownError
        return answer

    return SyncCache(origin, rules)


def is_reused(
    fields: Fields,
    *,
    status: int = 200,
    after_s: float = 3,
    second: Fields = (),
    rules: Rules = PRIVATE,
    url: str = "http://example.org/thing",
    dated: bool = True,
) -> bool:
    """Whether a response is served from the store to the same request, *after_s* later."""
    cache = scripted([reply(fields, status=status, dated=dated), reply(status=status)], rules)
    cache.send(a_request(url=url))
    cache.now += after_s
    return cache.send(a_request(second, url=url)).from_cache


def test_every_decision_is_a_name_of_the_policy() -> None:
    assert all(hasattr(policy, name) for name in policy.__all__)
    assert set(decisions.__all__) <= set(policy.__all__)


# ---- storability and freshness


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


# ---- request directives


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


def test_a_plan_may_forbid_to_store() -> None:
    plan = policy.Fetch("request", store=False)
    response = a_response({"Cache-Control": "max-age=60"})
    decision = policy.on_response(a_request(), response, plan, PRIVATE, now=NOW)
    assert decision == policy.Pass("request-no-store", "aiohttp-cache-di; fwd=request; detail=request-no-store")


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


# ---- Vary


def test_variants_are_kept_side_by_side() -> None:
    def origin(request: Request) -> Reply:
        return reply({"Cache-Control": "max-age=60", "Vary": "Foo"}, body=request.headers.get("Foo", "-").encode())

    cache = SyncCache(origin, PRIVATE)
    for value in ("1", "2", "3"):
        assert not cache.send(a_request({"Foo": value})).from_cache
    for value in ("1", "2", "3"):
        answer = cache.send(a_request({"Foo": value}))
        assert (answer.from_cache, answer.body) == (True, value.encode())
    assert not cache.send(a_request()).from_cache


def test_variants_are_bounded_and_the_oldest_go() -> None:
    def origin(request: Request) -> Reply:
        return reply({"Cache-Control": "max-age=60", "Vary": "Foo"}, body=request.headers["Foo"].encode())

    cache = SyncCache(origin, replace(PRIVATE, max_variants=3))
    for number in range(10):
        cache.send(a_request({"Foo": str(number)}))
    assert len(cache.entries) == 3
    assert cache.send(a_request({"Foo": "9"})).from_cache
    assert cache.send(a_request({"Foo": "7"})).from_cache
    assert not cache.send(a_request({"Foo": "6"})).from_cache


def test_the_newest_of_several_matching_variants_is_served() -> None:
    cache = scripted(
        [
            reply({"Cache-Control": "max-age=60", "Vary": "Foo"}, body=b"old"),
            reply({"Cache-Control": "max-age=60"}, body=b"new"),
        ]
    )
    cache.send(a_request({"Foo": "1"}))
    cache.send(a_request({"Foo": "2"}))
    assert cache.send(a_request({"Foo": "1"})).body == b"new"


def test_tags_of_other_variants_are_offered_and_a_304_selects_among_them() -> None:
    def origin(request: Request) -> Reply:
        if '"1"' in request.headers.get("If-None-Match", "") and request.headers["Foo"] == "3":
            return reply({"ETag": '"1"', "X-Seen": "3"}, status=304)
        tag = f'"{request.headers["Foo"]}"'
        return reply({"Cache-Control": "max-age=60", "Vary": "Foo", "ETag": tag}, body=tag.encode())

    cache = SyncCache(origin, PRIVATE)
    cache.send(a_request({"Foo": "1"}))
    cache.send(a_request({"Foo": "2"}))
    answer = cache.send(a_request({"Foo": "3"}))
    assert cache.sent[-1].headers["If-None-Match"] in ('"2", "1"', '"1", "2"')
    assert (answer.body, answer.headers["X-Seen"]) == (b'"1"', "3")


# ---- validation


def test_a_stale_response_is_validated_and_freshened() -> None:
    first = reply({"Cache-Control": "max-age=5", "ETag": '"a"', "X-A": "1"})
    cache = scripted([first, Reply(304, fields_of({"ETag": '"a"', "X-A": "2", "Cache-Control": "max-age=50"}))])
    cache.send(a_request())
    cache.now += 10
    answer = cache.send(a_request())
    assert cache.sent[1].headers["If-None-Match"] == '"a"'
    assert (answer.status, answer.body, answer.headers["X-A"], answer.age_s) == (200, b"0123456789", "2", 0)
    assert answer.cache_status == "aiohttp-cache-di; fwd=stale; fwd-status=304; stored"
    cache.now += 40
    assert cache.send(a_request()).from_cache
    assert len(cache.sent) == 2


def test_no_cache_is_validated_each_time() -> None:
    fields = {"Cache-Control": "no-cache", "ETag": '"a"'}
    cache = scripted([reply(fields), Reply(304, fields_of(fields))])
    for _ in range(3):
        assert cache.send(a_request()).status == 200
    assert [request.headers.get("If-None-Match") for request in cache.sent] == [None, '"a"', '"a"']


def test_a_304_for_something_unknown_is_asked_again_without_condition() -> None:
    cache = scripted(
        [
            reply({"Cache-Control": "max-age=1", "ETag": '"a"'}),
            Reply(304, fields_of({"ETag": '"z"'})),
            reply(body=b"new"),
        ]
    )
    cache.send(a_request())
    cache.now += 5
    answer = cache.send(a_request())
    assert (answer.status, answer.body) == (200, b"new")
    assert "If-None-Match" not in cache.sent[-1].headers


def test_a_new_response_replaces_the_validated_one() -> None:
    cache = scripted(
        [reply({"Cache-Control": "max-age=1", "ETag": '"a"'}), reply({"Cache-Control": "max-age=60"}, body=b"new")]
    )
    cache.send(a_request())
    cache.now += 5
    assert cache.send(a_request()).body == b"new"
    assert cache.send(a_request()).body == b"new"
    assert len(cache.sent) == 2


def test_a_new_response_with_no_store_drops_the_stored_one() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"}), reply({"Cache-Control": "no-store"})])
    cache.send(a_request())
    cache.send(a_request({"Cache-Control": "no-cache"}))
    assert cache.entries == {}


def test_an_error_upon_validation_is_handed_on_and_drops_nothing() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=1", "ETag": '"a"'}), reply(status=503)])
    cache.send(a_request())
    cache.now += 5
    assert cache.send(a_request()).status == 503
    assert len(cache.entries) == 1


def test_a_head_response_freshens_a_stored_get() -> None:
    fields = {"Cache-Control": "max-age=5", "ETag": '"a"', "Content-Length": "10"}
    cache = scripted([reply(fields), Reply(200, fields_of({**fields, "X-New": "1"}), b"")])
    cache.send(a_request())
    cache.now += 10
    cache.send(a_request(method="HEAD"))
    answer = cache.send(a_request())
    assert (answer.from_cache, answer.body, answer.headers["X-New"]) == (True, b"0123456789", "1")


@pytest.mark.parametrize("changed", [{"ETag": '"b"'}, {"Content-Length": "11"}, {"Last-Modified": date(-5)}])
def test_a_head_response_that_differs_makes_a_stored_get_stale(changed: dict[str, str]) -> None:
    fields = {"Cache-Control": "max-age=60", "ETag": '"a"', "Content-Length": "10", "Last-Modified": date(-60)}
    cache = scripted([reply(fields), Reply(200, fields_of({**fields, **changed}), b""), reply()])
    cache.send(a_request())
    cache.send(a_request({"Cache-Control": "no-cache"}, method="HEAD"))
    cache.send(a_request())
    assert cache.sent[-1].headers["If-None-Match"] == '"a"'


# ---- the caller's own conditions


@pytest.mark.parametrize(
    "condition",
    [
        {"If-None-Match": '"a"'},
        {"If-None-Match": 'W/"a"'},
        {"If-None-Match": '"x", "a"'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": date(-60)},
        {"If-Modified-Since": date()},
    ],
)
def test_the_callers_condition_is_answered_from_a_fresh_response(condition: Fields) -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"', "Last-Modified": date(-60)})])
    cache.send(a_request())
    answer = cache.send(a_request(condition))
    assert (answer.status, answer.body, answer.from_cache) == (304, b"", True)


def test_a_condition_that_does_not_hold_gets_the_stored_response() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'})])
    cache.send(a_request())
    answer = cache.send(a_request({"If-None-Match": '"b"', "If-Modified-Since": date()}))
    assert (answer.status, answer.from_cache) == (200, True)


def test_conditions_do_not_count_where_the_stored_answer_is_an_error() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'}, status=404)])
    cache.send(a_request())
    assert cache.send(a_request({"If-None-Match": "*"})).status == 404


@pytest.mark.parametrize("field", ["If-Match", "If-Unmodified-Since"])
def test_conditions_for_the_origin_go_to_the_origin(field: str) -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'}), reply(status=412)])
    cache.send(a_request())
    assert cache.send(a_request({field: "x"})).status == 412
    assert cache.send(a_request()).status == 200


def test_a_condition_without_anything_stored_goes_to_the_origin_as_it_is() -> None:
    cache = scripted([reply({"ETag": '"a"'}, status=304)])
    answer = cache.send(a_request({"If-None-Match": '"a"'}))
    assert (answer.status, answer.from_cache) == (304, False)
    assert cache.sent[0].headers["If-None-Match"] == '"a"'
    assert cache.entries == {}


@pytest.mark.parametrize("told", [{"ETag": '"a"'}, {}])
def test_the_callers_own_304_freshens_what_it_matches(told: dict[str, str]) -> None:
    first = reply({"Cache-Control": "max-age=5", "ETag": '"a"'})
    cache = scripted([first, Reply(304, fields_of({**told, "X-New": "1"}))])
    cache.send(a_request())
    cache.now += 10
    assert cache.send(a_request({"If-None-Match": '"a"'})).status == 304
    answer = cache.send(a_request())
    assert (answer.from_cache, answer.headers["X-New"]) == (True, "1")


def test_the_callers_own_304_leaves_alone_what_it_does_not_match() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=5", "ETag": '"a"'}), Reply(304, fields_of({"ETag": '"b"'}))])
    cache.send(a_request())
    cache.now += 10
    answer = cache.send(a_request({"If-None-Match": '"b"'}))
    assert (answer.status, answer.from_cache) == (304, False)
    cache.send(a_request())
    assert cache.sent[2].headers["If-None-Match"] == '"a"'


def test_a_200_to_the_callers_condition_is_stored() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'})])
    cache.send(a_request({"If-None-Match": '"old"'}))
    assert cache.send(a_request()).from_cache


# ---- ranges


def ask_range(cache: SyncCache, value: str, **more: str) -> Answer:
    return cache.send(a_request({"Range": value, **more}))


@pytest.mark.parametrize(
    ("value", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=20-", 416, b"", "bytes */10"),
    ],
)
def test_a_range_is_answered_from_a_complete_response(value: str, status: int, body: bytes, content_range: str) -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"})])
    cache.send(a_request())
    answer = ask_range(cache, value)
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (status, body, content_range)
    assert len(cache.sent) == 1


def test_several_ranges_and_other_units_go_to_the_origin() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"})])
    cache.send(a_request())
    assert not ask_range(cache, "bytes=0-1,3-4").from_cache
    assert not ask_range(cache, "lines=0-1").from_cache


def test_a_decoded_response_is_not_sliced() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "Content-Encoding": "gzip"})])
    cache.send(a_request())
    assert not ask_range(cache, "bytes=0-1").from_cache


def test_if_range_that_does_not_hold_gets_the_whole() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'})])
    cache.send(a_request())
    assert ask_range(cache, "bytes=0-1", **{"If-Range": '"a"'}).status == 206
    assert ask_range(cache, "bytes=0-1", **{"If-Range": '"b"'}).status == 200


def part(first: int, last: int, **more: str) -> Reply:
    fields = {"Cache-Control": "max-age=60", "Content-Range": f"bytes {first}-{last}/10", "ETag": '"a"', **more}
    return reply(fields, status=206, body=b"0123456789"[first : last + 1])


def test_a_stored_part_answers_only_what_it_holds() -> None:
    cache = scripted([part(2, 6), reply(status=200)])
    ask_range(cache, "bytes=2-6")
    assert ask_range(cache, "bytes=3-5").body == b"345"
    assert ask_range(cache, "bytes=20-").status == 416
    assert len(cache.sent) == 1
    assert not ask_range(cache, "bytes=3-8").from_cache
    assert not cache.send(a_request()).from_cache


def test_parts_are_joined_into_a_whole() -> None:
    cache = scripted([part(0, 4), part(5, 9)])
    ask_range(cache, "bytes=0-4")
    ask_range(cache, "bytes=5-9")
    answer = cache.send(a_request())
    assert (answer.status, answer.from_cache, answer.body) == (200, True, b"0123456789")


def test_a_part_does_not_replace_the_whole() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'}), part(0, 1)])
    cache.send(a_request())
    ask_range(cache, "bytes=0-1", **{"Cache-Control": "no-cache"})
    assert cache.send(a_request()).from_cache


def test_a_part_that_says_not_which_part_is_not_stored() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"}, status=206)])
    ask_range(cache, "bytes=0-1")
    assert cache.entries == {}


def test_a_part_of_another_state_drops_the_whole() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'}), part(0, 1, ETag='"b"')])
    cache.send(a_request())
    ask_range(cache, "bytes=0-1", **{"Cache-Control": "no-cache"})
    assert cache.entries == {}


def test_a_validated_whole_answers_the_range_that_was_asked_for() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=5", "ETag": '"a"'}), Reply(304, fields_of({"ETag": '"a"'}))])
    cache.send(a_request())
    cache.now += 10
    answer = ask_range(cache, "bytes=0-1")
    assert (answer.status, answer.body) == (206, b"01")
    assert cache.sent[-1].headers["Range"] == "bytes=0-1"


def test_several_parts_in_one_body_are_not_stored() -> None:
    fields = {"Cache-Control": "max-age=60", "Content-Type": "multipart/byteranges; boundary=x"}
    cache = scripted([reply(fields, status=206)])
    ask_range(cache, "bytes=0-1,3-4")
    assert cache.entries == {}


# ---- stale


def test_stale_while_revalidate_serves_and_validates_in_the_background() -> None:
    first = reply({"Cache-Control": "max-age=5, stale-while-revalidate=30", "ETag": '"a"'})
    cache = scripted([first, Reply(304, fields_of({"ETag": '"a"'}))])
    cache.send(a_request())
    cache.now += 10
    answer = cache.send(a_request({"If-None-Match": '"x"'}))
    assert answer.stale
    assert answer.cache_status == "aiohttp-cache-di; hit; ttl=-5; detail=stale-while-revalidate"
    cache.refresh()
    assert cache.sent[-1].headers.getall("If-None-Match") == ['"a"']
    assert not cache.send(a_request()).stale


def test_stale_while_revalidate_ends_and_yields() -> None:
    fields = {"Cache-Control": "max-age=5, stale-while-revalidate=30"}
    assert is_reused(fields, after_s=34)
    assert not is_reused(fields, after_s=35)
    assert not is_reused({"Cache-Control": "max-age=5, stale-while-revalidate=30, must-revalidate"}, after_s=10)
    assert not is_reused(fields, after_s=10, second={"Cache-Control": "max-age=60"})
    assert is_reused({"Cache-Control": "max-age=5"}, after_s=10, rules=replace(PRIVATE, stale_while_revalidate_s=30))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_stale_if_error_stands_in_for_an_error(status: int) -> None:
    cache = scripted([reply({"Cache-Control": "max-age=5, stale-if-error=60", "ETag": '"a"'}), reply(status=status)])
    cache.send(a_request())
    cache.now += 10
    answer = cache.send(a_request())
    assert (answer.status, answer.stale) == (200, True)
    assert answer.cache_status == "aiohttp-cache-di; hit; ttl=-5; detail=stale-if-error"
    cache.now += 100
    assert cache.send(a_request()).status == status


def test_stale_if_error_does_not_cover_other_answers() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=5, stale-if-error=60"}), reply(status=501)])
    cache.send(a_request())
    cache.now += 10
    assert cache.send(a_request()).status == 501


@pytest.mark.parametrize(
    ("response", "request_", "setting", "stands_in"),
    [
        ("max-age=5", "foo", None, False),
        ("max-age=5", "stale-if-error=60", None, True),
        ("max-age=5", "foo", 60.0, True),
        ("max-age=5, stale-if-error=0", "foo", 60.0, False),
        ("max-age=5, stale-if-error=60", "stale-if-error=0", 60.0, False),
        ("max-age=5, stale-if-error=0", "stale-if-error=60", None, True),
        ("max-age=5, stale-if-error=60, must-revalidate", "foo", 60.0, False),
        ("max-age=5, stale-if-error=60", "no-cache", 60.0, False),
    ],
)
def test_the_request_then_the_response_then_the_setting_decide_on_stale_if_error(
    response: str, request_: str, setting: float | None, stands_in: bool
) -> None:
    rules = replace(PRIVATE, stale_if_error_s=setting)
    cache = scripted([reply({"Cache-Control": response}), reply(status=503)], rules)
    cache.send(a_request())
    cache.now += 10
    answer = cache.send(a_request({"Cache-Control": request_}))
    assert (answer.status == 200) is stands_in


def test_an_origin_that_cannot_be_reached_is_stood_in_for() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=5"}), None])
    cache.send(a_request())
    cache.now += 10
    assert cache.send(a_request()).cache_status == "aiohttp-cache-di; hit; ttl=-5; detail=disconnected"


@pytest.mark.parametrize(
    ("response", "request_", "rules"),
    [
        ("max-age=5, must-revalidate", "foo", PRIVATE),
        ("max-age=5, proxy-revalidate", "foo", SHARED),
        ("max-age=5, s-maxage=5", "foo", SHARED),
        ("max-age=5", "no-cache", PRIVATE),
        ("max-age=5", "max-age=60, min-fresh=1", PRIVATE),
        ("no-cache", "foo", PRIVATE),
    ],
)
def test_what_forbids_stale_use_forbids_it_then_too(response: str, request_: str, rules: Rules) -> None:
    cache = scripted([reply({"Cache-Control": response, "ETag": '"a"'}), None], rules)
    cache.send(a_request())
    cache.now += 10
    with pytest.raises(OriginDownError):
        cache.send(a_request({"Cache-Control": request_}))


def test_a_private_cache_ignores_what_forbids_stale_use_to_shared_ones() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=5, s-maxage=5, proxy-revalidate"}), None])
    cache.send(a_request())
    cache.now += 10
    assert cache.send(a_request()).stale


# ---- invalidation


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FOO"])
def test_an_unsafe_request_invalidates(method: str) -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "Vary": "Foo"})])
    cache.send(a_request({"Foo": "1"}))
    cache.send(a_request({"Foo": "2"}))
    cache.send(a_request(method=method))
    assert cache.entries == {}


def test_an_unsafe_request_that_fails_invalidates_nothing() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"}), reply(status=500)])
    cache.send(a_request())
    cache.send(a_request(method="POST"))
    assert cache.send(a_request()).from_cache


# ---- the user's rules alone

RULES = Rules(lifetime_s=60)


@pytest.mark.parametrize(
    ("fields", "reused"),
    [
        ({}, True),
        ({"Cache-Control": "max-age=1"}, True),
        ({"Cache-Control": "no-cache"}, True),
        ({"Cache-Control": "no-store"}, False),
        ({"Cache-Control": "private"}, True),
        ({"Vary": "*"}, False),
        ({"Expires": "0", "Pragma": "no-cache"}, True),
    ],
)
def test_rules_decide_alone_but_for_no_store_and_vary(fields: Fields, reused: bool) -> None:
    assert is_reused(fields, rules=RULES) is reused


def test_rules_honour_private_when_shared() -> None:
    assert not is_reused({"Cache-Control": "private"}, rules=replace(RULES, shared=True))


@pytest.mark.parametrize(
    ("lifetime_s", "after_s", "reused"),
    [(60, 59, True), (60, 60, False), (0, 0, False), (float("inf"), 1e9, True), (None, 1e9, True)],
)
def test_rules_give_the_lifetime(lifetime_s: float | None, after_s: float, reused: bool) -> None:
    assert is_reused({}, rules=replace(RULES, lifetime_s=lifetime_s), after_s=after_s) is reused


def test_rules_store_allowed_codes_only() -> None:
    assert not is_reused({}, status=404, rules=RULES)
    assert is_reused({}, status=404, rules=replace(RULES, allowed_codes=frozenset({404})))
    assert is_reused({}, status=404, rules=replace(RULES, allowed_codes=None))


def test_rules_store_redirects_on_the_way_unless_they_set_cookies() -> None:
    assert is_reused({"Location": "/b"}, status=302, rules=RULES)
    assert not is_reused({"Location": "/b", "Set-Cookie": "a=b"}, status=302, rules=RULES)
    assert not is_reused({}, status=302, rules=RULES)


@pytest.mark.parametrize(
    "second",
    [{"Cache-Control": "no-store"}, {"If-None-Match": '"a"'}, {"Range": "bytes=0-1"}, {"If-Modified-Since": date()}],
)
def test_under_rules_the_callers_conditions_and_ranges_go_to_the_origin(second: Fields) -> None:
    cache = scripted([reply()], RULES)
    cache.send(a_request())
    stored = dict(cache.entries)
    assert not cache.send(a_request(second)).from_cache
    assert cache.entries == stored


def test_rules_allow_other_methods() -> None:
    rules = replace(RULES, allowed_methods=frozenset({"GET", "OPTIONS"}))
    cache = scripted([reply()], rules)
    cache.send(a_request(method="OPTIONS"))
    assert cache.send(a_request(method="OPTIONS")).from_cache


def test_refresh_validates_under_rules() -> None:
    cache = scripted([reply({"ETag": '"a"'}), Reply(304, fields_of({"ETag": '"a"'}))], RULES)
    cache.send(a_request())
    cache.rules = replace(RULES, refresh=True)
    answer = cache.send(a_request())
    assert (answer.status, cache.sent[-1].headers["If-None-Match"]) == (200, '"a"')


def test_refresh_fetches_where_nothing_can_be_validated() -> None:
    cache = scripted([reply(), reply(body=b"new")], RULES)
    cache.send(a_request())
    cache.rules = replace(RULES, refresh=True)
    assert cache.send(a_request()).body == b"new"


def test_only_if_cached_under_rules() -> None:
    cache = scripted([reply()], replace(RULES, only_if_cached=True))
    assert cache.send(a_request()).status == 504
    assert cache.send(a_request(method="OPTIONS")).status == 504


def test_stale_use_under_rules_is_set_by_the_user() -> None:
    rules = replace(RULES, stale_if_error_s=100.0)
    for failing in (None, reply(status=503)):
        cache = scripted([reply(), failing], rules)
        cache.send(a_request())
        cache.now += 100
        assert cache.send(a_request()).stale
    assert is_reused({}, rules=replace(RULES, stale_while_revalidate_s=100.0), after_s=100)
    cache = scripted([reply(body=b"old"), reply(body=b"new")], replace(RULES, stale_while_revalidate_s=100.0))
    cache.send(a_request())
    cache.now += 100
    assert cache.send(a_request()).body == b"old"
    cache.refresh()
    assert cache.send(a_request()).body == b"new"
    cache = scripted([reply(), None], RULES)
    cache.send(a_request())
    cache.now += 100
    with pytest.raises(OriginDownError):
        cache.send(a_request())


# ---- fast lane


def test_only_fields_that_ask_for_something_need_the_policy() -> None:
    assert not policy.needs_policy(fields_of({"Accept": "*/*", "User-Agent": "x", "Authorization": "y"}))
    for name in ("cache-control", "PRAGMA", "Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match"):
        assert policy.needs_policy(fields_of({name: "x"}))
    assert policy.needs_policy(fields_of({"If-Unmodified-Since": "x"}))
