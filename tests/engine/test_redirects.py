"""Stored redirects: hits together with their target, but followed on the wire where a cookie or signature matters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientResponse, CookieJar, TCPConnector, TooManyRedirects
from yarl import URL

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from tests.clients import Clients, is_hit
from tests.origin import Origin, Received, answer, chunked

NOTHING_SAID = {"Cache-Control": None}


class Signatures:
    """An origin that redirects to URLs that are valid for one request."""

    def __init__(self, origin: Origin, *, status: int = 302, headers: dict[str, str | None] | None = None) -> None:
        self.given = 0
        self.used: set[str] = set()
        self.status = status
        self.headers = headers or NOTHING_SAID
        self.blob = answer("blob", headers={"Cache-Control": "no-store"})
        self.url = origin.on("/download", self.redirect)
        origin.on("/blob", self.serve)

    async def redirect(self, request: Received) -> bytes:
        self.given = number = self.given + 1
        await asyncio.sleep(0.02)
        return answer(status=self.status, headers={**self.headers, "Location": f"/blob?sig={number}"})

    async def serve(self, request: Received) -> bytes:
        if request.target in self.used:
            return answer("used up", status=403)
        self.used.add(request.target)
        await asyncio.sleep(0.02)
        return self.blob


UNKEPT: dict[str, tuple[bytes, dict[str, Any]]] = {
    "no-store": (answer("blob", headers={"Cache-Control": "no-store"}), {}),
    "too large": (answer("blob", headers=NOTHING_SAID), {"max_body_bytes": 3}),
    "too large, which only shows": (
        answer(headers={**NOTHING_SAID, "Content-Length": None, "Transfer-Encoding": "chunked"}) + chunked(b"blob"),
        {"max_body_bytes": 3},
    ),
    "of a status that is not cached": (answer("blob", status=203), {}),
    "of Vary: *": (answer("blob", headers={"Vary": "*"}), {}),
}


@pytest.mark.parametrize(("why", "status"), [*zip(UNKEPT, [301, 302, 303, 307, 308], strict=True)])
async def test_a_redirect_is_not_used_without_what_it_leads_to(
    origin: Origin, clients: Clients, why: str, status: int
) -> None:
    signatures = Signatures(origin, status=status)
    signatures.blob, options = UNKEPT[why]
    client = clients(expire_after=60, **options)
    for _ in range(3):
        assert await client.fetch(signatures.url) == (False, "blob")
    assert signatures.given == 3


@pytest.mark.parametrize("why", ["no-store", "too large"])
async def test_nor_by_a_lifetime_that_the_user_adds_to_the_standard(origin: Origin, clients: Clients, why: str) -> None:
    signatures = Signatures(origin, status=308)
    signatures.blob, more = UNKEPT[why]
    client = clients(cache_control=True, expire_after=60, **more)
    for _ in range(3):
        assert await client.fetch(signatures.url) == (False, "blob")
    assert signatures.given == 3
    signatures.blob, client.backend.max_body_bytes = answer("blob", headers=NOTHING_SAID), 100
    for expected in (False, True):
        assert await client.fetch(signatures.url) == (expected, "blob")
    assert signatures.given == 4


async def test_nor_by_one_that_a_request_has_added_or_that_is_guessed(origin: Origin) -> None:
    async with CachedSession(cache_control=True, heuristic_with_query=True) as session:
        signatures = Signatures(origin, status=301)
        for lifetime in (60, None, None):
            async with session.get(signatures.url, expire_after=lifetime) as response:
                assert await response.text() == "blob"
        signatures = Signatures(
            origin, status=301, headers={**NOTHING_SAID, "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
        )
        signatures.blob = answer("blob", headers={"Cache-Control": "no-store"})
        signatures.url = origin.on("/guessed", signatures.redirect)
        signatures.given = 10
        for _ in range(2):
            async with session.get(signatures.url) as response:
                assert await response.text() == "blob"


async def test_an_overridden_lifetime_lets_one_be_used_alone_as_long_as_the_origins(
    origin: Origin, clients: Clients
) -> None:
    rules = {"*": {"expire_after": 60, "override_origin": True}}
    for stated, given in (("max-age=60", 1), ("max-age=0", 2)):
        signatures = Signatures(origin, status=302, headers={"Cache-Control": stated})
        client = clients(cache_control=True, urls_expire_after=rules)
        for _ in range(2):
            await client.fetch(signatures.url)
        assert signatures.given == given


async def test_nor_where_the_filter_refuses_that(origin: Origin, clients: Clients) -> None:
    def is_redirect(response: ClientResponse) -> bool:
        return response.status == 302

    signatures = Signatures(origin)
    signatures.blob = answer("blob")
    client = clients(expire_after=60, filter_fn=is_redirect)
    for _ in range(2):
        assert await client.fetch(signatures.url) == (False, "blob")
        await client.backend.settle()


async def test_nor_where_that_has_ended_or_was_deleted(origin: Origin, clients: Clients) -> None:
    signatures = Signatures(origin)
    signatures.blob = answer("blob")
    client = clients(urls_expire_after={"*/blob*": 0.05, "*": 60})
    assert await client.fetch(signatures.url) == (False, "blob")
    await asyncio.sleep(0.06)
    assert await client.fetch(signatures.url) == (False, "blob")
    client.backend.urls_expire_after = None
    await client.backend.responses.clear()
    await client.backend.redirects.clear()
    assert await client.fetch(signatures.url) == (False, "blob")
    assert await client.fetch(signatures.url) == (True, "blob")
    await client.backend.responses.delete(client.backend.create_key("GET", f"{origin.url}/blob?sig=3"))
    assert await client.fetch(signatures.url) == (False, "blob")


@pytest.mark.parametrize(
    "headers", [NOTHING_SAID, {"Cache-Control": "no-cache"}, {"Cache-Control": "max-age=0"}], ids=str
)
async def test_with_it_one_is_used_by_the_rules(
    origin: Origin, clients: Clients, headers: dict[str, str | None]
) -> None:
    signatures, client = Signatures(origin, headers=headers), clients(expire_after=60)
    signatures.blob = answer("blob", headers=headers)
    assert await client.fetch(signatures.url) == (False, "blob")
    assert await client.fetch(signatures.url) == (True, "blob")
    assert origin.hits == 2


async def test_no_cache_is_not_used_without_it(origin: Origin, clients: Clients) -> None:
    signatures, client = Signatures(origin, headers={"Cache-Control": "no-cache, max-age=60"}), clients(expire_after=60)
    assert await client.fetch(signatures.url) == (False, "blob")
    assert await client.fetch(signatures.url) == (False, "blob")


async def test_one_that_is_fresh_by_the_origins_word_is_used_without(origin: Origin, clients: Clients) -> None:
    signatures, client = Signatures(origin, headers={"Cache-Control": "max-age=60"}), clients(expire_after=60)
    assert await client.fetch(signatures.url) == (False, "blob")
    assert await client.fetch(signatures.url) == (False, "used up")
    assert signatures.given == 1


async def test_of_a_chain_each_is_used_only_with_its_end(origin: Origin, clients: Clients) -> None:
    signatures, client = Signatures(origin), clients(expire_after=60)
    first = origin.on("/first", answer(status=301, headers={**NOTHING_SAID, "Location": "/second"}))
    origin.on("/second", answer(status=307, headers={**NOTHING_SAID, "Location": "/download"}))
    for _ in range(2):
        assert await client.fetch(first) == (False, "blob")
    assert (origin.hits_of("/first"), origin.hits_of("/second")) == (2, 2)
    signatures.blob = answer("blob")
    assert await client.fetch(first) == (False, "blob")
    assert await client.fetch(first) == (True, "blob")
    assert origin.hits_of("/first") == 3


async def test_one_that_leads_to_itself_leads_nowhere(origin: Origin, clients: Clients) -> None:
    def script(request: Received) -> bytes:
        if request.number % 2:
            return answer(status=302, headers={**NOTHING_SAID, "Location": "/"})
        return answer("there", headers={"Cache-Control": "no-store"})

    client, url = clients(expire_after=60), origin.on("/", script)
    for _ in range(2):
        assert await asyncio.wait_for(client.fetch(url), 20) == (False, "there")


async def test_one_is_used_whatever_it_leads_to_by_who_does_not_follow(origin: Origin) -> None:
    signatures = Signatures(origin)
    async with CachedSession(expire_after=60) as session:
        for expected in (False, True):
            async with session.get(signatures.url, allow_redirects=False) as response:
                assert (is_hit(response), response.status) == (expected, 302)
        async with session.get(signatures.url) as response:
            assert await response.text() == "blob"
        assert signatures.given == 2


@pytest.mark.parametrize("is_kept", [True, False])
async def test_equal_requests_at_the_same_time_share_it_only_with_its_end(
    origin: Origin, clients: Clients, is_kept: bool
) -> None:
    signatures, client = Signatures(origin), clients(expire_after=60, session={"connector": TCPConnector(limit=0)})
    if is_kept:
        signatures.blob = answer("blob")
    found = await asyncio.gather(*(client.fetch(signatures.url) for _ in range(20)))
    assert {text for _, text in found} == {"blob"}
    assert signatures.given == (1 if is_kept else 20)
    assert origin.hits_of("/blob") == (1 if is_kept else 20)


async def test_only_if_cached_has_both_or_nothing(origin: Origin) -> None:
    signatures = Signatures(origin)
    async with CachedSession(expire_after=60) as session:
        async with session.get(signatures.url):
            pass
        async with session.get(signatures.url, only_if_cached=True) as response:
            assert response.status == 504


class TestCookies:
    @pytest.mark.parametrize(
        "options", [{"cache_control": True}, {"expire_after": 60}, {"allowed_codes": (200, 302)}], ids=str
    )
    async def test_a_redirect_that_sets_what_its_target_asks_for_is_gone_through(
        self, origin: Origin, clients: Clients, options: dict[str, Any]
    ) -> None:
        def page(request: Received) -> bytes:
            if "seen=1" in request.headers.get("Cookie", ""):
                return answer("page", headers={"Cache-Control": "no-store"})
            return answer(
                status=302, headers={"Location": "/", "Cache-Control": "max-age=60"}, lines=(("Set-Cookie", "seen=1"),)
            )

        url, first = origin.on("/", page), clients(session={"cookie_jar": CookieJar(unsafe=True)}, **options)
        assert (await first.fetch(url))[1] == "page"
        second = clients(backend=first.backend, session={"cookie_jar": CookieJar(unsafe=True)})
        assert (await second.fetch(url))[1] == "page"

    @pytest.mark.parametrize("options", [{"cache_control": True}, {"expire_after": 60}], ids=str)
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_logout_takes_the_cookie_out_of_the_jar_each_time(
        self, origin: Origin, status: int, options: dict[str, Any]
    ) -> None:
        gone = ("Set-Cookie", "session=; Max-Age=0; Path=/")
        url = origin.on("/logout", answer(status=status, headers={"Location": "/home"}, lines=(gone,)))
        origin.on("/home", answer("home"))
        backend = CacheBackend(partition_cookies="explicit", **options)
        async with CachedSession(cache=backend, cookie_jar=CookieJar(unsafe=True)) as session:
            for _ in range(3):
                session.cookie_jar.update_cookies({"session": "mine"}, URL(origin.url))
                assert session.cookie_jar.filter_cookies(URL(url))
                async with session.get(url) as response:
                    assert await response.text() == "home"
                assert not session.cookie_jar.filter_cookies(URL(url))
                assert "detail=set-cookie" in getattr(response.history[0], "cache_status", "")
        assert origin.hits_of("/logout") == 3

    async def test_unless_it_is_stored_with_its_cookie(self, origin: Origin, clients: Clients) -> None:
        client = clients(cache_control=True, store_cookies=True)
        url = origin.on("/", answer(status=302, headers={"Location": "/home"}, lines=(("Set-Cookie", "a=1"),)))
        origin.on("/home", answer("home"))
        for expected in (False, True):
            client.session.cookie_jar.clear()
            async with client.session.get(url) as response:
                assert is_hit(response.history[0]) is expected
                assert response.history[0].cookies["a"].value == "1"


class TestACircle:
    """Two URLs that have exchanged their roles: a stored redirect leads to one that leads back."""

    @pytest.mark.parametrize("lifetime", [None, "max-age=60"])
    async def test_a_stored_redirect_is_not_followed_twice_by_one_call(
        self, origin: Origin, lifetime: str | None
    ) -> None:
        old, new = (
            origin.on("/old", moved("/new")),
            origin.on("/new", answer("new", headers={"Cache-Control": "no-store"})),
        )
        async with CachedSession(cache_control=True) as session:
            async with session.get(old) as response:
                assert await response.text() == "new"
            origin.on("/old", answer("old"))
            origin.on("/new", moved("/old", **{"Cache-Control": lifetime}))
            async with session.get(old) as response:
                assert await response.text() == "old"
                assert [hop.url.path for hop in response.history] == ["/old", "/new"]
            async with session.get(new) as response:
                assert await response.text() == "old"
                assert is_hit(response)

    async def test_a_circle_of_the_origins_ends_as_without_a_cache(self, origin: Origin) -> None:
        origin.on("/a", moved("/b"))
        url = origin.on("/b", moved("/a"))
        async with CachedSession(cache_control=True) as session:
            for _ in range(2):
                with pytest.raises(TooManyRedirects):
                    await session.get(url)


def moved(to: str, **headers: str | None) -> bytes:
    return answer(status=301, headers={"Location": to, **headers})
