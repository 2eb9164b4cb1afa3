"""The reprs of a session, a backend, a response and a container are useful for debugging and contain no secret."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession
from multidict import CIMultiDict

from aiohttp_cache_di import (
    BaseCache,
    CacheBackend,
    CacheContainer,
    CachedResponse,
    CachedSession,
    CacheMiddleware,
    CacheSettings,
    DictCache,
    DynamoDBBackend,
    DynamoDbCache,
    FileBackend,
    FileCache,
    MongoDBBackend,
    MongoDBCache,
    RedisBackend,
    RedisCache,
    SQLiteBackend,
    SQLiteCache,
    open_container,
)
from aiohttp_cache_di.engine.answering.describe import FetchedResponse
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.policy.tracing import shown
from aiohttp_cache_di.rfc9111.messages import Request, Response, StoredResponse
from aiohttp_cache_di.telemetry.reasons import origin_of_answer
from tests.origin import Origin, Received, answer

SECRET = "canary-canary-canary"


def sqlite(directory: Path) -> CacheBackend:
    return SQLiteBackend(str(directory / "http"), secret_key=SECRET)


def files(directory: Path) -> CacheBackend:
    return FileBackend(directory / "http", secret_key=SECRET)


def redis(directory: Path) -> CacheBackend:
    return RedisBackend("http", f"redis://user:{SECRET}@store.example/0", secret_key=SECRET)


def redis_by_options(directory: Path) -> CacheBackend:
    return RedisBackend("http", "redis://store.example/0", password=SECRET)


def mongodb(directory: Path) -> CacheBackend:
    return MongoDBBackend("http", host=f"mongodb://user:{SECRET}@store.example", secret_key=SECRET)


def dynamodb(directory: Path) -> CacheBackend:
    return DynamoDBBackend("http", region_name="eu-west-1", aws_access_key_id="id", aws_secret_access_key=SECRET)


BACKENDS: dict[Callable[[Path], CacheBackend], str] = {
    sqlite: "http.sqlite",
    files: "http",
    redis: "store.example",
    redis_by_options: "store.example",
    mongodb: "store.example",
    dynamodb: "eu-west-1",
}


@pytest.mark.parametrize("make", BACKENDS)
async def test_a_backend_tells_its_place_its_rules_and_what_it_has_done(
    make: Callable[[Path], CacheBackend], tmp_path: Path
) -> None:
    backend = make(tmp_path)
    told = repr(backend)

    assert told.startswith(f"<{type(backend).__name__} ")
    assert BACKENDS[make] in told
    assert "your rules, 0 hits, 0 misses>" in told
    assert SECRET not in told + repr(backend.responses) + repr(backend.redirects) + repr(backend.stats)
    await backend.close()


STORAGES: dict[str, tuple[Callable[[Path], BaseCache], str]] = {
    "memory": (lambda path: DictCache(SECRET), "<DictCache of 0 entries, 0 bytes>"),
    "sqlite": (
        lambda path: SQLiteCache(path / "http", "answers", secret_key=SECRET),
        "<SQLiteCache in table 'answers' of '{path}/http.sqlite'>",
    ),
    "redis": (
        lambda path: RedisCache("app", "answers", f"redis://user:{SECRET}@store.example", secret_key=SECRET),
        "<RedisCache app:answers at redis://store.example:6379/0>",
    ),
    "files": (lambda path: FileCache(path / "http", secret_key=SECRET), "<FileCache in '{path}/http'>"),
    "mongodb": (
        lambda path: MongoDBCache("db", "answers", host=f"mongodb://user:{SECRET}@store.example"),
        "<MongoDBCache db.answers at mongodb://store.example>",
    ),
    "dynamodb": (
        lambda path: DynamoDbCache("table", "answers", region_name="eu-west-1", aws_secret_access_key=SECRET),
        "<DynamoDbCache table:answers at eu-west-1>",
    ),
}


@pytest.mark.parametrize("name", STORAGES)
def test_a_storage_tells_what_it_holds_where(name: str, tmp_path: Path) -> None:
    make, told = STORAGES[name]
    assert repr(make(tmp_path)) == told.format(path=tmp_path)


def secretive(url: str) -> StoredResponse:
    """An entry with a secret in its header fields and in its body."""
    return StoredResponse(
        key="k",
        method="GET",
        url=url,
        status=200,
        reason=b"OK",
        requested_at=0,
        received_at=0,
        created_at=0,
        fresh_until=0,
        raw_headers=((b"X-Token", SECRET.encode()),),
        body=SECRET.encode(),
    )


async def test_what_belongs_to_a_request_or_a_response_shows_no_field_query_or_body() -> None:
    url = f"https://example.org/a?token={SECRET}"
    fields = CIMultiDict({"Authorization": SECRET})
    request = Request("GET", url, fields)
    stored = secretive(url)
    actions = CacheBackend().create_cache_actions("k", url, headers={"Authorization": SECRET})

    assert repr(request) == "<Request GET https://example.org/a?…>"
    assert repr(Response(200, fields, 0, 0)) == "<Response 200, 1 header fields>"
    assert repr(stored) == f"<StoredResponse GET https://example.org/a?… [200] {len(SECRET)} bytes, 1 header fields>"
    assert repr(actions) == "<CacheActions for https://example.org/a?token=REDACTED under k>"
    async with CachedSession(principal=SECRET) as session:
        assert repr(session.disabled()) == f"<Disabled: the cache of {session!r}>"


def test_what_is_told_of_an_entry_has_no_field_or_body() -> None:
    told = repr(info_of(secretive("https://example.org/")))
    assert told.startswith("EntryInfo(key='k', method='GET', url='https://example.org/', status=200, ")
    assert SECRET not in told


async def test_a_session_tells_whether_it_is_open_and_how_it_has_done(origin: Origin) -> None:
    options: dict[str, Any] = {"headers": {"X-Token": SECRET}, "cookies": {"id": SECRET}, "principal": SECRET}
    base = origin.url.replace("http://", f"http://user:{SECRET}@")
    async with CachedSession(f"{base}/", cache_control=True, **options) as session:
        for _ in range(2):
            await (await session.get("/page")).read()
        told = repr(session)

    where = f"<CachedSession to {origin.url}/, {{}}, on <CacheBackend 'aiohttp-cache' in memory: HTTP's rules, "
    assert told == where.format("open") + "1 hits, 1 misses>>"
    assert repr(session) == where.format("closed") + "1 hits, 1 misses>>"
    assert SECRET not in told


async def test_a_backend_tells_that_its_store_fails() -> None:
    backend = CacheBackend()
    backend.stats.count_error("read", "timeout")

    assert repr(backend).endswith("0 misses, degraded>")


async def test_a_middleware_tells_its_backend() -> None:
    assert repr(CacheMiddleware(CacheBackend("rates"))).startswith("<CacheMiddleware on <CacheBackend 'rates' in")


async def test_a_response_tells_its_url_its_status_and_its_age(origin: Origin) -> None:
    origin.on("/page", answer("hello", headers={"Set-Cookie": f"id={SECRET}", "X-Token": SECRET}))
    credentials = {"Authorization": f"Bearer {SECRET}"}
    async with CachedSession(expire_after=300, store_cookies=True, headers=credentials) as session:
        url = f"{origin.url}/page?api_key={SECRET}&lang=de"
        await (await session.get(url)).read()
        response = await session.get(url)
    told = repr(response)

    assert told.startswith(f"<CachedResponse GET {origin.url}/page?api_key=")
    assert "&lang=de [200 OK] " in told
    assert re.search(r"\] hit, age \d+ s, fresh for (5m|4m\d\ds), 5 bytes, stored 20\d\d-", told)
    assert SECRET not in told


def test_a_response_that_is_stale_says_so() -> None:
    stored = StoredResponse(
        key="k",
        method="GET",
        url="https://example.org/",
        status=404,
        reason=None,
        requested_at=0,
        received_at=0,
        created_at=0,
        fresh_until=0,
    )
    told = repr(CachedResponse.from_stored(stored))

    assert told.startswith("<CachedResponse GET https://example.org/ [404 None] age ")
    assert ", stale for " in told
    assert told.endswith("stored 1970-01-01 00:00:00Z>")


async def test_a_response_of_the_origin_tells_the_same_of_itself_and_no_secret(origin: Origin) -> None:
    secret_fields = {"Set-Cookie": f"id={SECRET}", "X-Token": SECRET, "Age": "200"}
    origin.on("/page", answer("hello", headers=secret_fields))
    async with CachedSession(expire_after=300, ignored_params=["who"], headers={"X-Key": SECRET}) as session:
        response = await session.get(f"{origin.url}/page?api_key={SECRET}&who={SECRET}&lang=de")
        before = repr(response)
        await response.read()
        told = repr(response)
        posted = await session.post(f"{origin.url}/page")

    shown = (
        f"<ClientResponse GET {origin.url}/page?api_key=REDACTED&who=REDACTED&lang=de [200 OK] miss (uri-miss), age "
    )
    assert before.startswith(shown)
    assert re.fullmatch(re.escape(shown) + r"3m\d\ds, stored, fresh until 20\d\d-\S+ \S+Z>", told)
    shown = f"<ClientResponse POST {origin.url}/page [200 OK] bypass (method), age "
    assert re.fullmatch(re.escape(shown) + r"3m\d\ds>", repr(posted))
    assert SECRET not in before + told + repr(posted)
    assert isinstance(response, ClientResponse)
    assert response.headers["X-Token"] == SECRET


async def test_a_response_that_is_not_stored_says_why(origin: Origin) -> None:
    url = origin.on("/page", answer("hello", headers={"Cache-Control": "no-store"}))
    async with CachedSession(cache_control=True) as session:
        response = await session.get(url)
        await response.read()
    shown = f"<ClientResponse GET {url} [200 OK] miss (uri-miss), age "
    assert re.fullmatch(re.escape(shown) + r"\d+ s, not stored \(no-store\)>", repr(response))


async def test_a_response_that_was_validated_says_so(origin: Origin) -> None:
    fields = {"ETag": '"a"', "Cache-Control": "no-cache"}

    def script(request: Received) -> bytes:
        return answer(status=304 if "If-None-Match" in request.headers else 200, headers=fields)

    url = origin.on("/page", script)
    async with CachedSession(cache_control=True) as session:
        await (await session.get(url)).read()
        response = await session.get(url)
    assert repr(response).startswith(f"<CachedResponse GET {url} [200 OK] revalidated (stale), age ")


async def test_a_response_that_the_cache_has_not_looked_at_is_aiohttp_s_own(origin: Origin) -> None:
    url = origin.on("/page", answer("hello"))
    async with CachedSession() as session, ClientSession() as plain:
        with session.disabled():
            response = await session.get(url)
        other = await plain.get(url)
    assert type(response) is type(other) is ClientResponse
    assert repr(response).partition("\n")[0] == f"<ClientResponse({url}) [200 OK]>" == repr(other).partition("\n")[0]


async def test_a_response_class_of_the_user_s_is_shown_as_it_has_it(origin: Origin) -> None:
    class Own(ClientResponse):
        def __repr__(self) -> str:
            return "own"

    url = origin.on("/page", answer("hello"))
    async with CachedSession(response_class=Own) as session:
        first = await session.get(url)
        await first.read()
        second = await session.get(url)
    assert isinstance(first, Own)
    assert (repr(first), repr(second)) == ("own", "own")


class Plain(ClientResponse):
    """A class with aiohttp's own repr."""


