"""The cache of an app under test: what is put there, and what is found, in whichever loop the app runs."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import httpx
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient as WebClient
from aiohttp.test_utils import TestServer as WebServer
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from aiohttp_cache_di import CachedSession, CacheMiddleware, SQLiteBackend
from aiohttp_cache_di.testing import CacheUnderTest, FakeUpstream, assert_hit, in_memory
from aiohttp_cache_di_fastapi import get_cached_session, lifespan
from aiohttp_cache_di_web import CACHED_SESSION, cache_ctx

URL = "https://api.example.com/rates"
MINUTE = {"Cache-Control": "max-age=60"}

app = FastAPI(lifespan=lifespan)


@app.get("/rates")
async def rates(session: Annotated[CachedSession, Depends(get_cached_session)]) -> dict[str, Any]:
    async with session.get(URL) as response:
        return {"text": await response.text(), "from_cache": response.from_cache}


@pytest.fixture(autouse=True)
def _in_memory() -> Iterator[None]:
    with in_memory():
        yield


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as made:
        yield made


@pytest.fixture
def cache() -> Iterator[CacheUnderTest]:
    with CacheUnderTest() as made:
        yield made


@pytest.fixture
async def session() -> AsyncIterator[CachedSession]:
    async with CachedSession(cache_control=True) as made:
        yield made


async def text_of(session: ClientSession, url: str = URL, **options: Any) -> tuple[str, bool]:
    async with session.get(url, **options) as response:
        return await response.text(), getattr(response, "from_cache")  # noqa: B009  # a plain session's, described


def test_with_a_synchronous_client(cache: CacheUnderTest, upstream: FakeUpstream) -> None:
    cache.seed(URL, text="seeded")
    with TestClient(app) as client:
        assert client.get("/rates").json() == {"text": "seeded", "from_cache": True}
        cache.assert_cached(URL)
        cache.assert_not_cached(f"{URL}/other")
        with pytest.raises(AssertionError, match="is not in the cache"):
            cache.assert_cached(f"{URL}/other")
        with pytest.raises(AssertionError, match=f"GET {URL} is in the cache"):
            cache.assert_not_cached(URL)
    assert upstream.calls == []


def test_after_the_app_has_ended_there_is_none_to_ask(cache: CacheUnderTest) -> None:
    cache.seed(URL, text="seeded")
    with TestClient(app) as client:
        client.get("/rates")

    with pytest.raises(AssertionError, match="no open session with a cache"):
        cache.assert_cached(URL)


async def test_behind_asgi(cache: CacheUnderTest) -> None:
    cache.seed(URL, text="seeded")
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        assert (await client.get("/rates")).json() == {"text": "seeded", "from_cache": True}
        await cache.assert_cached(URL)


async def test_with_an_app_of_aiohttp(cache: CacheUnderTest) -> None:
    async def handler(request: web.Request) -> web.Response:
        text, from_cache = await text_of(request.app[CACHED_SESSION])
        return web.json_response({"text": text, "from_cache": from_cache})

    made = web.Application()
    made.cleanup_ctx.append(cache_ctx)
    made.router.add_get("/", handler)
    cache.seed(URL, text="seeded")
    async with WebClient(WebServer(made)) as client, client.get("/") as response:
        assert await response.json() == {"text": "seeded", "from_cache": True}
        await cache.assert_cached(URL)


async def test_a_plain_session_with_the_middleware(cache: CacheUnderTest) -> None:
    cache.seed(URL, text="seeded")
    async with ClientSession(middlewares=(CacheMiddleware(),)) as plain:
        assert await text_of(plain) == ("seeded", True)
        await cache.assert_cached(URL)
        await cache.assert_not_cached(f"{URL}/other")


async def test_a_store_on_disk(cache: CacheUnderTest, tmp_path: Path) -> None:
    cache.seed(URL, json={"a": 1})
    async with CachedSession(
        cache=SQLiteBackend(str(tmp_path / "cache.db"), cache_control=True, autoclose=True)
    ) as session:
        assert await text_of(session) == ('{"a": 1}', True)
        await cache.assert_cached(URL)


async def test_a_seed_is_for_the_credentials_that_the_session_sends(
    cache: CacheUnderTest, upstream: FakeUpstream
) -> None:
    upstream.get(URL, text="another's", headers=MINUTE)
    cache.seed(URL, text="seeded")
    async with CachedSession(cache_control=True, headers={"Authorization": "Bearer a"}) as session:
        assert await text_of(session) == ("seeded", True)
        assert await text_of(session, headers={"Authorization": "Bearer b"}) == ("another's", False)
        await cache.assert_cached(URL)
        await cache.assert_not_cached(URL, headers={"Authorization": "Bearer c"})


async def test_a_seed_may_say_how_the_app_asks(
    cache: CacheUnderTest, upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get(URL, text="German", headers=MINUTE)
    cache.seed(URL, text="French", request={"headers": {"X-Api-Key": "f"}, "params": {"a": "1"}})

    assert await text_of(session, f"{URL}?a=1", headers={"X-Api-Key": "f"}) == ("French", True)
    assert await text_of(session, headers={"X-Api-Key": "g"}) == ("German", False)


MANNERS: list[dict[str, Any]] = [
    {"headers": {"Authorization": "Bearer a", "Cache-Control": "max-stale", "If-None-Match": '"a"'}},
    {"headers": [("X-Api-Key", "a")], "params": {"a": "1"}},
    {"cookies": {"sid": "a"}},
    {"principal": "me"},
]


@pytest.mark.parametrize("asked", MANNERS)
async def test_a_seed_is_found_however_the_app_asks_first(
    asked: dict[str, Any], cache: CacheUnderTest, upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get(URL, text="another's", headers=MINUTE)
    url = f"{URL}?a=1" if "params" in asked else URL
    cache.seed(url, text="seeded")

    await text_of(session, f"{URL}/2", only_if_cached=True)  # which is not what the seed is for
    assert (await text_of(session, **asked))[0] == "seeded"
    assert await text_of(session, url, headers={"Authorization": "Bearer b"}) == ("another's", False)


@pytest.mark.parametrize("asked", MANNERS)
async def test_what_is_kept_for_the_app_is_found_however_it_has_asked(
    asked: dict[str, Any], cache: CacheUnderTest, upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get(URL, text="a", headers=MINUTE)
    url = f"{URL}?a=1" if "params" in asked else URL
    await text_of(session, **asked)

    await cache.assert_cached(url)
    await cache.assert_not_cached(url, headers={"Authorization": "Bearer b"})
    with pytest.raises(AssertionError, match="is in the cache"):
        await cache.assert_not_cached(url)


async def test_a_plain_session_finds_a_seed_and_what_is_kept_however_it_asks(
    cache: CacheUnderTest, upstream: FakeUpstream
) -> None:
    upstream.get(f"{URL}/2", text="a", headers=MINUTE)
    cache.seed(URL, text="seeded")
    async with ClientSession(middlewares=(CacheMiddleware(),), headers={"X-Api-Key": "a"}) as session:
        assert await text_of(session, headers={"Authorization": "Bearer a"}) == ("seeded", True)
        await text_of(session, f"{URL}/2")
        await cache.assert_cached(f"{URL}/2")


async def test_each_session_is_given_its_own(cache: CacheUnderTest) -> None:
    cache.seed(URL, text="seeded")
    for _ in range(2):
        async with CachedSession(cache_control=True) as session:
            assert await text_of(session) == ("seeded", True)


async def test_requests_at_the_same_time_all_find_it(
    cache: CacheUnderTest, upstream: FakeUpstream, session: CachedSession
) -> None:
    cache.seed(URL, text="seeded")

    assert await asyncio.gather(*(text_of(session) for _ in range(8))) == [("seeded", True)] * 8
    assert upstream.calls == []


async def test_a_later_seed_is_put_before_the_next_request(cache: CacheUnderTest, session: CachedSession) -> None:
    cache.seed(URL, text="first")
    assert await text_of(session) == ("first", True)

    cache.seed(f"{URL}/2", text="second")
    assert await text_of(session, f"{URL}/2") == ("second", True)


async def test_a_seed_is_there_for_an_assertion_as_for_a_request(cache: CacheUnderTest, session: CachedSession) -> None:
    cache.seed(f"{URL}/1", text="first")
    await text_of(session, f"{URL}/1")

    cache.seed(URL, text="second")
    await cache.assert_cached(URL)
    assert await text_of(session) == ("second", True)


def test_a_seed_is_there_for_an_assertion_beside_a_synchronous_client(cache: CacheUnderTest) -> None:
    cache.seed(URL, text="seeded")
    with TestClient(app) as client:
        client.get("/rates")
        cache.seed(f"{URL}/2", text="later")
        cache.assert_cached(f"{URL}/2")


async def test_a_seed_takes_the_place_of_what_is_there(
    cache: CacheUnderTest, upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get(URL, text="real", headers=MINUTE)
    assert await text_of(session) == ("real", False)

    cache.seed(URL, text="seeded")
    assert await text_of(session) == ("seeded", True)


async def test_a_seed_that_the_rules_do_not_keep_is_an_error_also_if_the_app_swallows_it(
    session: CachedSession,
) -> None:
    cache = CacheUnderTest().__enter__()
    cache.seed(URL, text="seeded", headers={"Cache-Control": "no-store"})
    with pytest.raises(AssertionError, match=r"do not allow this response to be stored: .*no-store"):
        await text_of(session)

    with pytest.raises(AssertionError, match="do not allow this response to be stored"):
        cache.__exit__(None, None, None)


async def test_an_assertion_that_is_not_awaited_fails_in_the_end(session: CachedSession) -> None:
    cache = CacheUnderTest().__enter__()
    cache.seed(URL, text="seeded")
    await text_of(session)
    cache.assert_cached(URL)

    with pytest.raises(AssertionError, match="to be awaited"):
        cache.__exit__(None, None, None)


async def test_a_failure_says_why_nothing_was_stored(
    cache: CacheUnderTest, upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get(URL, text="real", headers={"Cache-Control": "no-store"})
    await text_of(session)

    with pytest.raises(AssertionError, match=r"the latest answer was .*forbids it"):
        await cache.assert_cached(URL)


async def test_after_it_sessions_are_as_before(upstream: FakeUpstream, session: CachedSession) -> None:
    request, call = CachedSession._request, CacheMiddleware.__call__
    async with CacheUnderTest():
        assert CachedSession._request is not request
    assert CachedSession._request is request
    assert CacheMiddleware.__call__ is call


async def test_those_that_overlap_do_not_end_each_other(session: CachedSession) -> None:
    request, call = CachedSession._request, CacheMiddleware.__call__
    one, other = CacheUnderTest(), CacheUnderTest()
    await one.__aenter__()
    await other.__aenter__()
    await one.__aexit__(None)
    other.seed(URL, text="seeded")
    async with session.get(URL) as response:
        assert (await response.text(), response.from_cache) == ("seeded", True)
    await other.__aexit__(None)
    assert CachedSession._request is request
    assert CacheMiddleware.__call__ is call


async def test_assert_hit_distinguishes_a_hit_from_a_miss(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.get(URL, text="real", headers=MINUTE)
    async with session.get(URL) as response:
        with pytest.raises(AssertionError, match="is not a hit: aiohttp-cache-di; fwd=uri-miss"):
            assert_hit(response)
        await response.read()
    async with session.get(URL) as response:
        assert_hit(response)


def test_assert_hit_accepts_the_cache_status_of_an_apps_response() -> None:
    assert_hit(httpx.Response(200, headers={"Cache-Status": "aiohttp-cache-di; hit; ttl=3"}))
    with pytest.raises(AssertionError, match="is not a hit"):
        assert_hit(SimpleNamespace(headers={"Cache-Status": "aiohttp-cache-di; fwd=miss"}))
    with pytest.raises(TypeError, match=r"does not tell whether a cache answered.*use assert_cached"):
        assert_hit(httpx.Response(200))


def test_an_assertion_that_fails_at_once_says_nothing_but_why(cache: CacheUnderTest) -> None:
    with pytest.raises(AssertionError, match="no open session with a cache") as caught:
        cache.assert_cached(URL)
    assert caught.value.__context__ is None


def test_no_warning_is_left_by_an_assertion_that_is_done_at_once(cache: CacheUnderTest) -> None:
    cache.seed(URL, text="seeded")
    with TestClient(app) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        client.get("/rates")
        cache.assert_cached(URL)
