"""Undocumented behaviour of aiohttp that the package relies on: a test fails if a release of aiohttp changes it."""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import (
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    CookieJar,
    DigestAuthMiddleware,
    MultipartWriter,
    StreamReader,
    TraceConfig,
    compression_utils,
)
from aiohttp.compression_utils import BrotliDecompressor, ZLibDecompressor
from aiohttp.helpers import TimerContext
from aiohttp.http_parser import DeflateBuffer, HttpResponseParserPy
from aiohttp.tracing import Trace

from aiohttp_cache_di import CachedSession, CacheMiddleware, middleware
from aiohttp_cache_di._aiohttp import (
    FEATURES,
    Needs,
    access,
    arrived_chunks,
    can,
    connector_ssl,
    decodes,
    decoding,
    hand_on_cookies,
    is_decoded,
    parts_of,
    timer_fired,
    watch_decoding,
)
from tests.origin import Origin, Received, answer
from tests.renaming import renamed
from tests.sources import PACKAGE, sources

TOUCHED = [
    (owner, name)
    for owner, name in dict.fromkeys(
        (owner, name) for classes in FEATURES.values() for owner, found in classes.items() for name in found
    )
]
THEIR_SUBCLASSES = {"session.py", "response.py"}
"""Modules with subclasses of aiohttp's classes, which use the names of their bases."""


def changed(what: str) -> str:
    """What to say when something is not as it was."""
    return f"aiohttp {aiohttp.__version__} has changed {what}; see aiohttp_cache_di/_aiohttp"


@pytest.mark.parametrize(("owner", "name"), TOUCHED, ids=str)
async def test_each_private_attribute_is_there(
    owner: type, name: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression_utils, "HAS_BROTLI", True)
    monkeypatch.setattr(compression_utils, "brotli", FakeBrotli, raising=False)
    found: list[Any] = [MultipartWriter(), TimerContext(asyncio.get_running_loop()), BrotliDecompressor()]
    found += [DigestAuthMiddleware("user", "password"), HttpResponseParserPy()]

    async def collect(request: ClientRequest, handler: Any) -> ClientResponse:
        found.append(request)
        response: ClientResponse = await handler(request)
        return response

    async def slowly(request: Received) -> AsyncIterator[bytes]:
        yield answer(headers={"Content-Length": "4"})
        await asyncio.sleep(0.005)
        yield b"text"

    url = origin.on("/", slowly)
    async with ClientSession() as session, session.get(url, middlewares=(collect,)) as response:
        assert response.connection is not None
        decoder = DeflateBuffer(StreamReader(response.content._protocol, 1), "gzip")
        found += [session, response, session.cookie_jar, response.content, response.connection.protocol]
        found += [decoder, decoder.decompressor, session.connector]
        found.append(Trace(session, TraceConfig(), SimpleNamespace()))
        (one,) = (one for one in found if isinstance(one, owner))
        assert hasattr(one, name), changed(f"{owner.__name__}.{name}")


class FakeBrotli:
    """Stands in for the module ``brotli``, which no other test needs."""

    class Decompressor:
        """A decompressor at the end of its stream."""

        def is_finished(self) -> bool:
            """Always true."""
            return True


CLASSES = (
    ClientSession,
    ClientResponse,
    ClientRequest,
    StreamReader,
    DeflateBuffer,
    CookieJar,
    BrotliDecompressor,
    DigestAuthMiddleware,
    HttpResponseParserPy,
    ZLibDecompressor,
)


def test_every_private_attribute_that_is_used_is_listed() -> None:
    listed = {name for _, name in TOUCHED} | {"_request"}
    theirs = {name for one in CLASSES for name in private_names(one)}
    package = [source for source in sources() if source.path.is_relative_to(PACKAGE)]
    isolating = [one for one in package if one.path.parent.name == "_aiohttp" or one.path.name in THEIR_SUBCLASSES]
    ours = {name for one in package if one.path.name not in THEIR_SUBCLASSES for name in one.own | one.defined}
    for source in package:
        used = ({name for name, _ in source.read} | source.looked_up) & theirs - ours
        if source not in isolating:
            assert not used, f"{source.name} touches {', '.join(used)} of aiohttp: let _aiohttp do that"
        assert used <= listed, f"{source.name} touches {', '.join(used - listed)} of aiohttp: list it in names.py"


