"""The methods of a backend for programs that call it directly, and for operators."""

from __future__ import annotations

import asyncio
import copy
import gc
import math
import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession

from aiohttp_cache_di import CachedResponse, CachedSession, ConfigurationError, UrlExpiration
from aiohttp_cache_di.backends import BaseStorage, CacheActions, CacheBackend, DictCache
from aiohttp_cache_di.backends.store.sizes import RecordLimit
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.policy.rules.book import Wishes
from tests.backends.proof import ProofStore
from tests.origin import Origin, answer
from tests.storages import CustomBackend, ProofBackend
from tests.test_response import entry

Make = Callable[..., CacheBackend]


@pytest.fixture(params=[CacheBackend, CustomBackend, ProofBackend])
def make(request: pytest.FixtureRequest) -> Make:
    """Make backends, over memory and over asynchronous storages."""
    maker: Make = request.param
    return maker


async def kept(backend: CacheBackend, **fields: Any) -> CachedResponse:
    """A response that is stored in *backend*."""
    stored = entry(**fields)
    await backend.write(stored)
    return CachedResponse.from_stored(stored)


def test_pickling_is_refused_with_the_way_out() -> None:
    backend = CacheBackend()
    for refused in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="a CacheBackend cannot be pickled: make one in each process"):
            refused(backend)


def test_a_shallow_copy_uses_the_same_store() -> None:
    backend = CacheBackend(expire_after=60)
    copied = copy.copy(backend)
    copied.expire_after = 5
    assert (backend.expire_after, copied.expire_after, copied.stack) == (60, 5, backend.stack)


def test_the_store_takes_the_largest_body_that_a_backend_or_its_copy_allows() -> None:
    backend = ProofBackend(max_body_bytes=3000)
    limit = RecordLimit(by_users=False)
    backend.use(StackCache(StoreStack(ProofStore(), limit=limit)))
    at_first, copied = limit(), copy.copy(backend)
    copied.max_body_bytes = 1000
    assert limit() == at_first
    copied.max_body_bytes = 5000
    assert limit() == at_first + 2000
    untouched = copy.copy(copied)
    backend.max_body_bytes = copied.max_body_bytes = 1000
    assert limit() == at_first + 2000
    del untouched
    gc.collect()
    copied.max_body_bytes = 2000
    assert limit() == at_first - 1000


class TestArguments:
    def test_the_defaults_are_those_of_the_documentation(self) -> None:
        backend = CacheBackend()
        assert (backend.name, backend.expire_after, backend.allowed_codes) == ("aiohttp-cache", -1, (200,))
        assert backend.allowed_methods == {"GET", "HEAD"}
        assert (backend.include_headers, backend.autoclose, backend.cache_control) == (False, False, False)
        assert backend.filter_fn(CachedResponse.from_stored(entry())) is True

    def test_arguments_may_be_given_by_position(self) -> None:
        backend = CacheBackend("name", 60, {"*": 1}, (200, 404), ("get",), True, ["a"], True, True)
        assert (backend.name, backend.expire_after, backend.allowed_codes) == ("name", 60, (200, 404))
        assert (set(backend.allowed_methods), set(backend.ignored_params)) == ({"GET"}, {"a"})
        assert backend.include_headers
        assert (backend.autoclose, backend.cache_control) == (True, True)

    def test_a_misspelt_option_is_refused_with_the_right_one(self) -> None:
        misspelt: Any = {"max_entrys": 1}
        with pytest.raises(TypeError, match="'max_entrys'; did you mean 'max_entries'"):
            CacheBackend(**misspelt)

    @pytest.mark.parametrize("value", ["soon", object(), [1], math.nan])
    def test_a_wrong_lifetime_is_refused_at_once(self, value: Any) -> None:
        with pytest.raises(ConfigurationError):
            CacheBackend(expire_after=value)

    def test_older_names_are_the_newer_ones(self) -> None:
        backend = CacheBackend()
        assert backend.response_aliases is backend.redirects
        backend.response_aliases = other = DictCache()
        assert backend.redirects is other
        assert issubclass(DictCache, BaseStorage)
        assert CacheBackend.remove_expired_responses is CacheBackend.delete_expired_responses


