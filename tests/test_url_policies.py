"""Settings of a URL pattern in addition to a lifetime: methods and stale windows, for its URLs only."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy.rules.book import Wishes
from aiohttp_cache_di.policy.rules.expiration import UrlExpiration, UrlRules
from tests.clients import Clients
from tests.origin import Origin, Received, answer


def counting(request: Received) -> bytes:
    return answer(str(request.number))


async def test_a_pattern_may_allow_a_method_that_others_are_not_cached_for(origin: Origin, clients: Clients) -> None:
    search, other = origin.on("/search", counting), origin.on("/other", counting)
    client = clients(
        expire_after=60, urls_expire_after={"*/search": UrlExpiration(allowed_methods=["get", "head", "post"])}
    )

    found = [await client.fetch(url, "POST", data=b"q") for url in (search, search, other, other)]

    assert found == [(False, "1"), (True, "1"), (False, "1"), (False, "2")]
    assert await client.fetch(search, "POST", data=b"another") == (False, "2")


async def test_a_pattern_may_forbid_a_method(origin: Origin, clients: Clients) -> None:
    never, other = origin.on("/never", counting), origin.on("/other", counting)
    client = clients(urls_expire_after={"*/never": UrlExpiration(60, allowed_methods=())})

    found = [await client.fetch(url) for url in (never, never, other, other)]

    assert found == [(False, "1"), (False, "2"), (False, "1"), (True, "1")]


@pytest.mark.parametrize("cache_control", [True, False])
async def test_a_pattern_may_let_stale_responses_stand_in_for_errors(
    cache_control: bool, origin: Origin, clients: Clients
) -> None:
    def failing(request: Received) -> bytes:
        stale = {"Cache-Control": "max-age=0"}
        return answer("1", headers=stale) if request.number == 1 else answer("no", status=500, headers=stale)

    api, other = origin.on("/api", failing), origin.on("/other", failing)
    client = clients(
        cache_control=cache_control,
        expire_after=1e-9,
        urls_expire_after={"*/api": UrlExpiration(stale_if_error=3600)},
    )

    found = [await client.fetch(url) for url in (api, api, other, other)]

    assert found == [(False, "1"), (True, "1"), (False, "1"), (False, "no")]


async def test_a_pattern_may_let_stale_responses_be_used_while_they_are_validated(
    origin: Origin, clients: Clients
) -> None:
    def stale(request: Received) -> bytes:
        return answer(str(request.number), headers={"Cache-Control": "max-age=0"})

    api, other = origin.on("/api", stale), origin.on("/other", stale)
    client = clients(cache_control=True, urls_expire_after={"*/api": UrlExpiration(stale_while_revalidate=3600)})

    found = [await client.fetch(url) for url in (api, api, other, other)]

    assert found == [(False, "1"), (True, "1"), (False, "1"), (False, "2")]


async def test_a_request_says_more_than_a_pattern(origin: Origin, clients: Clients) -> None:
    client = clients(urls_expire_after={"*": UrlExpiration(stale_if_error=True)})

    rules = client.backend.rules_for(origin.url, Wishes(stale_if_error=False, expire_after=5))

    assert (rules.stale_if_error_s, rules.lifetime_s) == (None, 5)


def test_a_lifetime_that_a_pattern_does_not_give_is_the_backends() -> None:
    backend = CacheBackend(
        expire_after=60,
        urls_expire_after={"a.test": UrlExpiration(stale_if_error=5), "b.test": UrlExpiration(7, stale_if_error=5)},
    )

    found = [backend.rules_for(f"http://{host}.test/") for host in "abc"]

    assert [(rules.lifetime_s, rules.stale_if_error_s) for rules in found] == [(60, 5), (7, 5), (60, None)]


def test_the_windows_of_a_pattern_may_have_units() -> None:
    backend = CacheBackend(
        stale_if_error="1d",
        urls_expire_after={
            "a.test": UrlExpiration("5m", stale_if_error="1h", stale_while_revalidate=timedelta(minutes=1)),
            "b.test": UrlExpiration(stale_if_error=False),
        },
    )

    found = [backend.rules_for(f"http://{host}.test/") for host in "abc"]

    windows = [(rules.stale_if_error_s, rules.stale_while_revalidate_s) for rules in found]
    assert windows == [(3600, 60), (None, None), (86400, None)]


def test_a_pattern_that_only_insists_insists_on_the_backends_lifetime() -> None:
    backend = CacheBackend(
        cache_control=True, expire_after=60, urls_expire_after={"a.test": UrlExpiration(override_origin=True)}
    )

    found = [backend.rules_for(f"http://{host}.test/") for host in "ab"]

    assert [(rules.lifetime_s, rules.override_origin) for rules in found] == [(60, True), (60, False)]


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (UrlExpiration(stale_if_error=-1), "stale_if_error=-1"),
        (UrlExpiration(stale_while_revalidate=float("nan")), "stale_while_revalidate=nan"),
        (UrlExpiration(stale_if_error="soon"), "stale_if_error='soon'"),
        (UrlExpiration(allowed_methods="GET"), "allowed_methods takes a collection"),
    ],
)
def test_a_pattern_that_says_what_cannot_be_is_refused_by_its_name(rule: UrlExpiration, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"urls_expire_after\['a\.test'\]: {name}"):
        UrlRules({"a.test": rule})