def private_names(one: type) -> set[str]:
    """The private names that a class of aiohttp has, or that its methods set."""
    names = {name for base in one.__mro__ for name in vars(base)} | set(getattr(one, "ATTRS", ()))
    for base in one.__mro__:
        init = vars(base).get("__init__")
        names |= set(getattr(getattr(init, "__code__", None), "co_names", ()))
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


class TestDecodingWatch:
    """The end of the stream is detected for each content coding, however the bytes arrive."""

    @pytest.mark.parametrize(("coding", "whole"), [("gzip", True), ("gzip", False), ("deflate", True)])
    @pytest.mark.parametrize("pieces", [1, 2, 50])
    async def test_the_end_of_a_coding_is_seen(self, origin: Origin, coding: str, pieces: int, whole: bool) -> None:
        coded = gzip.compress(b"text" * 1000) if coding == "gzip" else zlib.compress(b"text" * 1000)
        body = coded if whole else coded[:-4]
        assert await watched(origin, answer(body, headers={"Content-Encoding": coding}), pieces) is whole, changed(
            f"how a {coding} body is decoded"
        )

    async def test_two_members_are_one_gzip_body(self, origin: Origin) -> None:
        body = gzip.compress(b"one") + gzip.compress(b"two")
        assert await watched(origin, answer(body, headers={"Content-Encoding": "gzip"}), 1)

    async def test_an_empty_body_has_ended(self, origin: Origin) -> None:
        response = answer(b"", headers={"Content-Encoding": "gzip", "Content-Length": None})
        chunks = response.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert await watched(origin, chunks, 2)

    async def test_a_body_announced_as_empty_has_ended(self, origin: Origin) -> None:
        assert await watched(origin, answer(b"", headers={"Content-Encoding": "gzip"}), 1)

    async def test_the_parser_is_aiohttp_s_own_again_after_the_head(self, origin: Origin) -> None:
        parsers: list[object] = []

        async def look(request: ClientRequest, handler: Any) -> ClientResponse:
            watch_decoding(request)
            response: ClientResponse = await handler(request)
            assert response.connection is not None
            protocol: Any = response.connection.protocol
            parsers.append(protocol._parser)
            return response

        async def slowly(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "4"})
            await asyncio.sleep(0.01)
            yield b"text"

        async with ClientSession(middlewares=(look,)) as session, session.get(origin.on("/", slowly)) as response:
            assert await response.text() == "text"
        assert [type(parser).__name__ for parser in parsers] == ["HttpResponseParser"], changed("the parser's name")

    async def test_thousands_of_informational_responses_are_parsed(self, origin: Origin) -> None:
        hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000
        url = origin.on("/", hints + answer("text"))
        async with ClientSession(middlewares=(watching([]),)) as session, session.get(url) as response:
            assert await response.text() == "text"


def watching(watches: list[Any]) -> Any:
    """A middleware that watches the decoder of each response."""

    async def watch(request: ClientRequest, handler: Any) -> ClientResponse:
        watches.append(watch_decoding(request))
        response: ClientResponse = await handler(request)
        return response

    return watch


