"""Partial responses (206) are stored and completed, by each kind of client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse

from aiohttp_cache_di._aiohttp import joining
from tests.clients import Clients, is_hit
from tests.origin import CUT, Origin, Received, answer, chunked

WHOLE = "0123456789"
NOTHING_MORE: Mapping[str, str | None] = MappingProxyType({})


def in_parts(*, tag: str = '"1"', rest: bytes | None = None) -> Callable[[Received], bytes]:
    """A script that sends the requested range, or *rest*, if given, in reply to a request with If-Range."""

    def script(request: Received) -> bytes:
        wanted = request.headers.get("Range", "").removeprefix("bytes=")
        if not wanted:
            return answer(WHOLE, headers={"ETag": tag})
        if rest is not None and "If-Range" in request.headers:
            return rest
        first, _, last = wanted.partition("-")
        end = int(last) + 1 if last else len(WHOLE)
        return part_of(int(first), end, tag=tag)

    return script


def part_of(first: int, end: int, *, tag: str = '"1"', more: Mapping[str, str | None] = NOTHING_MORE) -> bytes:
    described = f"bytes {first}-{end - 1}/{len(WHOLE)}"
    return answer(WHOLE[first:end], status=206, headers={"ETag": tag, "Content-Range": described, **more})


async def test_a_part_is_completed_by_the_rest_of_it(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", in_parts())
    async with client.session.get(url, headers={"Range": "bytes=0-4"}) as response:
        assert (response.status, await response.text()) == (206, "01234")

    async with client.session.get(url) as response:
        assert (response.status, response.reason, response.content_length) == (200, "OK", 10)
        assert "Content-Range" not in response.headers
        assert b"Content-Range" not in dict(response.raw_headers)
        assert (is_hit(response), await response.text()) == (False, WHOLE)

    assert await client.fetch(url) == (True, WHOLE)
    sent = [(request.headers.get("Range"), request.headers.get("If-Range")) for request in origin.received]
    assert sent == [("bytes=0-4", None), ("bytes=5-", '"1"')]


async def test_requests_at_the_same_time_share_what_completes_a_part(origin: Origin, clients: Clients) -> None:
    client, url = clients(cache_control=True), origin.on("/", in_parts())
    await client.fetch(url, headers={"Range": "bytes=0-4"})

    found = await asyncio.gather(*(client.fetch(url) for _ in range(5)))

    assert [text for _, text in found] == [WHOLE] * 5
    assert origin.hits == 2


@pytest.mark.parametrize(
    "rest",
    [
        answer(status=416, headers={"Content-Range": "bytes */5"}),
        part_of(5, 10, tag='"2"'),
        part_of(4, 10),
        part_of(5, 10, more={"Content-Length": None, "Transfer-Encoding": "chunked"})[:-5] + chunked(b"56789"),
    ],
    ids=["416", "another state", "another part", "of unknown length"],
)
async def test_what_is_not_the_rest_is_followed_by_the_whole(origin: Origin, clients: Clients, rest: bytes) -> None:
    client, url = clients(cache_control=True), origin.on("/", in_parts(rest=rest))
    await client.fetch(url, headers={"Range": "bytes=0-4"})

    assert await client.fetch(url) == (False, WHOLE)
    assert await client.fetch(url) == (True, WHOLE)
    assert origin.hits == 3


async def test_a_rest_that_is_not_stored_is_handed_on_with_the_part(origin: Origin, clients: Clients) -> None:
    refusing = part_of(5, 10, more={"Cache-Control": "no-store"})
    client, url = clients(cache_control=True), origin.on("/", in_parts(rest=refusing))
    await client.fetch(url, headers={"Range": "bytes=0-4"})

    assert await client.fetch(url) == (False, WHOLE)
    assert await client.fetch(url) == (False, WHOLE)
    assert [request.headers.get("Range") for request in origin.received] == ["bytes=0-4", "bytes=5-", "bytes=5-"]


async def test_the_part_comes_before_the_rest_has_arrived(origin: Origin, clients: Clients) -> None:
    has_read = asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        if request.number == 1:
            yield part_of(0, 5)
        else:
            yield part_of(5, 10)[:-3]
            await has_read.wait()
            yield b"789"

    client, url = clients(cache_control=True), origin.on("/", script)
    await client.fetch(url, headers={"Range": "bytes=0-4"})

    async with client.session.get(url) as response:
        assert await response.content.readexactly(7) == b"0123456"
        has_read.set()
        assert await response.read() == b"789"
    assert await client.fetch(url) == (True, WHOLE)


async def test_a_rest_that_is_cut_is_told_to_its_reader_and_not_stored(origin: Origin, clients: Clients) -> None:
    async def script(request: Received) -> AsyncIterator[bytes]:
        if request.number == 2:
            yield part_of(5, 10)[:-3]
            yield CUT
        else:
            yield in_parts()(request)

    client, url = clients(cache_control=True), origin.on("/", script)
    await client.fetch(url, headers={"Range": "bytes=0-4"})

    with pytest.raises(ClientPayloadError):
        await client.fetch(url)
    assert await client.fetch(url) == (False, WHOLE)


async def test_where_nothing_can_be_put_before_a_body_the_whole_is_fetched(
    origin: Origin, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_CAN", False)  # as if a release of aiohttp had changed its internals
    client, url = clients(cache_control=True), origin.on("/", in_parts())
    await client.fetch(url, headers={"Range": "bytes=0-4"})

    assert await client.fetch(url) == (False, WHOLE)
    assert [request.headers.get("Range") for request in origin.received] == ["bytes=0-4", "bytes=5-", None]


class Unchanging(ClientResponse):
    """A response whose headers cannot be replaced."""

    @property
    def _headers(self) -> Any:
        return self.__dict__["_own"]

    @_headers.setter
    def _headers(self, headers: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.__dict__.get("_own"):
            raise TypeError("they are as they are")
        self.__dict__["_own"] = headers


async def test_where_a_response_does_not_let_itself_be_changed_the_whole_is_fetched(
    origin: Origin, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    client, url = clients(cache_control=True, session={"response_class": Unchanging}), origin.on("/", in_parts())
    async with client.session.get(url, headers={"Range": "bytes=0-4"}) as response:
        assert isinstance(response, Unchanging)
        await response.read()

    assert await client.fetch(url) == (False, WHOLE)
    assert [request.headers.get("Range") for request in origin.received] == ["bytes=0-4", "bytes=5-", None]
    assert "could not be put before" in caplog.text
