"""What aiohttp does not promise and this package relies on: each test fails when a release of aiohttp changes it."""

from __future__ import annotations

import ast
import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import (
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    CookieJar,
    MultipartWriter,
    StreamReader,
)
from aiohttp.helpers import TimerContext
from aiohttp.http_parser import DeflateBuffer

import aiohttp_cache_di
from aiohttp_cache_di._aiohttp import TOUCHED, arrived_chunks, handler_option, timer_fired, watch_decoding
from tests.origin import Origin, Received, answer

PACKAGE = Path(aiohttp_cache_di.__file__).parent


def changed(what: str) -> str:
    """What to say when something is not as it was."""
    return f"aiohttp {aiohttp.__version__} has changed {what}; see aiohttp_cache_di/_aiohttp.py"


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in TOUCHED.items() for name in names], ids=str
)
async def test_each_private_attribute_is_there(owner: type, name: str, origin: Origin) -> None:
    found: list[Any] = [MultipartWriter(), TimerContext(asyncio.get_running_loop())]

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
        (one,) = (one for one in found if isinstance(one, owner))
        assert hasattr(one, name), changed(f"{owner.__name__}.{name}")


def test_every_private_attribute_that_is_used_is_listed() -> None:
    listed = {name for names in TOUCHED.values() for name in names}
    classes = (ClientSession, ClientResponse, ClientRequest, StreamReader, DeflateBuffer, CookieJar)
    theirs = {name for one in classes for name in private_names(one)}
    modules = sorted(PACKAGE.rglob("*.py"))
    ours = {name for module in modules for name in names_of(module)}
    for module in modules:
        unlisted = attributes_read_in(module) & theirs - ours - listed
        assert not unlisted, f"{module.name} touches {', '.join(unlisted)} of aiohttp: list it in _aiohttp.TOUCHED"


def private_names(one: type) -> set[str]:
    """The private names that a class of aiohttp has, or that its methods set."""
    names = {name for base in one.__mro__ for name in vars(base)} | set(getattr(one, "ATTRS", ()))
    for base in one.__mro__:
        init = vars(base).get("__init__")
        names |= set(getattr(getattr(init, "__code__", None), "co_names", ()))
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


def attributes_read_in(module: Path) -> set[str]:
    """The attributes that a module takes from something other than ``self`` or ``cls``."""
    return {
        node.attr
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute)
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


def names_of(module: Path) -> set[str]:
    """The private names that the module gives to things of its own."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case _:
                pass
    return names


class TestDecodingWatch:
    """Whether a content coding came to its end is seen for each coding, however the bytes arrive."""

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
    """Whether the watch saw the end of the coding of *response*, sent in *pieces*."""

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
        found.append(handler_option(handler, "auto_decompress", "missing"))
        response: ClientResponse = await handler(request)
        return response

    async with ClientSession(middlewares=(look,), auto_decompress=False) as session:
        await session.get(origin.on("/", answer()))
        await session.get(origin.on("/", answer()), auto_decompress=True)
    assert found == [False, True], changed("the closure of its innermost handler")
    assert handler_option(object(), "auto_decompress", "missing") == "missing"


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
        raise AssertionError("nobody ended it")

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
        assert b"".join(arrived_chunks(response.content)) == b"text", changed("the buffer of a StreamReader")


async def test_a_stream_may_change_its_class() -> None:
    class Other(StreamReader):
        __slots__ = ()

    protocol: Any = object()
    stream = StreamReader(protocol, 1, loop=asyncio.get_running_loop())
    stream.__class__ = Other
    assert type(stream) is Other, changed("the layout of StreamReader")
