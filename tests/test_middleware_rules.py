"""Caching by the user's rules alone: lifetimes, codes, methods, parameters, filters and redirects."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import ClientResponse, CookieJar, FormData, encode_basic_auth

from aiohttp_cache_di import CachedSession, UrlExpiration
from aiohttp_cache_di.backends import CacheBackend
from tests.clients import Client, Clients, is_hit
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend, CustomStorage

MOMENT_S = 0.05


def numbered(request: Received) -> bytes:
    """Answer with the number of the request, without any field that gives it a lifetime."""
    return answer(str(request.number), headers={"Cache-Control": None})


async def hits(client: Client, url: str, times: int = 3, **options: Any) -> list[bool]:
    """Which of some consecutive requests are hits."""
    return [(await client.fetch(url, **options))[0] for _ in range(times)]


class TestLifetimes:
    @pytest.mark.parametrize(
        "expire_after",
        [
            -1,
            None,
            60,
            60.5,
            timedelta(minutes=1),
            lambda: datetime.now() + timedelta(minutes=1),  # naive on purpose
            lambda: datetime.now(UTC) + timedelta(minutes=1),
            lambda: format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True),
        ],
        ids=["for ever", "none", "seconds", "float", "timedelta", "naive datetime", "aware datetime", "HTTP date"],
    )
    async def test_every_form_of_a_lifetime_is_understood(
        self, origin: Origin, clients: Clients, expire_after: Any
    ) -> None:
        value = expire_after() if callable(expire_after) else expire_after
        client, url = clients(expire_after=value), origin.on("/", numbered)
        assert await hits(client, url) == [False, True, True]

    @pytest.mark.parametrize("cache_control", [False, True])
    @pytest.mark.parametrize("said_by", ["backend", "pattern", "request"])
    async def test_a_point_in_time_is_when_the_response_expires(
        self, origin: Origin, clients: Clients, cache_control: bool, said_by: str
    ) -> None:
        if said_by == "request" and clients.way.plain:
            pytest.skip("a request of a plain session has no such argument")
        url = origin.on("/", answer("a", headers={"Cache-Control": None}))
        moment = datetime(2040, 2, 29, 23, 59, 59, 123456, UTC)
        client = clients(
            cache_control=cache_control,
            expire_after=moment if said_by == "backend" else 60,
            urls_expire_after={"127.0.0.1": moment} if said_by == "pattern" else None,
        )
        options: dict[str, Any] = {"expire_after": moment} if said_by == "request" else {}
        for hit in (False, True):
            async with client.session.get(url, **options) as response:
                assert await response.text() == "a"
            await client.backend.settle()
            assert is_hit(response) == hit
            assert getattr(response, "expires", None) == moment

    @pytest.mark.parametrize("expire_after", [0, lambda: datetime.now(UTC) - timedelta(minutes=1)])
    async def test_a_lifetime_that_is_over_stores_nothing(
        self, origin: Origin, clients: Clients, expire_after: Any
    ) -> None:
        value = expire_after() if callable(expire_after) else expire_after
        client, url = clients(expire_after=value), origin.on("/", numbered)
        assert await hits(client, url) == [False, False, False]

    @pytest.mark.parametrize("expire_after", [MOMENT_S, timedelta(seconds=MOMENT_S)])
    async def test_an_expired_response_is_fetched_again(
        self, origin: Origin, clients: Clients, expire_after: Any
    ) -> None:
        client, url = clients(expire_after=expire_after), origin.on("/", numbered)
        await hits(client, url)
        await asyncio.sleep(MOMENT_S)
        assert await client.fetch(url) == (False, str(origin.hits))

    async def test_what_the_origin_says_of_freshness_does_not_count(self, origin: Origin, clients: Clients) -> None:
        client = clients(expire_after=60)
        url = origin.on("/", answer("text", headers={"Cache-Control": "max-age=0, no-cache", "Expires": "0"}))
        assert await hits(client, url) == [False, True, True]

    async def test_no_store_of_the_origin_counts(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", answer("text", headers={"Cache-Control": "no-store"}))
        assert await hits(client, url) == [False, False, False]

    async def test_no_store_of_the_caller_counts(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", numbered)
        assert await hits(client, url, headers={"Cache-Control": "no-store"}) == [False, False, False]

    @pytest.mark.parametrize(("shared", "expected"), [(True, False), (False, True)])
    async def test_private_counts_in_a_shared_cache(
        self, origin: Origin, clients: Clients, shared: bool, expected: bool
    ) -> None:
        client, url = clients(shared=shared), origin.on("/", answer("text", headers={"Cache-Control": "private"}))
        assert await hits(client, url) == [False, expected, expected]

    async def test_the_first_pattern_that_matches_decides(self, origin: Origin, clients: Clients) -> None:
        client = clients(
            expire_after=60,
            urls_expire_after={"127.0.0.1:*/never/*": 0, "*/never/but": 60, "*/also": UrlExpiration(0), "*.org": 0},
        )
        for path, expected in {"/never/but": False, "/also": False, "/else": True}.items():
            assert await hits(client, origin.on(path, numbered)) == [False, expected, expected]

    async def test_patterns_may_be_changed(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", numbered)
        client.backend.urls_expire_after = {"*": 0}
        assert await hits(client, url) == [False, False, False]

    async def test_the_lifetime_may_be_changed(self, origin: Origin, clients: Clients) -> None:
        client = clients(expire_after=0)
        client.backend.expire_after = 60
        assert await hits(client, origin.on("/", numbered)) == [False, True, True]


class TestRequests:
    """Options of a single request."""

    @pytest.fixture(params=["memory", "asynchronous storage"])
    async def session(self, request: pytest.FixtureRequest) -> Any:
        backend = CacheBackend() if request.param == "memory" else CustomBackend()
        async with CachedSession(cache=backend) as session:
            yield session

    async def test_a_lifetime_of_its_own_comes_first(self, origin: Origin, session: CachedSession) -> None:
        session.cache.urls_expire_after = {"*": 0}
        client, url = Client(session, session.cache), origin.on("/", numbered)
        assert await hits(client, url, expire_after=60) == [False, True, True]

    async def test_a_lifetime_of_zero_neither_stores_nor_uses(self, origin: Origin, session: CachedSession) -> None:
        client, url = Client(session, session.cache), origin.on("/", numbered)
        assert await hits(client, url, expire_after=0) == [False, False, False]
        assert await client.fetch(url) == (False, "4")

    async def test_refresh_validates_and_keeps_what_is_confirmed(self, origin: Origin, session: CachedSession) -> None:
        def validated(request: Received) -> bytes:
            if request.headers.get("If-None-Match") == '"1"':
                return answer(status=304, headers={"ETag": '"1"', "Content-Length": None, "X-New": "yes"})
            return answer("text", headers={"ETag": '"1"'})

        client, url = Client(session, session.cache), origin.on("/", validated)
        await client.fetch(url)
        async with session.get(url, refresh=True) as response:
            assert (response.from_cache, await response.text(), response.headers["X-New"]) == (True, "text", "yes")
        assert origin.hits == 2
        assert await client.fetch(url) == (True, "text")
        assert origin.hits == 2

    async def test_refresh_without_a_validator_fetches(self, origin: Origin, session: CachedSession) -> None:
        client, url = Client(session, session.cache), origin.on("/", numbered)
        await client.fetch(url)
        assert await client.fetch(url, refresh=True) == (False, "2")
        assert await client.fetch(url) == (True, "2")

    async def test_only_if_cached_asks_nobody(self, origin: Origin, session: CachedSession) -> None:
        url = origin.on("/", numbered)
        async with session.get(url, only_if_cached=True) as response:
            assert response.status == 504
        assert origin.hits == 0
        await Client(session, session.cache).fetch(url)
        async with session.get(url, only_if_cached=True) as response:
            assert await response.text() == "1"

    async def test_a_stale_response_may_stand_in_for_an_error(self, origin: Origin) -> None:
        url = origin.on("/", lambda request: answer("up") if request.number == 1 else answer("down", status=503))
        async with CachedSession(expire_after=MOMENT_S, stale_if_error=60) as session:
            client = Client(session, session.cache)
            await client.fetch(url)
            await asyncio.sleep(MOMENT_S)
            async with session.get(url) as response:
                assert (response.status, await response.text()) == (200, "up")
                assert "stale" in response.cache_status
            async with session.get(url, stale_if_error=False) as response:
                assert response.status == 503


class TestCodesAndMethods:
    async def test_a_status_that_is_allowed_is_cached(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(allowed_codes=(404,)), origin.on("/", answer("gone", status=404))
        assert await hits(client, url) == [False, True, True]
        assert await hits(client, origin.on("/fine", answer("fine"))) == [False, False, False]

    @pytest.mark.parametrize(
        ("make", "other"),
        [
            (lambda: {"json": {"a": 1, "b": [2]}}, {"json": {"a": 1, "b": [3]}}),
            (lambda: {"data": {"a": "1"}}, {"data": {"a": "2"}}),
            (lambda: {"data": b"bytes"}, {"data": b"other"}),
            (lambda: {"data": "text"}, {"data": "other"}),
            (lambda: {"data": form("x")}, None),
            (lambda: {"data": io.BytesIO(b"stream")}, {"data": io.BytesIO(b"other")}),
        ],
        ids=["json", "form", "bytes", "text", "multipart", "stream"],
    )
    async def test_equal_bodies_hit_and_others_miss(
        self, origin: Origin, clients: Clients, make: Callable[[], dict[str, Any]], other: dict[str, Any] | None
    ) -> None:
        client, url = clients(allowed_methods=("GET", "POST")), origin.on("/", numbered)
        for expected in (False, True, True):
            assert await client.fetch(url, "POST", **make()) == (expected, "1")
        assert await client.fetch(url, "POST", **(other or {"data": form("y")})) == (False, "2")
        assert await client.fetch(url) == (False, "3")

    async def test_the_body_still_arrives_whole(self, origin: Origin, clients: Clients, tmp_path: Any) -> None:
        client, url = clients(allowed_methods=("POST",)), origin.on("/", numbered)
        file = tmp_path / "file"
        file.write_bytes(b"content")
        with file.open("rb") as opened:
            await client.fetch(url, "POST", data=opened)
        assert origin.received[0].body == b"content"
        with file.open("rb") as opened:
            assert await client.fetch(url, "POST", data=opened) == (True, "1")

    async def test_a_body_that_is_generated_is_not_cached_and_arrives(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(allowed_methods=("POST",)), origin.on("/", numbered)

        async def generate() -> Any:
            yield b"one"
            yield b"two"

        for _ in range(2):
            assert not (await client.fetch(url, "POST", data=generate()))[0]
        assert [request.body for request in origin.received] == [b"onetwo"] * 2

    async def test_a_compressed_upload_is_cached(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(allowed_methods=("POST",)), origin.on("/", numbered)
        for expected in (False, True):
            assert await client.fetch(url, "POST", data=b"x" * 100, compress="gzip") == (expected, "1")


class TestHeadersAndParameters:
    async def test_headers_do_not_count(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", numbered)
        await client.fetch(url, headers={"Accept-Language": "de"})
        assert await client.fetch(url, headers={"Accept-Language": "fr"}) == (True, "1")

    async def test_headers_count_where_that_is_asked_for(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(include_headers=True), origin.on("/", numbered)
        await client.fetch(url, headers={"Accept-Language": "de"})
        assert await client.fetch(url, headers={"Accept-Language": "fr"}) == (False, "2")
        assert await client.fetch(url, headers={"accept-language": "de"}) == (True, "1")

    async def test_headers_count_where_the_response_says_so(self, origin: Origin, clients: Clients) -> None:
        client = clients()
        url = origin.on("/", lambda request: answer(str(request.number), headers={"Vary": "Accept-Language"}))
        for language, number in {"de": "1", "fr": "2"}.items():
            for expected in (False, True, True):
                assert await client.fetch(url, headers={"Accept-Language": language}) == (expected, number)

    async def test_ignored_parameters_do_not_count_and_are_stored_nowhere(self, origin: Origin) -> None:
        backend = CustomBackend(ignored_params=["token", "X-Token"], allowed_methods=("GET", "POST"))
        url = origin.on("/", numbered)
        async with CachedSession(cache=backend) as session:
            client = Client(session, backend)
            asked: list[dict[str, Any]] = [
                {"params": {"a": "1", "token": "s3cret"}},
                {"params": {"a": "1", "token": "0ther"}, "headers": {"X-Token": "s3cret"}},
            ]
            assert [(await client.fetch(url, **options))[0] for options in asked] == [False, True]
            for data in ({"a": "1", "token": "s3cret"}, {"a": "1", "token": "0ther"}):
                await client.fetch(url, "POST", data=data)
                await client.fetch(url, "POST", json=data)
            await backend.settle()
            assert origin.hits == 3
            stored = b"".join(backend.responses.items.values()) + "".join(backend.responses.items).encode()
            assert b"s3cret" not in stored
            found = [one async for one in backend.get_urls()]
            assert found[0].startswith(f"{url}?a=1")


class TestCredentials:
    @pytest.mark.parametrize(
        "principals",
        [
            [{"headers": {"Authorization": f"Bearer {name}"}} for name in "ab"],
            [{"headers": {"Cookie": f"id={name}"}} for name in "ab"],
            [{"cookies": {"id": name}} for name in "ab"],
            [{"headers": {"X-Api-Key": name}} for name in "ab"],
            [{"headers": {"Authorization": encode_basic_auth(name, "p")}} for name in "ab"],
            [{"headers": {"Authorization": "Bearer a"}}, {}],
        ],
        ids=["authorization", "cookie header", "cookies", "api key", "basic", "one and none"],
    )
    async def test_principals_do_not_share(
        self, origin: Origin, clients: Clients, principals: list[dict[str, Any]]
    ) -> None:
        client, url = clients(session={"cookie_jar": CookieJar(unsafe=True)}), origin.on("/", numbered)
        for number, options in enumerate(principals, 1):
            for expected in (False, True, True):
                assert await client.fetch(url, **options) == (expected, str(number))

    async def test_credentials_in_the_url_are_credentials(self, origin: Origin, clients: Clients) -> None:
        client = clients()
        url = origin.on("/", numbered).replace("http://", "http://user:password@")
        for expected in (False, True, True):
            assert await client.fetch(url) == (expected, "1")
        assert await client.fetch(url.replace("user", "other")) == (False, "2")
        assert await client.fetch(origin.url + "/") == (False, "3")
        assert all("password" not in found for found in [found async for found in client.backend.get_urls()])

    async def test_a_cookie_of_the_jar_is_a_credential(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(session={"cookie_jar": CookieJar(unsafe=True)}), origin.on("/", numbered)
        await hits(client, url)
        client.session.cookie_jar.update_cookies({"id": "a"})
        assert await hits(client, url) == [False, True, True]

    async def test_cookies_of_the_jar_may_be_left_out_of_it(self, origin: Origin) -> None:
        url = origin.on("/", lambda request: answer(lines=(("Set-Cookie", f"rotating={request.number}"),)))
        jar = CookieJar(unsafe=True)
        async with CachedSession(partition_cookies="explicit", cookie_jar=jar) as session:
            assert await hits(Client(session, session.cache), url) == [False, True, True]

    async def test_set_cookie_is_neither_stored_nor_replayed(self, origin: Origin, clients: Clients) -> None:
        client = clients(session={"cookie_jar": CookieJar(unsafe=True)}, partition_cookies="explicit")
        url = origin.on("/", answer(lines=(("Set-Cookie", "id=secret"),)))
        async with client.session.get(url) as response:
            assert response.cookies["id"].value == "secret"
        client.session.cookie_jar.clear()
        async with client.session.get(url) as response:
            assert is_hit(response)
            assert not response.cookies
            assert "Set-Cookie" not in response.headers
        assert len(client.session.cookie_jar) == 0


class TestFilter:
    @pytest.mark.parametrize("asynchronous", [True, False])
    async def test_what_the_filter_refuses_is_not_stored(
        self, origin: Origin, clients: Clients, asynchronous: bool
    ) -> None:
        async def is_short_later(response: ClientResponse) -> bool:
            return len(await response.read()) < 5

        def is_short(response: ClientResponse) -> bool:
            return int(response.headers["Content-Length"]) < 5

        client = clients(filter_fn=is_short_later if asynchronous else is_short)
        for body, expected in {"four": True, "three": False}.items():
            url = origin.on(f"/{body}", answer(body))
            await client.fetch(url)
            await client.backend.settle()
            await asyncio.sleep(0)
            assert (await client.fetch(url))[0] is expected

    @pytest.mark.parametrize("asynchronous", [True, False])
    async def test_what_the_filter_refuses_now_is_not_used(
        self, origin: Origin, clients: Clients, asynchronous: bool
    ) -> None:
        client, url = clients(), origin.on("/", numbered)
        assert await hits(client, url) == [False, True, True]

        def refuse(response: ClientResponse) -> bool:
            return False

        async def refuse_later(response: ClientResponse) -> bool:
            return False

        client.backend.filter_fn = refuse_later if asynchronous else refuse
        assert await hits(client, url) == [False, False, False]

    async def test_a_filter_that_fails_costs_the_caching_and_not_the_answer(
        self, origin: Origin, clients: Clients, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(response: ClientResponse) -> bool:
            raise ZeroDivisionError

        client, url = clients(filter_fn=fail), origin.on("/", numbered)
        for number in ("1", "2"):
            assert await client.fetch(url) == (False, number)
            await client.backend.settle()
        assert "ZeroDivisionError" in caplog.text


class TestRedirects:
    @pytest.fixture
    def chain(self, origin: Origin) -> str:
        origin.on("/1", answer(status=301, headers={"Location": "/2"}))
        origin.on("/2", answer("moved", status=302, headers={"Location": "/3?a=b"}))
        origin.on("/3", numbered)
        return f"{origin.url}/1"

    async def test_a_chain_is_served_without_the_origin(self, origin: Origin, clients: Clients, chain: str) -> None:
        client = clients()
        for expected in (False, True, True):
            async with client.session.get(chain) as response:
                assert (is_hit(response), await response.text()) == (expected, "1")
                assert [is_hit(hop) for hop in response.history] == [expected] * 2
                assert response.url.path_qs == "/3?a=b"
                assert [hop.status for hop in response.history] == [301, 302]
        assert origin.hits == 3

    async def test_each_hop_may_be_entered(self, origin: Origin, clients: Clients, chain: str) -> None:
        client = clients()
        await client.fetch(chain)
        assert await client.fetch(f"{origin.url}/2") == (True, "1")
        assert await client.fetch(f"{origin.url}/3?a=b") == (True, "1")

    @pytest.mark.parametrize("store_cookies", [False, True])
    async def test_a_redirect_that_sets_a_cookie_is_stored_only_with_it(
        self, origin: Origin, clients: Clients, store_cookies: bool
    ) -> None:
        entry = origin.on("/login", answer(status=302, headers={"Location": "/home"}, lines=(("Set-Cookie", "a=1"),)))
        origin.on("/home", lambda request: answer(request.headers.get("Cookie", "nobody")))
        client = clients(store_cookies=store_cookies)
        for number in range(3):
            client.session.cookie_jar.clear()
            async with client.session.get(entry) as response:
                assert is_hit(response.history[0]) is (store_cookies and number > 0)
                assert response.history[0].cookies["a"].value == "1"

    async def test_a_redirect_whose_body_comes_late_is_stored_too(self, origin: Origin, clients: Clients) -> None:
        async def late(request: Received) -> Any:
            whole = answer("moved", status=301, headers={"Location": "/2"})
            yield whole[:-5]
            await asyncio.sleep(0)
            yield whole[-5:]

        client, url = clients(), origin.on("/", late)
        origin.on("/2", numbered)
        await client.fetch(url)
        await client.fetch(url)
        assert origin.hits == 2

    async def test_the_backend_knows_the_aliases(self, origin: Origin, clients: Clients, chain: str) -> None:
        client, last = clients(), f"{origin.url}/3?a=b"
        await client.fetch(chain)
        assert await client.backend.has_url(chain)
        assert await client.backend.has_url(last)
        assert not await client.backend.has_url(f"{origin.url}/3")
        found = {url async for url in client.backend.get_urls()}
        assert found == {chain, f"{origin.url}/2", last}
        response = await client.backend.get_response(client.backend.create_key("GET", chain))
        assert response is not None
        assert await response.text() == "1"

    @pytest.mark.parametrize("path", ["/1", "/2", "/3?a=b"])
    async def test_deleting_one_url_of_a_chain_deletes_its_response(
        self, origin: Origin, clients: Clients, chain: str, path: str
    ) -> None:
        client = clients()
        await client.fetch(chain)
        await client.backend.delete_url(origin.url + path)
        assert not await client.backend.has_url(origin.url + path)
        assert await client.fetch(chain) == (False, "2")


def form(value: str) -> FormData:
    """A multipart form, whose boundary is different each time."""
    made = FormData()
    made.add_field("name", value)
    made.add_field("file", b"content", filename="file.bin")
    return made


async def test_nothing_is_kept_in_clear_of_who_asked(origin: Origin) -> None:
    backend, url = CustomBackend(allowed_methods=("GET", "POST"), include_headers=True), origin.on("/", numbered)
    async with CachedSession(cache=backend) as session:
        headers = {"Authorization": "Bearer s3cret", "Cookie": "a=s3cret", "X-Api-Key": "s3cret"}
        await session.get(url, headers=headers)
        await session.post(url.replace("//", "//user:s3cret@"), json={"password": "s3cret"})
    storages: list[CustomStorage] = [backend.responses, backend.redirects]
    stored = b"".join(key.encode() + value for storage in storages for key, value in storage.items.items())
    assert stored
    assert b"s3cret" not in stored