class TestRules:
    @pytest.mark.parametrize(
        ("settings", "wishes", "expected"),
        [
            ({}, {}, math.inf),
            ({"expire_after": None}, {}, math.inf),
            ({"expire_after": None, "cache_control": True}, {}, None),
            ({"expire_after": 5}, {}, 5),
            ({"expire_after": 5}, {"expire_after": 7}, 7),
            ({"expire_after": 5, "urls_expire_after": {"*.org": 6}}, {}, 6),
            ({"expire_after": 5, "urls_expire_after": {"*.org": 6}}, {"expire_after": 7}, 7),
            ({"expire_after": 5, "urls_expire_after": {"*.com": 6}}, {}, 5),
            ({"expire_after": 0}, {}, 0),
        ],
    )
    def test_the_nearest_lifetime_counts(
        self, settings: dict[str, Any], wishes: dict[str, Any], expected: float | None
    ) -> None:
        assert CacheBackend(**settings).rules_for("http://example.org", Wishes(**wishes)).lifetime_s == expected

    def test_a_pattern_may_come_before_the_origin(self) -> None:
        backend = CacheBackend(cache_control=True, urls_expire_after={"*.org": UrlExpiration(6, override_origin=True)})
        assert backend.rules_for("http://example.org").override_origin
        assert not backend.rules_for("http://example.com").override_origin

    def test_a_point_in_time_comes_nearer(self) -> None:
        backend = CacheBackend(expire_after=datetime.now(UTC) + timedelta(seconds=10))
        first = backend.rules_for("http://example.org").lifetime_s
        time.sleep(0.001)
        second = backend.rules_for("http://example.org").lifetime_s
        assert first is not None
        assert second is not None
        assert first > second


class TestByHand:
    """A program that calls the backend itself, as the documentation shows."""

    async def test_a_response_goes_in_and_comes_out(self, make: Make, origin: Origin) -> None:
        backend, url = make(expire_after=60), origin.on("/", answer("text"))
        key = backend.create_key("GET", url)
        actions = backend.create_cache_actions(key, url, refresh=False)
        assert await backend.request(actions) is None
        async with ClientSession() as session, session.get(url) as response:
            assert await backend.is_cacheable(response, actions)
            await backend.save_response(response, key)
        found = await backend.request(actions)
        assert found is not None
        assert (await found.text(), found.is_expired, found.expires is not None) == ("text", False, True)
        assert await backend.has_url(url)

    async def test_what_is_saved_may_have_an_expiry_of_its_own(self, make: Make, origin: Origin) -> None:
        backend, expires = make(), datetime(2100, 1, 1, tzinfo=UTC)
        async with ClientSession() as session, session.get(origin.on("/", answer("text"))) as response:
            await backend.save_response(response, "key", expires)
        found = await backend.get_response("key")
        assert found is not None
        assert found.expires == expires

    async def test_without_a_key_one_is_made(self, make: Make, origin: Origin) -> None:
        backend, url = make(), origin.on("/", answer("text"))
        async with ClientSession() as session, session.get(url) as response:
            await backend.save_response(response)
        assert await backend.has_url(url)

    async def test_a_history_leads_to_what_was_saved(self, make: Make, origin: Origin) -> None:
        origin.on("/old", answer(status=302, headers={"Location": "/new"}))
        backend, url = make(), origin.on("/new", answer("text"))
        async with ClientSession() as session, session.get(f"{origin.url}/old") as response:
            await backend.save_response(response)
        found = await backend.get_response(backend.create_key("GET", f"{origin.url}/old"))
        assert found is not None
        assert await found.text() == "text"
        await backend.delete_url(url)
        assert not await backend.has_url(url)

    @pytest.mark.parametrize("wishes", [{"refresh": True}, {"expire_after": 0}])
    async def test_a_caller_may_not_want_what_is_stored(self, make: Make, wishes: dict[str, Any]) -> None:
        backend = make()
        await kept(backend)
        assert await backend.request(backend.create_cache_actions("key", "http://example.org/", **wishes)) is None

    @pytest.mark.parametrize(
        ("fields", "settings", "expected"),
        [
            ({}, {}, True),
            ({"status": 404}, {}, False),
            ({"status": 404}, {"allowed_codes": (404,)}, True),
            ({"method": "POST"}, {}, False),
            ({"method": "POST"}, {"allowed_methods": ("POST",)}, True),
            ({"status": 404}, {"cache_control": True}, True),
        ],
    )
    async def test_what_may_be_cached(
        self, make: Make, fields: dict[str, Any], settings: dict[str, Any], expected: bool
    ) -> None:
        assert await make(**settings).is_cacheable(CachedResponse.from_stored(entry(**fields))) is expected

    async def test_nothing_may_not_be_cached(self, make: Make) -> None:
        backend = make()
        assert not await backend.is_cacheable(None)
        actions = backend.create_cache_actions("key", "http://example.org/", expire_after=0)
        assert not await backend.is_cacheable(CachedResponse.from_stored(entry()), actions)

    def test_actions_tell_what_they_were_made_of(self) -> None:
        actions = CacheBackend().create_cache_actions("key", "http://example.org/", 5, True, params={"a": "b"})
        assert isinstance(actions, CacheActions)
        assert (actions.key, actions.url, actions.expire_after, actions.refresh) == (
            "key",
            "http://example.org/",
            5,
            True,
        )
        assert actions.request == {"params": {"a": "b"}}


