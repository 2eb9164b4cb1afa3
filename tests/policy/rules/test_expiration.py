from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, formatdate
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy.rules.expiration import (
    FOR_EVER,
    UrlExpiration,
    UrlExpirationOptions,
    UrlRules,
    lifetime_s,
    posix_time,
    url_expiration,
)

NOW = 1_800_000_000.0


def at(offset_s: float) -> datetime:
    return datetime.fromtimestamp(NOW + offset_s, UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (FOR_EVER, math.inf),
        (-1.0, math.inf),
        (0, 0.0),
        (60, 60.0),
        (0.5, 0.5),
        (math.inf, math.inf),
        (10**400, math.inf),
        (-2, 0.0),
        (-math.inf, 0.0),
        (timedelta(minutes=5), 300.0),
        (timedelta(seconds=-1), 0.0),
        (at(90), 90.0),
        (at(-90), 0.0),
        (at(90).astimezone(timezone(timedelta(hours=5))), 90.0),
        (formatdate(NOW + 60, usegmt=True), 60.0),
        (format_datetime(at(60).astimezone(timezone(timedelta(hours=-3)))), 60.0),
        (formatdate(NOW - 60, usegmt=True), 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("90", 90.0),
        ("5m", 300.0),
        ("1h 30m", 5400.0),
        (" 2D ", 172_800.0),
        ("never", math.inf),
        ("-1", math.inf),
        ("0", 0.0),
        ("none", None),
        (" Off ", None),
        ("null", None),
        (at(90).isoformat(), 90.0),
        (at(90).replace(tzinfo=None).isoformat(" "), 90.0),
        (at(90).strftime("%Y-%m-%dT%H:%M:%SZ"), 90.0),
    ],
)
def test_every_accepted_form_comes_to_seconds(value: Any, expected: float | None) -> None:
    assert lifetime_s(value, now=NOW) == expected


