"""The forms of values in variables: lists both ways, and what is refused rather than taken literally."""

from __future__ import annotations

import functools
import json
import math
import re
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy.rules.expiration import UrlExpiration, UrlExpirationOptions, UrlRules
from aiohttp_cache_di.settings import CacheSettings, RedisSettings
from aiohttp_cache_di.settings.build import build_backend
from aiohttp_cache_di.settings.report import effective_settings
from aiohttp_cache_di.settings.url_rules import RULE_NAMES, UrlRule
from aiohttp_cache_di.settings.variables import Variable

LONG = "correct horse battery"


pytestmark = pytest.mark.usefixtures("no_variables")


def refusal_of(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", text)
    with pytest.raises(ConfigurationError, match=f"^AIOHTTP_CACHE_{name}=") as caught:
        CacheSettings.load()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ignored_params", '["token", "api key"]', ("token", "api key")),
        ("ignored_params", " token ,, api_key ", ("token", "api_key")),
        ("ignored_params", "filter[name]", ("filter[name]",)),
        ("ignored_params", "[]", ()),
        ("allowed_codes", "[200, 404]", (200, 404)),
        ("allowed_codes", '["200"]', (200,)),
        ("allowed_methods", '["get", "POST"]', ("GET", "POST")),
        ("credential_headers", '["X-Tenant"]', ("X-Tenant",)),
    ],
)
def test_a_list_is_read_in_both_forms(name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name.upper()}", text)

    assert getattr(CacheSettings.load(), name) == value


@pytest.mark.parametrize("value", [-1, -0.5, "-1", b"-1", True, Decimal(-1), Fraction(-1, 2), Decimal("sNaN")])
@pytest.mark.parametrize("name", ["max_bytes", "max_body_bytes"])
def test_a_size_that_is_none_is_refused_in_code_as_in_a_variable(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}={re.escape(repr(value))}: it accepts a number of bytes"):
        CacheSettings(**{name: value})


@pytest.mark.parametrize("value", [-2, b"-2", Decimal(-2), Fraction(-2)])
@pytest.mark.parametrize("name", ["expire_after", "stale_if_error"])
def test_a_negative_duration_is_refused_in_code_whatever_the_kind_of_number(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}={re.escape(repr(value))}: it accepts a number of seconds"):
        CacheSettings(**{name: value})


def test_a_number_of_another_kind_is_taken() -> None:
    settings = CacheSettings(max_bytes=cast("Any", Decimal(64)), expire_after=cast("Any", Fraction(1, 2)))
    assert (settings.max_bytes, settings.expire_after) == (64, 0.5)


