"""What a program may write: both type checkers accept all of it, and know what it comes to."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from dependency_injector import containers, providers
from fastapi import FastAPI
from redis.asyncio import Redis, Sentinel

import aiohttp_cache_di_fastapi as for_fastapi
import aiohttp_cache_di_web as for_web
from aiohttp_cache_di import (
    BaseCache,
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
    UrlExpiration,
    UrlExpirationOptions,
    UrlLifetime,
    open_container,
)
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.rfc9111.messages import Request
from aiohttp_cache_di.session import CacheMixin
from aiohttp_cache_di.settings import ClientSettings, FilesystemSettings, RedisSettings, SQLiteSettings
from aiohttp_cache_di.testing import recorded


async def takes_a_session(session: ClientSession) -> int:
    """A function that was written for aiohttp."""
    async with session.get("https://example.org/", timeout=ClientTimeout(total=1)) as response:
        return response.status


async def requests(session: CachedSession) -> None:
    """Every option of a request, in each form that it has."""
    await takes_a_session(session)
    async with session.get("https://example.org/", expire_after=60, refresh=True, params={"a": "b"}) as response:
        assert_type(response.status, int)
        assert_type(response.from_cache, bool)
        assert_type(response.expires, datetime | None)
        assert_type(response.cache_status, str)
        plain: ClientResponse = response
        assert plain.ok
    await session.post("https://example.org/", json={"a": 1}, expire_after=timedelta(minutes=1))
    await session.request("GET", "https://example.org/", expire_after="Sat, 21 Nov 2026 08:00:00 GMT")
    await session.head("https://example.org/", only_if_cached=True, stale_if_error="1h")
    await session.get("https://example.org/", principal="tenant-7")
    await session.put("https://example.org/", expire_after=None, stale_if_error=True)
    async with session.disabled():
        await session.delete("https://example.org/")
    with session.disabled():
        await session.options("https://example.org/")
    async with session.ws_connect("https://example.org/") as socket:
        assert_type(await socket.receive_str(), str)
    await session.delete_expired_responses()


async def sessions() -> None:
    """Every way to make a session."""

    async def may_keep(response: ClientResponse) -> bool:
        return response.ok

    def whose(request: Request) -> str | None:
        return request.headers.get("X-User")

    backend = CacheBackend(
        "name",
        60,
        urls_expire_after={"*.org": 60, "*/never": UrlExpiration(0), "*/more": {"expire_after": "1h", "tags": ["a"]}},
        allowed_codes=(200, 404),
        filter_fn=may_keep,
        cache_control=True,
        max_entries=1000,
        principal=whose,
        principals={"*.org": "all"},
        shared_credentials=["*.amazonaws.com"],
    )
    async with CachedSession(cache=backend, headers={"A": "b"}, principal=whose) as session:
        assert_type(session, CachedSession)
        assert_type(session.cache, CacheBackend)
        assert_type(await session.has_url("/", headers={"A": "b"}), bool)
        assert_type(await session.delete_url("/", "HEAD"), int)
    async with CachedSession("https://example.org/", expire_after=60) as session:
        await requests(session)
    async with ClientSession(middlewares=(CacheMiddleware(backend),)) as plain:
        await takes_a_session(plain)


class OwnSession(CacheMixin, ClientSession):
    """A session class of a user's."""


async def backends(backend: CacheBackend) -> None:
    """What a backend is asked for."""
    assert_type(await backend.has_url("https://example.org/", params={"a": "b"}), bool)
    assert_type([url async for url in backend.get_urls()], list[str])
    found = await backend.get_response(backend.create_key("GET", "https://example.org/"))
    assert_type(found, CachedResponse | None)
    if found is not None:
        body: Any = await found.json()
        assert body
    assert_type(await backend.delete_url("https://example.org/"), int)
    assert_type(await backend.delete_url("https://example.org/", everywhere=True), int)


async def sessions_of_aiohttp() -> None:
    """What aiohttp's own session takes."""
    async with CachedSession(
        "https://example.org/",
        connector=TCPConnector(limit=10),
        cookie_jar=DummyCookieJar(),
        headers={"A": "b"},
        timeout=ClientTimeout(total=5),
        raise_for_status=True,
        trust_env=True,
        middlewares=(),
        trace_configs=[],
        cache_control=True,
        expire_after="5m",
        stale_if_error="1h",
        max_bytes=64 * 1024**2,
    ) as session:
        assert_type(session, CachedSession)
    rule: UrlExpirationOptions = {"expire_after": timedelta(hours=1), "stale_if_error": True}
    rules: dict[str, UrlLifetime] = {"*.org": rule, "*.net": None, "*": "5m"}
    CacheSettings(urls_expire_after=rules)
    await CachedSession(urls_expire_after=rules, principals={"*.org": "all"}).close()
    options: dict[str, Any] = {"expire_after": 60}
    await CachedSession(**options).close()


