"""Caching by the standard, from request to response: freshness, validation, ranges and invalidation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession
from tests.clients import Clients, is_hit
from tests.origin import Origin, Received, answer


def numbered(cache_control: str | None, **headers: str) -> Any:
    """A script that answers with the number of the request."""

    def script(request: Received) -> bytes:
        return answer(str(request.number), headers={"Cache-Control": cache_control, **headers})

    return script


def validated(cache_control: str = "max-age=0", tag: str = '"1"') -> Any:
    """A script whose response has a validator, and is confirmed by a 304."""

    def script(request: Received) -> bytes:
        if request.headers.get("If-None-Match") == tag:
            return answer(status=304, headers={"ETag": tag, "Cache-Control": cache_control, "Content-Length": None})
        return answer("text", headers={"ETag": tag, "Cache-Control": cache_control})

    return script


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"cache_control": "max-age=60"}, True),
        ({"cache_control": "max-age=0"}, False),
        ({"cache_control": "no-store"}, False),
        ({"cache_control": "no-cache"}, False),
        ({"cache_control": "private, max-age=60"}, True),
        ({"cache_control": "max-age=60", "Vary": "*"}, False),
        ({"cache_control": None, "Expires": "Thu, 01 Jan 2099 00:00:00 GMT"}, True),
        ({"cache_control": None, "Expires": "0"}, False),
        ({"cache_control": None}, False),
    ],
    ids=str,
)
async def test_the_origin_decides_what_is_fresh(
    origin: Origin, clients: Clients, headers: dict[str, Any], expected: bool
) -> None:
    client = clients(cache_control=True, expire_after=None)
    url = origin.on("/", numbered(**headers))
    assert [(await client.fetch(url))[0] for _ in range(3)] == [False, expected, expected]


async def test_a_lifetime_of_the_user_is_for_what_says_nothing_itself(origin: Origin, clients: Clients) -> None:
    client = clients(cache_control=True, expire_after=60)
    for path, said, expected in (("/a", None, True), ("/b", "max-age=0", False)):
        url = origin.on(path, numbered(said))
        assert [(await client.fetch(url))[0] for _ in range(2)] == [False, expected]


async def test_a_hit_states_its_age_and_how_it_was_found(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", numbered("max-age=60"))
    await client.fetch(url)
    for _ in range(2):
        async with client.session.get(url) as response:
            age = response.headers["Age"]
            assert 0 <= int(age) < 60
            assert response.headers["Cache-Status"].startswith("aiohttp-cache-di; hit; ttl=")
            assert (b"Age", age.encode()) in response.raw_headers


async def test_a_stale_response_is_validated_and_freshened(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", validated())
    assert [await client.fetch(url) for _ in range(3)] == [(False, "text"), (True, "text"), (True, "text")]
    assert [request.headers.get("If-None-Match") for request in origin.received] == [None, '"1"', '"1"']
    assert client.backend.stats.revalidated == 2


async def test_a_changed_response_takes_the_place_of_the_old_one(origin: Origin, clients: Clients) -> None:
    client = clients(cache_control=True)
    url = origin.on("/", validated())
    await client.fetch(url)
    origin.on("/", lambda request: answer("new", headers={"ETag": '"2"'}))
    assert [await client.fetch(url) for _ in range(2)] == [(False, "new"), (True, "new")]


async def test_the_caller_s_own_headers_are_not_changed_by_a_validation(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", validated())
    headers = {"X-Own": "1"}
    for _ in range(2):
        async with client.session.get(url, headers=headers) as response:
            assert "If-None-Match" not in response.request_info.headers
    assert headers == {"X-Own": "1"}


async def test_cookies_that_come_with_a_validation_reach_the_caller(origin: Origin) -> None:
    def script(request: Received) -> bytes:
        if "If-None-Match" in request.headers:
            return answer(status=304, headers={"ETag": '"1"', "Content-Length": None, "Set-Cookie": "a=new"})
        return answer("text", headers={"ETag": '"1"', "Cache-Control": "max-age=0"})

    url = origin.on("/", script)
    async with CachedSession(cache_control=True) as session:
        await session.get(url)
        async with session.get(url) as response:
            assert response.from_cache
            assert response.cookies["a"].value == "new"


async def test_a_caller_may_ask_for_validation(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", validated("max-age=60"))
    await client.fetch(url)
    assert await client.fetch(url, headers={"Cache-Control": "no-cache"}) == (True, "text")
    assert origin.hits == 2


async def test_a_caller_may_ask_for_what_is_cached_or_nothing(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", numbered("max-age=60"))
    async with client.session.get(url, headers={"Cache-Control": "only-if-cached"}) as response:
        assert response.status == 504
    assert origin.hits == 0


async def test_the_caller_s_own_condition_is_answered(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", validated("max-age=60"))
    await client.fetch(url)
    for _ in range(2):
        async with client.session.get(url, headers={"If-None-Match": '"1"'}) as response:
            assert (response.status, response.headers["ETag"], await response.read()) == (304, '"1"', b"")
    assert origin.hits == 1


async def test_a_part_of_what_is_stored_is_served(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", answer("0123456789", headers={"ETag": '"1"'}))
    await client.fetch(url)
    for _ in range(2):
        async with client.session.get(url, headers={"Range": "bytes=2-4"}) as response:
            assert (response.status, await response.text()) == (206, "234")
            assert response.headers["Content-Range"] == "bytes 2-4/10"
            assert response.content_length == 3
    async with client.session.get(url, headers={"Range": "bytes=20-"}) as response:
        assert response.status == 416
    assert await client.fetch(url) == (True, "0123456789")
    assert origin.hits == 1


async def test_head_is_answered_from_get(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", numbered("max-age=60"))
    await client.fetch(url)
    for _ in range(2):
        async with client.session.head(url) as response:
            assert is_hit(response)
            assert (response.method, response.headers["Content-Length"], await response.read()) == ("HEAD", "1", b"")
    assert origin.hits == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_change_makes_what_is_stored_outdated(origin: Origin, clients: Clients, method: str) -> None:
    client, url = clients(cache_control=True), origin.on("/", numbered("max-age=60"))
    assert [await client.fetch(url) for _ in range(3)] == [(False, "1"), (True, "1"), (True, "1")]
    await client.fetch(url, method)
    assert await client.fetch(url) == (False, "3")


async def test_a_change_that_failed_changes_nothing(origin: Origin, clients: Clients) -> None:
    client = clients(cache_control=True)
    url = origin.on("/", lambda request: answer(status=500) if request.method == "PUT" else answer("text"))
    await client.fetch(url)
    await client.fetch(url, "PUT")
    assert (await client.fetch(url))[0]


async def test_a_stale_response_is_served_while_it_is_validated(origin: Origin, clients: Clients) -> None:
    client = clients(cache_control=True)
    url = origin.on("/", numbered("max-age=0, stale-while-revalidate=60"))
    assert await client.fetch(url) == (False, "1")
    assert await client.fetch(url) == (True, "1")
    for _ in range(200):
        if origin.hits == 2 and (await client.fetch(url))[1] != "1":
            break
        await asyncio.sleep(0.005)
    assert origin.hits >= 2


async def test_a_validation_in_the_background_ends_with_its_session(origin: Origin) -> None:
    async def script(request: Received) -> AsyncIterator[bytes]:
        if request.number > 1:
            await asyncio.sleep(10)
        yield answer("text", headers={"Cache-Control": "max-age=0, stale-while-revalidate=60"})

    url = origin.on("/", script)
    async with CachedSession(cache_control=True) as session:
        await (await session.get(url)).read()
        async with session.get(url) as response:
            assert response.from_cache
        async with asyncio.timeout(20):
            while origin.hits < 2:  # noqa: ASYNC110  # there is no event for the second request
                await asyncio.sleep(0.001)
    assert origin.hits == 2


@pytest.mark.parametrize("how", ["status", "reset"])
async def test_a_stale_response_stands_in_for_an_error(origin: Origin, clients: Clients, how: str) -> None:
    client = clients(cache_control=True)
    failing = answer(status=503)

    async def script(request: Received) -> AsyncIterator[bytes]:
        if request.number == 1:
            yield answer("text", headers={"Cache-Control": "max-age=0, stale-if-error=60"})
        elif how == "status":
            yield failing
        else:
            yield b"\0cut"

    url = origin.on("/", script)
    assert [await client.fetch(url) for _ in range(3)] == [(False, "text"), (True, "text"), (True, "text")]


async def test_variants_live_side_by_side(origin: Origin, clients: Clients) -> None:
    client = clients(cache_control=True)
    url = origin.on(
        "/", lambda request: answer(request.headers.get("Accept-Language", "none"), headers={"Vary": "Accept-Language"})
    )
    for _ in range(2):
        for language in ("de", "fr", "en"):
            assert (await client.fetch(url, headers={"Accept-Language": language}))[1] == language
        assert (await client.fetch(url))[1] == "none"
    assert origin.hits == 4


class TestHostileOrigins:
    """The caller sees the same as with plain aiohttp, and the cache is not poisoned."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Cache-Control": "max-age=99999999999999999999999999"},
            {"Cache-Control": "max-age=-1"},
            {"Cache-Control": 'max-age="60", =, ,;;, "'},
            {"Cache-Control": "\udce9\udcff"},
            {"Date": "never", "Expires": "\udce9", "Last-Modified": "yesterday", "Age": "-5, 7"},
            {"Age": "9" * 400},
            {"Vary": ",,,"},
            {"Vary": "a" * 5000},
            {"ETag": "not a tag"},
            {"Link": "<<<>>>;;;="},
            {"Content-Type": ";;;charset=\udce9"},
            {"Content-Location": "http://[::1"},
            {"Location": "http://[::1"},
        ],
        ids=ascii,
    )
    @pytest.mark.parametrize("standard", [True, False])
    async def test_fields_that_make_no_sense(
        self, origin: Origin, clients: Clients, headers: dict[str, str | None], standard: bool
    ) -> None:
        client, url = clients(cache_control=standard), origin.on("/", answer("text", headers=headers))
        for _ in range(3):
            async with client.session.get(url) as response:
                assert await response.read() == b"text"
                for name, value in headers.items():
                    if name != "Age" or not is_hit(response):  # a hit has its own age
                        assert response.headers[name] == value

    @pytest.mark.parametrize("location", ["http://[::1", "http://:80/", "\udce9", "//", "mailto:a@example.org"])
    @pytest.mark.parametrize("field", ["Location", "Content-Location"])
    async def test_a_change_that_points_nowhere(
        self, origin: Origin, clients: Clients, location: str, field: str
    ) -> None:
        client, url = clients(cache_control=True), origin.on("/", answer("text", headers={field: location}))
        await client.fetch(url)
        assert await client.fetch(url, "PUT") == (False, "text")
        assert await client.fetch(url) == (False, "text")

    @pytest.mark.parametrize("standard", [True, False])
    async def test_a_reason_that_is_not_ascii(self, origin: Origin, clients: Clients, standard: bool) -> None:
        client, url = clients(cache_control=standard), origin.on("/", answer("text", reason="Schön\udcff"))
        reasons: set[str | None] = set()
        for _ in range(3):
            async with client.session.get(url) as response:
                await response.read()
                reasons.add(response.reason)
        assert len(reasons) == 1
