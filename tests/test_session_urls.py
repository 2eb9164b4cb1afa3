"""`has_url` and `delete_url`: of a session, for its own requests; of a backend, for one request or for all."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientRequest, ClientSession, CookieJar, DigestAuthMiddleware, TraceConfig
from yarl import URL

from aiohttp_cache_di import CachedSession, CacheMixin, ConfigurationError
from aiohttp_cache_di.backends import CacheBackend
from tests.clients import Clients
from tests.origin import Origin, answer


async def bearing(request: ClientRequest, handler: Any) -> Any:
    """A middleware that adds credentials."""
    request.headers["Authorization"] = "Bearer a"
    return await handler(request)


class Sending:
    """A base below the cache that adds credentials."""

    async def _request(self, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        kwargs["headers"] = {"Authorization": "Bearer a"}
        return await super()._request(method, str_or_url, **kwargs)  # type: ignore[misc]  # pyright: ignore


class OnSending(CacheMixin, Sending, ClientSession):
    """A session with such a base."""


SESSIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "API key": {"headers": {"X-API-Key": "secret"}},
    "host": {"headers": {"Host": "a.test"}},
    "cookies": {"cookies": {"a": "b"}},
    "middleware": {"middlewares": (bearing,)},
    "raw bodies": {"auto_decompress": False},
    "include_headers": {"headers": {"X-Any": "a"}, "include_headers": True},
    "explicit cookies": {"cookies": {"a": "b"}, "partition_cookies": "explicit"},
    "standard": {"headers": {"Authorization": "Bearer a"}, "cache_control": True},
}


def jar() -> CookieJar:
    """A jar that also sends cookies to IP addresses."""
    return CookieJar(unsafe=True)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """Run an origin with two pages."""
    async with Origin() as running:
        running.on("/page", answer("a"))
        running.on("/other", answer("b"))
        yield running


@pytest.mark.parametrize("options", SESSIONS.values(), ids=SESSIONS)
@pytest.mark.parametrize("is_based", [False, True])
async def test_a_session_finds_and_deletes_what_it_has_obtained(
    origin: Origin, options: dict[str, Any], is_based: bool
) -> None:
    base: dict[str, Any] = {"base_url": origin.url} if is_based else {}
    url = "/page" if is_based else origin.url + "/page"
    async with CachedSession(**base, cookie_jar=jar(), **options) as session:
        assert not await session.has_url(url)
        assert await session.delete_url(url) == 0
        for asked in (url, url.replace("page", "other")):
            await (await session.get(asked)).read()
        assert await session.has_url(url)
        assert await session.delete_url(url) == 1
        assert not await session.has_url(url)
        assert await session.has_url(url.replace("page", "other"))
        async with session.get(url) as response:
            assert not response.from_cache
    assert origin.hits == 3


REQUESTS: dict[str, dict[str, Any]] = {
    "params": {"params": {"a": "b"}},
    "headers": {"headers": {"Authorization": "Bearer a"}},
    "cookies": {"cookies": {"c": "d"}},
    "lifetime": {"expire_after": 60},
    "middlewares": {"middlewares": (bearing,)},
}


@pytest.mark.parametrize("options", REQUESTS.values(), ids=REQUESTS)
async def test_arguments_of_the_request_count_besides(origin: Origin, options: dict[str, Any]) -> None:
    url = origin.url + "/page"
    async with CachedSession(headers={"X-API-Key": "secret"}, cookie_jar=jar()) as session:
        await (await session.get(url, **options)).read()
        assert await session.has_url(url, **options)
        assert await session.has_url(url) is (options.keys() == {"expire_after"})
        assert await session.delete_url(url, "GET", **options) == 1


async def test_a_principal_counts(origin: Origin) -> None:
    url = origin.url + "/page"
    async with CachedSession(principal="a") as session:
        await (await session.get(url)).read()
        await (await session.get(url, principal="b")).read()
        assert not await session.has_url(url, principal="c")
        assert await session.delete_url(url, principal="b") == 1
        assert await session.has_url(url)
        session.principal = "b"
        assert not await session.has_url(url)


async def test_a_login_by_digest_counts(origin: Origin) -> None:
    url = origin.url + "/page"
    async with CachedSession(middlewares=(DigestAuthMiddleware("a", "b"),)) as session:
        await (await session.get(url)).read()
        assert not await session.cache.has_url(url)
        assert await session.delete_url(url) == 1


@pytest.mark.parametrize("method", ["POST", "HEAD"])
async def test_methods_and_bodies_count(origin: Origin, method: str) -> None:
    url = origin.url + "/page"
    options: dict[str, Any] = {"json": {"a": "b"}} if method == "POST" else {}
    async with CachedSession(allowed_methods=("GET", method), headers={"X-API-Key": "a"}) as session:
        await (await session.request(method, url, **options)).read()
        assert await session.has_url(url, method, **options)
        assert not await session.has_url(url)
        assert await session.delete_url(url, method, **options) == 1


async def test_a_user_in_the_url_counts(origin: Origin) -> None:
    url = URL(origin.url).with_path("/page").with_user("a").with_password("b")
    async with CachedSession() as session:
        await (await session.get(url)).read()
        assert not await session.has_url(origin.url + "/page")
        assert await session.delete_url(str(url)) == 1


async def test_what_is_asked_reaches_no_one(origin: Origin) -> None:
    seen: list[str] = []

    async def note(*args: Any) -> None:
        seen.append("traced")

    traced = TraceConfig()
    traced.on_request_start.append(note)
    traced.on_request_exception.append(note)
    async with CachedSession(trace_configs=[traced]) as session:
        assert not await session.has_url(origin.url + "/page")
        assert await session.delete_url(origin.url + "/page") == 0
        await (await session.get(origin.url + "/page")).read()
        assert await session.has_url(origin.url + "/page")
    assert seen == ["traced"]
    assert origin.hits == 1


async def test_a_base_that_adds_to_requests_is_asked(origin: Origin) -> None:
    async with OnSending() as session:
        await (await session.get(origin.url + "/page")).read()
        assert not await session.cache.has_url(origin.url + "/page")
        assert await session.delete_url(origin.url + "/page") == 1


async def test_what_is_listed_can_be_asked_for_as_it_is(origin: Origin) -> None:
    async with CachedSession(headers={"X-API-Key": "a"}, cache_control=True) as session:
        await (await session.get(URL(origin.url + "/page?sig=a%2Fb", encoded=True))).read()
        listed = [url async for url in session.cache.get_urls()]
        origin.on("/page", answer("other"))
        assert len(listed) == 1
        assert await session.has_url(URL(origin.url + "/page?sig=a%2Fb", encoded=True))
        assert await session.delete_url(URL(origin.url + "/page?sig=a%2Fb", encoded=True)) == 1


async def test_a_body_that_cannot_be_read_twice_is_refused(origin: Origin) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    async with CachedSession(allowed_methods=("POST",)) as session:
        with pytest.raises(TypeError, match="cannot be read twice"):
            await session.has_url(origin.url + "/page", "POST", data=pieces())


PRINCIPALS: list[tuple[str, dict[str, Any]]] = [
    ("GET", {}),
    ("GET", {"headers": {"Authorization": "Bearer a"}}),
    ("GET", {"headers": {"X-API-Key": "b"}}),
    ("GET", {"cookies": {"a": "b"}}),
    ("GET", {"headers": {"Host": "a.test"}}),
    ("GET", {"headers": {"Accept-Language": "de"}}),
    ("GET", {"headers": {"Accept-Language": "fr"}}),
    ("GET", {"auto_decompress": False}),
    ("HEAD", {}),
    ("POST", {"json": {"a": "b"}}),
    ("POST", {"data": b"c", "headers": {"Authorization": "Bearer a"}}),
]


@pytest.mark.parametrize("with_params", [False, True])
async def test_everywhere_covers_methods_variants_and_principals(
    clients: Clients, origin: Origin, with_params: bool
) -> None:
    origin.on("/page", answer("a", headers={"Vary": "Accept-Language"}))
    client = clients(allowed_methods=("GET", "HEAD", "POST"), session={"cookie_jar": jar()})
    url = origin.url + "/page" + "?x=y&token=t" * with_params
    for method, options in PRINCIPALS:
        assert not (await client.fetch(url, method, **options))[0]
    for kept in (origin.url + "/other", origin.url + "/page?x=z", origin.url + "/page/"):
        await client.fetch(kept, headers={"X-API-Key": "b"})
    await client.backend.settle()
    arguments: dict[str, Any] = {"params": {"x": "y", "token": "t"}} if with_params else {}
    plain = origin.url + "/page" if with_params else url
    assert await client.backend.delete_url(plain, everywhere=True, **arguments) == len(PRINCIPALS)
    left = {listed async for listed in client.backend.get_urls()}
    assert url not in left
    assert left >= {origin.url + "/other", origin.url + "/page?x=z"}
    assert await client.backend.delete_url(plain, everywhere=True, **arguments) == 0
    for method, options in PRINCIPALS:
        assert not (await client.fetch(url, method, **options))[0], (method, options)


async def test_everywhere_takes_what_get_urls_lists(clients: Clients, origin: Origin) -> None:
    client = clients()
    asked = origin.url + "/page?b=2&a=1&token=secret"
    await client.fetch(asked, headers={"Authorization": "Bearer a"})
    await client.backend.settle()
    (listed,) = [url async for url in client.backend.get_urls()]
    assert "secret" not in listed
    assert await client.backend.delete_url(listed, everywhere=True) == 1


async def test_everywhere_covers_redirects(clients: Clients, origin: Origin) -> None:
    url = origin.on("/old", answer(status=301, reason="Moved", headers={"Location": "/page"}))
    client = clients()
    await client.fetch(url, headers={"X-API-Key": "a"})
    await client.backend.settle()
    assert await client.backend.delete_url(url, everywhere=True) == 2, "the redirect, and what it leads to"
    assert [listed async for listed in client.backend.get_urls()] == []


async def test_everywhere_takes_no_other_arguments() -> None:
    backend = CacheBackend()
    with pytest.raises(TypeError, match="headers"):
        await backend.delete_url("http://a.test/", everywhere=True, headers={"A": "b"})


async def test_a_backend_says_how_many_went(clients: Clients, origin: Origin) -> None:
    origin.on("/page", answer("a", headers={"Vary": "Accept-Language"}))
    client, url = clients(), origin.url + "/page"
    for language in ("de", "fr", "it"):
        await client.fetch(url, headers={"Accept-Language": language})
    await client.backend.settle()
    assert await client.backend.delete_url(url) == 3
    assert await client.backend.delete_url(url) == 0


@pytest.mark.parametrize("url", ["/page", "", "api.example.org/page", "ftp://a.test/page", 5])
@pytest.mark.parametrize("arguments", [{}, {"everywhere": True}])
async def test_a_url_that_no_request_has_is_refused_rather_than_not_found(url: Any, arguments: dict[str, Any]) -> None:
    backend = CacheBackend()

    with pytest.raises(ConfigurationError, match=r"^url=.*: use an? "):
        await backend.delete_url(url, **arguments)
    if not arguments:
        with pytest.raises(ConfigurationError, match=r"^url=.*: use an? "):
            await backend.has_url(url)


@pytest.mark.parametrize(
    ("url", "told"),
    {
        "http://h:99999/?token=hunter2": "'http://h:99999/?…'",
        "ftp://u:hunter2@h/?token=hunter2": "'ftp://h/?token=REDACTED'",
        "/x?token=hunter2": "'/x?token=REDACTED'",
        "http://:80/?token=hunter2": "'http://:80/?…'",
    }.items(),
)
async def test_a_session_quotes_a_url_that_it_cannot_request_without_secrets(url: str, told: str) -> None:
    async with CachedSession(cache=CacheBackend()) as session:
        for call in (session.has_url(url), session.delete_url(url), session.explain("GET", url)):
            with pytest.raises(ConfigurationError) as caught:
                await call
            assert str(caught.value).startswith(f"url={told}: ")
            shown = "".join(traceback.format_exception(caught.value))
            assert "hunter2" not in shown


async def test_an_explanation_that_a_middleware_prevents_quotes_no_secret(origin: Origin) -> None:
    async with ClientSession() as other:

        async def answers(request: ClientRequest, handler: Any) -> Any:
            return await other.get(f"{origin.url}/page")

        async with CachedSession(cache=CacheBackend(), middlewares=(answers,)) as session:
            with pytest.raises(ConfigurationError, match=r"^GET 'http://h/\?token=REDACTED': a middleware"):
                await session.explain("GET", "http://h/?token=hunter2")


@pytest.mark.parametrize("method", [None, "", "GE T", 5])
async def test_a_method_that_no_request_has_is_refused(method: Any) -> None:
    async with CachedSession(cache=CacheBackend()) as session:
        for owner in (session, session.cache):
            for call in (
                owner.has_url("http://a.test/", method=method),
                owner.delete_url("http://a.test/", method=method),
                owner.explain(method, "http://a.test/"),
            ):
                with pytest.raises(ConfigurationError, match=r"^method=.*: use the name of an HTTP method"):
                    await call
