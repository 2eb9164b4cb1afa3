"""A hit is a real ClientResponse: it has all attributes of aiohttp's own response, with the same values."""

from __future__ import annotations

import asyncio
import copy
import math
import time
import warnings
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import (
    ClientConnectionError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    hdrs,
)
from yarl import URL

from aiohttp_cache_di import CachedResponse, CachedSession
from aiohttp_cache_di.engine.answering.answers import cached_class_for
from aiohttp_cache_di.engine.answering.describe import describe_miss
from aiohttp_cache_di.entries.build import entry_of
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.origin import Origin, answer

__all__ = ["entry"]


def entry(body: bytes = b"text", **fields: Any) -> StoredResponse:
    """A stored response, fresh for a minute."""
    now = time.time()
    values: dict[str, Any] = {
        "key": "key",
        "method": "GET",
        "url": "http://example.org/",
        "status": 200,
        "reason": b"OK",
        "raw_headers": ((b"Content-Type", b"text/plain; charset=utf-8"),),
        "requested_at": now,
        "received_at": now,
        "created_at": now,
        "fresh_until": now + 60,
        "body": body,
    }
    return StoredResponse(**{**values, **fields})


DATE = "Sat, 21 Nov 2026 08:00:00 GMT"

RICH = answer(
    b'{"a": "\xc3\xa4"}',
    reason="Fine, thanks",
    headers={
        "Content-Type": "application/json; charset=utf-8",
        "Content-Disposition": 'attachment; filename="f.json"',
        "ETag": '"1"',
        "Date": DATE,
    },
    lines=(
        ("Link", '</next>; rel=next; title="a, b"'),
        ("Link", "<http://example.org/>; rel=other"),
        ("X-Twice", "1"),
        ("x-twice", "2"),
        ("X-Odd", "caf\udce9"),
        ("Empty", ""),
    ),
)

PLAIN_ATTRIBUTES = (
    "status",
    "reason",
    "version",
    "method",
    "url",
    "real_url",
    "host",
    "headers",
    "raw_headers",
    "content_type",
    "charset",
    "content_length",
    "content_disposition",
    "links",
    "cookies",
    "history",
    "ok",
    "closed",
    "connection",
    "request_info",
)


@pytest.fixture
async def pair(origin: Origin) -> AsyncIterator[tuple[ClientResponse, ClientResponse]]:
    """aiohttp's own response to a request and a hit for the same request, both read."""
    url = origin.on("/page", RICH) + "?q=1#part"
    async with ClientSession() as plain, CachedSession() as cached:
        await (await cached.get(url)).read()
        theirs, ours = await plain.get(url), await cached.get(url)
        await theirs.read()
        await ours.read()
        assert isinstance(ours, CachedResponse)
        yield theirs, ours


class TestLikeness:
    @pytest.mark.parametrize("name", PLAIN_ATTRIBUTES)
    async def test_an_attribute_is_what_aiohttp_has(
        self, pair: tuple[ClientResponse, ClientResponse], name: str
    ) -> None:
        theirs, ours = pair
        assert getattr(ours, name) == getattr(theirs, name)
        assert type(getattr(ours, name)) is type(getattr(theirs, name))

    async def test_all_ways_to_the_body_are_there(self, pair: tuple[ClientResponse, ClientResponse]) -> None:
        for response in pair:
            assert await response.read() == b'{"a": "\xc3\xa4"}'
            assert await response.text() == '{"a": "ä"}'
            assert await response.json() == {"a": "ä"}
            assert await response.json(loads=len, encoding="latin-1") == 11
            assert response.get_encoding() == "utf-8"
            assert response.content.at_eof()

    async def test_they_look_alike(self, pair: tuple[ClientResponse, ClientResponse]) -> None:
        theirs, ours = pair
        assert str(theirs.url) in repr(ours)
        assert "[200 Fine, thanks]" in repr(ours)
        assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))

    async def test_every_public_attribute_of_a_response_can_be_asked_for(
        self, pair: tuple[ClientResponse, ClientResponse]
    ) -> None:
        warned: list[list[str]] = []
        for response in pair:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for name in ("output_size", "upload_complete", "url_obj"):
                    assert getattr(response, name, 0) is not None
            warned.append([str(one.message) for one in caught])
        assert warned[0] == warned[1] != []

    async def test_an_error_tells_what_aiohttp_s_does(self, origin: Origin) -> None:
        url = origin.on("/", answer("no", status=418, reason="Teapot", headers={"Date": DATE}))
        told: list[tuple[Any, ...]] = []
        async with ClientSession() as plain, CachedSession(allowed_codes=(418,)) as cached:
            await (await cached.get(url)).read()
            for session in (plain, cached):
                with pytest.raises(ClientResponseError) as caught:
                    await session.get(url, raise_for_status=True)
                error = caught.value
                told.append((error.status, error.message, error.headers, error.request_info, error.history, str(error)))
        assert told[0] == told[1]
        assert origin.hits == 2