class Slotted(ClientResponse):
    """A class with ``__slots__``."""

    __slots__ = ("mark",)


class Telling(ClientResponse):
    """A class that defines one of the cache's attributes itself."""

    cache_decision = "its own"


class Strict(ClientResponse):
    """A class that requires an argument from its subclasses."""

    def __init_subclass__(cls, *, why: str) -> None:
        del why


@pytest.mark.parametrize("made", [Plain, Slotted, Telling])
async def test_a_miss_of_a_response_class_without_a_repr_shows_no_secret(
    origin: Origin, made: type[ClientResponse]
) -> None:
    url = origin.on("/page", answer("hello", headers={"X-Token": SECRET}))
    async with CachedSession(response_class=made, ignored_params=["who"]) as session:
        for _ in range(2):
            response = await session.get(f"{url}?api_key={SECRET}&who={SECRET}", expire_after=0)
            told = repr(response)
            assert told.startswith(f"<{made.__name__} GET {url}?api_key=REDACTED&who=REDACTED [200 OK]")
            assert SECRET not in told
            assert "bypass, age " in told
            decision: object = response.cache_decision
            assert (decision == "its own") is (made is Telling)
            assert isinstance(response, made)
            assert (type(response).__name__, type(response).__module__) == (made.__name__, made.__module__)


