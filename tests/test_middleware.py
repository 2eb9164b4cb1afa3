"""The engine from request to response, in a `CachedSession` and as the middleware of a plain session."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse

from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.clients import Clients, is_hit
from tests.origin import CLOSE, CUT, Origin, Received, Script, answer, chunked


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


async def stored(backend: CacheBackend) -> list[StoredResponse]:
    """All stored responses, redirects included."""
    await backend.settle()
    found: list[StoredResponse] = []
    for storage in (backend.responses, backend.redirects):
        async for key in storage.keys():
            entry = await storage.read_entry(key)
            assert entry is not None
            found.append(entry)
    return found


class TestPlainGet:
    async def test_a_second_request_is_answered_without_the_origin(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", numbered)
        assert [await client.fetch(url) for _ in range(3)] == [(False, "1"), (True, "1"), (True, "1")]
        assert origin.hits == 1

    async def test_the_query_tells_requests_apart(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", numbered)
        await client.fetch(url, params={"a": "1"})
        assert await client.fetch(url, params={"a": "2"}) == (False, "2")
        assert await client.fetch(f"{url}?a=1") == (True, "1")

    async def test_the_order_of_parameters_does_not_matter(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", numbered)
        await client.fetch(url, params={"a": "1", "b": "2"})
        assert await client.fetch(url, params={"b": "2", "a": "1"}) == (True, "1")

    async def test_the_fragment_is_kept_for_the_caller_and_does_not_count(
        self, origin: Origin, clients: Clients
    ) -> None:
        client, url = clients(), origin.on("/", numbered)
        await client.fetch(f"{url}#one")
        for _ in range(2):
            async with client.session.get(f"{url}#two") as response:
                assert is_hit(response)
                assert response.real_url.fragment == "two"
                assert response.url.fragment == ""

    async def test_head_and_get_do_not_answer_each_other(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", numbered)
        await client.fetch(url, "HEAD")
        assert await client.fetch(url) == (False, "2")
        assert await client.fetch(url, "HEAD") == (True, "")

    async def test_a_bodiless_response_is_a_hit_too(self, origin: Origin, clients: Clients) -> None:
        client = clients(allowed_codes=(200, 204))
        url = origin.on("/", answer(status=204, reason="No Content", headers={"Content-Length": None}))
        assert [(await client.fetch(url))[0] for _ in range(3)] == [False, True, True]

    async def test_a_bodiless_response_that_speaks_of_a_coding_spoils_no_other(
        self, origin: Origin, clients: Clients
    ) -> None:
        client = clients()
        coded = origin.on("/coded", gzipped(gzip.compress(b"text")))
        plain = origin.on("/plain", answer("text"))
        for url in (coded, plain):
            assert [(await client.fetch(url, "HEAD"))[0] for _ in range(3)] == [False, True, True]

    async def test_a_status_that_is_not_allowed_is_not_stored(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(), origin.on("/", answer("gone", status=404))
        assert [(await client.fetch(url))[0] for _ in range(3)] == [False, False, False]
        assert await stored(client.backend) == []

    async def test_a_miss_tells_of_itself_what_a_hit_does(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(expire_after=60), origin.on("/", numbered)
        for expected in (False, True, True):
            async with client.session.get(url) as response:
                await response.read()
                told: Any = response
                assert told.from_cache is expected
                assert 59 < (told.expires - told.created_at).total_seconds() <= 60.5
                assert told.is_expired is False
                assert told.cache_status.startswith("aiohttp-cache-di; ")

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def test_what_may_not_be_cached_says_so(self, origin: Origin, clients: Clients, method: str) -> None:
        client, url = clients(), origin.on("/", numbered)
        for number in ("1", "2"):
            async with client.session.request(method, url) as response:
                told: Any = response
                assert (await response.text(), told.from_cache) == (number, False)

    async def test_hits_in_a_row_leave_others_their_turn(self, origin: Origin, clients: Clients) -> None:
        client, url, over = clients(), origin.on("/", numbered), asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, over.set)
        async with asyncio.timeout(20):
            while not over.is_set():  # as a program that polls
                async with client.session.get(url) as response:
                    assert await response.text() == "1"


class TestBodies:
    """Either the whole body is stored, or nothing."""

    @pytest.mark.parametrize("how", ["read", "iter_any", "iter_chunked", "iter_chunks", "lines", "readexactly"])
    async def test_every_way_of_reading_stores_the_body(self, origin: Origin, clients: Clients, how: str) -> None:
        body = b"".join(b"%d\n" % number for number in range(20_000))

        async def slowly(request: Received) -> AsyncIterator[bytes]:
            whole = answer(body)
            for start in range(0, len(whole), 30_000):
                yield whole[start : start + 30_000]
                await asyncio.sleep(0)

        client, url = clients(), origin.on("/", slowly)
        for expected in (False, True, True):
            async with client.session.get(url) as response:
                assert is_hit(response) is expected
                assert await read_by(how, response) == body
        assert origin.hits == 1

    async def test_a_chunked_body_is_stored(self, origin: Origin, clients: Clients) -> None:
        client = clients()
        head = answer(headers={"Content-Length": None, "Transfer-Encoding": "chunked"})
        url = origin.on("/", head + chunked(b"one", b"two"))
        assert [await client.fetch(url) for _ in range(2)] == [(False, "onetwo"), (True, "onetwo")]

    async def test_a_body_cut_short_is_not_stored_and_raises_from_read(self, origin: Origin, clients: Clients) -> None:
        client = clients()

        async def cut(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "10"}) + b"12345"
            yield CLOSE

        url = origin.on("/", cut)
        for _ in range(2):
            async with client.session.get(url) as response:
                with pytest.raises(ClientPayloadError):
                    await response.read()
        assert await stored(client.backend) == []

    async def test_a_reset_connection_stores_nothing(self, origin: Origin, clients: Clients) -> None:
        client = clients()

        async def reset(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": None, "Transfer-Encoding": "chunked"}) + chunked(b"1", end=False)
            yield CUT

        async with client.session.get(origin.on("/", reset)) as response:
            with pytest.raises(ClientPayloadError):
                await response.read()
        assert await stored(client.backend) == []

    async def test_a_body_that_ends_with_its_connection_is_not_stored(self, origin: Origin, clients: Clients) -> None:
        client = clients()

        async def unframed(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": None, "Connection": "close"}) + b"text"
            yield CLOSE

        url = origin.on("/", unframed)
        assert [await client.fetch(url) for _ in range(2)] == [(False, "text"), (False, "text")]

    @pytest.mark.parametrize("pieces", [1, 3])
    async def test_a_gzip_body_is_stored_decoded(self, origin: Origin, clients: Clients, pieces: int) -> None:
        client, url = clients(), origin.on("/", in_pieces(gzipped(gzip.compress(b"text" * 1000)), pieces))
        for expected in (False, True, True):
            async with client.session.get(url) as response:
                assert is_hit(response) is expected
                assert await response.read() == b"text" * 1000
                assert response.headers["Content-Encoding"] == "gzip"

    @pytest.mark.parametrize("pieces", [1, 3])
    async def test_a_gzip_body_that_stops_early_is_not_stored(
        self, origin: Origin, clients: Clients, pieces: int
    ) -> None:
        short = gzip.compress(b"text" * 1000)[:-8]
        client, url = clients(), origin.on("/", in_pieces(gzipped(short), pieces))
        for _ in range(2):
            async with client.session.get(url) as response:
                assert not is_hit(response)
                await response.read()
        assert await stored(client.backend) == []

    async def test_bodies_that_are_not_decoded_are_kept_apart(self, origin: Origin, clients: Clients) -> None:
        coded = gzip.compress(b"text")
        client, url = clients(), origin.on("/", gzipped(coded))
        for expected in (False, True):
            async with client.session.get(url, auto_decompress=False) as response:
                assert (is_hit(response), await response.read()) == (expected, coded)
        for expected in (False, True):
            assert await client.fetch(url) == (expected, "text")

    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_body_above_the_limit_is_handed_on_and_not_stored(
        self, origin: Origin, clients: Clients, announced: bool
    ) -> None:
        client, body = clients(max_body_bytes=1000), b"x" * 1001
        head = answer(body) if announced else answer(headers={"Content-Length": None, "Transfer-Encoding": "chunked"})
        url = origin.on("/", head if announced else head + chunked(body))
        for _ in range(2):
            assert await client.fetch(url) == (False, body.decode())
        assert await stored(client.backend) == []

    async def test_a_body_that_nobody_reads_is_not_stored(self, origin: Origin, clients: Clients) -> None:
        client, released = clients(), asyncio.Event()

        async def late(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "4"})
            await released.wait()
            yield b"text"

        url = origin.on("/", late)
        async with client.session.get(url) as response:
            assert response.status == 200
        released.set()
        assert await client.fetch(url) == (False, "text")
        assert await client.fetch(url) == (True, "text")

    async def test_the_first_byte_does_not_wait_for_the_last(self, origin: Origin, clients: Clients) -> None:
        client, read = clients(), asyncio.Event()

        async def waiting(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "8"}) + b"firs"
            await asyncio.wait_for(read.wait(), 20)
            yield b"last"

        async with client.session.get(origin.on("/", waiting)) as response:
            assert await response.content.readany() == b"firs"
            read.set()
            assert await response.content.readany() == b"last"

    async def test_an_endless_stream_of_events_flows(self, origin: Origin, clients: Clients) -> None:
        client = clients()

        async def events(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": None, "Content-Type": "text/event-stream"})
            for number in range(1_000_000):
                yield b"data: %d\n\n" % number
                await asyncio.sleep(0)  # let the client run

        async with client.session.get(origin.on("/", events), headers={"Accept": "text/event-stream"}) as response:
            assert [await response.content.readline() for _ in range(3)] == [b"data: 0\n", b"\n", b"data: 1\n"]
            response.close()
        assert await stored(client.backend) == []

    async def test_what_has_a_transfer_coding_still_is_not_stored(self, origin: Origin, clients: Clients) -> None:
        client = clients()
        head = answer(headers={"Content-Length": None, "Transfer-Encoding": "gzip, chunked"})
        url = origin.on("/", head + chunked(gzip.compress(b"text")))
        for _ in range(2):  # a hit would lack the field that names the coding
            async with client.session.get(url) as response:
                assert gzip.decompress(await response.read()) == b"text"
                assert response.headers["Transfer-Encoding"] == "gzip, chunked"
        assert await stored(client.backend) == []

    async def test_events_are_not_kept_though_nobody_asked_for_them(self, origin: Origin, clients: Clients) -> None:
        client = clients()
        fields = {"Content-Length": None, "Transfer-Encoding": "chunked", "Content-Type": "text/event-stream"}
        url = origin.on("/", answer(headers=fields) + chunked(b"data: 1\n\n"))
        for _ in range(2):
            assert await client.fetch(url) == (False, "data: 1\n\n")
        assert await stored(client.backend) == []

    async def test_a_body_of_blank_lines_arrives_as_it_is(self, origin: Origin, clients: Clients) -> None:
        body = b"\r\n\r\n" * 50_000
        client, url = clients(), origin.on("/", answer(body))
        for expected in (False, True):
            async with client.session.get(url) as response:
                assert (is_hit(response), await response.read()) == (expected, body)

    async def test_informational_responses_before_the_final_one_are_skipped(
        self, origin: Origin, clients: Clients
    ) -> None:
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
        client, url = clients(), origin.on("/", hints * 100 + gzipped(gzip.compress(b"text")))
        assert await client.fetch(url) == (False, "text")


async def read_by(how: str, response: ClientResponse) -> bytes:
    """Read the body of *response* with one of aiohttp's methods."""
    content = response.content
    match how:
        case "iter_any":
            return b"".join([piece async for piece in content.iter_any()])
        case "iter_chunked":
            return b"".join([piece async for piece in content.iter_chunked(1000)])
        case "iter_chunks":
            return b"".join([piece async for piece, _ in content.iter_chunks()])
        case "lines":
            return b"".join([line async for line in content])
        case "readexactly":
            return await content.readexactly(100) + await content.read()
        case _:
            return await response.read()


def gzipped(coded: bytes) -> bytes:
    """A response with *coded* as its gzip body."""
    return answer(coded, headers={"Content-Encoding": "gzip"})


def in_pieces(whole: bytes, count: int) -> Script:
    """A script that sends *whole* in *count* pieces, and the next one only when the last has been received."""
    if count == 1:
        return whole
    head, _, body = whole.partition(b"\r\n\r\n")

    async def script(request: Received) -> AsyncIterator[bytes]:
        yield head + b"\r\n\r\n"
        size = -(-len(body) // (count - 1))
        for start in range(0, len(body), size):
            await asyncio.sleep(0.01)
            yield body[start : start + size]

    return script
