"""Stale responses and invalidation, in whole exchanges that the policy alone decides."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.policy.rules.book import Rules
from tests.messages import PRIVATE, SHARED, a_request, fields_of
from tests.sync_cache import OriginDownError, Reply, is_reused, reply, scripted


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