def test_a_datetime_without_a_zone_is_universal_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert lifetime_s(at(90).replace(tzinfo=None), now=NOW) == 90.0
        assert posix_time(at(90).replace(tzinfo=None)) == posix_time(at(90)) == NOW + 90
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_text_without_a_zone_is_universal_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert lifetime_s(at(60).strftime("%a %b %d %H:%M:%S %Y"), now=NOW) == 60.0
        assert lifetime_s(at(60).strftime("%a, %d %b %Y %H:%M:%S -0000"), now=NOW) == 60.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_the_ends_of_the_calendar_are_far_away_in_every_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for hours in (None, -23, 0, 23):
            zone_of_its_own = None if hours is None else timezone(timedelta(hours=hours))
            far = lifetime_s(datetime.max.replace(tzinfo=zone_of_its_own), now=NOW)
            assert far is not None
            assert far > 1e11
            assert lifetime_s(datetime.min.replace(tzinfo=zone_of_its_own), now=NOW) == 0.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "tomorrow",
        "always",
        "1 Jan 99999999999999999999 00:00:00 GMT",
        "5 minutes",
        "5m5m",
        "nan",
        "2030-13-45",
        math.nan,
        True,
        False,
        b"60",
        [60],
        object,
        datetime.max.date(),
    ],
)
def test_a_wrong_form_is_refused_with_the_value_and_what_is_accepted(value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        lifetime_s(value, now=NOW)
    assert repr(value) in str(caught.value)
    assert "HTTP date" in str(caught.value)


@given(value=st.none() | st.integers() | st.floats() | st.text() | st.datetimes() | st.timedeltas())
def test_a_lifetime_is_none_or_not_negative_or_refused(value: Any) -> None:
    try:
        lifetime = lifetime_s(value, now=NOW)
    except ConfigurationError:
        return
    assert lifetime is None or lifetime >= 0


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("example.org", "http://example.org"),
        ("example.org", "https://example.org/a?b=c"),
        ("example.org", "http://example.org:8080/a"),
        ("example.org", "http://example.org?q"),
        ("EXAMPLE.org/Path", "http://example.ORG/Path/x"),
        ("example.org", "http://user:pass@example.org/a"),
        ("example.org/a", "https://example.org:443/a"),
        ("example.org:8080", "http://example.org:8080/"),
        ("*.example.org", "http://api.example.org/"),
        ("*.example.org", "http://a.b.example.org/x"),
        ("example.org/api", "http://example.org/api/items?page=2"),
        ("example.org/api/*/items", "http://example.org/api/v1/items/3"),
        ("example.org/**/items", "http://example.org/a/b/c/items"),
        ("*/items", "http://example.org/a/items"),
        ("*", "http://example.org/"),
        ("**", "http://example.org/"),
        ("*api*", "http://example.org/the/api/x"),
        ("http://example.org", "http://example.org/a"),
        ("https://*.example.org/a*", "https://x.example.org/abc"),
        ("*://example.org", "https://example.org/"),
        ("example.org/?", "http://example.org/x"),
        ("example.org/[abc]1", "http://example.org/b1"),
        ("example.org/[!abc]1", "http://example.org/d1"),
        ("example.org/[a-c]1", "http://example.org/c1"),
        ("example.org/a.b", "http://example.org/a.b"),
        ("example.org/?u=http://other", "http://example.org/?u=http://other"),
        (" example.org ", "http://example.org/"),
        ("[::1]", "http://[::1]:80/"),
        ("*/wiki/Müller", "http://example.org/wiki/Müller"),
        ("*/wiki/M?ller", "http://example.org/wiki/Müller"),
        ("*/wiki/M[äü]ller", "http://example.org/wiki/Müller"),
        ("*/wiki/M%c3%bcller", "http://example.org/wiki/Müller"),
        ("bücher.example", "http://bücher.example/"),
        ("BÜCHER.example", "http://xn--bcher-kva.example:80/x"),
        ("xn--bcher-kva.example", "http://bücher.example/"),
        ("*.bücher.example:8080", "http://a.bücher.example:8080/"),
        ("*/my files/*", "http://example.org/my files/a"),
        ("*/my%20files/*", "http://example.org/my files/a"),
        ("*/my files/*", "http://example.org/my%20files/a"),
        ("example.org/*[?]q=a b", "http://example.org/?q=a b"),
        ("example.org/*[?]q=a b", "http://example.org/?q=a%20b"),
        ("example.org/a%2fb", "http://example.org/a%2Fb"),
        ("example.org/100%", "http://example.org/100%25"),
        ("example.org/%2A", "http://example.org/*"),
        ("example.org/[a&&b]", "http://example.org/&"),
        ("example.org/[-a]", "http://example.org/-"),
        ("example.org/[a-]", "http://example.org/-"),
        ("example.org/[!-a]x", "http://example.org/bx"),
        ("example.org/[+--]", "http://example.org/,"),
        ("example.org/[a||b~~c]", "http://example.org/~"),
    ],
)
def test_a_pattern_covers_a_url(pattern: str, url: str) -> None:
    assert UrlRules({pattern: 60}).match(url) == UrlExpiration(60)
    assert UrlRules({pattern: 60}).match(URL(url)) == UrlExpiration(60)


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("example.org", "http://example.org.evil.test/"),
        ("example.org", "http://notexample.org/"),
        ("example.org", "http://api.example.org/"),
        ("example.org", "http://evil.test/example.org"),
        ("example.org", "http://example.org@evil.test/"),
        ("*.example.org", "http://example.org/"),
        ("*.example.org", "http://api.example.org.evil.test/"),
        ("https://example.org", "http://example.org/"),
        ("example.org:80", "http://example.org:8080/"),
        ("example.org/Path", "http://example.org/path"),
        ("example.org/[abc]1", "http://example.org/d1"),
        ("example.org/[!abc]1", "http://example.org/a1"),
        ("example.org/axb", "http://example.org/a.b"),
        ("example.org/a/b", "http://example.org/a%2Fb"),
        ("example.org/%2A", "http://example.org/a"),
        ("example.org/[a&&b]", "http://example.org/c"),
        ("bücher.example", "http://bucher.example/"),
        ("bücher.example", "http://bücher.example.evil.test/"),
        ("example.org/a.b", "http://example.org/axb"),
        ("example.org/api/*/items", "http://example.org/api/v1/other"),
    ],
)
def test_a_pattern_does_not_cover_a_url(pattern: str, url: str) -> None:
    assert UrlRules({pattern: 60}).match(url) is None


def test_the_first_pattern_that_matches_wins() -> None:
    rules = UrlRules({"example.org/a": 1, "example.org/": 2, "*": 3})
    assert [rules.match(f"http://{rest}") for rest in ("example.org/a/b", "example.org/b", "other.org/a")] == [
        UrlExpiration(1),
        UrlExpiration(2),
        UrlExpiration(3),
    ]


def test_a_rule_may_say_that_it_wins_over_the_origin() -> None:
    rule = UrlExpiration(60, override_origin=True)
    assert UrlRules({"example.org": rule}).match("http://example.org/") is rule