def every_backend(directory: Path, options: dict[str, Any], sentinel: Sentinel) -> None:
    """Options of every backend, of its own and of its driver."""
    forms = (60, 1.5, "5m", "Sat, 21 Nov 2026 08:00:00 GMT", timedelta(hours=1), datetime.now(), -1, None)
    for lifetime in forms:
        CacheBackend("name", lifetime, urls_expire_after={"*.org": lifetime})
    SQLiteBackend(str(directory), fast_save=True, expire_after="5m", timeout=0.1, near_tier=False, secret_key="s" * 16)
    RedisBackend("app", "rediss://h", near_tier_s=5, socket_timeout=0.1, ssl_min_version=ssl.TLSVersion.TLSv1_3, db=1)
    RedisBackend("app", service_name="primary", sentinel_kwargs={"password": "p"}, lease=0, autoclose=True)
    RedisBackend("app", connection=Redis(host="h"))
    RedisBackend("app", connection=sentinel, service_name="primary")
    FileBackend(directory, fsync=True, max_body_bytes=None, allowed_methods=["GET"], autoclose=False)
    MongoDBBackend("db", host="mongodb://h", serverSelectionTimeoutMS=100, tls=True, coalesce=False)
    DynamoDBBackend("table", region_name="eu-west-1", consistent_reads=True, ignored_params=("token",))
    for make in (SQLiteBackend, RedisBackend, FileBackend, MongoDBBackend, DynamoDBBackend):
        backend: CacheBackend = make(**options)
        assert_type(backend.responses, BaseCache)


def every_storage(directory: Path) -> None:
    """Options of every storage."""
    DictCache("secret", max_entries=10)
    SQLiteCache(directory / "file", "table", max_bytes=None, serializer=None)
    RedisCache("app", "responses", "redis://h", near_tier_s=1.5, salt="s")
    FileCache(directory, max_entries=10, fsync=True)
    MongoDBCache("db", "responses", host=["a", "b"], readPreference="nearest")
    DynamoDbCache("table", "responses", near_tier_bytes=1024, endpoint_url="http://localhost:8000")


class OwnStorage(DictCache):
    """A storage of a user's, which hands on what it is given."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)


async def settings_and_containers(path: Path) -> None:
    """What code says in place of variables, in the same forms."""
    settings = CacheSettings(
        backend="sqlite",
        expire_after="5m",
        urls_expire_after={"*": "1h", "*/never": 0, "*/rule": UrlExpiration("1h"), "*/x": {"expire_after": "1d"}},
        allowed_codes=(200, "404"),
        max_bytes="1GiB",
        max_body_bytes=1024,
        storage_deadline=timedelta(milliseconds=100),
        stale_if_error=True,
        secret_key=["s" * 16],
        cache_control="yes",
        sqlite={"path": path, "timeout": "100ms"},
        redis=RedisSettings(url="redis://h", near_tier="5s"),
        filesystem=FilesystemSettings(path=str(path)),
        client=ClientSettings(timeout="1m", connections=5),
        _env_prefix="RATES_CACHE_",
        _env_file=None,
    )
    assert_type(settings.coalesce_timeout, float)
    assert_type(settings.sqlite, SQLiteSettings)
    container = CacheContainer(
        prefix="RATES_CACHE_",
        env_file=None,
        settings=settings,
        session_options={"headers": {"A": "b"}, "timeout": ClientTimeout(total=1)},
    )
    CacheContainer(backend=providers.Object(CacheBackend()), session_options=providers.Factory(dict, headers={}))
    async with open_container(container) as session:
        assert_type(session, CachedSession)
    async with open_container() as session:
        assert_type(session.cache, CacheBackend)


class App(containers.DeclarativeContainer):
    """A container of a user's."""

    cache = providers.Container(CacheContainer, prefix="RATES_CACHE_")


async def adapters(request: web.Request, app: web.Application) -> None:
    """The adapters of both frameworks."""
    api = FastAPI(lifespan=for_fastapi.make_lifespan(App.cache, key="rates"))
    api.add_api_route("/readyz", for_fastapi.make_cache_health(["rates"], degraded_status=503, ping=True))
    for_fastapi.install(api, CacheContainer, key="other")
    assert_type(for_fastapi.make_cache_metrics(), for_fastapi.Route)
    rates = web.AppKey("rates", CachedSession)
    app.cleanup_ctx.append(for_web.cache_ctx)
    app.cleanup_ctx.append(for_web.make_cache_ctx(App.cache, key=rates))
    app.router.add_get("/metrics", for_web.cache_metrics)
    assert_type(for_web.get_cached_session(request), CachedSession)
    assert_type(for_web.get_cached_session(app, rates), CachedSession)


async def route(session: for_fastapi.CachedSessionDep) -> Callable[[], Awaitable[str]]:
    """A route that is handed the session."""
    assert_type(session, CachedSession)
    async with session.get("https://example.org/") as response:
        return response.text


def recordings() -> None:
    """What upstreams have said, from a file."""
    recorded("rates.yaml", "once", filter=str.lower, filter_json=["email"], ignore=("page",), repeat=True)
    recorded("rates.yaml", filter=[str.lower, str.strip])
