"""The fake upstream: real responses for whatever URL is asked, and an account of what was asked."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import (
    ClientConnectionError,
    ClientPayloadError,
    ClientSession,
    ClientTimeout,
    ServerDisconnectedError,
    TCPConnector,
    TraceConfig,
    UnixConnector,
)
from multidict import CIMultiDict

from aiohttp_cache_di import CacheBackend, CachedSession, CacheMiddleware
from aiohttp_cache_di.testing import AskedFor, FakeUpstream, Reply, UnexpectedRequestError, reply
from tests.origin import Origin, answer

API = "https://api.example.com"
MINUTE = {"Cache-Control": "max-age=60"}


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as made:
        yield made


@pytest.fixture
async def session() -> AsyncIterator[CachedSession]:
    async with CachedSession(cache_control=True) as made:
        yield made


async def test_url_and_host_stay_as_the_app_asked_for_them(upstream: FakeUpstream, session: CachedSession) -> None:
    route = upstream.get(f"{API}/rates", json={"EUR": 1.5}, headers=MINUTE)

    async with session.get(f"{API}/rates?base=%C3%A9#part") as response:
        assert await response.json() == {"EUR": 1.5}
        assert str(response.url) == f"{API}/rates?base=%C3%A9"
        assert response.request_info.url == response.url
        assert response.request_info.headers["Host"] == "api.example.com"
        assert not [name for name in response.request_info.headers if "ticket" in name.lower()]
    assert str(route.calls[0].url) == f"{API}/rates?base=%C3%A9"
    assert route.calls[0].headers["Host"] == "api.example.com"


async def test_a_response_is_stored_and_counted_once(upstream: FakeUpstream, session: CachedSession) -> None:
    route = upstream.get(f"{API}/rates", text="1", headers=MINUTE)

    found: list[bool] = []
    for _ in range(3):
        async with session.get(f"{API}/rates") as response:
            await response.read()
            found.append(response.from_cache)

    assert found == [False, True, True]
    assert route.count == upstream.count(f"{API}/rates") == upstream.count() == 1


async def test_a_session_with_the_middleware_is_led_there_as_well(upstream: FakeUpstream) -> None:
    upstream.get(f"{API}/rates", text="1", headers=MINUTE)
    async with ClientSession(middlewares=(CacheMiddleware(),)) as plain:
        for _ in range(2):
            async with plain.get(f"{API}/rates") as response:
                assert await response.text() == "1"

    assert upstream.count() == 1


async def test_what_passes_the_cache_by_is_led_there_as_well(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.add("*", "/things", text="done")
    async with session.disabled(), session.get(f"{API}/things") as response:
        assert await response.text() == "done"
    async with session.post(f"{API}/things", json={"a": 1}) as response:
        assert await response.text() == "done"

    assert [call.method for call in upstream.calls] == ["GET", "POST"]
    assert upstream.calls[1].json() == {"a": 1}


async def test_redirects_are_followed_and_cookies_kept(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.get(f"{API}/old", status=302, headers=[("Location", "/new"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    new = upstream.get(f"{API}/new", text="here")

    async with session.get(f"{API}/old") as response:
        assert (str(response.url), [one.status for one in response.history]) == (f"{API}/new", [302])
    assert new.calls[0].headers["Cookie"] == "a=1; b=2"


async def test_a_body_is_sent_in_the_coding_that_the_headers_name(
    upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get("/coded", json=[1], headers={"Content-Encoding": "gzip"})

    async with session.get(f"{API}/coded") as response:
        assert (await response.json(), response.headers["Content-Encoding"]) == ([1], "gzip")
    async with session.get(f"{API}/coded", auto_decompress=False) as response:
        assert gzip.decompress(await response.read()) == b"[1]"


async def test_the_head_is_what_was_given_and_nothing_of_the_server(
    upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get("/bare", status=299, reason="Fine", headers={"X-Own": "1"}, body=b"ab")

    async with session.get(f"{API}/bare") as response:
        assert (response.status, response.reason) == (299, "Fine")
        assert set(response.headers) == {"X-Own", "Content-Length", "Date"}


async def test_chunks_arrive_before_the_last_one_is_made(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.get("/stream", chunks=[b"a", b"b", b"c"])

    async with session.get(f"{API}/stream") as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert b"".join([piece async for piece in response.content.iter_any()]) == b"abc"


async def test_a_body_of_whatever_kind_is_seen_and_sent(upstream: FakeUpstream, session: CachedSession) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    route = upstream.post("/upload", lambda call: reply(text=call.text))
    async with session.post(f"{API}/upload", data=pieces()) as response:
        assert await response.text() == "one two"
    assert route.calls[0].body == b"one two"


async def test_answers_come_one_after_the_other_and_the_last_one_stays(
    upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get("/jobs", text="queued").then(text="running").then(lambda _: reply(text="done"))

    texts: list[str] = []
    for _ in range(4):
        async with session.get(f"{API}/jobs") as response:
            texts.append(await response.text())

    assert texts == ["queued", "running", "done", "done"]


async def test_a_route_that_is_added_again_is_replaced(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.get("/jobs", text="old")
    upstream.get("/jobs", text="new")

    async with session.get(f"{API}/jobs") as response:
        assert await response.text() == "new"


@pytest.mark.parametrize(
    ("route", "url"),
    [
        (f"{API}/a", f"{API}/a?b=1"),
        (f"{API}/a?x=1&y=2", f"{API}/a?y=2&x=1"),
        ("/a", "https://any.example/a"),
        ("/a/*", f"{API}/a/b/c"),
        ("https://*.example.com/a", f"{API}/a"),
        ("*", f"{API}/whatever"),
        ("http://[::1]/a*", "http://[::1]/ab"),
    ],
)
async def test_a_route_answers_what_its_url_covers(
    route: str, url: str, upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get(route, text="found")

    async with session.get(url) as response:
        assert await response.text() == "found"


@pytest.mark.parametrize(
    ("route", "url"),
    [
        (f"{API}/a", f"{API}/b"),
        (f"{API}/a?x=1", f"{API}/a?x=1&y=2"),
        (f"{API}/a?x=1", f"{API}/a"),
        ("https://other.example/a", f"{API}/a"),
        ("http://api.example.com/a", f"{API}/a"),
        ("/a.c", f"{API}/abc"),
    ],
)
async def test_a_request_that_no_route_covers_fails_and_names_the_nearest(
    route: str, url: str, upstream: FakeUpstream, session: CachedSession
) -> None:
    upstream.get(route, text="found")

    with pytest.raises(UnexpectedRequestError, match=r"the nearest is GET ") as caught:
        await session.get(url)

    assert url in str(caught.value)
    assert route in str(caught.value)
    assert [str(call) for call in upstream.unexpected] == [f"GET {url}"]


async def test_an_upstream_without_routes_says_so(upstream: FakeUpstream, session: CachedSession) -> None:
    with pytest.raises(UnexpectedRequestError, match="there are none"):
        await session.get(API)


async def test_other_methods_are_other_routes(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.get("/a", text="found")

    with pytest.raises(UnexpectedRequestError, match=f"POST {API}/a"):
        await session.post(f"{API}/a")


async def test_what_goes_to_this_machine_goes_through(
    upstream: FakeUpstream, session: CachedSession, origin: Origin
) -> None:
    url = origin.on("/own", answer("mine"))
    upstream.get("/faked", text="faked")

    async with session.get(url) as response:
        assert await response.text() == "mine"
    async with session.get(f"{origin.url}/faked") as response:
        assert await response.text() == "faked"


async def test_upstreams_that_fail_do_so_as_real_ones(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.get("/gone", fails="disconnects")
    upstream.get("/cut", text="half of it", fails="cuts-body")
    upstream.get("/refused", error=ClientConnectionError("refused"))
    upstream.get("/slow", text="late", delay_s=30)

    with pytest.raises(ServerDisconnectedError):
        await session.get(f"{API}/gone")
    async with session.get(f"{API}/cut") as response:
        with pytest.raises(ClientPayloadError):
            await response.read()
    with pytest.raises(ClientConnectionError, match="refused"):
        await session.get(f"{API}/refused")
    with pytest.raises(TimeoutError):
        await session.get(f"{API}/slow", timeout=ClientTimeout(total=0.05))


async def test_a_stale_response_stands_in_for_an_upstream_that_fails(upstream: FakeUpstream) -> None:
    upstream.get("/a", text="good", headers={"Cache-Control": "max-age=0, stale-if-error=60"}).then(fails="disconnects")
    async with CachedSession(cache_control=True) as session:
        for is_second in (False, True):
            async with session.get(f"{API}/a") as response:
                assert await response.text() == "good"
                assert response.from_cache is is_second


async def test_a_validation_is_answered_with_its_conditions(upstream: FakeUpstream, session: CachedSession) -> None:
    def answered(call: AskedFor) -> Reply:
        if call.headers.get("If-None-Match") == '"1"':
            return reply(status=304, headers={"ETag": '"1"'})
        return reply(text="whole", headers={"ETag": '"1"', "Cache-Control": "no-cache"})

    route = upstream.get("/a", answered)
    for _ in range(2):
        async with session.get(f"{API}/a") as response:
            assert await response.text() == "whole"

    assert route.count == 2
    assert session.cache.stats.revalidated == 1


async def test_requests_at_the_same_time_get_their_own_answers(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.get("/n/*", lambda call: reply(text=call.url.path, headers=MINUTE))

    async def ask(number: int) -> str:
        async with session.get(f"{API}/n/{number}") as response:
            return await response.text()

    assert await asyncio.gather(*map(ask, range(40))) == [f"/n/{number}" for number in range(40)]


async def test_head_and_statuses_without_a_body_have_none(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.add("HEAD", "/a", headers={"Content-Length": "1000"})
    upstream.add("DELETE", "/a", status=204)

    async with session.head(f"{API}/a") as response:
        assert (response.headers["Content-Length"], await response.read()) == ("1000", b"")
    async with session.delete(f"{API}/a") as response:
        assert (response.status, await response.read()) == (204, b"")


async def test_a_traced_session_sees_nothing_of_the_way_there(upstream: FakeUpstream) -> None:
    seen: list[CIMultiDict[str]] = []
    traces = TraceConfig()

    async def sent(_: ClientSession, __: object, params: object) -> None:
        seen.append(getattr(params, "headers"))  # noqa: B009  # of a type that is not exported

    traces.on_request_end.append(sent)
    upstream.get("/a", text="1")
    async with CachedSession(trace_configs=[traces]) as session, session.get(f"{API}/a") as response:
        await response.read()

    assert not [name for headers in seen for name in headers if "ticket" in name.lower()]


async def test_a_proxy_is_not_asked(upstream: FakeUpstream, session: CachedSession) -> None:
    upstream.get("/a", text="1")

    async with session.get("http://api.example.com/a", proxy="http://proxy.invalid:3128") as response:
        assert await response.text() == "1"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no UnixConnector there")
async def test_a_connector_that_leads_elsewhere_is_refused_in_words(upstream: FakeUpstream) -> None:
    upstream.get("/a", text="1")
    async with CachedSession(connector=UnixConnector("/nowhere")) as session:
        with pytest.raises(TypeError, match="UnixConnector, not a TCPConnector"):
            await session.get(f"{API}/a")


async def test_after_it_requests_go_where_they_went_before(session: CachedSession, origin: Origin) -> None:
    url = origin.on("/a", answer("origin"))
    async with FakeUpstream() as upstream:
        upstream.get(url, text="faked")
        async with session.get(url) as response:
            assert await response.text() == "faked"

    async with session.get(url, refresh=True) as response:
        assert await response.text() == "origin"


async def test_a_test_fails_even_if_the_app_swallows_the_error(upstream: FakeUpstream, session: CachedSession) -> None:
    try:
        await session.get(f"{API}/a")
    except Exception:
        assert len(upstream.unexpected) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jsn": 1}, "no option jsn"),
        ({"json": 1, "text": "a"}, "one body, not json and text"),
        ({"status": "200"}, "status='200': use a number"),
        ({"text": b"a"}, "text=b'a': use a text"),
        ({"body": "a"}, "body='a': use bytes"),
        ({"delay_s": "1s"}, "delay_s='1s': use seconds"),
        ({"error": ClientConnectionError}, "error=.*: use an exception that is made"),
    ],
)
def test_a_response_that_cannot_be_made_is_an_error_at_once(
    options: dict[str, object], words: str, upstream: FakeUpstream
) -> None:
    with pytest.raises(TypeError, match=words):
        upstream.get("/a", **options)  # type: ignore[arg-type]  # wrong on purpose


def test_a_failure_of_another_name_is_an_error_that_has_the_names(upstream: FakeUpstream) -> None:
    with pytest.raises(ValueError, match="fails='times-out': use 'disconnects' or 'cuts-body'"):
        upstream.get("/a", fails="times-out")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("url", ["api.example.com/rates", "https://"])
def test_a_route_that_is_no_url_is_an_error_at_once(upstream: FakeUpstream, url: str) -> None:
    with pytest.raises(ValueError, match="a route is a URL"):
        upstream.get(url)


async def test_one_connection_at_a_time_is_enough(upstream: FakeUpstream) -> None:
    upstream.get("/n/*", lambda call: reply(text=call.url.path))
    connector = TCPConnector(limit=1)
    async with CachedSession(cache=CacheBackend(), connector=connector) as session:

        async def ask(number: int) -> str:
            async with session.get(f"{API}/n/{number}") as response:
                return await response.text()

        assert len(set(await asyncio.gather(*map(ask, range(8))))) == 8


def test_text_is_as_it_was_sent() -> None:
    found = reply(json={"é": 1})

    assert json.loads(found.canned.chunks[0]) == {"é": 1}
    assert found.canned.headers == (("Content-Type", "application/json"),)


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
async def test_a_route_may_be_given_by_the_name_of_its_method(
    method: str, upstream: FakeUpstream, session: CachedSession
) -> None:
    route = getattr(upstream, method)(f"{API}/things", text="done")
    async with session.request(method, f"{API}/things") as response:
        assert await response.text() == "done"
    with pytest.raises(UnexpectedRequestError):
        await session.options(f"{API}/things")
    assert route.calls[0].method == method.upper()