async def watched(origin: Origin, response: bytes, pieces: int) -> bool:
    """Whether the watch has seen the end of the content coding of *response*, sent in *pieces*."""

    async def script(request: Received) -> AsyncIterator[bytes]:
        size = -(-len(response) // pieces)
        for start in range(0, len(response), size):
            yield response[start : start + size]
            await asyncio.sleep(0.001)

    watches: list[Any] = []
    async with ClientSession(middlewares=(watching(watches),)) as session, session.get(origin.on("/", script)) as got:
        try:
            await got.read()
        except aiohttp.ClientPayloadError:
            return False
    finished: bool = watches[0].finished
    return finished


async def test_an_option_is_found_where_aiohttp_keeps_it(origin: Origin) -> None:
    found: list[object] = []

    async def look(request: ClientRequest, handler: Any) -> ClientResponse:
        found.append(decodes(handler, None, request.session))
        response: ClientResponse = await handler(request)
        return response

    async with ClientSession(middlewares=(look,), auto_decompress=False) as session:
        await session.get(origin.on("/", answer()))
        await session.get(origin.on("/", answer()), auto_decompress=True)
        assert found == [False, True], changed("the closure of its innermost handler")
        assert decodes(object(), None, session) is False, "a handler of another make follows the session"
        assert decodes(object(), True, session) is True

        async def silent(request: ClientRequest) -> None: ...

        silent.__qualname__ = "ClientSession._request.<locals>._connect_and_send_request"
        assert decodes(silent, None, session) is None


async def test_a_total_timeout_is_told_from_a_cancellation(origin: Origin) -> None:
    fired: list[bool] = []
    waiting = asyncio.Event()

    async def wait(request: ClientRequest, handler: Any) -> ClientResponse:
        waiting.set()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            fired.append(timer_fired(request))
            raise
        raise AssertionError("it was not ended")

    async with ClientSession(middlewares=(wait,)) as session:
        with pytest.raises(TimeoutError):
            await session.get(origin.url, timeout=ClientTimeout(total=0.02))
        waiting.clear()
        task = asyncio.create_task(session.get(origin.url).__aenter__())
        await waiting.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert fired == [True, False], changed("how its total timeout ends a request")


async def test_what_has_arrived_of_a_body_can_be_seen(origin: Origin) -> None:
    async with ClientSession() as session, session.get(origin.on("/", answer("text"))) as response:
        assert b"".join(arrived_chunks(response.content) or ()) == b"text", changed("the buffer of a StreamReader")


async def test_a_stream_may_change_its_class() -> None:
    class Other(StreamReader):
        __slots__ = ()

    protocol: Any = object()
    stream = StreamReader(protocol, 1, loop=asyncio.get_running_loop())
    stream.__class__ = Other
    assert type(stream) is Other, changed("the layout of StreamReader")


class Bare:
    """An object with the given attributes only."""

    def __init__(self, **has: object) -> None:
        vars(self).update(has)


def bare(**has: object) -> Any:
    return Bare(**has)


class TestWithoutAName:
    """Where aiohttp lacks a name, the package falls back to a correct way without it."""

    def test_a_buffer_that_cannot_be_seen_is_taken_for_empty_only_if_it_is(self) -> None:
        assert arrived_chunks(bare(total_bytes=0)) == []
        assert arrived_chunks(bare(total_bytes=1)) is None

    @pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {}])
    def test_a_body_that_may_be_decoded_counts_as_decoded(self, headers: dict[str, str]) -> None:
        assert is_decoded(bare(content=bare(), headers=headers)) is bool(headers)

    async def test_a_connector_that_does_not_tell_how_it_verifies_is_like_no_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with ClientSession() as session:
            assert connector_ssl(session) is True
            monkeypatch.delattr(session.connector, "_ssl")
            assert connector_ssl(session) is session.connector
            monkeypatch.undo()

    def test_a_form_whose_parts_cannot_be_seen_is_no_form_that_can_be_read_twice(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        form = MultipartWriter()
        form.append("field")
        assert len(parts_of(form) or ()) == 1
        monkeypatch.delattr(form, "_parts")
        assert parts_of(form) is None

    def test_a_request_without_a_timer_was_cancelled_by_others(self) -> None:
        assert timer_fired(bare()) is False
        assert timer_fired(bare(_timer=bare())) is False
        assert timer_fired(bare(_timer=bare(_cancelled=True))) is True

    @pytest.mark.parametrize("by_name", [True, False])
    async def test_cookies_are_handed_on(self, by_name: bool, monkeypatch: pytest.MonkeyPatch, origin: Origin) -> None:
        monkeypatch.setattr(access, "_CAN_COOKIES", by_name)
        lines = (("Set-Cookie", "a=b; Path=/"), ("Set-Cookie", "c=d"))
        async with ClientSession() as session, session.get(origin.on("/", answer(lines=lines))) as first:
            for cookies in (first, [value for _, value in lines]):
                async with session.get(origin.on("/other", answer())) as second:
                    hand_on_cookies(second, cookies)
                    assert {name: one.value for name, one in second.cookies.items()} == {"a": "b", "c": "d"}
                    assert second.cookies["a"]["path"] == "/"

    def test_a_brotli_decoder_that_is_hidden_has_not_ended(self) -> None:
        assert decoding._has_ended(bare(_obj=FakeBrotli.Decompressor())) is True
        assert decoding._has_ended(bare()) is False

    async def test_a_parser_is_not_watched_without_all_of_its_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(decoding, "_CAN_WATCH", False)
        request = bare()
        assert watch_decoding(request) is None
        assert not vars(request)

    async def test_a_decoder_that_the_parser_hides_is_warned_of_once_and_its_bodies_are_not_stored(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, origin: Origin
    ) -> None:
        def hidden(*objects: object) -> list[object]:
            return []

        monkeypatch.setattr("gc.get_referents", hidden)
        decoding._warn_of_hidden_decoders.cache_clear()
        url = origin.on("/", answer(gzip.compress(b"text"), headers={"Content-Encoding": "gzip"}))
        other = origin.on("/other", answer(b"text"))
        async with CachedSession() as session:
            for one in (url, other, url, other):
                async with session.get(one) as response:
                    assert await response.text() == "text"
        assert (origin.hits_of("/"), origin.hits_of("/other")) == (2, 1)
        (warning,) = caplog.messages
        assert aiohttp.__version__ in warning

    def test_this_release_has_them_all(self) -> None:
        assert all(map(can, Needs))


GENERIC = {"decompressor": "http_parser", "size": "http_parser", "feed_eof": "streams,http_parser"}
"""Names that other things have as well, with the modules in which they can be renamed."""
SHARED = {"_cache", "set_exception"}
"""Names that aiohttp cannot change alone: propcache keeps its values in the one, asyncio's futures have the other."""


def alike() -> list[list[str]]:
    """The names that the same features need, together: without any of them, the same code runs."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name in sorted({name for _, name in TOUCHED} - SHARED):
        needed_by = [needs for needs, classes in FEATURES.items() if any(name in names for names in classes.values())]
        groups.setdefault((*needed_by, GENERIC.get(name)), []).append(name)
    return list(groups.values())


@pytest.mark.processes
class TestRenamedNames:
    """With a release that has renamed something, callers get the same bytes, and one warning is logged."""

    async def test_as_it_is(self) -> None:
        usual = await renamed("aiohttp", "nothing_that_there_is")
        assert usual["wrong"] == usual["logged"] == []
        assert set(usual["asked"].values()) == {1, 3}, "all but what has to be validated is asked for once"

    @pytest.mark.parametrize("names", alike(), ids=", ".join)
    async def test_costs_speed_and_nothing_else(self, names: list[str]) -> None:
        told = await renamed("aiohttp", *names, modules=GENERIC.get(names[0], ""))
        assert told["wrong"] == []
        assert told["import_error"] == ""
        logged: list[str] = told["logged"]
        assert [name for name in names if not any(re.search(rf"\b{name}\b", line) for line in logged)] == []
        assert [line for line in logged if aiohttp.__version__ not in line or not any(map(line.count, names))] == []
        assert len(logged) == len(set(logged))

    async def test_without_the_one_that_all_rests_on_the_import_says_so(self) -> None:
        told = await renamed("aiohttp", "_request")
        assert aiohttp.__version__ in told["import_error"]
        assert "ClientSession._request" in told["import_error"]


@pytest.mark.parametrize("plain", [True, False])
async def test_an_option_that_cannot_be_seen_keeps_a_plain_session_from_the_cache(
    plain: bool, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unseen(handler: object, wished: bool | None, session: ClientSession) -> bool | None:
        return wished

    monkeypatch.setattr(middleware, "decodes", unseen)
    url = origin.on("/", answer(gzip.compress(b"text"), headers={"Content-Encoding": "gzip"}))
    made = ClientSession(middlewares=(CacheMiddleware(),)) if plain else CachedSession()
    async with made as session:
        for decoded, body in ((True, b"text"), (False, gzip.compress(b"text"))) * 2:
            async with session.get(url, auto_decompress=decoded) as response:
                assert (await response.read())[10:] == body[10:]  # the header of gzip contains the time
    assert origin.hits == (4 if plain else 2)