class TestLookingAfter:
    async def test_an_expired_response_is_deleted_when_it_is_found(self, make: Make) -> None:
        backend = make()
        await kept(backend, fresh_until=time.time() - 1, store_until=time.time() - 1)
        assert await backend.get_response("key") is None
        assert await backend.responses.size() == 0

    async def test_a_refused_response_is_deleted_when_it_is_found(self, make: Make) -> None:
        def refuse(response: ClientResponse) -> bool:
            return False

        backend = make(filter_fn=refuse)
        await kept(backend)
        assert await backend.get_response("key") is None
        assert await backend.responses.size() == 0

    async def test_expired_responses_are_counted_as_they_go(self, make: Make) -> None:
        backend = make()
        for number in range(5):
            over = time.time() - 1 if number < 3 else math.inf
            await kept(backend, key=f"key{number}", store_until=over)
        assert await backend.delete_expired_responses() == 3
        assert await backend.responses.size() == 2

    async def test_redirects_that_go_round_lead_nowhere(self, make: Make) -> None:
        backend = make()
        await backend.redirects.write("a", "b")
        await backend.redirects.write("b", "a")
        assert await backend.get_response("a") is None
        await backend.delete("a")
        assert await backend.redirects.size() == 0

    async def test_several_may_be_deleted_at_once(self, make: Make) -> None:
        backend = make()
        for key in "abc":
            await kept(backend, key=key)
        await backend.bulk_delete({"a", "b", "missing"})
        assert [key async for key in backend.responses.keys()] == ["c"]  # noqa: SIM118  # not a dict's
        await backend.clear()
        assert await backend.responses.size() == 0

    async def test_urls_are_listed_without_secrets(self, make: Make, origin: Origin) -> None:
        backend = make(ignored_params=["token"])
        url = origin.on("/", answer("text"))
        async with CachedSession(cache=backend) as session:
            await (await session.get(url.replace("//", "//user:s3cret@"), params={"token": "s3cret"})).read()
        (found,) = [one async for one in backend.get_urls()]
        assert "s3cret" not in found

    async def test_it_may_be_closed_twice(self, make: Make) -> None:
        backend = make()
        await backend.close()
        await backend.close()

    async def test_a_deletion_waits_for_what_is_being_written(self, origin: Origin) -> None:
        backend, url = CustomBackend(), origin.on("/", answer("text"))
        async with CachedSession(cache=backend) as session:
            await (await session.get(url)).read()
            await backend.delete_url(url)
            await backend.settle()
            assert not await backend.has_url(url)
            assert await backend.responses.size() == 0

    async def test_a_deletion_is_not_undone_by_a_fetch_that_began_before_it(self, origin: Origin) -> None:
        backend = CustomBackend()

        async def slow(request: Any) -> bytes:
            await asyncio.sleep(0.02)
            return answer("text")

        url = origin.on("/", slow)
        async with CachedSession(cache=backend) as session:
            fetching = asyncio.create_task(session.get(url).__aenter__())
            await origin.arrival()
            await backend.delete_url(url)
            await (await fetching).read()
            await backend.settle()
            assert not await backend.has_url(url)


@pytest.mark.parametrize("storage", [None, {}, DictCache])
def test_what_is_no_storage_is_refused_by_the_name_of_its_attribute(storage: Any) -> None:
    backend = CacheBackend()
    with pytest.raises(TypeError, match=r"responses takes a storage \(a BaseCache\), not "):
        backend.responses = storage


async def test_the_characters_of_one_key_are_not_taken_for_keys(make: Make) -> None:
    backend = make()
    await kept(backend, key="a")
    wrong: Any = "abc"
    with pytest.raises(TypeError, match=r"bulk_delete\('abc'\): use a set of keys"):
        await backend.bulk_delete(wrong)
    assert await backend.get_response("a") is not None


@pytest.mark.parametrize(
    ("url", "option"), [(None, {}), (b"http://a.test/", {}), ("http://a.test/", {"refresh": "no"})], ids=str
)
async def test_what_cannot_be_explained_is_refused_by_name(url: Any, option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option), "url")):
        await CacheBackend().explain("GET", url, **option)
