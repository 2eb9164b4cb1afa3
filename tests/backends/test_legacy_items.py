"""Items that do not come from the engine, but from users' programs, tests and serializers."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from aiohttp import ClientResponse
from yarl import URL

from aiohttp_cache_di import CachedResponse, CachedSession
from aiohttp_cache_di.backends import BaseCache, CacheBackend, DictCache, RedisBackend, ResponseOrKey, SQLiteBackend
from tests.backends.entries import make_entry
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend, CustomStorage
from tests.valkey import ValkeyServer

MakeBackend = Callable[..., CacheBackend]


@pytest.fixture(params=["memory", "custom", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeBackend:
    """A function that makes a backend; all backends of a test share one store, if that can be shared."""
    if request.param == "memory":
        return CacheBackend
    if request.param == "custom":
        return CustomBackend
    if request.param == "sqlite":
        return partial(SQLiteBackend, str(tmp_path / "cache"))
    server: ValkeyServer = request.getfixturevalue("valkey")
    return partial(RedisBackend, f"legacy-{tmp_path.name}", server.url)


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


def stand_in(**attributes: Any) -> Any:
    """A mock of a response, as users' tests make it."""
    known = {"method": "GET", "status": 200, "url": URL("http://origin.test/"), "is_expired": False, "history": ()}
    return MagicMock(spec=CachedResponse, **{**known, **attributes})


def bare(**attributes: Any) -> Any:
    """An object that is no response, but has the attributes that the storage reads."""
    known = {"method": "GET", "status": 200, "url": URL("http://origin.test/"), "is_expired": False, "history": ()}
    return SimpleNamespace(**{**known, **attributes})


@pytest.mark.parametrize("make_response", [stand_in, bare])
class TestStandInsInMemory:
    """A storage in memory returns the same object that a test has written."""

    async def test_it_is_kept_as_it_is(self, make_response: Callable[..., Any]) -> None:
        backend, response = CacheBackend(), make_response()
        await backend.responses.write("k", response)
        assert await backend.get_response("k") is response
        assert await backend.responses.read("k") is response
        assert [item async for item in backend.responses.values()] == [response]
        assert await backend.responses.pop("k") is response
        assert await backend.get_response("k") is None

    async def test_it_is_found_through_an_alias(self, make_response: Callable[..., Any]) -> None:
        backend, response = CacheBackend(), make_response()
        await backend.responses.write("k", response)
        await backend.redirects.write("alias", "k")
        assert await backend.get_response("alias") is response
        await backend.delete("alias")
        assert await backend.responses.size() == await backend.redirects.size() == 0

    async def test_the_redirects_in_its_history_go_with_it(self, make_response: Callable[..., Any]) -> None:
        backend, hop = CacheBackend(), bare(url=URL("http://origin.test/old"))
        await backend.responses.write("k", make_response(history=(hop,)))
        await backend.redirects.write(backend.create_key("GET", hop.url), "k")
        await backend.delete("k")
        assert await backend.redirects.size() == 0

    async def test_its_url_is_listed(self, make_response: Callable[..., Any]) -> None:
        backend = CacheBackend()
        await backend.responses.write("k", make_response(url=URL("http://origin.test/page")))
        assert [url async for url in backend.get_urls()] == ["http://origin.test/page"]

    @pytest.mark.parametrize("cache_control", [False, True])
    async def test_it_expires_by_its_own_word(self, make_response: Callable[..., Any], cache_control: bool) -> None:
        backend = CacheBackend(cache_control=cache_control)
        await backend.responses.write("over", make_response(is_expired=True))
        await backend.responses.write("over too", make_response(is_expired=True))
        await backend.responses.write("fresh", make_response())
        assert await backend.get_response("over") is None
        await backend.delete_expired_responses()
        left = backend.responses.keys()
        assert [key async for key in left] == ["fresh"]

    async def test_the_filter_is_asked_about_it(self, make_response: Callable[..., Any]) -> None:
        backend = CacheBackend(filter_fn=lambda response: response.status != 200)
        await backend.responses.write("k", make_response())
        await backend.delete_expired_responses()
        assert await backend.responses.size() == 0

    @pytest.mark.parametrize(
        ("attributes", "verdict"), [({}, True), ({"status": 404}, False), ({"method": "PUT"}, False)]
    )
    async def test_it_is_cacheable_by_what_it_says(
        self, make_response: Callable[..., Any], attributes: dict[str, Any], verdict: bool
    ) -> None:
        backend = CacheBackend()
        actions = backend.create_cache_actions("k", "http://origin.test/")
        assert await backend.is_cacheable(make_response(**attributes)) is verdict
        assert await backend.is_cacheable(make_response(**attributes), actions) is verdict


async def test_a_stand_in_can_be_saved() -> None:
    backend, response = CacheBackend(), stand_in()
    await backend.save_response(response, "k")
    assert await backend.get_response("k") is response


