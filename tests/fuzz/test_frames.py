"""Stored bytes that are anything: they are an entry or they are refused, and an entry can be used for anything."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import event, given
from hypothesis import strategies as st
from yarl import URL

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.entries.codec import FORMAT_VERSION, EntryCodec
from aiohttp_cache_di.entries.items import Opaque
from aiohttp_cache_di.errors import UnreadableEntryError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.fuzz.fuzzing import fuzzed

KEY = "k" * 40
PAYLOAD_AT = 12
CODEC = EntryCodec()
SIGNING = EntryCodec("a secret of more than sixteen characters")
GENUINE = [
    codec.pack(item, KEY)
    for codec in (CODEC, SIGNING)
    for item in (make_entry(KEY, b"body"), "another key", Opaque(KEY, b"payload"))
]

numbers = st.one_of(
    st.floats(),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([math.inf, -math.inf, math.nan, 0, -1, 1e300, 253_402_300_800.0, 1_700_000_000.0, 4e9]),
)
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "*", "GET", "\r\n", "a\0b", "http://", "https://example.org/", "http://[::1]:99999/", "é" * 50]
    ),
)
NAMES = [
    *(b"ETag", b"Vary", b"Date", b"Age", b"Cache-Control", b"Expires", b"Last-Modified", b"Content-Type", b"Pragma"),
    *(
        b"Location",
        b"Content-Range",
        b"Accept-Ranges",
        b"Link",
        b"Set-Cookie",
        b"Content-Encoding",
        b"Content-Language",
    ),
    *(b"Content-Location", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Content-Disposition", b"Warning"),
]
VALUES = [
    *(b'"tag"', b"*", b"max-age=99999999999999999999", b"max-age=60", b"Thu, 01 Jan 1970 00:00:00 GMT", b"gzip"),
    *(b"bytes 0-1/2", b"text/html; charset=nonsense", b"\xff\xfe", b"no-store", b"-1", b"9" * 5000, b"", b"a,,b"),
    *(b"Thu, 31 Feb 9999 99:99:99 GMT", b"<http://[>; rel=next", b"http://[", b"//x", b"stale-if-error=60, no-cache"),
    *(b"/a?sig=REDACTED#sealed=AAAA", b"/a#sealed=", b"http://u:p@h/;sid=1?next=%2F%3Ftoken%3D1"),
]
raw = st.one_of(st.binary(max_size=20), st.sampled_from([*NAMES, *VALUES, b"a\r\nb: c", b"\0"]))
chance = st.sampled_from([True, True, True, False])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts, raw),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=10,
)
variants = st.tuples(st.lists(texts, max_size=3), raw, texts, st.one_of(st.none(), texts), numbers)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "key": texts,
    "method": texts,
    "url": texts,
    "status": numbers,
    "reason": st.one_of(st.none(), raw),
    "version": st.lists(numbers, max_size=3),
    "raw_headers": st.lists(st.tuples(raw, raw), max_size=6) | st.fixed_dictionaries({"text": raw}),
    "requested_at": numbers,
    "received_at": numbers,
    "created_at": numbers,
    "fresh_until": numbers,
    "store_until": numbers,
    "partition": texts,
    "vary_fields": st.lists(texts, max_size=3),
    "vary_digest": raw,
    "variants": st.lists(variants, max_size=3),
    "history": st.lists(texts, max_size=3),
    "tagging": st.one_of(st.none(), st.lists(values, max_size=4)),
    "body": raw,
}
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "method": st.sampled_from(["GET", "HEAD", "POST", "QUERY"]),
    "url": st.sampled_from(
        [
            "http://h/",
            "https://h/?a=b&token=REDACTED",
            "http://h/;sid=1?sig=2",
            "http://[::1]:1/\U0001f600",
            "x://h",
            "http://h:0/%ff",
        ]
    ),
    "status": st.integers(200, 999).filter(lambda status: status != 304),
    "reason": st.sampled_from([None, b"", b"\xff", b"OK"]),
    "version": st.tuples(st.integers(0, 9), st.integers(0, 9)),
    "raw_headers": st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.one_of(
                st.sampled_from(VALUES),
                st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=9).map(
                    str.encode
                ),
            ),
        ),
        max_size=6,
    ).flatmap(lambda lines: st.sampled_from([lines, {"text": b"\n".join(piece for line in lines for piece in line)}])),
    **dict.fromkeys(("requested_at", "received_at", "created_at"), st.floats(0, 253_086_767_999)),
    **dict.fromkeys(("fresh_until", "store_until"), st.sampled_from([math.inf, -math.inf, 0.0, 2e9, 4e9, -1e11])),
    "vary_fields": st.sampled_from([(), ("*",), ("accept",), ("accept-language", "cookie")]),
    "variants": st.lists(
        st.tuples(
            st.sampled_from([("*",), ("accept",)]),
            st.binary(max_size=64),
            st.sampled_from(["a", KEY]),
            st.sampled_from([None, "", "*", '"x"', 'W/"', "\xff", '"a", "b"']),
            st.sampled_from([math.inf, 0.0, 2e9]),
        ),
        max_size=3,
    ),
    "tagging": st.tuples(st.lists(texts, max_size=3), st.integers(0, 9), st.text(max_size=3), st.integers(0, 2**60)),
}
PLACES = list(StoredResponse.__struct_fields__)


def framed(payload: bytes, kind: int = 1, flags: int = 2) -> bytes:
    """*payload* in a frame whose checksum is right under `KEY`."""
    head = bytes((FORMAT_VERSION, kind, flags, 0))
    beside = len(KEY).to_bytes(4, "big") + KEY.encode()
    return b"\xacDI\n" + zlib.crc32(head + beside + payload).to_bytes(4, "big") + head + payload


@st.composite
def forged(draw: st.DrawFn) -> bytes:
    """A frame with a checksum that is right and an entry of which some fields are anything."""
    frame = CODEC.pack(make_entry(KEY, b"body"), KEY)
    entry: list[Any] = list(msgspec.msgpack.decode(frame[PAYLOAD_AT:]))
    for name in draw(st.lists(st.sampled_from(PLACES), max_size=4)):
        entry[PLACES.index(name)] = draw(PLAUSIBLE.get(name, FIELDS[name]) if draw(chance) else FIELDS[name])
    return framed(msgspec.msgpack.encode(entry))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A frame of ours with some bytes that are others, fewer or more."""
    frame = bytearray(draw(st.sampled_from(GENUINE)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(frame)))
        frame[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(frame)


anything = st.one_of(
    st.binary(max_size=200),
    damaged(),
    forged(),
    st.builds(framed, st.builds(msgspec.msgpack.encode, values), st.integers(0, 255), st.integers(0, 7)),
    st.builds(framed, st.binary(max_size=60), st.integers(0, 4), st.integers(0, 7)),
)


def test_the_forged_frames_are_believed_when_nothing_is_changed() -> None:
    entry = make_entry(KEY, b"body")
    assert CODEC.unpack(framed(CODEC.pack(entry, KEY)[PAYLOAD_AT:]), KEY) == entry
    assert [*FIELDS] == PLACES


@fuzzed(800)
@given(anything, st.sampled_from([KEY, None, "other"]), st.sampled_from([CODEC, SIGNING]))
def test_bytes_are_an_entry_or_are_refused(data: bytes, key: str | None, codec: EntryCodec) -> None:
    try:
        item = codec.decode(data, key)
    except UnreadableEntryError:
        return
    if codec is SIGNING:
        assert data in GENUINE, "whatever else is changed, nobody without the secret can have written it"
    if isinstance(item, StoredResponse):
        assert codec.unpack(codec.pack(item, KEY), KEY) is not None
        assert item.size_bytes > 0


class Client:
    """Sessions in both modes over one memory, an origin, and the loop that they run in."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner

    async def open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", answer)
        self.server = TestServer(app)
        await self.server.start_server()
        self.url = str(self.server.make_url("/x"))
        self.sessions = [CachedSession(cache=CacheBackend(cache_control=mode)) for mode in (False, True)]

    async def close(self) -> None:
        for session in self.sessions:
            await session.close()
        await self.server.close()

    async def use(self, item: StoredResponse | str) -> None:
        """Do with a stored *item* what a program may do with a cache; all of it must go well."""
        for session in self.sessions:
            backend = session.cache
            key = backend.create_key("GET", self.url)
            await backend.clear()
            made = msgspec.structs.replace(item, key=key) if isinstance(item, StoredResponse) else item
            await backend.stack.put(Record(key, made, math.inf))
            for url in [url async for url in backend.get_urls()]:
                await backend.has_url(URL(url, encoded=True))
            responses = backend.responses.values()
            [repr(each) async for each in responses]
            for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": '"tag"'}, {"Cache-Control": "max-stale"}):
                async with session.get(self.url, headers=headers, raise_for_status=False) as response:
                    await response.read()
                    look_at(response)
            await backend.has_url(self.url)
            async with session.post(self.url) as response:
                await response.read()
            await backend.delete_expired_responses()
            await backend.delete_url(self.url)
            assert not backend.stats.store_errors


async def answer(request: web.Request) -> web.Response:
    return web.Response(text="from the origin", headers={"ETag": '"new"', "Cache-Control": "max-age=60"})


def look_at(response: Any) -> None:
    """Ask a response for all that it tells by itself."""
    str(response)
    for name in ("headers", "raw_headers", "history", "url", "real_url", "content_type", "ok", "reason", "version"):
        getattr(response, name)
    with suppress(ValueError):  # as aiohttp's own raises it for a Link to what is no URL
        response.links  # noqa: B018
    for name in ("charset", "cookies", "from_cache", "created_at", "expires", "is_expired", "cache_status"):
        getattr(response, name)


@pytest.fixture
def client() -> Iterator[Client]:
    with asyncio.Runner() as runner:
        client = Client(runner)
        runner.run(client.open())
        yield client
        runner.run(client.close())


@fuzzed(100)
@given(frame=forged())
def test_a_stored_entry_fails_no_request(client: Client, frame: bytes) -> None:
    item = CODEC.unpack(frame, KEY)
    event(type(item).__name__)
    if isinstance(item, StoredResponse | str):
        client.runner.run(client.use(item))
