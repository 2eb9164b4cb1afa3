"""Which stored responses a request may use: its key and its partition."""

from __future__ import annotations

import ssl
from typing import Any
from weakref import ref

import pytest
from aiohttp import (
    ClientRequest,
    ClientSession,
    Fingerprint,
    TCPConnector,
    encode_basic_auth,
)
from yarl import URL

from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.questions.question import Questions
from aiohttp_cache_di.engine.questions.wire import key_arguments, request_body
from aiohttp_cache_di.middleware import CacheMiddleware
from tests.origin import Origin, answer


@pytest.fixture
async def session() -> Any:
    async with ClientSession() as session:
        yield session


def careless_context() -> ssl.SSLContext:
    """Make a context that does not check the host name of a certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    return context


async def identity(
    session: ClientSession, url: str = "https://example.org/", *, backend: CacheBackend | None = None, **options: Any
) -> tuple[str, str]:
    """The key and the partition of a request that is made as aiohttp makes it."""
    backend = backend or CacheBackend()
    request = ClientRequest("GET", URL(url), loop=session._loop, session=session, **options)
    arguments = key_arguments(request, await request_body(request) or b"", Call(ref(session)), backend)
    place = Questions(backend).place_of(request, arguments, str(request.url))
    return place.key, place.partition


class TestTls:
    """A response is only used for requests with the same TLS verification."""

    async def test_every_demand_has_a_key_of_its_own(self, session: ClientSession) -> None:
        demands: list[dict[str, Any]] = [
            {},
            {"ssl": False},
            {"ssl": careless_context()},
            {"ssl": careless_context()},
            {"ssl": Fingerprint(b"a" * 32)},
            {"ssl": Fingerprint(b"b" * 32)},
            {"server_hostname": "other.example.org"},
            {"server_hostname": "other.example.org", "ssl": False},
        ]
        keys = [(await identity(session, **demand))[0] for demand in demands]
        assert len(set(keys)) == len(demands)

    async def test_the_same_demand_has_the_same_key(self, session: ClientSession) -> None:
        context = careless_context()
        demands: list[dict[str, Any]] = [{}, {"ssl": False}, {"ssl": context}, {"ssl": Fingerprint(b"a" * 32)}]
        for demand in demands:
            assert await identity(session, **demand) == await identity(session, **demand)

    @pytest.mark.parametrize("demand", [False, True, Fingerprint(b"a" * 32)])
    async def test_what_a_connector_demands_counts_as_if_the_request_did(
        self, session: ClientSession, demand: Any
    ) -> None:
        async with ClientSession(connector=TCPConnector(ssl=demand)) as other:
            expected = await identity(session, ssl=demand)
            assert await identity(other) == expected
            assert CacheBackend().create_key("GET", "https://example.org/", ssl=demand) == expected[0]

    async def test_a_connector_s_context_counts_by_whether_it_verifies(self, session: ClientSession) -> None:
        verifying, careless = ssl.create_default_context(), careless_context()
        for context, demand in ((verifying, True), (careless, False)):
            async with ClientSession(connector=TCPConnector(ssl=context)) as other:
                assert await identity(other) == await identity(session, ssl=demand)

    async def test_without_tls_there_is_nothing_to_verify(self, session: ClientSession) -> None:
        url = "http://example.org/"
        assert await identity(session, url, ssl=False) == await identity(session, url)


class TestPartition:
    async def test_each_principal_has_one(self, session: ClientSession) -> None:
        asked: list[dict[str, Any]] = [
            {},
            {"headers": {"Authorization": encode_basic_auth("a", "b")}},
            {"headers": {"Authorization": encode_basic_auth("a", "c")}},
            {"headers": {"X-Api-Key": "a"}},
            {"headers": {"Cookie": "a=b"}},
            {"cookies": {"a": "c"}},
            {"headers": {"Proxy-Authorization": "a"}},
        ]
        found = [await identity(session, **options) for options in asked]
        assert len({key for key, _ in found}) == len(asked)
        assert len({partition for _, partition in found}) == len(asked)
        assert found[0][1] == ""
        assert not any("YTpi" in partition for _, partition in found)

    async def test_a_header_of_no_account_has_none(self, session: ClientSession) -> None:
        assert await identity(session, headers={"Accept-Language": "de"}) == await identity(session)

    async def test_proxy_credentials_are_credentials(self, session: ClientSession) -> None:
        proxy = URL("http://proxy.example.org")
        plain = await identity(session, "http://example.org/", proxy=proxy)
        other = await identity(
            session, "http://example.org/", proxy=proxy, proxy_headers={"Proxy-Authorization": "secret"}
        )
        assert plain[1] != other[1]

    async def test_a_setting_that_changes_is_heeded(self, session: ClientSession) -> None:
        backend = CacheBackend()
        questions = Questions(backend)
        request = ClientRequest("GET", URL("http://example.org/?a=1&b=2"), loop=session._loop, session=session)
        arguments = key_arguments(request, b"", Call(ref(session)), backend)
        before = questions.place_of(request, arguments, str(request.url))
        assert questions.place_of(request, arguments, str(request.url)) == before
        backend.ignored_params = frozenset({"b"})
        assert questions.place_of(request, arguments, str(request.url)) != before


async def test_a_url_is_remembered_once_it_may_have_an_answer(session: ClientSession) -> None:
    questions = Questions(CacheBackend())
    request = ClientRequest("GET", URL("http://example.org/"), loop=session._loop, session=session)
    made = questions.of_plain(request, "http://example.org/")
    assert made is not None
    assert questions.of_plain(request, "http://example.org/") is not made
    questions.remember(made, "http://example.org/")
    assert questions.of_plain(request, "http://example.org/") is made


async def test_a_plain_session_remembers_the_url_of_a_hit_and_not_that_of_a_miss(origin: Origin) -> None:
    middleware = CacheMiddleware(CacheBackend())
    url = origin.on("/", answer("body"))
    known = middleware.questions._known
    async with ClientSession(middlewares=(middleware,)) as session:
        await (await session.get(url)).read()
        assert not known
        await (await session.get(url)).read()
    assert str(url) in known["GET"]
    assert origin.hits == 1
