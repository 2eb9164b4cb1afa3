"""Vary, validation and the caller's own conditions, in whole exchanges that the policy alone decides."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.rfc9111.messages import Request
from tests.messages import PRIVATE, Fields, a_request, date, fields_of
from tests.sync_cache import Reply, SyncCache, reply, scripted


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


def test_a_stale_response_is_validated_and_freshened() -> None:
    first = reply({"Cache-Control": "max-age=5", "ETag": '"a"', "X-A": "1"})
    cache = scripted([first, Reply(304, fields_of({"ETag": '"a"', "X-A": "2", "Cache-Control": "max-age=50"}))])
    cache.send(a_request())
    cache.now += 10
    answer = cache.send(a_request())
    assert cache.sent[1].headers["If-None-Match"] == '"a"'
    assert (answer.status, answer.body, answer.headers["X-A"], answer.age_s) == (200, b"0123456789", "2", 0)
    assert answer.cache_status == "aiohttp-cache-di; fwd=stale; fwd-status=304"
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


@pytest.mark.parametrize("status", [400, 412, 413, 431])
def test_an_origin_that_refuses_our_own_condition_is_asked_again_without_it(status: int) -> None:
    fields = {"Cache-Control": "max-age=1", "ETag": '"a"'}
    cache = scripted([reply(fields), reply({"Cache-Control": "max-age=60"}, status=status), reply(fields)])
    cache.send(a_request())
    cache.now += 5
    answer = cache.send(a_request())
    assert (answer.status, answer.cache_status) == (200, "aiohttp-cache-di; fwd=stale")
    assert ["If-None-Match" in sent.headers for sent in cache.sent] == [False, True, False]


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
