"""The revision of a backend changes with everything that answers depend on."""

from __future__ import annotations

import inspect
import math
from functools import cached_property
from typing import Any
from unittest.mock import patch

import pytest

from aiohttp_cache_di import CachedResponse, CachedSession, ConfigurationError, keys
from aiohttp_cache_di.backends import CacheBackend, DictCache
from aiohttp_cache_di.backends.configured import SETTINGS as BACKEND_SETTINGS
from aiohttp_cache_di.keys import CredentialNames
from aiohttp_cache_di.policy.rules import book
from aiohttp_cache_di.policy.rules.expiration import lifetime_s
from tests.interleaving import in_thread
from tests.origin import Origin, answer


def refuse(response: object) -> bool:
    """Cache nothing."""
    return False


def one_key(*args: object, **kwargs: object) -> str:
    """The same key for all."""
    return "k"


SETTINGS: list[tuple[str, Any]] = [
    ("expire_after", 5),
    ("urls_expire_after", {"*.org": 5}),
    ("allowed_codes", (404,)),
    ("allowed_methods", frozenset({"POST"})),
    ("include_headers", True),
    ("ignored_params", frozenset({"token"})),
    ("cache_control", True),
    ("filter_fn", refuse),
    ("shared", True),
    ("credential_headers", CredentialNames({"x-key"})),
    ("stale_if_error_s", 5.0),
    ("max_variants", 1),
    ("write_behind", False),
    ("fast_lane", False),
    ("store_cookies", True),
    ("responses", DictCache()),
    ("redirects", DictCache()),
    ("response_aliases", DictCache()),
    ("create_key", one_key),
    ("get_response", None),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_a_setting_that_is_set_raises_it_and_is_read_again(name: str, value: Any) -> None:
    backend = CacheBackend()
    before = backend.revision
    setattr(backend, name, value)
    assert backend.revision > before
    assert getattr(backend, name) == value or value is None


LATER: list[tuple[str, Any, object]] = [
    ("ignored_params", ["token"], frozenset({"token"})),
    ("ignored_params", None, frozenset()),
    ("allowed_methods", ["get", "Post"], frozenset({"GET", "POST"})),
    ("credential_headers", ["X-Key"], CredentialNames(["X-Key"], by_rule=False)),
    ("stale_if_error", "1m", 60.0),
    ("stale_while_revalidate", True, math.inf),
]
ATTRIBUTES = {option: setting.name for option, setting in BACKEND_SETTINGS.items()}


@pytest.mark.parametrize(("name", "value", "kept"), LATER)
async def test_a_setting_that_is_set_later_is_what_it_would_be_if_it_had_been_given(
    origin: Origin, name: str, value: Any, kept: object
) -> None:
    url = origin.on("/a", answer("a"))
    backend = CacheBackend()
    setattr(backend, ATTRIBUTES[name], value)
    assert getattr(backend, ATTRIBUTES[name]) == kept
    assert getattr(CacheBackend(**{name: value}), ATTRIBUTES[name]) == kept
    async with CachedSession(cache=backend) as session, session.get(url, headers={"X-Token": "1"}) as response:
        assert await response.text() == "a"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("expire_after", "soon"),
        ("urls_expire_after", {"*": "soon"}),
        ("urls_expire_after", ["*"]),
        ("allowed_codes", 200),
        ("allowed_methods", "GET"),
        ("ignored_params", "token"),
        ("filter_fn", "accept"),
        ("cache_control", "false"),
        ("max_variants", -1),
        ("stale_if_error", "soon"),
        ("coalesce_timeout", "soon"),
        ("lease", -1),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_where_it_is_set(name: str, value: Any) -> None:
    backend = CacheBackend()
    before = getattr(backend, ATTRIBUTES[name])
    with pytest.raises(ConfigurationError, match=r"soon|\['\*'\]|200|GET|token|accept|false|-1"):
        setattr(backend, ATTRIBUTES[name], value)
    assert getattr(backend, ATTRIBUTES[name]) is before


async def test_credentials_that_are_ignored_from_now_on_set_nobody_apart(origin: Origin) -> None:
    url = origin.on("/a", answer("a"))
    async with CachedSession() as session:
        session.cache.ignored_params = frozenset({"X-Api-Key"})
        for name in ("ann", "bob"):
            async with session.get(url, headers={"X-Api-Key": name}) as response:
                assert await response.text() == "a"
    assert origin.hits == 1


def test_rules_are_those_of_the_latest_settings() -> None:
    backend = CacheBackend(expire_after=5)
    assert backend.rules_for("http://example.org").lifetime_s == 5
    backend.expire_after = 6
    assert backend.rules_for("http://example.org").lifetime_s == 6
    backend.urls_expire_after = {"*.org": 7}
    assert backend.rules_for("http://example.org").lifetime_s == lifetime_s(7, now=0.0)


def test_all_that_is_made_of_settings_is_made_again_when_one_changes() -> None:
    made = {name for name, _ in inspect.getmembers_static(CacheBackend, lambda each: isinstance(each, cached_property))}
    backend = CacheBackend()
    for name in made:
        getattr(backend, name)
    assert made <= vars(backend).keys()
    backend.expire_after = 5
    assert made.isdisjoint(vars(backend))


def test_a_hook_is_the_users_where_a_subclass_or_the_object_has_its_own() -> None:
    class Own(CacheBackend):
        async def get_response(self, key: str) -> CachedResponse | None:
            return None

    assert CacheBackend().overridden == frozenset()
    assert Own().overridden == {"get_response"}
    backend = Own()
    with patch.object(backend, "create_key", return_value="k"):
        assert backend.overridden == {"get_response", "create_key"}
        assert backend.create_key("GET", "http://example.org") == "k"
    assert backend.overridden == {"get_response"}
    assert backend.create_key("GET", "http://example.org") != "k"
    with pytest.raises(AttributeError):
        del backend.create_key


def test_nothing_is_raised_by_what_is_no_setting() -> None:
    backend: Any = CacheBackend()
    before = backend.revision
    backend.anything = 1
    assert backend.revision == before


def test_a_hook_is_seen_to_be_awaited_by_what_looks_without_calling_it() -> None:
    # `unittest.mock` inspects the attributes of a `spec` in this way from Python 3.14 on.
    assert inspect.iscoroutinefunction(inspect.unwrap(inspect.getattr_static(CacheBackend, "request")))


def test_what_another_thread_sets_while_a_value_is_derived_is_seen_by_the_next_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, derive = CacheBackend(), keys.credential_names
    assert "authorization" in backend.names_of_credentials
    backend.expire_after = 5  # so that it is derived again

    def slowly(*args: Any) -> CredentialNames:
        names = derive(*args)
        if not backend.ignored_params:
            in_thread(lambda: setattr(backend, "ignored_params", {"Authorization"}))()
        return names

    monkeypatch.setattr(keys, "credential_names", slowly)
    assert "authorization" not in backend.names_of_credentials
    assert "authorization" not in backend.names_of_credentials


def test_rules_that_were_resolved_while_another_thread_changed_a_setting_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, resolve = CacheBackend(urls_expire_after={"example.org": 5}, max_variants=1), book._rules_of

    def slowly(*args: Any, **kwargs: Any) -> book.Rules:
        rules = resolve(*args, **kwargs)
        if backend.max_variants == 1:
            in_thread(lambda: setattr(backend, "max_variants", 2))()
        return rules

    monkeypatch.setattr(book, "_rules_of", slowly)
    backend.rules_for("http://example.org/")
    assert backend.rules_for("http://example.org/").max_variants == 2
