"""The user's rules without the standard, in whole exchanges that the policy alone decides."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy import Bypass, Fetch, on_request
from aiohttp_cache_di.policy.rules.book import Rules, Wishes
from tests.messages import PRIVATE, Fields, a_request, date, fields_of
from tests.sync_cache import OriginDownError, Reply, is_reused, reply, scripted

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


@pytest.mark.parametrize(("fields", "is_cached"), [({"Content-Type": "text/x-query"}, True), ({}, False)])
def test_rules_too_ask_a_query_what_kind_it_is_of(fields: Fields, is_cached: bool) -> None:
    rules = replace(RULES, allowed_methods=frozenset({"GET", "QUERY"}))
    decision = on_request(a_request(fields, method="QUERY"), None, rules, now=0.0)
    assert isinstance(decision, Fetch if is_cached else Bypass)


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


@pytest.mark.parametrize("asked", ["max-age=0", "no-cache", "min-fresh=999"])
def test_under_rules_the_request_bounds_no_age(asked: str) -> None:
    assert is_reused({}, rules=RULES, second={"Cache-Control": asked})


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


@pytest.mark.parametrize("cache_control", [False, True])
def test_a_lifetime_that_is_not_given_is_no_lifetime_that_is_for_ever(cache_control: bool) -> None:
    unset, for_ever = (
        CacheBackend(cache_control=cache_control),
        CacheBackend(cache_control=cache_control, expire_after=-1),
    )
    url = "http://example.org/"
    assert for_ever.rules_for(url).lifetime_s == math.inf
    assert unset.rules_for(url).lifetime_s == (None if cache_control else math.inf)
    assert unset.rules_for(url, Wishes(expire_after=-1)).lifetime_s == math.inf
    assert unset.rules_for(url).lifetime_s == (None if cache_control else math.inf)
    assert unset.expire_after == -1
    assert repr(unset.expire_after) == "-1"


def test_lifetimes_and_windows_may_have_units() -> None:
    backend = CacheBackend(expire_after="5m", urls_expire_after={"a.test": "1h"}, stale_if_error="2h")
    rules = backend.rules_for("http://example.org/")
    assert (rules.lifetime_s, rules.stale_if_error_s) == (300, 7200)
    assert backend.rules_for("http://example.org/") is rules
    assert backend.rules_for("http://a.test/").lifetime_s == 3600
    assert backend.rules_for("http://a.test/", Wishes(expire_after="250ms", stale_if_error="1m")).lifetime_s == 0.25
    assert backend.rules_for("http://a.test/", Wishes(stale_if_error="1m")).stale_if_error_s == 60
    assert backend.rules_for("http://a.test/", Wishes(stale_if_error=timedelta(hours=1))).stale_if_error_s == 3600


@pytest.mark.parametrize("value", [False, True])
def test_a_bool_is_refused_as_a_lifetime_after_its_number_was_used_too(value: bool) -> None:
    backend, url = CacheBackend(), "http://example.org/"
    assert backend.resolve(url, Wishes(expire_after=int(value)), now=0.0).lifetime_s == int(value)
    with pytest.raises(ConfigurationError, match=f"expire_after={value}"):
        backend.resolve(url, Wishes(expire_after=value), now=0.0)


@pytest.mark.parametrize("value", ["soon", "-5m", [1], math.nan, -1])
def test_a_window_that_is_none_is_refused_with_its_value(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"stale_if_error={re.escape(repr(value))}: use "):
        CacheBackend().rules_for("http://example.org/", Wishes(stale_if_error=value))


@pytest.mark.parametrize("rules", [RULES, replace(RULES, stale_while_revalidate_s=60), PRIVATE])
def test_what_a_wrong_clock_has_stored_does_not_outlive_its_lifetime(rules: Rules) -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"}, dated=False)], rules)
    right, cache.now = cache.now, cache.now + 365 * 86400
    assert not cache.send(a_request()).from_cache
    cache.now -= 30  # as clocks of several machines differ
    assert cache.send(a_request()).from_cache
    cache.now = right
    assert not cache.send(a_request()).from_cache
    assert cache.send(a_request()).from_cache


def test_what_is_kept_for_ever_outlives_a_wrong_clock_too() -> None:
    cache = scripted([reply()], replace(RULES, lifetime_s=math.inf))
    cache.now += 365 * 86400
    cache.send(a_request())
    cache.now -= 365 * 86400
    assert cache.send(a_request()).from_cache