async def test_a_miss_of_a_class_that_none_can_be_derived_from_is_left_as_it_is(origin: Origin) -> None:
    async with CachedSession(response_class=Strict) as session:
        response = await session.get(origin.on("/page", answer("hello")), expire_after=0)
    assert type(response).__mro__[:2] == (Strict, ClientResponse)


async def test_a_plain_session_with_the_middleware_shows_the_same(origin: Origin) -> None:
    url = origin.on("/page", answer("hello", headers={"X-Token": SECRET}))
    async with ClientSession(middlewares=(CacheMiddleware(CacheBackend()),)) as session:
        response = await session.get(url)
        assert repr(response).startswith(f"<ClientResponse GET {url} [200 OK] miss (uri-miss), age ")
        assert SECRET not in repr(response)


def test_a_reason_is_shown_in_printable_characters() -> None:
    assert shown("X", "GET", "u", 200, "\x1b[2J\u00e9", ()) == "<X GET u [200 \\x1b[2J\\xe9]>"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("aiohttp-cache-di; hit; ttl=5", "hit"),
        ("aiohttp-cache-di; hit; detail=stale-if-error", "stale (stale-if-error)"),
        ("aiohttp-cache-di; fwd=stale; fwd-status=304; stored", "revalidated (stale)"),
        ("aiohttp-cache-di; fwd=uri-miss; collapsed", "coalesced (uri-miss)"),
        ("aiohttp-cache-di; fwd=bypass; detail=error", "bypass"),
        ("aiohttp-cache-di; detail=only-if-cached", "only-if-cached"),
        ("", ""),
    ],
)
def test_where_an_answer_came_from_is_told_in_the_words_of_the_metrics(status: str, said: str) -> None:
    assert origin_of_answer(status) == said


