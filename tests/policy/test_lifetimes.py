from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.policy.lifetimes import DEFAULT_GRACE_S, Lifetime, lifetime
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.rfc9111.directives import response_directives
from tests.messages import NOW, PRIVATE, Fields, a_request, a_response, date

ADDED = replace(PRIVATE, lifetime_s=60)
INSISTED = replace(ADDED, override_origin=True)


def found(fields: Fields = (), *, rules: Rules = PRIVATE, status: int = 200, delay_s: float = 0) -> Lifetime | None:
    response = a_response(fields, status=status, delay_s=delay_s)
    return lifetime(a_request(), response, response_directives(response.headers), rules)


def fresh_s(fields: Fields = (), *, rules: Rules = PRIVATE, status: int = 200) -> float | None:
    times = found(fields, rules=rules, status=status)
    return None if times is None else times.fresh_until - NOW


def kept_s(fields: Fields, *, rules: Rules = PRIVATE) -> float:
    times = found(fields, rules=rules)
    assert times is not None
    return times.store_until - NOW


def test_age_at_receipt_is_taken_off_a_stated_lifetime() -> None:
    assert fresh_s({"Cache-Control": "max-age=60", "Age": "20"}) == 40
    times = found({"Cache-Control": "max-age=60"}, delay_s=5)
    assert times is not None
    assert times.fresh_until == NOW + 55


def test_age_at_receipt_is_not_taken_off_an_added_lifetime() -> None:
    assert fresh_s({"Age": "20"}, rules=ADDED) == 60
    assert fresh_s({"Age": "20", "Cache-Control": "max-age=5"}, rules=INSISTED) == 60


def test_no_cache_leaves_no_lifetime_at_all() -> None:
    assert fresh_s({"Cache-Control": "no-cache, max-age=60", "ETag": '"a"'}) == -math.inf
    assert fresh_s({"Cache-Control": "no-cache", "ETag": '"a"'}, rules=ADDED) == -math.inf
    assert fresh_s({"Cache-Control": 'no-cache="X-A", max-age=60'}) == 60


@pytest.mark.parametrize(
    ("fields", "is_kept"),
    [
        ({}, False),
        ({"ETag": '"a"'}, True),
        ({"Last-Modified": date()}, True),
        ({"Cache-Control": "max-age=0"}, False),
        ({"Expires": "0"}, False),
        ({"Cache-Control": "max-age=60", "Age": "100"}, True),
        ({"Cache-Control": "max-age=60, must-revalidate", "Age": "100"}, False),
        ({"Cache-Control": "max-age=0", "ETag": '"a"'}, True),
        ({"Cache-Control": "max-age=0, stale-if-error=60"}, True),
        ({"Cache-Control": "max-age=0, stale-while-revalidate=60"}, True),
        ({"Cache-Control": "max-age=0, stale-while-revalidate=60, must-revalidate"}, False),
        ({"Cache-Control": "no-cache"}, False),
    ],
)
def test_what_could_never_be_used_is_not_kept(fields: Fields, is_kept: bool) -> None:
    assert (found(fields) is not None) is is_kept


@pytest.mark.parametrize("window", [{"stale_if_error_s": 60.0}, {"stale_while_revalidate_s": 60.0}])
def test_a_response_that_states_nothing_is_kept_if_it_may_be_used_stale(window: dict[str, float]) -> None:
    rules = replace(PRIVATE, **window)
    assert kept_s({}, rules=rules) == 60
    assert found({"Cache-Control": "max-age=0"}, rules=rules) is not None
    assert found({"Cache-Control": "must-revalidate"}, rules=rules) is None
    assert found({"Cache-Control": "private"}, status=500, rules=rules) is None
    assert found({}, status=404, rules=rules) is None


@pytest.mark.parametrize("status", [302, 403, 500, 599])
def test_a_lifetime_is_added_only_to_heuristically_cacheable_statuses(status: int) -> None:
    assert fresh_s(status=status, rules=ADDED) is None
    assert fresh_s(status=status, rules=INSISTED) is None
    assert fresh_s({"Cache-Control": "public"}, status=status, rules=ADDED) == 60
    assert fresh_s({"Cache-Control": "max-age=5"}, status=status, rules=ADDED) == 5


def test_private_gives_leave_to_store_with_a_validator() -> None:
    assert fresh_s({"Cache-Control": "private", "ETag": '"a"'}, status=403) == 0
    assert fresh_s({"ETag": '"a"'}, status=403) is None


def test_a_response_is_kept_past_its_lifetime_to_be_validated() -> None:
    assert kept_s({"Cache-Control": "max-age=60", "ETag": '"a"'}) == 60 + DEFAULT_GRACE_S
    assert kept_s({"Cache-Control": "max-age=60, must-revalidate", "ETag": '"a"'}) == 60 + DEFAULT_GRACE_S
    assert kept_s({"Cache-Control": "no-cache", "ETag": '"a"'}) == DEFAULT_GRACE_S


def test_without_validator_or_stale_use_it_is_kept_no_longer() -> None:
    assert kept_s({"Cache-Control": "max-age=60, must-revalidate"}) == 60


def test_it_is_kept_as_long_as_it_may_be_used_stale() -> None:
    week_s = 7 * 86400
    assert kept_s({"Cache-Control": f"max-age=60, stale-if-error={week_s}"}) == 60 + week_s
    assert kept_s({"Cache-Control": f"max-age=60, stale-while-revalidate={week_s}"}) == 60 + week_s
    assert kept_s({"Cache-Control": "max-age=60"}, rules=replace(PRIVATE, stale_if_error_s=math.inf)) == math.inf


def test_rules_keep_it_for_their_own_windows() -> None:
    assert kept_s({}, rules=Rules(lifetime_s=60)) == 60
    assert kept_s({}, rules=Rules(lifetime_s=60, stale_if_error_s=30)) == 90
    assert kept_s({}, rules=Rules(lifetime_s=60, stale_while_revalidate_s=math.inf)) == math.inf
    assert found({}, rules=Rules(lifetime_s=0)) is None


@pytest.mark.parametrize("lifetime_s", [1e12, 1e300, math.inf])
@pytest.mark.parametrize("cache_control", [True, False])
def test_what_lasts_beyond_the_calendar_lasts_for_ever(lifetime_s: float, cache_control: bool) -> None:
    for rules in (
        Rules(cache_control=cache_control, lifetime_s=lifetime_s),
        Rules(cache_control=cache_control, lifetime_s=60, stale_if_error_s=lifetime_s),
    ):
        times = found(rules=rules)
        assert times is not None
        assert times.store_until == math.inf
        assert times.fresh_until in (NOW + 60, math.inf)