class TestReading:
    @pytest.fixture
    async def hit(self) -> CachedResponse:
        return CachedResponse.from_stored(entry(b"one\ntwo\n"))

    @pytest.mark.parametrize(
        ("method", "arguments", "expected"),
        [
            ("read", (), b"one\ntwo\n"),
            ("read", (3,), b"one"),
            ("readany", (), b"one\ntwo\n"),
            ("readexactly", (5,), b"one\nt"),
            ("readline", (), b"one\n"),
            ("readuntil", (b"t",), b"one\nt"),
            ("readchunk", (), (b"one\ntwo\n", True)),
        ],
    )
    async def test_the_stream_can_be_read_in_every_way(
        self, hit: CachedResponse, method: str, arguments: tuple[Any, ...], expected: object
    ) -> None:
        assert await getattr(hit.content, method)(*arguments) == expected

    async def test_the_stream_can_be_iterated_over(self, hit: CachedResponse) -> None:
        assert [line async for line in hit.content] == [b"one\n", b"two\n"]

    @pytest.mark.parametrize("size", [1, 3, 100])
    async def test_the_stream_comes_in_pieces(self, hit: CachedResponse, size: int) -> None:
        pieces = [piece async for piece in hit.content.iter_chunked(size)]
        assert b"".join(pieces) == b"one\ntwo\n"
        assert all(len(piece) <= size for piece in pieces)

    async def test_a_body_that_came_in_chunks_is_one_chunk(self) -> None:
        hit = CachedResponse.from_stored(entry(b"one\ntwo\n"))
        assert [piece async for piece in hit.content.iter_chunks()] == [(b"one\ntwo\n", True)]

    async def test_a_body_that_came_with_its_length_is_no_chunk(self) -> None:
        hit = CachedResponse.from_stored(entry(b"one\ntwo\n", raw_headers=((b"Content-Length", b"8"),)))
        assert [piece async for piece in hit.content.iter_chunks()] == [(b"one\ntwo\n", False)]

    async def test_what_was_taken_from_the_stream_is_not_read_again(self, hit: CachedResponse) -> None:
        assert await hit.content.readline() == b"one\n"
        assert await hit.read() == b"two\n"

    async def test_concurrent_readers_have_streams_of_their_own(self) -> None:
        stored = entry(b"x" * 1000)
        hits = [CachedResponse.from_stored(stored) for _ in range(10)]

        async def drain(response: CachedResponse) -> bytes:
            pieces: list[bytes] = []
            async for piece in response.content.iter_chunked(7):
                pieces.append(piece)  # the readers take turns
                await asyncio.sleep(0)
            return b"".join(pieces)

        assert await asyncio.gather(*map(drain, hits)) == [b"x" * 1000] * 10

    @pytest.mark.parametrize("end", ["release", "close", "exit", "wait_for_close"])
    async def test_what_was_given_up_cannot_be_read(self, hit: CachedResponse, end: str) -> None:
        stream = hit.content
        match end:
            case "exit":
                async with hit:
                    pass
            case "wait_for_close":
                await hit.wait_for_close()
            case _:
                getattr(hit, end)()
        with pytest.raises(ClientConnectionError, match="Connection closed"):
            await hit.read()
        with pytest.raises(ClientConnectionError, match="Connection closed"):
            await stream.read()

    async def test_release_can_be_awaited(self, hit: CachedResponse) -> None:
        await hit.release()
        await hit.release()

    async def test_an_empty_body_is_at_its_end(self) -> None:
        hit = CachedResponse.from_stored(entry(b""))
        assert hit.content.at_eof()
        assert await hit.read() == b""