async def test_what_is_still_being_made_can_be_shown() -> None:
    for kind in (CachedSession, CacheBackend, CachedResponse, FetchedResponse):
        assert repr(kind.__new__(kind)) == f"<{kind.__name__}>"
    with pytest.raises(TypeError) as caught:
        CachedSession(cache=CacheBackend(), lease=1.0)
    assert traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack


async def test_a_container_tells_what_it_was_given_and_what_is_started() -> None:
    settings = await asyncio.to_thread(lambda: CacheSettings(backend="memory", secret_key=[SECRET]))
    container = CacheContainer(settings=settings, session_options={"headers": {"Authorization": SECRET}})

    assert repr(container) == "<CacheContainer given: session_options, settings; started: nothing>"
    async with open_container(container) as session:
        told = repr(container)
    assert told == "<CacheContainer given: session_options, settings; started: backend, session>"
    assert SECRET not in told + repr(session) + repr(settings)


def test_a_container_names_the_provider_that_is_meant() -> None:
    with pytest.raises(TypeError, match="'prefx'; did you mean 'prefix'"):
        CacheContainer(prefx="A_")  # type: ignore[call-arg]  # the misspelling is tested


def test_no_repr_needs_a_loop_or_a_store(tmp_path: Path) -> None:
    made = [make(tmp_path) for make in BACKENDS]
    assert all(map(repr, made))
    assert not list(tmp_path.iterdir())