async def test_a_stand_in_for_a_response_of_aiohttp_can_be_saved() -> None:
    backend = CacheBackend()
    hop = MagicMock(spec=ClientResponse, method="GET", url=URL("http://origin.test/old"))
    hop.request_info.headers = {}
    response = AsyncMock(spec=ClientResponse, method="GET", status=200, url=URL("http://origin.test/"), history=(hop,))
    response.request_info.headers, response.raw_headers, response.read.return_value = {}, (), b"body"
    response.reason, response.version = "OK", None
    await backend.save_response(response)
    found = await backend.get_response(backend.create_key("GET", "http://origin.test/old"))
    assert found is not None
    assert await found.read() == b"body"
    await backend.delete_url("http://origin.test/")
    assert not await backend.has_url("http://origin.test/old")


async def test_a_saved_response_is_read_again_in_every_storage(make: MakeBackend, origin: Origin) -> None:
    url, backend = origin.on("/", numbered), make(expire_after=60)
    async with CachedSession() as session, session.get(url) as response:
        await backend.save_response(response)
    key = backend.create_key("GET", url)
    found = await backend.get_response(key)
    assert found is not None
    assert (found.status, await found.text(), found.key) == (200, "1", key)
    assert await backend.has_url(url)
    await backend.close()


async def test_aliases_of_the_user_are_followed_in_every_storage(make: MakeBackend) -> None:
    backend = make()
    await backend.responses.write("k", CachedResponse.from_stored(make_entry("k")))
    await backend.redirects.write("alias", "k")
    found = await backend.get_response("alias")
    assert found is not None
    assert found.key == "k"
    await backend.delete("alias")
    assert await backend.responses.size() == await backend.redirects.size() == 0
    await backend.close()


class RawStorage(CustomStorage):
    """A storage that returns bytes, which the reader has to deserialise."""

    async def read(self, key: str) -> ResponseOrKey:
        """Read an item."""
        await asyncio.sleep(0)
        return self.items.get(key)

    async def values(self) -> AsyncIterator[ResponseOrKey]:
        """Iterate over all items."""
        for item in list(self.items.values()):
            yield item


class RawBackend(CacheBackend):
    """A backend of such storages."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        options = {name: kwargs[name] for name in ("secret_key", "serializer") if name in kwargs}
        self.responses: BaseCache = RawStorage(**options)
        self.redirects: BaseCache = RawStorage(**options)


@pytest.mark.parametrize(
    "options", [{}, {"secret_key": "s"}, {"serializer": pickle}, {"secret_key": "s", "serializer": pickle}]
)
async def test_a_storage_may_hand_out_the_bytes(origin: Origin, options: dict[str, Any]) -> None:
    url = origin.on("/", numbered)
    origin.on("/old", answer(status=301, headers={"Location": "/"}))
    backend = RawBackend(**options)
    async with CachedSession(cache=backend) as session:
        for hit in (False, True, True):
            async with session.get(f"{origin.url}/old") as response:
                assert (response.from_cache, await response.text()) == (hit, "1")
        assert {found async for found in backend.get_urls()} == {url, f"{origin.url}/old"}
        assert await backend.get_response(backend.create_key("GET", f"{origin.url}/old")) is not None
        assert isinstance(backend.responses, RawStorage)
        backend.responses.items["damaged"] = b"anything"
        assert await backend.get_response("damaged") is None
        assert len([found async for found in backend.get_urls()]) == 2
        await backend.delete_expired_responses()
        await backend.delete_url(f"{origin.url}/old")
        assert not await backend.has_url(url)


class Moody:
    """A serializer whose ``loads`` may fail on what ``dumps`` has written."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def dumps(self, item: Any) -> bytes:
        """Serialise an item."""
        return pickle.dumps(item)

    def loads(self, data: bytes) -> Any:
        """Deserialise an item."""
        return json.loads(data) if self.fails else pickle.loads(data)  # noqa: S301  # the user's choice


async def test_what_a_serializer_cannot_read_any_more_is_a_miss_that_is_overwritten(
    make: MakeBackend, origin: Origin
) -> None:
    url = origin.on("/", numbered)
    if isinstance(make(), CustomBackend) or type(make()) is CacheBackend:
        pytest.skip("nothing is left when the backend is gone")
    async with CachedSession(cache=make(serializer=Moody(False))) as session, session.get(url) as response:
        assert await response.text() == "1"
    await session.cache.close()
    async with CachedSession(cache=make(serializer=Moody(True))) as session, session.get(url) as response:
        assert await response.text() == "2"
        await session.cache.settle()
        assert session.cache.stats.unreadable >= 1
        assert session.cache.stats.store_errors == {}
    await session.cache.close()
    async with CachedSession(cache=make(serializer=Moody(False))) as session, session.get(url) as response:
        assert (response.from_cache, await response.text()) == (True, "2")
    await session.cache.close()


async def test_the_default_storage_is_a_dict_too() -> None:
    storage = DictCache()
    storage["k"] = "alias"
    assert ("k" in storage, len(storage), storage.data["k"]) == (True, 1, "alias")
    del storage["k"]
    assert await storage.size() == 0