def test_no_rules_match_nothing_and_are_false() -> None:
    assert not UrlRules({})
    assert UrlRules({}).match("http://example.org/") is None
    assert len(UrlRules({"a": 1, "b": 2})) == 2


def test_none_as_a_lifetime_is_a_rule_of_its_own() -> None:
    assert UrlRules({"example.org": None, "*": 5}).match("http://example.org/") == UrlExpiration(None)


@pytest.mark.parametrize("url", ["", "not a url", "/relative", "http://[bad/"])
def test_what_is_no_url_is_matched_as_text_and_never_raises(url: str) -> None:
    assert UrlRules({"example.org": 1}).match(url) is None


def test_a_wrong_lifetime_is_refused_with_its_pattern() -> None:
    with pytest.raises(ConfigurationError, match=r"urls_expire_after\['example.org'\]: expire_after='soon'"):
        UrlRules({"example.org": "soon"})


def test_a_hostile_url_does_not_make_many_stars_slow() -> None:
    rules = UrlRules({"example.org/" + "*a" * 40 + "*b": 1})
    url = "http://example.org/" + "a" * 30_000
    before = time.process_time()
    assert rules.match(url) is None
    assert time.process_time() - before < 1.0


def test_a_very_long_url_is_matched_and_not_remembered() -> None:
    rules = UrlRules({"example.org/a": 1})
    assert rules.match("http://example.org/a" + "x" * 5_000) == UrlExpiration(1)


@pytest.mark.parametrize("pattern", ["example.org/[z-a]", "example.org/[:--]", 7])
def test_what_is_no_pattern_is_refused_by_name(pattern: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a URL pattern") as caught:
        UrlRules({pattern: 60})
    assert repr(pattern) in str(caught.value)


@given(pattern=st.text("ab*?[]!^-\\&~|./:{}()$+ %2Fü", max_size=20), url=st.text("ab/:.?ü% 2F", max_size=20))
def test_any_text_is_a_pattern_that_can_be_matched_or_is_refused(pattern: str, url: str) -> None:
    try:
        rules = UrlRules({pattern: 1})
    except ConfigurationError:
        # Without sets, which have other rules here, nothing is refused that could match.
        assert "[" in pattern or not pattern.strip() or not fnmatchcase(f"a/{url}", f"{pattern.strip()}*")
        return
    rules.match(f"http://a/{url}")


@pytest.mark.parametrize("field", ["stale_if_error", "stale_while_revalidate"])
def test_a_wrong_window_is_refused_with_pattern_field_and_value_first(field: str) -> None:
    wrong: dict[str, Any] = {field: "soon"}
    with pytest.raises(ConfigurationError, match=rf"^urls_expire_after\['a.test'\]: {field}='soon'"):
        UrlRules({"a.test": UrlExpiration(**wrong)})


def test_a_pattern_may_say_as_a_mapping_what_it_may_say_as_an_object() -> None:
    rule: UrlExpirationOptions = {
        "expire_after": "1h",
        "override_origin": True,
        "stale_if_error": "1d",
        "stale_while_revalidate": timedelta(seconds=30),
        "allowed_methods": ["get"],
        "tags": ["a", "b"],
    }
    assert url_expiration("a.test", rule) == UrlExpiration(
        "1h", True, "1d", timedelta(seconds=30), frozenset({"GET"}), ("a", "b")
    )
    assert UrlRules({"a.test": rule}).by_pattern == {"a.test": url_expiration("a.test", rule)}
    assert url_expiration("a.test", {}) == UrlExpiration()


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"expire_afer": 1}, "there is no 'expire_afer'; use expire_after, override_origin, stale_if_error, "),
        ({"value": 1}, "there is no 'value'; use expire_after, "),
        ({"expire_after": "soon"}, "expire_after='soon' is not a lifetime"),
        ({"stale_if_error": "soon"}, "stale_if_error='soon': "),
        ({"override_origin": "false"}, "override_origin='false': use a bool"),
        ({"allowed_methods": "GET"}, "allowed_methods takes a collection of methods"),
        ({"allowed_methods": 7}, "allowed_methods takes a collection of methods"),
        ({"tags": 7}, "tags=7: "),
    ],
    ids=str,
)
def test_an_invalid_field_of_a_rule_is_reported_with_its_pattern(rule: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        UrlRules({"a.test": rule})
    assert str(caught.value).startswith(f"urls_expire_after['a.test']: {told}")
