"""Origins that break every rule: the caller sees the same as with plain aiohttp, and the cache is not poisoned."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Mapping
from typing import Any, Final

import pytest
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, web

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from tests.faults.conftest import Note
from tests.faults.origin import Origin, RawOrigin
from tests.stores import QUICK, Store

MEGABYTE: Final = 1024 * 1024
TIMEOUT: Final = ClientTimeout(total=3)


def reply(*fields: bytes, body: bytes = b"body", status: bytes = b"200 OK", length: bytes | None = None) -> bytes:
    """A response as bytes, with a Content-Length unless *fields* contain another framing."""
    lines = [b"HTTP/1.1 " + status, b"Content-Type: text/plain", b"Connection: close", *fields]
    if length is not None or not any(line.lower().startswith((b"content-length", b"transfer-enc")) for line in fields):
        lines.append(b"Content-Length: " + (length if length is not None else b"%d" % len(body)))
    return b"\r\n".join([*lines, b"", body])


FRESH: Final = b"Cache-Control: max-age=600"
CHUNKED: Final = b"Transfer-Encoding: chunked"
BIG: Final = gzip.compress(bytes(MEGABYTE))

REPLIES: Final[Mapping[str, tuple[bytes, ...]]] = {
    "garbage": (b"\x00\xff\x16\x03\x01 nonsense\r\n\r\n",),
    "nothing": (b"",),
    "status line of another protocol": (b"SSH-2.0-OpenSSH\r\n\r\n",),
    "status 99999": (reply(FRESH, status=b"99999 OK"),),
    "status 099": (reply(FRESH, status=b"099 Low"),),
    "status 999": (reply(FRESH, status=b"999 High"),),
    "reason in latin-1": (reply(FRESH, status=b"200 \xe4\xf6\xfc"),),
    "reason in utf-8": (reply(FRESH, status="200 åß∂".encode()),),
    "no reason": (reply(FRESH, status=b"200"),),
    "header flood": (reply(FRESH, *(b"X-%d: y" % n for n in range(20_000))),),
    "hundred headers": (reply(FRESH, *(b"X-%d: y" % n for n in range(100))),),
    "header of 1 MB": (reply(FRESH, b"X: " + b"y" * MEGABYTE),),
    "header without colon": (reply(FRESH, b"no colon"),),
    "header name with a space": (reply(FRESH, b"X Y: z"),),
    "folded header": (reply(FRESH, b"X: a\r\n b"),),
    "bare CR in a value": (reply(FRESH, b"X: a\rSet-Cookie: b=c"),),
    "NUL in a value": (reply(FRESH, b"X: a\x00b"),),
    "control characters in a value": (reply(FRESH, b"X: a\x01\x7fb"),),
    "latin-1 in a value": (reply(FRESH, b"X: \xe4"),),
    "surrogates in a value": (reply(FRESH, b"X: \xed\xa0\x80"),),
    "two Content-Lengths": (reply(FRESH, b"Content-Length: 4", b"Content-Length: 5"),),
    "negative Content-Length": (reply(FRESH, length=b"-1"),),
    "Content-Length of 30 digits": (reply(FRESH, length=b"9" * 30),),
    "Content-Length +4": (reply(FRESH, length=b"+4"),),
    "Content-Length in hex": (reply(FRESH, length=b"0x4"),),
    "Content-Length too large": (reply(FRESH, length=b"10"),),
    "Content-Length too small": (reply(FRESH, length=b"2"),),
    "Content-Length and chunked": (reply(FRESH, CHUNKED, b"Content-Length: 3", body=b"0\r\n\r\n"),),
    "chunked twice": (reply(FRESH, b"Transfer-Encoding: chunked, chunked", body=b"1\r\nx\r\n0\r\n\r\n"),),
    "chunk size of 20 digits": (reply(FRESH, CHUNKED, body=b"f" * 20 + b"\r\nx\r\n0\r\n\r\n"),),
    "chunk cut short": (reply(FRESH, CHUNKED, body=b"a\r\nxy"),),
    "chunked without an end": (reply(FRESH, CHUNKED, body=b"2\r\nxy\r\n"),),
    "no framing": (b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\n\r\nbody",),
    "HTTP/0.9": (b"HTTP/0.9 200 OK\r\nContent-Length: 4\r\n\r\nbody",),
    "HTTP/1.0": (reply(FRESH).replace(b"HTTP/1.1", b"HTTP/1.0"),),
    "max-age of 20 digits": (reply(b"Cache-Control: max-age=99999999999999999999"),),
    "max-age negative": (reply(b"Cache-Control: max-age=-1"),),
    "max-age a word": (reply(b"Cache-Control: max-age=soon"),),
    "max-age twice": (reply(b"Cache-Control: max-age=600, max-age=0"),),
    "max-age NaN": (reply(b"Cache-Control: max-age=nan"),),
    "max-age infinite": (reply(b"Cache-Control: max-age=inf"),),
    "Cache-Control of commas": (reply(b"Cache-Control: " + b"," * 5000 + b"max-age=600"),),
    "Cache-Control unbalanced": (reply(b'Cache-Control: no-cache="x, max-age=600'),),
    "Age of 20 digits": (reply(FRESH, b"Age: 99999999999999999999"),),
    "Age negative": (reply(FRESH, b"Age: -5"),),
    "Date of another world": (reply(FRESH, b"Date: Yesterday, all my troubles"),),
    "Date in the year 99999": (reply(FRESH, b"Date: Mon, 01 Jan 99999 00:00:00 GMT"),),
    "Expires 0": (reply(b"Expires: 0"),),
    "Expires in the year 9999": (reply(b"Expires: Fri, 31 Dec 9999 23:59:59 GMT"),),
    "Expires before the epoch": (reply(b"Expires: Sun, 01 Jan 0001 00:00:00 GMT"),),
    "Last-Modified in the future": (reply(FRESH, b"Last-Modified: Fri, 31 Dec 9999 23:59:59 GMT"),),
    "ETag unquoted": (reply(b"Cache-Control: max-age=0", b"ETag: abc"),),
    "ETag with a quote": (reply(b"Cache-Control: max-age=0", b'ETag: "a"b"'),),
    "ETag of bytes": (reply(b"Cache-Control: max-age=0", b'ETag: "\xff\xfe"'),),
    "ETag of 60 kB": (reply(FRESH, b'ETag: "' + b"x" * 60_000 + b'"'),),
    "ETag of 6 kB": (reply(b"Cache-Control: max-age=0", b'ETag: "' + b"x" * 6000 + b'"'),),
    "Vary of all": (reply(FRESH, b"Vary: *"),),
    "Vary of many": (reply(FRESH, b"Vary: " + b", ".join(b"X-%d" % n for n in range(500))),),
    "Vary of bytes": (reply(FRESH, b"Vary: \xff\xfe,,, Accept"),),
    "Link malformed": (reply(FRESH, b"Link: <http://[::1>; rel=x, ;;;, <"),),
    "charset unknown": (reply(FRESH, b"Content-Type: text/plain; charset=klingon"),),
    "charset of bytes": (reply(FRESH, b"Content-Type: text/plain; charset=\xff\xfe"),),
    "Content-Type without a slash": (reply(FRESH, b"Content-Type: ;;;=;"),),
    "body not in its charset": (reply(FRESH, b"Content-Type: text/plain; charset=utf-8", body=b"\xff\xfe\xfd"),),
    "gzip that is none": (reply(FRESH, b"Content-Encoding: gzip", body=b"not gzip"),),
    "gzip cut short": (reply(FRESH, b"Content-Encoding: gzip", body=BIG[:-20]),),
    "gzip and then garbage": (reply(FRESH, b"Content-Encoding: gzip", body=BIG + b"garbage"),),
    "gzip twice": (reply(FRESH, b"Content-Encoding: gzip, gzip", body=gzip.compress(BIG)),),
    "deflate that is gzip": (reply(FRESH, b"Content-Encoding: deflate", body=BIG),),
    "deflate raw": (reply(FRESH, b"Content-Encoding: deflate", body=zlib.compress(b"x" * 99, wbits=-15)),),
    "coding unknown": (reply(FRESH, b"Content-Encoding: rot13"),),
    "redirect without Location": (reply(FRESH, status=b"302 Found"),),
    "redirect to nowhere": (reply(FRESH, b"Location: http://[::bad", status=b"302 Found"),),
    "redirect to bytes": (reply(FRESH, b"Location: /\xff\xfe", status=b"302 Found"),),
    "redirect to itself": (reply(FRESH, b"Location: /", status=b"302 Found"),),
    "redirect to javascript": (reply(FRESH, b"Location: javascript:alert(1)", status=b"302 Found"),),
    "304 to a plain request": (b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",),
    "204 with a body": (reply(FRESH, status=b"204 No Content"),),
    "206 to a plain request": (reply(FRESH, b"Content-Range: bytes 0-3/100", status=b"206 Partial Content"),),
    "206 with a mad range": (reply(FRESH, b"Content-Range: bytes 9-1/-5", status=b"206 Partial Content"),),
    "416 to a plain request": (reply(FRESH, b"Content-Range: bytes */4", status=b"416 Range Not Satisfiable"),),
    "100 before 200": (b"HTTP/1.1 100 Continue\r\n\r\n" + reply(FRESH),),
    "ten 103 before 200": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 10 + reply(FRESH),),
    "101 unasked": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",),
    "two answers at once": (reply(FRESH) + reply(FRESH, body=b"smuggled"),),
    "the head byte by byte": (*(reply(FRESH)[n : n + 1] for n in range(60)), reply(FRESH)[60:]),
}  # fmt: skip

Shown = tuple[Any, ...]


async def shown(response: ClientResponse) -> Shown:
    """Everything that a caller can see of *response*, errors included."""
    found: list[Any] = [response.status, response.reason, response.version, response.method]
    # Fields that a cache adds, and fields of the connection, which are not stored (RFC 9111 §3.1).
    left_out = ("age", "cache-status", "date", "connection", "transfer-encoding")
    found += [[(n.lower(), v) for n, v in response.headers.items() if n.lower() not in left_out]]
    for attribute in ("content_type", "charset", "content_length", "links", "content_disposition", "cookies", "url"):
        try:
            value: Any = getattr(response, attribute)
        except Exception as error:
            value = type(error)
        found.append(str(value))
    for read in (response.read, response.text, response.json):
        try:
            found.append(await read())
        except Exception as error:
            found.append(type(error))
    return tuple(found)


async def asked(session: ClientSession, url: str) -> Shown:
    """Everything that a caller sees of the response, or the type of the error."""
    try:
        async with session.get(url, timeout=TIMEOUT) as response:
            return await shown(response)
    except (ClientError, ValueError, TimeoutError) as error:
        return (type(error),)


@pytest.mark.parametrize("store", QUICK, indirect=True)
@pytest.mark.parametrize("cache_control", [False, True], ids=["rules", "standard"])
async def test_the_caller_sees_what_plain_aiohttp_shows(
    backend: CacheBackend, cache_control: bool, note: Note, caplog: pytest.LogCaptureFixture
) -> None:
    backend.cache_control = cache_control
    backend.allowed_codes = range(100, 1000)
    backend.guard.deadline_s = 5.0  # long enough for a busy machine
    different: list[str] = []
    served = 0
    for name, pieces in REPLIES.items():
        async with RawOrigin(*pieces) as origin, ClientSession() as plain, CachedSession(cache=backend) as cached:
            expected = await asked(plain, origin.url)
            for _ in range(3):
                found = await asked(cached, origin.url)
                pairs = zip(found, expected, strict=False)
                differences = [pair for pair in pairs if pair[0] != pair[1]] or len(found) != len(expected)
                if differences:
                    different.append(f"{name}: {differences}"[:1000])
            served += 4 - origin.hits
        await backend.clear()
    note(origins=len(REPLIES), different=len(different), answers_from_cache=served)
    assert not different, "\n".join(different)
    assert "could not be stored" not in caplog.text
    assert not backend.stats.store_errors


CUT = ("Content-Length too large", "chunk cut short", "chunked without an end", "no framing", "gzip cut short")


@pytest.mark.parametrize("store", QUICK, indirect=True)
@pytest.mark.parametrize("name", CUT)
async def test_what_did_not_arrive_whole_is_not_stored(backend: CacheBackend, name: str) -> None:
    async with RawOrigin(*REPLIES[name]) as origin, CachedSession(cache=backend) as session:
        for _ in range(2):
            await asked(session, origin.url)
        assert await backend.responses.size() == 0
        assert origin.hits >= 2


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_a_response_of_50_mb_streams_through_and_is_not_kept(backend: CacheBackend, note: Note) -> None:
    piece = bytes(MEGABYTE)
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + piece + b"\r\n"
    async with RawOrigin(head, *[chunk] * 50, b"0\r\n\r\n") as origin, CachedSession(cache=backend) as session:
        tracemalloc.start()
        for _ in range(2):
            size = 0
            async with session.get(origin.url) as response:
                async for part in response.content.iter_any():
                    size += len(part)
            assert size == 50 * MEGABYTE
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert origin.hits == 2
        assert await backend.responses.size() == 0
    note(peak_mb=peak / MEGABYTE)
    assert peak < backend.largest_in_memory_bytes + 4 * MEGABYTE, "aiohttp's buffers and the beginning of the copy"


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_an_endless_body_is_given_up_and_its_callers_keep_their_timeout(
    backend: CacheBackend, note: Note
) -> None:
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n"
    sizes: list[int] = []

    async def one(session: CachedSession, url: str) -> None:
        size, total_s = 0, 0.5
        while not size and total_s < 10:  # a machine may stall for half a second
            try:
                async with session.get(url, timeout=ClientTimeout(total=total_s)) as response:
                    async for part in response.content.iter_any():
                        size += len(part)
            except TimeoutError:
                total_s *= 4
        sizes.append(size)

    async with RawOrigin(head, b"10000\r\n" + bytes(65536) + b"\r\n", repeat=True) as origin:
        tracemalloc.start()
        async with CachedSession(cache=backend) as session, asyncio.timeout(60):
            await asyncio.gather(*(one(session, origin.url) for _ in range(4)))
            await one(session, origin.url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert await backend.responses.size() == 0
    note(read_mb=sum(sizes) / MEGABYTE, peak_mb=peak / MEGABYTE)
    assert len(sizes) == 5, "every caller had its own timeout"
    assert all(sizes)
    assert peak < 5 * 12 * MEGABYTE


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_a_loop_of_redirects_ends_as_it_does_without_a_cache(backend: CacheBackend, origin: Origin) -> None:
    async def around(request: web.Request) -> web.Response:
        following = "/b" if request.path == "/a" else "/a"
        return web.Response(status=302, headers={"Location": following, "Cache-Control": "max-age=600"})

    origin.answer = around
    async with ClientSession() as plain, CachedSession(cache=backend) as session:
        expected = await asked(plain, f"{origin.url}/a")
        for _ in range(3):
            assert await asked(session, f"{origin.url}/a") == expected
        await backend.settle()
        urls = {url async for url in backend.get_urls()}
        assert urls <= {f"{origin.url}/a", f"{origin.url}/b"}
        async with asyncio.timeout(20):
            await backend.delete_url(f"{origin.url}/a")
            assert await backend.get_response(backend.create_key("GET", f"{origin.url}/b")) is None


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_a_location_with_a_line_break_sends_nobody_anywhere(backend: CacheBackend) -> None:
    head = reply(FRESH, b"Location: /to\r\nX-Injected: 1", status=b"302 Found")
    async with RawOrigin(head) as origin, ClientSession() as plain, CachedSession(cache=backend) as session:
        assert await asked(session, origin.url) == await asked(plain, origin.url)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
async def test_a_bomb_is_not_kept_beyond_the_bound_of_a_body(store: Store, note: Note) -> None:
    bomb = gzip.compress(bytes(40 * MEGABYTE))
    backend = store.backend(max_body_bytes=MEGABYTE)
    async with (
        RawOrigin(reply(FRESH, b"Content-Encoding: gzip", body=bomb)) as origin,
        CachedSession(cache=backend) as session,
    ):
        tracemalloc.start()
        async with session.get(origin.url) as response:
            size = 0
            async for part in response.content.iter_any():
                size += len(part)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size == 40 * MEGABYTE
        assert await backend.responses.size() == 0
    note(sent_kb=len(bomb) / 1024, decoded_mb=size / MEGABYTE, peak_mb=peak / MEGABYTE)
    await backend.close()


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_a_poisoned_response_for_one_url_is_not_served_for_another(backend: CacheBackend) -> None:
    """The origin sends two responses at once; the second must not answer the next request."""
    smuggled = reply(FRESH) + reply(FRESH, body=b"smuggled")
    async with RawOrigin(smuggled, keep_alive=True) as origin, CachedSession(cache=backend) as session:
        for path in ("/1", "/2", "/3", "/1", "/2", "/3"):
            found = await asked(session, origin.url + path)
            assert b"smuggled" not in found
