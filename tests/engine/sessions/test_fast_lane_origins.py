"""The fast lane for URLs that are new to a session, of origins that it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientRequest, ClientResponse
from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di import CachedResponse, CachedSession
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.sessions.fast_lane import KnownCall
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend

pytestmark = pytest.mark.shortcuts


def path_of(request: Received) -> bytes:
    """Answer with the path."""
    return answer(request.target)


async def store(backend: CacheBackend, *urls: str) -> None:
    """Store the responses of *urls* through another session."""
    async with CachedSession(cache=backend) as session:
        for url in urls:
            async with session.get(url) as response:
                await response.read()
        await backend.settle()


async def teach(session: CachedSession, url: str) -> None:
    """Let the session hit *url* without the fast lane, which learns from it."""
    for _ in range(2):
        async with session.get(url) as response:
            await response.read()
        await session.cache.settle()


def found(session: CachedSession, url: str | URL, **options: Any) -> CachedResponse | KnownCall | None:
    """The answer of the fast lane."""
    return session._fast_lane.answer(session, "GET", url, options)


@pytest.fixture
async def backend(origin: Origin) -> AsyncIterator[CacheBackend]:
    """A backend with the responses of /a, /b?c=d and /e from *origin*."""
    for path in ("/a", "/b", "/e"):
        origin.on(path, path_of)
    backend = CacheBackend()
    await store(backend, *(origin.url + path for path in ("/a", "/b?c=d", "/e")))
    yield backend
    await backend.close()


@pytest.mark.parametrize("as_url", [False, True])
async def test_a_new_url_of_a_known_origin_is_answered_as_on_the_whole_way(
    backend: CacheBackend, origin: Origin, as_url: bool
) -> None:
    url: Any = URL(origin.url + "/b?c=d") if as_url else origin.url + "/b?c=d"
    async with CachedSession(cache=backend) as session, CachedSession(cache=backend) as other:
        await teach(session, origin.url + "/a")
        quick = found(session, url)
        assert isinstance(quick, CachedResponse)
        async with other.get(url) as whole:
            assert await quick.read() == await whole.read() == b"/b?c=d"
            assert isinstance(whole, CachedResponse)
            for name in ("url", "real_url", "method", "status", "raw_headers", "request_info", "history", "key"):
                assert getattr(quick, name) == getattr(whole, name), name
            assert type(quick) is type(whole)
            assert quick.headers == whole.headers
            assert quick.cache_status == whole.cache_status
    assert origin.hits == 3


async def test_a_url_relative_to_the_session_is_known_too(backend: CacheBackend, origin: Origin) -> None:
    async with CachedSession(origin.url, cache=backend) as session:
        await teach(session, "/a")
        assert isinstance(found(session, "/e"), CachedResponse)


@pytest.mark.parametrize("path", ["/missing", "/e#fragment", "/e?" + "x" * 2000])
async def test_what_is_not_there_or_unusual_takes_the_whole_way(
    backend: CacheBackend, origin: Origin, path: str
) -> None:
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        assert found(session, origin.url + path) is None


@pytest.mark.parametrize("url", ["http://[", "", "mailto:somebody", "http://other.test/e"])
async def test_a_url_that_is_none_is_for_aiohttp_to_refuse(backend: CacheBackend, origin: Origin, url: str) -> None:
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        assert found(session, url) is None


async def test_credentials_in_a_url_are_another_principal(backend: CacheBackend, origin: Origin) -> None:
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        assert found(session, origin.url.replace("//", "//user:secret@") + "/e") is None


async def test_nothing_is_guessed_for_a_principal(backend: CacheBackend, origin: Origin) -> None:
    async with CachedSession(cache=backend, headers={"Authorization": "Bearer secret"}) as session:
        await teach(session, origin.url + "/a")
        assert found(session, origin.url + "/e") is None
        assert isinstance(found(session, origin.url + "/a"), CachedResponse), "which is known by itself"


async def test_a_new_default_header_makes_the_origin_unknown(backend: CacheBackend, origin: Origin) -> None:
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        session.headers["Authorization"] = "Bearer secret"
        assert found(session, origin.url + "/e") is None


class Signing(ClientRequest):
    """A request that adds its own credentials."""

    def update_headers(self, headers: Any) -> None:
        """Add a credential that depends on the path."""
        super().update_headers(headers)
        if self.url.path == "/e":
            self.headers = CIMultiDict(self.headers, Authorization="Bearer secret")


async def test_a_request_class_of_the_user_s_has_its_say(backend: CacheBackend, origin: Origin) -> None:
    async with CachedSession(cache=backend, request_class=Signing) as session:
        await teach(session, origin.url + "/a")
        assert found(session, origin.url + "/e") is None


async def test_headers_that_are_a_part_of_the_key_are_never_guessed(origin: Origin) -> None:
    backend = CacheBackend(include_headers=True)
    urls = [origin.on("/a", path_of), origin.on("/e", path_of)]
    await store(backend, *urls)
    async with CachedSession(cache=backend, headers={"X-Tenant": "other"}) as session:
        await teach(session, urls[0])
        assert found(session, urls[1]) is None


async def test_a_rule_for_the_url_counts(backend: CacheBackend, origin: Origin) -> None:
    backend.urls_expire_after = {"*/e": 0}
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        assert isinstance(found(session, origin.url + "/b?c=d"), CachedResponse)
        assert found(session, origin.url + "/e") is None


async def test_a_variant_takes_the_whole_way(origin: Origin) -> None:
    backend = CacheBackend()
    urls = [origin.on("/a", path_of), origin.on("/e", answer("text", headers={"Vary": "Accept"}))]
    await store(backend, *urls)
    async with CachedSession(cache=backend) as session:
        await teach(session, urls[0])
        assert found(session, urls[1]) is None


async def test_a_storage_that_has_to_be_asked_is_asked(origin: Origin) -> None:
    backend = CustomBackend()
    urls = [origin.on("/a", path_of), origin.on("/e", path_of)]
    await store(backend, *urls)
    async with CachedSession(cache=backend) as session:
        await teach(session, urls[0])
        known = found(session, urls[1])
        assert isinstance(known, KnownCall)
        lane = session._fast_lane
        response = await lane.look_up(session, known, {}, session._sender.asks_at_once)
        assert isinstance(response, CachedResponse)
        assert await response.text() == "/e"
        async with session.get(urls[1]) as again:
            assert again.from_cache
        async with session.get(origin.on("/new", path_of)) as miss:
            assert not miss.from_cache
            assert await miss.text() == "/new"
    assert origin.hits == 3


async def test_a_new_url_with_a_header_that_counts_is_not_answered_as_one_without(origin: Origin) -> None:
    backend = CacheBackend(include_headers=True)
    for path in ("/a", "/b"):
        origin.on(path, lambda request: answer(request.headers.get("X-Who", "nobody")))
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        for who in ("nobody", "one", "other", "one"):
            headers = {} if who == "nobody" else {"X-Who": who}
            async with session.get(origin.url + "/b", headers=headers) as response:
                assert await response.text() == who
    await backend.close()


async def test_a_new_url_is_looked_for_once_wherever_it_may_be(origin: Origin) -> None:
    backend = CustomBackend()
    for path in ("/a", "/b"):
        origin.on(path, path_of)
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        before = backend.responses.reads
        async with session.get(origin.url + "/b") as response:
            assert not response.from_cache
        assert backend.responses.reads == before + 1
    await backend.close()


async def test_a_part_is_not_taken_for_the_whole_that_was_there_before(origin: Origin) -> None:
    def script(request: Received) -> bytes:
        if "Range" in request.headers:
            fields = {"Content-Range": "bytes 0-1/4", "ETag": '"x"'}
            return answer("te", status=206, reason="Partial Content", headers=fields)
        return answer("text", headers={"ETag": '"x"'})

    backend, url = CacheBackend(cache_control=True), origin.on("/a", script)
    async with CachedSession(cache=backend) as session:
        await teach(session, url)
        assert isinstance(found(session, url), CachedResponse)
        await backend.clear()
        async with session.get(url, headers={"Range": "bytes=0-1"}) as part:
            assert (part.status, await part.read()) == (206, b"te")
        await backend.settle()
        assert [entry.status async for entry in backend.responses.values()] == [206]  # type: ignore[union-attr]  # ours
        async with session.get(url) as whole:
            assert (whole.status, await whole.read()) == (200, b"text")
    await backend.close()


async def test_a_new_url_is_looked_at_closely_once(
    backend: CacheBackend, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        for url in (origin.url + "/e", origin.url + "/a"):
            assert isinstance(found(session, url), CachedResponse)
        monkeypatch.setattr(session._fast_lane._questions, "plain", None)
        for url in (origin.url + "/e", origin.url + "/a"):
            assert isinstance(found(session, url), CachedResponse)


@pytest.mark.parametrize(
    ("options", "is_plain"),
    [
        ({"refresh": False, "only_if_cached": None, "tags": ()}, True),
        ({"expire_after": None, "stale_if_error": None, "principal": None}, True),
        ({"raise_for_status": True, "timeout": None, "allow_redirects": True}, True),
        ({"expire_after": 0}, False),
        ({"refresh": True}, False),
        ({"only_if_cached": True}, False),
        ({"stale_if_error": 0}, False),
        ({"principal": ""}, False),
        ({"tags": ["a"]}, False),
        ({"raise_for_status": print}, False),
        ({"headers": {}}, False),
    ],
    ids=str,
)
async def test_what_wishes_for_nothing_takes_the_fast_lane(
    backend: CacheBackend, origin: Origin, options: dict[str, Any], is_plain: bool
) -> None:
    async with CachedSession(cache=backend) as session:
        await teach(session, origin.url + "/a")
        assert isinstance(found(session, origin.url + "/a", **options), CachedResponse) is is_plain


async def test_a_session_that_asks_a_function_about_each_status_takes_the_whole_way(
    backend: CacheBackend, origin: Origin
) -> None:
    async def check(response: ClientResponse) -> None:
        checked.append(response.status)

    checked: list[int] = []
    async with CachedSession(cache=backend, raise_for_status=check) as session:
        await teach(session, origin.url + "/a")
        async with session.get(origin.url + "/a"):
            assert checked == [200] * 3
