"""HTTP caching as seen on the wire, against an origin that follows a script, for each kind of client."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp import ClientConnectionError, CookieJar, ServerDisconnectedError
from multidict import MultiMapping
from yarl import URL

from aiohttp_cache_di.rfc9111.dates import format_http_date
from tests.clients import Client, Clients, is_hit
from tests.origin import CLOSE, Origin, Received, answer

STALE = {"Cache-Control": "max-age=60", "Age": "100"}
"""Stored, and stale at once: tests need not wait."""

DEFAULTS: dict[str, Any] = {"cache_control": True, "expire_after": None}


def date(offset_s: float = 0) -> str:
    return format_http_date(time.time() + offset_s)


def reply(
    fields: Mapping[str, str | None] | None = None,
    *lines: tuple[str, str],
    status: int = 200,
    body: bytes | str = "0123456789",
) -> bytes:
    bodiless = status in (204, 304)
    headers: dict[str, str | None] = {"Cache-Control": None, "Content-Type": None, "Date": date()}
    if bodiless:
        headers["Content-Length"] = None
    reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    return answer(
        "" if bodiless else body, status=status, reason=reason, headers={**headers, **(fields or {})}, lines=lines
    )


@dataclass
class Replies:
    """Sends answers in turn and repeats the last; CLOSE ends the connection."""

    waiting: Sequence[bytes]
    asked: list[Received] = field(default_factory=list[Received])

    def __call__(self, request: Received) -> bytes:
        self.asked.append(request)
        return self.waiting[min(len(self.asked), len(self.waiting)) - 1]


@dataclass(frozen=True)
class Got:
    status: int
    body: bytes
    headers: MultiMapping[str]
    hit: bool
    cache_status: str


class Wire:
    """A client of an origin that sends *replies*."""

    def __init__(self, client: Client, origin: Origin, *replies: bytes) -> None:
        self.client = client
        self.replies = Replies(replies)
        self.url = origin.on("/thing", self.replies)

    @property
    def asked(self) -> list[Received]:
        return self.replies.asked

    async def send(self, fields: Mapping[str, str] | None = None, method: str = "GET", **options: Any) -> Got:
        async with self.client.session.request(method, self.url, headers=fields, **options) as response:
            body = await response.read()
            status = str(getattr(response, "cache_status", ""))
            return Got(response.status, body, response.headers, is_hit(response), status)


@pytest.fixture
def wire(clients: Clients, origin: Origin) -> Any:
    def make(*replies: bytes, **options: Any) -> Wire:
        made: Client = clients(**{**DEFAULTS, **options})
        return Wire(made, origin, *replies)

    return make


class TestStoring:
    @pytest.mark.parametrize("status", [200, 203, 204, 299, 301, 400, 404, 410, 499, 500, 503, 599])
    async def test_any_status_with_explicit_freshness_is_reused(self, wire: Any, status: int) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}, status=status))
        assert [(await line.send(allow_redirects=False)).hit for _ in range(3)] == [False, True, True]

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"Cache-Control": "no-store, max-age=60"},
            {"Cache-Control": "max-age=0"},
            {"Cache-Control": "s-maxage=60"},
            {"Expires": "0"},
            {"Cache-Control": "max-age=60", "Vary": "*"},
            STALE,
        ],
    )
    async def test_what_is_not_fresh_is_not_reused(self, wire: Any, fields: dict[str, str]) -> None:
        line = wire(reply(fields))
        assert [(await line.send()).hit for _ in range(3)] == [False, False, False]

    async def test_only_what_may_be_stored_is_stored(self, wire: Any) -> None:
        fields = {"Cache-Control": 'max-age=60, no-cache="X-D"', "X-A": "1", "X-B": "1", "X-C": "1", "X-D": "1"}
        lines = [("Connection", "X-A, keep-alive"), ("Connection", "x-b"), ("Keep-Alive", "timeout=5")]
        lines += [("Proxy-Authenticate", "Basic"), ("Set-Cookie", "secret=1"), ("Trailer", "X-T")]
        line = wire(reply(fields, *lines))
        first = await line.send()
        assert {"X-A", "X-B", "X-D", "Set-Cookie"} <= set(first.headers)
        again = await line.send()
        assert again.hit
        assert set(again.headers) == {"Date", "Content-Length", "Cache-Control", "X-C", "Age", "Cache-Status"}
        await line.client.backend.settle()
        async for key in line.client.backend.responses.keys():
            entry = await line.client.backend.responses.read_entry(key)
            assert entry is not None
            names = {name.lower() for name, _ in entry.raw_headers}
            assert names == {b"date", b"content-length", b"cache-control", b"x-c"}

    async def test_a_missing_date_is_added(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "Date": None}))
        await line.send()
        assert (await line.send()).headers["Date"] in {date(), date(-1), date(-2)}

    async def test_age_is_the_one_that_came_and_stated_once(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=600", "Age": "100"}))
        await line.send()
        again = await line.send()
        assert again.headers.getall("Age") in (["100"], ["101"])
        assert again.headers["Cache-Status"].startswith("aiohttp-cache-di; hit; ttl=")
        assert again.cache_status == again.headers["Cache-Status"]

    async def test_what_caches_on_the_way_say_is_kept(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "Cache-Status": "cdn; hit"}))
        for _ in range(2):
            await line.send()
        again = await line.send()
        assert again.headers["Cache-Status"] == f"cdn; hit, {again.cache_status}"

    async def test_a_lifetime_is_added_to_what_says_nothing(self, wire: Any) -> None:
        line = wire(reply(), expire_after=60)
        assert [(await line.send()).hit for _ in range(2)] == [False, True]
        line = wire(reply({"Cache-Control": "max-age=0"}), expire_after=60)
        assert [(await line.send()).hit for _ in range(2)] == [False, False]

    async def test_a_request_that_another_one_spares_says_so(self, clients: Clients, origin: Origin) -> None:
        client = clients(**DEFAULTS)

        async def script(request: Received) -> bytes:
            await asyncio.sleep(0.02)
            return reply({"Cache-Control": "max-age=60"})

        url = origin.on("/thing", script)

        async def send() -> str:
            async with client.session.get(url) as response:
                await response.read()
                return str(getattr(response, "cache_status", ""))

        statuses = await asyncio.gather(send(), send())
        assert sorted(statuses) == [f"aiohttp-cache-di; fwd=uri-miss; {what}" for what in ("collapsed", "stored")]


class TestRequestDirectives:
    @pytest.mark.parametrize(
        "fields",
        [
            {"Cache-Control": "no-cache"},
            {"Cache-Control": "no-store"},
            {"Cache-Control": "max-age=0"},
            {"Cache-Control": "min-fresh=100"},
            {"Pragma": "no-cache"},
        ],
    )
    async def test_they_keep_a_fresh_response_from_being_used(self, wire: Any, fields: dict[str, str]) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}))
        await line.send()
        assert not (await line.send(fields)).hit
        assert (await line.send()).hit

    async def test_max_stale_lets_a_stale_one_be_used(self, wire: Any) -> None:
        line = wire(reply(STALE))
        await line.send()
        got = await line.send({"Cache-Control": "max-stale=100"})
        assert got.hit
        assert got.headers["Age"] in ("100", "101")
        assert got.cache_status.endswith("detail=max-stale")
        assert not (await line.send({"Cache-Control": "max-stale=10"})).hit

    async def test_only_if_cached_never_reaches_the_origin(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}))
        got = await line.send({"Cache-Control": "only-if-cached"})
        assert (got.status, line.asked) == (504, [])
        assert got.body.endswith(b"only be answered from the cache; nothing was stored for it.")
        await line.send()
        assert (await line.send({"Cache-Control": "only-if-cached"})).hit

    async def test_a_request_with_no_store_stores_nothing(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}))
        await line.send({"Cache-Control": "no-store"})
        assert not (await line.send()).hit


class TestVary:
    async def test_variants_live_side_by_side(self, clients: Clients, origin: Origin) -> None:
        client = clients(cache_control=True, expire_after=None)

        def script(request: Received) -> bytes:
            body = f"{request.headers.get('Foo')} {request.number}"
            return reply({"Cache-Control": "max-age=60", "Vary": "Foo"}, body=body)

        url = origin.on("/", script)
        for number, value in enumerate(["1", "2", "3"], 1):
            assert await client.fetch(url, headers={"Foo": value}) == (False, f"{value} {number}")
        for number, value in enumerate(["1", "2", "3"], 1):
            assert await client.fetch(url, headers={"Foo": value}) == (True, f"{value} {number}")
            assert await client.fetch(url, headers={"Foo": f" {value}"}) == (True, f"{value} {number}")
        assert await client.fetch(url) == (False, "None 4")

    async def test_variants_that_come_at_once_do_not_displace_each_other(
        self, clients: Clients, origin: Origin
    ) -> None:
        client = clients(cache_control=True, expire_after=None)
        both_asked = asyncio.Event()

        async def script(request: Received) -> bytes:
            if request.number == 3:
                both_asked.set()
            if request.number > 1:
                await both_asked.wait()
            return reply({"Cache-Control": "max-age=60", "Vary": "Foo"}, body=request.headers["Foo"])

        url = origin.on("/", script)
        await client.fetch(url, headers={"Foo": "1"})
        await asyncio.gather(*(client.fetch(url, headers={"Foo": value}) for value in ("2", "3")))
        assert origin.hits == 3
        for value in ("1", "2", "3"):
            assert await client.fetch(url, headers={"Foo": value}) == (True, value)

    async def test_a_304_selects_among_the_tags_of_all_variants(self, clients: Clients, origin: Origin) -> None:
        client = clients(cache_control=True, expire_after=None)

        def script(request: Received) -> bytes:
            value = request.headers["Foo"]
            if value == "3":
                return reply({"ETag": '"1"', "X-New": "1"}, status=304)
            return reply({"Cache-Control": "max-age=60", "Vary": "Foo", "ETag": f'"{value}"'}, body=value)

        url = origin.on("/", script)
        for value in ("1", "2"):
            await client.fetch(url, headers={"Foo": value})
        assert (await client.fetch(url, headers={"Foo": "3"}))[1] == "1"
        assert set(origin.received[-1].headers["If-None-Match"].split(", ")) == {'"1"', '"2"'}
        await client.backend.settle()
        for value, text in (("3", "1"), ("1", "1"), ("2", "2")):  # it is remembered for the request's fields, too
            assert await client.fetch(url, headers={"Foo": value}) == (True, text)
        assert origin.hits == 3


class TestValidation:
    async def test_a_304_freshens_headers_and_lifetime(self, wire: Any) -> None:
        first = reply({**STALE, "ETag": '"a"', "Last-Modified": date(-900), "X-A": "1", "Content-Type": "a/b"})
        fields = {"Cache-Control": "max-age=60", "ETag": '"a"', "X-A": "2", "Content-Type": "c/d"}
        line = wire(first, reply({**fields, "Content-Encoding": "gzip"}, status=304))
        await line.send()
        got = await line.send()
        assert line.asked[1].headers["If-None-Match"] == '"a"'
        assert "If-Modified-Since" in line.asked[1].headers
        assert (got.status, got.body, got.headers["X-A"], got.headers["Content-Type"]) == (
            200,
            b"0123456789",
            "2",
            "c/d",
        )
        assert (got.headers["Content-Length"], "Content-Encoding" in got.headers) == ("10", False)
        assert "fwd-status=304" in got.cache_status
        assert (await line.send()).hit
        assert len(line.asked) == 2

    async def test_the_connection_of_a_304_is_used_again(self, wire: Any, origin: Origin) -> None:
        line = wire(reply({"Cache-Control": "no-cache", "ETag": '"a"'}), reply({"ETag": '"a"'}, status=304))
        for _ in range(5):
            assert (await line.send()).status == 200
        assert len(line.asked) == 5
        assert origin.connections == 1

    async def test_an_unknown_304_is_asked_again_without_condition(self, wire: Any) -> None:
        line = wire(reply({**STALE, "ETag": '"a"'}), reply({"ETag": '"b"'}, status=304), reply(body="new"))
        await line.send()
        got = await line.send()
        assert (got.status, got.body) == (200, b"new")
        assert "If-None-Match" not in line.asked[2].headers

    async def test_a_head_request_freshens_a_stored_get(self, wire: Any) -> None:
        fields = {"ETag": '"a"', "Cache-Control": "max-age=60"}
        line = wire(reply({**STALE, "ETag": '"a"'}), reply({**fields, "X-New": "1"}, body=b"0123456789"))
        await line.send()
        line.replies.waiting = [
            line.replies.waiting[0],
            reply({**fields, "X-New": "1", "Content-Length": "10"}, body=""),
        ]
        await line.send(method="HEAD")
        got = await line.send()
        assert (got.hit, got.body, got.headers["X-New"]) == (True, b"0123456789", "1")

    async def test_a_head_request_is_answered_from_a_stored_get(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}))
        await line.send()
        got = await line.send(method="HEAD")
        assert (got.hit, got.body, got.headers["Content-Length"]) == (True, b"", "10")


class TestLanguages:
    async def test_a_stored_language_is_selected_by_its_weight(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "Vary": "Accept-Language", "Content-Language": "de"}))
        await line.send({"Accept-Language": "en, de"})
        for asked, is_stored in (("de, en", True), ("fr;q=0.5, de;q=1.0", True), ("fr, de;q=0.9", False)):
            assert (await line.send({"Accept-Language": asked})).hit is is_stored, asked


class TestOwnConditions:
    @pytest.mark.parametrize("listed", ['"a"', 'W/"a"', '"x", "a"', "*"])
    async def test_they_are_answered_with_304_from_a_fresh_response(self, wire: Any, listed: str) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "ETag": '"a"'}))
        await line.send()
        got = await line.send({"If-None-Match": listed})
        assert (got.status, got.body, got.hit, got.headers["ETag"]) == (304, b"", True, '"a"')

    async def test_a_304_has_the_validators_of_the_response_that_it_stands_for(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "ETag": '"a"', "Last-Modified": date(-900), "X-A": "1"}))
        stored = await line.send()
        got = await line.send({"If-None-Match": '"a"'})
        assert (got.status, got.hit) == (304, True)
        assert got.headers["Last-Modified"] == stored.headers["Last-Modified"]
        assert "X-A" not in got.headers

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_a_304_has_the_method_of_its_request(self, wire: Any, method: str) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "ETag": '"a"'}))
        await line.send()
        async with line.client.session.request(method, line.url, headers={"If-None-Match": '"a"'}) as got:
            assert (got.status, got.from_cache, got.method) == (304, True, method)

    async def test_dates_are_compared(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "Last-Modified": date(-900)}))
        await line.send()
        assert (await line.send({"If-Modified-Since": date(-500)})).status == 304
        assert (await line.send({"If-Modified-Since": date(-950)})).status == 200
        assert len(line.asked) == 1

    async def test_the_callers_own_304_is_handed_on(self, wire: Any) -> None:
        line = wire(reply({"ETag": '"a"'}, status=304))
        got = await line.send({"If-None-Match": '"a"'})
        assert (got.status, got.hit) == (304, False)
        assert line.asked[0].headers.getall("If-None-Match") == ['"a"']

    async def test_conditions_for_the_origin_reach_it(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "ETag": '"a"'}), reply(status=412))
        await line.send()
        assert (await line.send({"If-Match": '"b"'})).status == 412
        assert (await line.send()).hit


class TestRanges:
    @pytest.mark.parametrize(
        ("wanted", "status", "body", "described"),
        [
            ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
            ("bytes=-3", 206, b"789", "bytes 7-9/10"),
            ("bytes=99-", 416, b"", "bytes */10"),
        ],
    )
    async def test_they_are_answered_from_a_complete_response(
        self, wire: Any, wanted: str, status: int, body: bytes, described: str
    ) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}))
        await line.send()
        got = await line.send({"Range": wanted})
        assert (got.status, got.body, got.headers["Content-Range"]) == (status, body, described)
        assert (got.headers["Content-Length"], got.hit) == (str(len(body)), True)

    async def test_a_decoded_response_is_not_sliced(self, wire: Any) -> None:
        body = gzip.compress(b"0123456789")
        line = wire(reply({"Cache-Control": "max-age=60", "Content-Encoding": "gzip"}, body=body))
        assert (await line.send()).body == b"0123456789"
        assert not (await line.send({"Range": "bytes=0-4"})).hit

    async def test_parts_answer_what_they_hold_and_are_joined(self, wire: Any) -> None:
        fields = {"Cache-Control": "max-age=60", "ETag": '"a"'}
        line = wire(
            reply({**fields, "Content-Range": "bytes 0-4/10"}, status=206, body="01234"),
            reply({**fields, "Content-Range": "bytes 5-9/10"}, status=206, body="56789"),
        )
        await line.send({"Range": "bytes=0-4"})
        got = await line.send({"Range": "bytes=1-2"})
        assert (got.hit, got.status, got.body) == (True, 206, b"12")
        await line.send({"Range": "bytes=5-9"})
        whole = await line.send()
        assert (whole.hit, whole.status, whole.body) == (True, 200, b"0123456789")
        assert "Content-Range" not in whole.headers

    async def test_a_part_is_no_answer_to_a_plain_request(self, wire: Any) -> None:
        fields = {"Cache-Control": "max-age=60", "Content-Range": "bytes 0-4/10"}
        line = wire(reply(fields, status=206, body="01234"), reply({"Cache-Control": "max-age=60"}))
        await line.send({"Range": "bytes=0-4"})
        got = await line.send()
        assert (got.hit, got.status, got.body) == (False, 200, b"0123456789")


class TestStale:
    async def test_it_is_served_while_it_is_validated(self, wire: Any) -> None:
        first = reply({"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "100", "ETag": '"a"'})
        line = wire(first, reply({"ETag": '"a"', "Cache-Control": "max-age=60"}, status=304))
        await line.send()
        got = await line.send()
        assert got.hit
        assert got.cache_status.endswith("detail=stale-while-revalidate")
        async with asyncio.timeout(20):
            while got.cache_status.endswith("detail=stale-while-revalidate"):
                await asyncio.sleep(0.001)
                got = await line.send()
        assert got.cache_status in {f"aiohttp-cache-di; hit; ttl={ttl}" for ttl in (57, 58, 59, 60)}
        assert len(line.asked) == 2
        assert line.asked[1].headers["If-None-Match"] == '"a"'

    async def test_the_validation_asks_for_the_whole(self, wire: Any) -> None:
        first = reply({"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "100"})
        line = wire(first, reply({"Cache-Control": "max-age=60"}, body="abcdefghij"))
        await line.send()
        got = await line.send({"Range": "bytes=0-2", "If-None-Match": '"x"'})
        assert (got.status, got.body) == (206, b"012")
        async with asyncio.timeout(20):
            while got.body != b"abc":
                await asyncio.sleep(0.001)
                got = await line.send({"Range": "bytes=0-2"})
        assert len(line.asked) == 2
        assert not {"Range", "If-None-Match"} & set(line.asked[1].headers)

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_it_stands_in_for_an_error(self, wire: Any, status: int) -> None:
        stale = {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "100"}
        line = wire(reply(stale), reply(status=status, body="broken"))
        await line.send()
        got = await line.send()
        assert (got.status, got.body) == (200, b"0123456789")
        assert got.cache_status.endswith("detail=stale-if-error")

    async def test_without_leave_the_error_is_handed_on(self, wire: Any) -> None:
        line = wire(reply(STALE), reply(status=503))
        await line.send()
        assert (await line.send()).status == 503

    async def test_it_stands_in_for_an_origin_that_hangs_up(self, wire: Any) -> None:
        line = wire(reply(STALE), CLOSE)
        await line.send()
        got = await line.send()
        assert (got.status, got.body) == (200, b"0123456789")
        assert got.cache_status.endswith("detail=disconnected")

    async def test_it_does_not_stand_in_where_an_old_connection_was_closed(self, wire: Any) -> None:
        line = wire(reply(STALE), CLOSE, reply(body="new"))
        await line.send()
        got = await line.send()
        assert (got.hit, got.body) == (False, b"new")
        assert len(line.asked) == 3

    async def test_must_revalidate_forbids_that(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60, must-revalidate", "Age": "100"}), CLOSE)
        await line.send()
        with pytest.raises((ServerDisconnectedError, ClientConnectionError)):
            await line.send()


class TestInvalidation:
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FOO"])
    async def test_an_unsafe_request_makes_all_variants_outdated(self, wire: Any, method: str) -> None:
        line = wire(reply({"Cache-Control": "max-age=60", "Vary": "Foo"}))
        for value in ("1", "2"):
            await line.send({"Foo": value})
        await line.send(method=method)
        for value in ("1", "2"):
            assert not (await line.send({"Foo": value})).hit

    async def test_it_does_so_although_its_own_response_might_be_stored(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}), allowed_methods=("GET", "HEAD", "POST"))
        await line.send()
        await line.send(method="POST")
        assert not (await line.send()).hit

    async def test_it_does_so_for_the_cookies_that_count(self, clients: Clients, origin: Origin) -> None:
        jar = CookieJar(unsafe=True)
        client = clients(**DEFAULTS, partition_cookies="explicit", session={"cookie_jar": jar})
        jar.update_cookies({"visit": "1"}, URL(origin.url))
        url = origin.on("/thing", reply({"Cache-Control": "max-age=60"}))
        own = {"Cookie": "user=1"}
        assert [(await client.fetch(url, headers=own))[0] for _ in range(2)] == [False, True]
        await client.fetch(url, "POST", headers=own)
        assert not (await client.fetch(url, headers=own))[0]

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_what_was_asked_before_it_confirms_nothing(
        self, clients: Clients, origin: Origin, method: str
    ) -> None:
        client = clients(**DEFAULTS)
        asked, changed = asyncio.Event(), asyncio.Event()

        async def script(request: Received) -> bytes:
            if "If-None-Match" not in request.headers:
                return reply({**STALE, "ETag": '"a"'})
            asked.set()
            await changed.wait()
            return reply({"Cache-Control": "max-age=60", "ETag": '"a"'}, status=304)

        url = origin.on("/thing", script)
        await client.fetch(url)
        validation = asyncio.create_task(client.fetch(url, method))
        await asked.wait()
        await client.fetch(url, "POST")
        changed.set()
        await validation
        assert not (await client.fetch(url))[0]
        assert "If-None-Match" not in origin.received[-1].headers

    async def test_an_unsafe_request_that_fails_does_not(self, wire: Any) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}), reply(status=500))
        await line.send()
        await line.send(method="POST")
        assert (await line.send()).hit

    @pytest.mark.parametrize("name", ["Location", "Content-Location"])
    async def test_it_makes_the_named_resource_outdated(self, wire: Any, origin: Origin, name: str) -> None:
        line = wire(reply({"Cache-Control": "max-age=60"}))
        await line.send()
        url = origin.on("/other", reply({name: "/thing"}, status=201))
        await line.client.fetch(url, "POST")
        assert not (await line.send()).hit
