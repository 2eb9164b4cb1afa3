from __future__ import annotations

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.policy import Fetch, Partial, Rules, Serve, ServeStale, on_failure
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.messages import NOW, PRIVATE, Fields, a_request, a_stored

OLD = a_stored(fresh_for_s=-5)
WINDOW = a_stored({"Cache-Control": "stale-if-error=60"}, fresh_for_s=-5)


def stood_in(
    stored: StoredResponse | None, *, rules: Rules = PRIVATE, asked: Fields = (), timeout: bool = False
) -> ServeStale | None:
    return on_failure(Fetch("stale", stored), rules, a_request(asked), now=NOW, is_reachable=timeout)


def test_without_anything_stored_the_error_is_the_callers() -> None:
    assert stood_in(None) is None


def test_a_broken_connection_is_stood_in_for_by_default() -> None:
    stale = stood_in(OLD)
    assert stale is not None
    answer = stale.answer
    assert isinstance(answer, Serve)
    assert (answer.stored, answer.age_s) == (OLD, 0)
    assert answer.cache_status.endswith("detail=disconnected")


def test_a_stale_response_replaces_a_timeout_only_with_stale_if_error() -> None:
    assert stood_in(OLD, timeout=True) is None
    assert stood_in(WINDOW, timeout=True) is not None
    assert stood_in(OLD, timeout=True, rules=replace(PRIVATE, stale_if_error_s=60)) is not None
    assert stood_in(OLD, timeout=True, asked={"Cache-Control": "stale-if-error=60"}) is not None
    assert stood_in(OLD, timeout=True, rules=replace(PRIVATE, stale_if_error_s=5)) is None


@pytest.mark.parametrize("directive", ["max-age=60", "min-fresh=1"])
def test_a_caller_who_limits_the_age_gets_a_stale_response_only_with_stale_if_error(directive: str) -> None:
    assert stood_in(OLD, asked={"Cache-Control": directive}) is None
    assert stood_in(WINDOW, asked={"Cache-Control": directive}) is not None


def test_under_rules_only_the_setting_counts() -> None:
    assert stood_in(WINDOW, rules=Rules(lifetime_s=60)) is None
    assert stood_in(OLD, rules=Rules(lifetime_s=60, stale_if_error_s=6)) is not None
    assert stood_in(OLD, rules=Rules(lifetime_s=60, stale_if_error_s=5)) is None


def test_the_callers_range_is_answered_in_an_emergency_too() -> None:
    answer = stood_in(OLD, asked={"Range": "bytes=0-1"})
    assert answer is not None
    assert isinstance(answer.answer, Partial)
    assert stood_in(OLD, asked={"Range": "bytes=0-1,3-4"}) is None