class TestKnowledge:
    async def test_it_knows_when_it_was_stored_and_until_when_it_is_fresh(self) -> None:
        stored = entry(created_at=1_000.0, received_at=2_000.0, fresh_until=3_000.0)
        hit = CachedResponse.from_stored(stored)
        assert hit.created_at == datetime.fromtimestamp(1_000, UTC)
        assert hit.expires == datetime.fromtimestamp(3_000, UTC)
        assert (hit.is_expired, hit.from_cache, hit.key, hit.stored) == (True, True, "key", stored)

    @pytest.mark.parametrize("fresh_until", [math.inf, 1e15])
    async def test_for_ever_has_no_date(self, fresh_until: float) -> None:
        hit = CachedResponse.from_stored(entry(fresh_until=fresh_until))
        assert (hit.expires, hit.is_expired) == (None, False)

    async def test_one_that_needs_validation_expires_when_it_came(self) -> None:
        stored = entry(fresh_until=-math.inf)
        assert CachedResponse.from_stored(stored).expires == datetime.fromtimestamp(stored.received_at, UTC)

    async def test_one_that_was_stale_when_it_came_expired_before_that(self) -> None:
        stored = entry(received_at=2_000.0, fresh_until=1_940.0)  # max-age=60 and Age: 120
        assert CachedResponse.from_stored(stored).expires == datetime.fromtimestamp(1_940, UTC)
        long_ago = CachedResponse.from_stored(entry(received_at=2_000.0, fresh_until=-1e10))
        assert long_ago.expires == datetime.fromtimestamp(0, UTC)

    async def test_a_plain_hit_tells_how_long_it_is_good_for(self) -> None:
        hit = CachedResponse.from_stored(entry(), served_at=time.time(), standard=True)
        assert hit.cache_status.startswith("aiohttp-cache-di; hit; ttl=")
        assert hit.headers["Age"] == "0"
        assert hit.headers["Cache-Status"] == hit.cache_status
        assert dict(hit.raw_headers)[b"Age"] == b"0"
        assert hit.headers["Content-Type"] == "text/plain; charset=utf-8"

    async def test_it_can_be_made_from_any_response(self, origin: Origin) -> None:
        async with ClientSession() as session, session.get(origin.on("/", answer("text", reason="Fine"))) as response:
            made = await CachedResponse.from_client_response(response)
            until = await CachedResponse.from_client_response(response, expires=datetime(2100, 1, 1, tzinfo=UTC))
        assert (await made.text(), made.reason, made.expires) == ("text", "Fine", None)
        assert until.expires == datetime(2100, 1, 1, tzinfo=UTC)
        again = await CachedResponse.from_client_response(made)
        assert again.stored is made.stored

    async def test_it_can_be_copied(self) -> None:
        hit = CachedResponse.from_stored(entry())
        await hit.read()
        copied = copy.copy(hit)
        assert copied is not hit
        assert await copied.read() == b"text"

    async def test_a_copy_has_what_belongs_to_its_request_too(self, origin: Origin) -> None:
        url = origin.on("/", answer(status=301, headers={"Location": origin.on("/end", answer("text"))}))
        async with CachedSession(expire_after=60) as session:
            async with session.get(url, headers={"X-Own": "1"}) as response:
                await response.read()
            async with session.get(url, headers={"X-Own": "1"}) as response:
                await response.read()
        assert isinstance(response, CachedResponse)
        copied = copy.copy(response)
        assert type(copied) is type(response)
        assert [str(hop.url) for hop in copied.history] == [url]
        assert copied.cache_status == response.cache_status != ""
        assert copied.request_info.headers["X-Own"] == "1"

    async def test_a_response_without_a_session_knows_its_request(self) -> None:
        info = CachedResponse.from_stored(entry(), url=URL("http://example.org/#part")).request_info
        assert (info.method, str(info.url), str(info.real_url)) == (
            "GET",
            "http://example.org/",
            "http://example.org/#part",
        )

    async def test_cookies_are_left_out_of_an_entry(self, origin: Origin) -> None:
        url = origin.on("/", answer("text", headers={"Set-Cookie": "a=b"}))
        async with ClientSession() as session, session.get(url) as response:
            made = entry_of(response, body=await response.read())
        assert hdrs.SET_COOKIE not in made.headers


class TestClasses:
    async def test_a_user_s_class_and_ours_are_one(self) -> None:
        class Own(ClientResponse):
            @property
            def shout(self) -> str:
                return str(self.url).upper()

        both = cached_class_for(Own)
        hit: Any = both.from_stored(entry(), session=None)
        assert isinstance(hit, Own)
        assert isinstance(hit, CachedResponse)
        assert hit.shout == "HTTP://EXAMPLE.ORG/"
        assert cached_class_for(Own) is both

    def test_aiohttp_s_class_and_ours_need_no_other(self) -> None:
        class Derived(CachedResponse):
            pass

        assert cached_class_for(ClientResponse) is CachedResponse
        assert cached_class_for(Derived) is Derived

    async def test_responses_of_any_class_of_aiohttp_s_are_described(self, origin: Origin) -> None:
        class Own(ClientResponse):
            pass

        url = origin.on("/", answer())
        async with ClientSession() as plain, ClientSession(response_class=Own) as own:
            for session in (plain, own):
                async with session.get(url) as response:
                    describe_miss(response, "status")
                    assert getattr(response, "cache_status", None) == "status"