@pytest.mark.parametrize("path", [" ", Path(" "), Path("\t")])
def test_a_blank_path_is_refused_in_code_as_in_a_variable(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^sqlite\.path=.*nothing but spaces in it"):
        CacheSettings(sqlite=cast("Any", {"path": path}))


@pytest.mark.parametrize("text", [f"{LONG},{LONG[::-1]}", f'["{LONG}", "{LONG[::-1]}"]'])
def test_secrets_are_read_in_both_forms(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY", text)

    assert [key.get_secret_value() for key in CacheSettings.load().secret_key] == [LONG, LONG[::-1]]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("IGNORED_PARAMS", '"token"', "quotes"),
        ("IGNORED_PARAMS", "'token', 'key'", "quotes"),
        ("IGNORED_PARAMS", "token,'key'", "quotes"),
        ("IGNORED_PARAMS", "['token']", "not JSON"),
        ("IGNORED_PARAMS", "(token,key)", "parentheses"),
        ("SHARED_CREDENTIALS", "(*.a.test, b.test)", "parentheses"),
        ("IGNORED_PARAMS", '{"token": 1}', "a JSON object, where a list belongs"),
        ("IGNORED_PARAMS", '["token", ["key"]]', "something else than texts"),
        ("IGNORED_PARAMS", '["token", ""]', "something else than texts"),
        ("IGNORED_PARAMS", "token key", "a space"),
        ("IGNORED_PARAMS", "token;key", "a semicolon"),
        ("ALLOWED_CODES", "[20]", "from 100 to 599"),
        ("ALLOWED_METHODS", '["GET POST"]', "HTTP allows"),
        ("CACHE_NAME", '"api"', "quotes"),
        ("CACHE_NAME", "  ", "nothing but spaces"),
        ("SQLITE__PATH", " ", "nothing but spaces"),
        ("CACHE_NAME", "“api”", "quotes"),
        ("CACHE_NAME", '["api"]', "JSON"),
        ("CACHE_NAME", "['api']", "notation of a program"),
        ("CACHE_NAME", "('api',)", "notation of a program"),
        ("CACHE_NAME", "a\nb", "control character"),
        ("REDIS__USERNAME", "'app'", "quotes"),
        ("REDIS__PASSWORD", '"x"', "quotes"),
        ("REDIS__PASSWORD", '{"password": "x"}', "JSON"),
        ("REDIS__PASSWORD", "['x']", "notation of a program"),
        ("REDIS__PASSWORD", "x\r", "control character"),
        ("REDIS__URL", '"redis://localhost"', "has to begin with redis://"),
        ("SECRET_KEY", f'"{LONG}"', "quotes"),
        ("SECRET_KEY", f'{{"key": "{LONG}"}}', "a JSON object"),
        ("SECRET_KEY", "x", "16 characters"),
        ("SECRET_KEY", f"{LONG},x", "16 characters"),
        ("SECRET_KEY", '["x"]', "16 characters"),
        ("SQLITE__PATH", '"/var/cache/http.sqlite"', "quotes"),
        ("SQLITE__PATH", "sqlite:////var/cache/http.sqlite", "a URL"),
        ("SQLITE__PATH", "file:///var/cache/http.sqlite", "a URL"),
        ("SQLITE__PATH", '["/var/cache"]', "JSON"),
        ("SQLITE__PATH", "['/var/cache']", "notation of a program"),
        ("SQLITE__PATH", "$HOME/http.sqlite", "a variable in it"),
        ("SQLITE__PATH", "/var/cache/$APP", "a variable in it"),
        ("SQLITE__PATH", "/var/cache/${APP}.sqlite", "a variable in it"),
        ("FILESYSTEM__PATH", "$(HOME)/files", "a variable in it"),
        ("BACKEND", '"memory"', "it accepts memory"),
        ("EXPIRE_AFTER", '"60"', "it accepts"),
    ],
)
def test_what_looks_like_a_form_that_is_not_taken_is_refused(
    name: str, text: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why in refusal_of(name, text, monkeypatch)


@pytest.mark.parametrize("path", ["/srv/c$/http.sqlite", "/srv/$1/a", "/srv/$Recycle.Bin/a", "/srv/a$b", "$"])
def test_a_dollar_in_a_path_that_names_no_variable_is_taken(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", path)

    assert CacheSettings.load().sqlite.path == Path(path)


@pytest.mark.parametrize("name", ["URLS_EXPIRE_AFTER", "BACKEND_OPTIONS", "IGNORED_PARAMS", "REDIS__PASSWORD"])
@pytest.mark.parametrize("depth", [40, 900, 60_000])
def test_json_that_is_nested_too_deeply_is_refused(name: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "[" * depth + "]" * depth
    if name in {"URLS_EXPIRE_AFTER", "BACKEND_OPTIONS"}:
        deep = f'{{"a": {deep}}}'

    assert refusal_of(name, deep, monkeypatch).strip().endswith(("nested too deeply)", "bare text belongs)"))


@pytest.mark.parametrize("text", ["[1]", "5m", "{'*': '5m'}"])
def test_rules_that_are_no_json_object_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it accepts a JSON object of URL patterns" in refusal_of("URLS_EXPIRE_AFTER", text, monkeypatch)


def test_json_that_says_the_same_thing_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "twice" in refusal_of("URLS_EXPIRE_AFTER", '{"*": 1, "*": 2}', monkeypatch)


def test_a_secret_key_that_is_set_to_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY", "")
    with pytest.raises(ConfigurationError, match=r"^AIOHTTP_CACHE_SECRET_KEY: it is empty"):
        CacheSettings.load()

    monkeypatch.delenv("AIOHTTP_CACHE_SECRET_KEY")
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_SECRET_KEY=\n")
    with pytest.raises(ConfigurationError, match=r"^AIOHTTP_CACHE_SECRET_KEY: it is empty"):
        CacheSettings.load()


@pytest.mark.parametrize("given", ["", "short", ["", LONG], [SecretStr("short")]])
def test_a_secret_key_from_code_has_to_be_long_enough_too(given: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^secret_key=\*\*\*: "):
        CacheSettings(secret_key=given)  # type: ignore[arg-type]  # what pydantic makes of it  # pyright: ignore


def test_a_password_with_quotes_around_it_can_come_from_code() -> None:
    settings = CacheSettings(backend="redis", redis=RedisSettings(password=SecretStr('"x"')))

    assert settings.redis.password == SecretStr('"x"')


# Rules by URL pattern


def test_a_pattern_may_have_everything_that_code_can_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIOHTTP_CACHE_URLS_EXPIRE_AFTER",
        '{"*.test/a": "5m", "*.test/b": {"expire_after": "1h", "override_origin": true}, "*.test/c": '
        '{"stale_if_error": "always", "stale_while_revalidate": "30s", "allowed_methods": ["get", "post"]}, '
        '"*.test/d": {"tags": ["b", "a"]}, "*.test/e": {"expire_after": 1, "tags": "one tag"}, '
        '"*": "none"}',
    )

    settings = CacheSettings.load()

    assert settings.urls_expire_after == {
        "*.test/a": 300.0,
        "*.test/b": UrlExpiration(3600.0, True),
        "*.test/c": UrlExpiration(
            stale_if_error=True, stale_while_revalidate=30.0, allowed_methods=frozenset({"GET", "POST"})
        ),
        "*.test/d": UrlExpiration(tags=("b", "a")),
        "*.test/e": UrlExpiration(1.0, tags=("one tag",)),
        "*": None,
    }
    shown = {row.variable: row.value for row in effective_settings(settings)}["AIOHTTP_CACHE_URLS_EXPIRE_AFTER"]
    monkeypatch.setenv("AIOHTTP_CACHE_URLS_EXPIRE_AFTER", shown)
    assert CacheSettings.load().urls_expire_after == settings.urls_expire_after


def test_code_gives_rules_by_pattern_as_a_backend_takes_them() -> None:
    settings = CacheSettings(
        urls_expire_after={"a.test": UrlExpiration("5m", override_origin=True), "b.test": 60, "c.test": None}
    )

    assert settings.urls_expire_after == {"a.test": UrlExpiration(300.0, True), "b.test": 60.0, "c.test": None}


def test_code_and_variables_name_what_a_pattern_may_say_by_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    rule: UrlExpirationOptions = {
        "expire_after": "1h",
        "override_origin": True,
        "stale_if_error": "1d",
        "stale_while_revalidate": "30s",
        "allowed_methods": ["get"],
        "tags": ["a"],
    }
    assert set(rule) == set(RULE_NAMES)
    monkeypatch.setenv("AIOHTTP_CACHE_URLS_EXPIRE_AFTER", json.dumps({"a.test": rule}))
    by_variable = CacheSettings.load().urls_expire_after

    assert CacheSettings(urls_expire_after={"a.test": rule}).urls_expire_after == by_variable
    in_code = UrlRules({"a.test": rule}).match("http://a.test/")
    assert by_variable == {"a.test": UrlExpiration(3600.0, True, 86400.0, 30.0, frozenset({"GET"}), ("a",))}
    assert in_code == UrlExpiration("1h", True, "1d", "30s", frozenset({"GET"}), ("a",))


def test_code_gives_the_windows_of_a_pattern_in_any_form_and_they_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    rules: dict[str, UrlRule] = {
        "a.test": UrlExpiration(stale_if_error="1h", stale_while_revalidate=timedelta(minutes=1)),
        "b.test": UrlExpiration(stale_if_error=True, stale_while_revalidate=False, tags=["t"]),
    }

    settings = CacheSettings(urls_expire_after=rules)

    assert settings.urls_expire_after == {
        "a.test": UrlExpiration(stale_if_error=3600.0, stale_while_revalidate=60.0),
        "b.test": UrlExpiration(stale_if_error=True, stale_while_revalidate=0.0, tags=("t",)),
    }
    shown = {row.variable: row.value for row in effective_settings(settings)}["AIOHTTP_CACHE_URLS_EXPIRE_AFTER"]
    monkeypatch.setenv("AIOHTTP_CACHE_URLS_EXPIRE_AFTER", shown)
    assert CacheSettings.load().urls_expire_after == settings.urls_expire_after


def test_code_gives_durations_as_text_or_timedelta_as_well() -> None:
    settings = CacheSettings(expire_after="5m", coalesce_timeout=timedelta(seconds=3))

    assert (settings.expire_after, settings.coalesce_timeout) == (300.0, 3.0)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ('{"a.test": "1h", "b.test": "soon"}', "b.test"),
        ('{"a.test": "1h", "b.test": [1]}', "b.test"),
        ('{"a.test": "1h", "": "5m"}', "a pattern is empty"),
        ('{"a.test": "1h", "https://user:pw@b.test/*": "5m"}', "a pattern has a user or a password"),
        ('{"a.test": "1h", "b.test": {"expire_after": "soon"}}', "b.test': its expire_after"),
        ('{"a.test": "1h", "b.test": {"override_origin": "maybe"}}', "b.test': its override_origin"),
        ('{"a.test": "1h", "b.test": {"stale_if_error": [1]}}', "b.test': its stale_if_error"),
        ('{"a.test": "1h", "b.test": {"stale_while_revalidate": "-1"}}', "b.test': its stale_while_revalidate"),
        ('{"a.test": "1h", "b.test": {"allowed_methods": 5}}', "b.test': its allowed_methods"),
        ('{"a.test": "1h", "b.test": {"allowed_methods": "GET POST"}}', "b.test': its allowed_methods"),
        ('{"a.test": "1h", "b.test": {"tags": [""]}}', "b.test': its tags"),
        ('{"a.test": "1h", "b.test": {"tags": 5}}', "b.test': its tags"),
        ('{"a.test": "1h", "b.test": {"overide_origin": true}}', "b.test': it has a name other than"),
        ('{"a.test": "1h", "[z-a]": "1h"}', "[z-a]"),
        ('{"a.test": "1h", "b.test": true}', "b.test"),
    ],
)
def test_an_invalid_rule_is_reported_with_its_pattern(text: str, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = refusal_of("URLS_EXPIRE_AFTER", text, monkeypatch).rpartition(" (")[2]

    assert pattern in reason
    assert "a.test" not in reason


def test_a_list_of_patterns_may_name_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIOHTTP_CACHE_SHARED_CREDENTIALS", "https://api.example.org/*, *.amazonaws.com, http*://[fd00::1]:8080/x"
    )
    monkeypatch.setenv("AIOHTTP_CACHE_POST_AS_QUERY", '["https://search.example.org/a b"]')

    settings = CacheSettings.load()

    assert settings.shared_credentials == (
        "https://api.example.org/*",
        "*.amazonaws.com",
        "http*://[fd00::1]:8080/x",
    )
    assert settings.post_as_query == ("https://search.example.org/a b",)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("SHARED_CREDENTIALS", "a.test,[z-a]", "'[z-a]' is not a pattern"),
        ("POST_AS_QUERY", '["a.test", "[z-a]"]', "'[z-a]' is not a pattern"),
        ("PRINCIPALS", '{"a.test": "t7", "[z-a]": "t8"}', "'[z-a]' is not a pattern"),
        ("PRINCIPALS", '{"a.test": "t7", "b.test": ""}', "'b.test': its name is empty"),
        ("PRINCIPALS", '{"a.test": "t7", "b.test": 5}', "'b.test': its name is empty, or not text"),
        (
            "SHARED_CREDENTIALS",
            "a.test,https://user:hunter2@b.test",
            "a user or a password",
        ),
        ("SHARED_CREDENTIALS", "a.test,user:hunter2@b.test", "a user or a password"),
        ("SHARED_CREDENTIALS", "a.test,redis://:hunter2/x@host/0", "begin it with a host"),
        ("SHARED_CREDENTIALS", "a.test,https://:hunter2/x@host/0", "begin it with a host"),
        ("URLS_EXPIRE_AFTER", '{"*/feed?access_token=hunter2": 5}', "write * in its place"),
        ("SHARED_CREDENTIALS", "a.test b.test", "a space"),
        ("SHARED_CREDENTIALS", "true", "'true' is no pattern; for all upstreams write *"),
        ("POST_AS_QUERY", "On", "'On' is no pattern; for all upstreams write *"),
        ("POST_AS_QUERY", "/graphql", "would match no URL: begin it with a host"),
        ("URLS_EXPIRE_AFTER", '{"/items/*": "1d"}', "would match no URL: begin it with a host"),
        ("PRINCIPALS", '{"/items/*": "t7"}', "would match no URL: begin it with a host"),
        ("SHARED_CREDENTIALS", r"^https?://api\.test", "shell globs, not regular expressions"),
        ("POST_AS_QUERY", r"^api\.test/", "shell globs, not regular expressions"),
    ],
)
def test_an_invalid_pattern_is_reported(name: str, text: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = refusal_of(name, text, monkeypatch)

    assert why in refusal
    assert "hunter2" not in refusal


def test_an_invalid_stale_window_in_code_is_reported_with_its_pattern() -> None:
    with pytest.raises(ConfigurationError, match=r"'b\.test': its stale_if_error cannot be used"):
        CacheSettings(urls_expire_after={"a.test": 5, "b.test": UrlExpiration(stale_if_error="soon")})


@pytest.mark.parametrize("text", [":", "a:", "?", "?a", "@", "*", "[", "/", "?a=&", "a,"])
def test_what_is_long_is_refused_or_taken_in_a_moment(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHARED_CREDENTIALS", "CACHE_NAME"):
        monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", text * 50_000 + '"')
    started = time.process_time()

    with pytest.raises(ConfigurationError):
        CacheSettings.load(env_file=None)

    assert time.process_time() - started < 10, "what takes the square of its length takes minutes"


TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40),
    st.text("[]{}\"':,@#?/%\\ 0123456789.-+eabn", min_size=1, max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text("a*/.:@", max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a*/.:@[", max_size=5), inner, max_size=3),
    ).map(json.dumps),
)


@given(item=st.sampled_from(list(CacheSettings.variables())), text=TEXTS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_taken_or_refused_and_what_is_taken_is_shown_so_that_it_is_read_as_the_same(
    item: Variable, text: str
) -> None:
    name = f"AIOHTTP_CACHE_{item.suffix}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, text)
        try:
            before = CacheSettings.load(env_file=None)
        except ConfigurationError:
            return
        if item.kind.secret or item.path == ("sqlite", "path"):
            return
        shown = item.kind.show(value_at(before, item.path))
        patch.setenv(name, shown)
        after = CacheSettings.load(env_file=None)

    assert value_at(after, item.path) == value_at(before, item.path)


def value_at(settings: object, path: tuple[str, ...]) -> object:
    return functools.reduce(getattr, path, settings)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (datetime(2040, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)),
        (datetime(2040, 1, 1), datetime(2040, 1, 1)),
        ("2040-01-01T00:00:00Z", datetime(2040, 1, 1, tzinfo=UTC)),
        ("Sun, 01 Jan 2040 00:00:00 GMT", datetime(2040, 1, 1, tzinfo=UTC)),
        ("off", None),
        ("never", -1.0),
        (timedelta(minutes=1), 60.0),
    ],
)
def test_a_lifetime_takes_in_settings_what_it_takes_in_code(
    given: Any, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules: dict[str, Any] = {"a.test": given, "b.test": {"expire_after": given}}
    settings = CacheSettings(expire_after=given, urls_expire_after=rules)
    rule = settings.urls_expire_after["b.test"]

    assert settings.expire_after == settings.urls_expire_after["a.test"] == value
    assert isinstance(rule, UrlExpiration)
    assert rule.value == value
    backend = build_backend(settings.model_copy(update={"backend": "memory"}))
    assert backend.expire_after == value
    shown = {setting.variable: setting.value for setting in effective_settings(settings)}
    monkeypatch.setenv("AIOHTTP_CACHE_EXPIRE_AFTER", shown["AIOHTTP_CACHE_EXPIRE_AFTER"])
    monkeypatch.setenv("AIOHTTP_CACHE_URLS_EXPIRE_AFTER", shown["AIOHTTP_CACHE_URLS_EXPIRE_AFTER"])
    read = CacheSettings.load(env_file=None)
    assert (read.expire_after, read.urls_expire_after) == (settings.expire_after, settings.urls_expire_after)


@pytest.mark.parametrize(("word", "window"), [("always", True), ("ALWAYS", True), ("off", None), ("null", None)])
def test_a_stale_window_takes_the_same_words_in_settings_and_in_code(word: str, window: bool | None) -> None:
    options: dict[str, Any] = {"stale_if_error": word, "stale_while_revalidate": word}
    settings, backend = CacheSettings(**options), CacheBackend(**options)

    assert settings.stale_if_error == settings.stale_while_revalidate == window
    assert backend.stale_if_error_s == backend.stale_while_revalidate_s == (math.inf if window else None)


@pytest.mark.parametrize("name", ["expire_after", "storage_deadline", "lease"])
def test_a_truth_value_is_no_length_of_time(name: str) -> None:
    given: dict[str, Any] = {name: True}
    with pytest.raises(ConfigurationError, match=f"{name}=True"):
        CacheSettings(**given)


@pytest.mark.parametrize("name", ["ignored_params", "credential_headers", "allowed_methods", "post_as_query"])
@pytest.mark.parametrize("word", ["none", " None ", "off", "null"])
def test_a_word_for_none_is_an_empty_list_and_no_name(name: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{name.upper()}", word)

    assert getattr(CacheSettings.load(), name) == ()


def test_a_name_that_is_called_none_is_written_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_IGNORED_PARAMS", '["none"]')
    settings = CacheSettings.load()

    assert settings.ignored_params == ("none",)
    shown = {setting.variable: setting.value for setting in effective_settings(settings)}
    assert shown["AIOHTTP_CACHE_IGNORED_PARAMS"] == '["none"]'
    monkeypatch.setenv("AIOHTTP_CACHE_IGNORED_PARAMS", "none,token")
    assert CacheSettings.load().ignored_params == ("none", "token")


def test_none_is_refused_as_a_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "16 characters or more" in refusal_of("SECRET_KEY", "none", monkeypatch)
