"""Programs and tests that follow the documentation of aiohttp-client-cache work once their imports are changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, patch

import pytest
from aiohttp import ClientResponse, ClientSession
from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di import CachedResponse, CachedSession, cache_control
from aiohttp_cache_di.backends import (
    BaseCache,
    CacheActions,
    CacheBackend,
    DictCache,
    RedisBackend,
    SQLiteBackend,
    SQLiteCache,
)
from aiohttp_cache_di.cache_keys import create_key
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend
from tests.valkey import ValkeyServer


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


def refuse_all(response: ClientResponse) -> bool:
    """A filter that refuses every response."""
    return False


async def fetch(session: CachedSession, url: str, **options: Any) -> tuple[bool, str]:
    """Whether the response was a hit, and its text."""
    async with session.get(url, **options) as response:
        return response.from_cache, await response.text()


@pytest.fixture(params=["memory", "custom", "sqlite", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> CacheBackend:
    """A backend of each kind."""
    if request.param == "memory":
        return CacheBackend()
    if request.param == "custom":
        return CustomBackend(autoclose=True)
    if request.param == "sqlite":
        return SQLiteBackend(str(tmp_path / "cache"))
    server: ValkeyServer = request.getfixturevalue("valkey")
    return RedisBackend(f"migration-{tmp_path.name}", server.url, autoclose=True)


class TestMethodsOfTheBackend:
    """The session calls a documented method of the backend even if a subclass or a test has replaced it."""

    async def test_request_may_be_replaced(self, origin: Origin, backend: CacheBackend) -> None:
        url = origin.on("/", numbered)
        async with CachedSession(cache=backend) as session:
            for _ in range(3):
                await fetch(session, url)
            replaced = AsyncMock(return_value=None)
            session.cache.request = replaced  # type: ignore[method-assign]  # as tests do
            assert await fetch(session, url) == (False, "2")
            (actions,) = replaced.call_args.args
            assert isinstance(actions, CacheActions)
            assert (actions.key, actions.url, actions.refresh) == (backend.create_key("GET", url), url, False)

    @pytest.mark.parametrize("method", ["request", "get_response"])
    async def test_a_response_from_elsewhere_is_served(
        self, origin: Origin, backend: CacheBackend, method: str
    ) -> None:
        url, other = origin.on("/", numbered), origin.on("/other", numbered)
        async with CachedSession(cache=backend) as session:
            async with session.get(url) as response:
                elsewhere = await CachedResponse.from_client_response(response)
            setattr(session.cache, method, AsyncMock(return_value=elsewhere))
            for _ in range(3):
                assert await fetch(session, other) == (True, "1")
            assert origin.hits_of("/other") == 0

    @pytest.mark.parametrize("method", ["request", "get_response"])
    async def test_a_stand_in_for_a_response_is_handed_on(
        self, origin: Origin, backend: CacheBackend, method: str
    ) -> None:
        stand_in = MagicMock(spec=CachedResponse, status=200, url=URL(origin.url), method="GET")
        async with CachedSession(cache=backend) as session:
            setattr(session.cache, method, AsyncMock(return_value=stand_in))
            assert await session.get(origin.url) is stand_in

    async def test_actions_may_be_made_by_a_subclass(self, origin: Origin) -> None:
        class Choosy(CacheBackend):
            """Excludes some pages from the cache."""

            def create_cache_actions(
                self, key: str, url: Any, expire_after: Any = None, refresh: bool = False, **kwargs: Any
            ) -> CacheActions:
                if URL(url).path == "/live":
                    expire_after = 0
                return super().create_cache_actions(key, url, expire_after, refresh, **kwargs)

        live, page = origin.on("/live", numbered), origin.on("/page", numbered)
        async with CachedSession(cache=Choosy()) as session:
            assert [await fetch(session, live) for _ in range(3)] == [(False, "1"), (False, "2"), (False, "3")]
            assert [await fetch(session, page) for _ in range(3)] == [(False, "1"), (True, "1"), (True, "1")]

    async def test_cacheability_is_decided_by_response_and_actions(self, origin: Origin) -> None:
        asked: list[CacheActions | None] = []

        class Curious(CacheBackend):
            """Records the requests that it is asked about."""

            async def is_cacheable(self, response: ClientResponse | None, actions: CacheActions | None = None) -> bool:
                asked.append(actions)
                return await super().is_cacheable(response, actions)

        url = origin.on("/", numbered)
        async with CachedSession(cache=Curious(expire_after=30)) as session:
            assert await fetch(session, url) == (False, "1")
            assert await fetch(session, url) == (True, "1")
        assert [actions.expire_after for actions in asked if actions is not None] == [30]


async def late(request: Received) -> AsyncIterator[bytes]:
    """Answer with the number of the request; the body follows the head after a delay."""
    head, _, body = answer(str(request.number)).partition(b"\r\n\r\n")
    yield head + b"\r\n\r\n"
    await asyncio.sleep(0.02)
    yield body


class TestStandInsForTheNetwork:
    """The cache still works in tests that replace ``ClientSession._request``, as aioresponses does."""

    @staticmethod
    def answer_with(body: bytes, *, url: str = "http://origin.test/", **headers: str) -> AsyncMock:
        """A replacement for the network."""
        response = AsyncMock(spec=ClientResponse, method="GET", status=200, url=URL(url), history=())
        response.headers = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
        response.raw_headers = tuple((name.encode(), value.encode()) for name, value in response.headers.items())
        response.read.return_value, response.reason, response.version = body, "OK", None
        response.request_info.headers = {}
        return AsyncMock(return_value=response)

    async def test_the_second_request_is_a_hit(self, backend: CacheBackend) -> None:
        async with CachedSession(cache=backend) as session:
            with patch.object(ClientSession, "_request", self.answer_with(b"1")) as network:
                await session.get("http://origin.test/", expire_after=60)
                response = await session.get("http://origin.test/")
                assert network.call_count == 1
                assert isinstance(response, CachedResponse)
                assert await response.text() == "1"
                assert response.expires is not None
                assert await backend.has_url("http://origin.test/")
                async with session.disabled():
                    await session.get("http://origin.test/")
                assert network.call_count == 2

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({}, "no-store"),
            ({"cache_control": True}, "max-age=0"),
            ({"expire_after": 0}, "max-age=60"),
            ({"allowed_codes": (404,)}, "max-age=60"),
            ({"filter_fn": refuse_all}, "max-age=60"),
        ],
    )
    async def test_the_rules_hold(self, options: dict[str, Any], said: str) -> None:
        async with CachedSession(**options) as session:
            with patch.object(ClientSession, "_request", self.answer_with(b"1", Cache_Control=said)) as network:
                for _ in range(3):
                    await session.get("http://origin.test/")
            assert network.call_count == 3
            assert await session.cache.responses.size() == 0

    async def test_a_double_whose_header_fields_are_a_plain_dictionary_is_stored(self) -> None:
        double = MagicMock(spec=ClientResponse)
        double.configure_mock(
            status=200, reason="OK", method="GET", headers={}, raw_headers=(), url=URL("http://origin.test/")
        )
        double.configure_mock(real_url=double.url, version=(1, 1), history=(), cookies={}, _body=b"hi")
        double.read = AsyncMock(return_value=b"hi")
        async with CachedSession(cache=CacheBackend(expire_after=60)) as session:
            with patch.object(ClientSession, "_request", AsyncMock(return_value=double)) as network:
                for _ in range(2):
                    await session.request("GET", "http://origin.test/")
            assert network.call_count == 1

    @pytest.mark.parametrize(
        "response",
        ["a text", SimpleNamespace(status=200, headers={}), MagicMock(status=200), AsyncMock(status=200)],
        ids=lambda response: type(response).__name__,
    )
    async def test_what_is_no_response_is_handed_on(self, response: object) -> None:
        async with CachedSession() as session:
            with patch.object(ClientSession, "_request", AsyncMock(return_value=response)):
                assert await session.request("GET", "http://origin.test/") is response
            assert await session.cache.responses.size() == 0

    async def test_principals_do_not_share(self) -> None:
        async with CachedSession(headers={"Authorization": "one"}) as session:
            with patch.object(ClientSession, "_request", self.answer_with(b"1")) as network:
                await session.get("http://origin.test/")
                session.headers["Authorization"] = "another"
                await session.get("http://origin.test/")
                assert network.call_count == 2

    async def test_a_body_that_cannot_be_read_twice_is_sent(self) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield b"x"

        async with CachedSession(allowed_methods=("POST",)) as session:
            with patch.object(ClientSession, "_request", self.answer_with(b"1")) as network:
                await session.post("http://origin.test/", data=body())
            assert network.call_count == 1

    async def test_what_hands_on_to_the_network_leaves_it_to_the_engine(self, origin: Origin) -> None:
        url, genuine = origin.on("/", numbered), ClientSession._request
        calls: list[str] = []

        async def instrumented(self: ClientSession, method: str, *args: Any, **kwargs: Any) -> ClientResponse:
            calls.append(method)
            return await genuine(self, method, *args, **kwargs)

        async with CachedSession(cache_control=True) as session:
            with patch.object(ClientSession, "_request", instrumented):
                for hit in (False, True, True):
                    response = await session.get(url)
                    assert (response.from_cache, await response.text()) == (hit, "1")
                    assert "cache" in response.cache_status
        assert calls == ["GET"]  # the two hits send no request


class TestStandInsForTheBackend:
    """The session calls a mock of a backend through the documented methods."""

    @pytest.fixture
    def looks(self) -> Any:
        """A mock as tests make it, in which every request is a miss and every response is cacheable."""
        looks = MagicMock(spec=CacheBackend)
        looks.request.return_value, looks.is_cacheable.return_value = None, True
        return looks

    async def test_a_hit_is_what_it_answers(self, looks: Any, origin: Origin) -> None:
        looks.request.return_value = hit = MagicMock(spec=CachedResponse)
        async with CachedSession(cache=looks) as session:
            assert await session.get(origin.url) is hit
        assert origin.hits == 0

    @pytest.mark.parametrize("cacheable", [True, False])
    async def test_a_miss_is_saved_where_it_says_so(self, looks: Any, cacheable: bool) -> None:
        looks.is_cacheable.return_value = cacheable
        async with CachedSession(cache=looks) as session:
            with patch.object(ClientSession, "_request", TestStandInsForTheNetwork.answer_with(b"1")) as network:
                await session.get("http://origin.test/")
        assert network.called
        assert looks.save_response.called is cacheable

    @pytest.mark.parametrize("autoclose", [True, False])
    async def test_it_is_closed_when_it_says_so(self, looks: Any, autoclose: bool) -> None:
        looks.autoclose = autoclose
        async with CachedSession(cache=looks) as session:
            await session.delete_expired_responses()
        looks.delete_expired_responses.assert_awaited_once()
        assert looks.close.called is autoclose


async def before_a_direct_look(backend: CacheBackend) -> None:
    """Wait for pending writes if the storage is the user's; the package's own storages do that themselves."""
    if isinstance(backend, CustomBackend):
        await backend.settle()


class TestBodiesThatNobodyReads:
    """``await session.get(url)``, then a look into the cache: it waits for the body, which is still arriving."""

    @pytest.fixture
    async def url(self, origin: Origin) -> str:
        return origin.on("/", late)

    async def test_its_url_is_cached(self, url: str, backend: CacheBackend) -> None:
        async with CachedSession(cache=backend) as session:
            response = await session.get(url)
            assert await backend.has_url(url)
            assert await response.text() == "1"

    async def test_it_is_counted(self, url: str, backend: CacheBackend) -> None:
        async with CachedSession(cache=backend) as session:
            await session.get(url)
            await before_a_direct_look(backend)
            assert await backend.responses.size() == 1

    async def test_it_is_listed(self, url: str, backend: CacheBackend) -> None:
        key = backend.create_key("GET", url)
        async with CachedSession(cache=backend) as session:
            await session.get(url)
            await before_a_direct_look(backend)
            listed = backend.responses.keys()
            assert [found async for found in listed] == [key]
            await backend.clear()
            await session.get(url)
            assert [found async for found in backend.get_urls()] == [url]

    async def test_it_is_found(self, url: str, backend: CacheBackend) -> None:
        key = backend.create_key("GET", url)
        async with CachedSession(cache=backend) as session:
            await session.get(url)
            await before_a_direct_look(backend)
            assert await backend.responses.contains(key)
            await backend.delete(key)
            await session.get(url)
            found = await backend.get_response(key)
            assert found is not None
            assert await found.text() == "2"

    async def test_it_is_a_hit_for_the_next_one(self, url: str, backend: CacheBackend) -> None:
        async with CachedSession(cache=backend) as session:
            await session.get(url)
            assert await fetch(session, url) == (True, "1")

    async def test_it_outlives_its_session(self, url: str, backend: CacheBackend) -> None:
        async with CachedSession(cache=backend) as session:
            await session.get(url)
        async with CachedSession(cache=backend) as session:
            assert await fetch(session, url) == (True, "1")

    async def test_one_that_does_not_come_holds_nobody_up_for_long(self, origin: Origin) -> None:
        async def never(request: Received) -> AsyncIterator[bytes]:
            yield answer("whole")[:-1]
            await asyncio.Event().wait()

        url = origin.on("/never", never)
        async with asyncio.timeout(20), CachedSession() as session:
            response = await session.get(url)
            assert not await session.cache.has_url(url)
            assert await session.cache.responses.size() == 0
            response.close()


class TestCachedResponse:
    """Uses of a response other than reading it once."""

    async def test_it_can_be_made_of_a_response_that_was_read_and_given_up(self, origin: Origin) -> None:
        url = origin.on("/", numbered)
        async with ClientSession() as session, session.get(url) as response:
            await response.read()
        cached = await CachedResponse.from_client_response(response)
        assert await cached.text() == "1"
        backend = CacheBackend()
        await backend.save_response(response)
        assert await backend.has_url(url)

    async def test_it_can_be_reset(self, origin: Origin) -> None:
        async with CachedSession() as session:
            await fetch(session, origin.on("/", numbered))
            async with session.get(origin.url) as response:
                assert isinstance(response, CachedResponse)
                assert await response.content.read() == b"1"
                response.reset()
                assert await response.content.read() == b"1"
            response.reset()
            assert await response.text() == "1"

    async def test_the_method_of_a_stand_in_may_be_in_any_case(self) -> None:
        stand_in = MagicMock(spec=CachedResponse, method="get", status=200, is_expired=False)
        assert await CacheBackend().is_cacheable(stand_in)

    async def test_what_is_saved_by_hand_tells_no_secrets(self, origin: Origin) -> None:
        origin.on("/", numbered)
        backend = CacheBackend(ignored_params=["token"])
        async with ClientSession() as session, session.get(f"{origin.url}/?token=secret&page=1") as response:
            await backend.save_response(response)
        assert [url async for url in backend.get_urls()] == [f"{origin.url}/?token=REDACTED&page=1"]
        assert await backend.has_url(f"{origin.url}/?page=1")

    async def test_a_redirect_that_hands_an_ignored_parameter_on_leads_nobody_else_there(
        self, origin: Origin, backend: CacheBackend
    ) -> None:
        def onwards(request: Received) -> bytes:
            return answer(status=302, headers={"Location": "/new" + request.target[len("/old") :]})

        backend.ignored_params = frozenset({"token"})
        old = origin.on("/old", onwards)
        origin.on("/new", numbered)
        async with CachedSession(cache=backend) as session:
            for token in ("first", "second"):
                async with session.get(old, params={"token": token}) as response:
                    assert (response.url.query["token"], await response.text()) == (token, "1")
            kept: list[str] = []
            for storage in (backend.responses, backend.redirects):
                items = storage.values()
                kept += [repr(item.stored) async for item in items if isinstance(item, CachedResponse)]
        assert origin.hits_of("/new") == len(kept) == 1
        assert "first" not in kept[0]


class TestNamesOfTheOlderLibrary:
    """The names that docs/migration.md lists exist."""

    def test_a_key_may_be_made_by_position(self) -> None:
        key = create_key("GET", "http://a.test/", {"b": "1", "a": "2"})
        assert key == create_key("get", "http://a.test/?a=2&b=1")
        assert key != create_key("GET", "http://a.test/", None, {"b": "1"})
        assert create_key("GET", "http://a.test/", ignored_params=["a"], params={"a": "1"}) == create_key(
            "GET", "http://a.test/"
        )

    async def test_a_disabled_backend_neither_answers_nor_stores(self, origin: Origin, backend: CacheBackend) -> None:
        url = origin.on("/", numbered)
        async with CachedSession(cache=backend) as session:
            assert await fetch(session, url) == (False, "1")
            backend.disabled = True
            assert [await fetch(session, url) for _ in range(2)] == [(False, "2"), (False, "3")]
            backend.disabled = False
            assert await fetch(session, url) == (True, "1")

    async def test_a_disabled_backend_follows_no_directive_either(self, origin: Origin) -> None:
        url = origin.on("/", lambda request: answer(str(request.number), headers={"Cache-Control": "max-age=60"}))
        backend = CacheBackend(cache_control=True)
        backend.disabled = True
        async with CachedSession(cache=backend) as session:
            assert [await fetch(session, url) for _ in range(2)] == [(False, "1"), (False, "2")]
        assert await backend.responses.size() == 0

    def test_a_backend_tells_which_methods_it_caches(self) -> None:
        backend = CacheBackend(allowed_methods=("GET", "post"))
        assert [backend.is_method_allowed(method) for method in ("get", "POST", "PUT")] == [True, True, False]

    async def test_equal_options_may_be_given_twice(self) -> None:
        backend = CacheBackend(expire_after=60, cache_control=True, stale_if_error="1h")
        async with CachedSession(cache=backend, expire_after=60, cache_control=True, stale_if_error="1h"):
            pass
        with pytest.raises(TypeError, match=r"expire_after=61 is not .* \(60\); lease=1 is not .* \(2.0\)[.]"):
            CachedSession(cache=backend, expire_after=61, cache_control=True, lease=1)

    async def test_a_hit_has_an_encoding_and_can_be_read_again(self, origin: Origin, backend: CacheBackend) -> None:
        url = origin.on("/", numbered)
        async with CachedSession(cache=backend) as session:
            await fetch(session, url)
            async with session.get(url) as response:
                assert isinstance(response, CachedResponse)
                assert response.encoding == response.get_encoding() == "utf-8"
                assert await response.content.read() == b"1"
                response.reset()
                assert await response.content.read() == b"1"

    def test_a_backend_that_is_written_as_a_storage_is_told_its_base_class(self) -> None:
        class Early(BaseCache):  # as the first documents of the older library show it
            def __init__(self) -> None:
                super().__init__()
                self.responses = self.redirects = DictCache()

        with pytest.raises(
            TypeError, match=r"Early is abstract: a storage needs clear, .*; a class that .* is a CacheBackend$"
        ):
            Early()  # type: ignore[abstract]  # which is the error

    async def test_a_response_of_the_origin_is_refused_with_what_stores_it(
        self, tmp_path: Path, origin: Origin
    ) -> None:
        url = origin.on("/a", answer("a"))
        backend = SQLiteBackend(str(tmp_path / "cache"))
        async with CachedSession(cache=backend) as session, session.get(url) as response:
            response_of_the_origin: Any = response
            with pytest.raises(TypeError, match=r"not FetchedResponse; backend.save_response\(\) stores it"):
                await backend.responses.write("k", response_of_the_origin)
        await backend.close()

    async def test_many_items_are_written_in_few_transactions(self, tmp_path: Path) -> None:
        storage = SQLiteCache(str(tmp_path / "bulk"))
        async with storage.bulk_commit():
            for number in range(2_500):
                await storage.write(f"key-{number}", f"value {number}")
        assert await storage.size() == 2_500
        assert await storage.read("key-2499") == "value 2499"
        await storage.close()

    async def test_a_write_that_fails_in_bulk_is_raised_at_its_end(self, tmp_path: Path) -> None:
        storage = SQLiteCache(str(tmp_path / "bulk"), max_bytes=None)
        (tmp_path / "bulk.sqlite").mkdir()
        with pytest.raises(Exception, match=r"bulk"):
            async with storage.bulk_commit():
                await storage.write("key", "value")
        await storage.close()

    def test_the_older_modules_have_their_names(self) -> None:
        assert cache_control.DO_NOT_CACHE == 0
        assert cache_control.CacheActions is CacheActions
