"""Responses of a user's class, and responses whose parts are set by a tool that replays them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import ClientResponse, HttpVersion, StreamReader
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict, CIMultiDictProxy

from tests.clients import Client, Clients
from tests.origin import Origin, answer

NAMES = ("from_cache", "created_at", "expires", "is_expired", "cache_status")


class Mine(ClientResponse):
    """A subclass without additions."""


class Initialised(ClientResponse):
    """A class with its own initialiser."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mark = "set"


class Slotted(ClientResponse):
    """A class with ``__slots__``."""

    __slots__ = ("mark",)


class Telling(ClientResponse):
    """A class that defines one of the cache's attributes itself."""

    @property
    def cache_status(self) -> str:
        """Its own value, whatever the cache has done."""
        return "its own"


@pytest.mark.parametrize("made", [ClientResponse, Mine, Initialised, Slotted])
@pytest.mark.parametrize("cache_control", [False, True])
async def test_misses_and_hits_of_any_class_say_the_same(
    clients: Clients, origin: Origin, made: type[ClientResponse], cache_control: bool
) -> None:
    url = origin.on("/", answer("a"))
    client = clients(cache_control=cache_control, expire_after=60, session={"response_class": made})
    for is_hit in (False, True, True):
        before = time.time()
        async with client.session.get(url) as answered:
            assert isinstance(answered, made)
            response: Any = answered
            assert await response.text() == "a"
            await client.backend.settle()
            assert response.from_cache is is_hit
            assert isinstance(response.created_at, datetime)
            assert before - 60 < response.created_at.timestamp() <= time.time()
            assert 0 < (response.expires - datetime.now(UTC)).total_seconds() <= 60
            assert not response.is_expired
            assert response.cache_status.startswith("aiohttp-cache-di; " + ("hit" if is_hit else "fwd=uri-miss"))


@pytest.mark.parametrize("made", [ClientResponse, Mine, Initialised, Slotted])
async def test_what_passes_by_says_so_whatever_its_class(
    clients: Clients, origin: Origin, made: type[ClientResponse]
) -> None:
    url = origin.on("/", answer("a"))
    client = clients(session={"response_class": made})
    asked: list[tuple[str, dict[str, Any]]] = [
        ("DELETE", {}),
        ("GET", {"headers": {"Accept": "text/event-stream"}}),
    ]
    for method, options in asked:
        async with client.session.request(method, url, **options) as answered:
            response: Any = answered
            assert not response.from_cache
            assert "fwd=" in response.cache_status
            assert all(hasattr(response, name) for name in NAMES)


async def test_an_attribute_of_a_user_s_class_is_left_alone(clients: Clients, origin: Origin) -> None:
    client = clients(session={"response_class": Telling})
    async with client.session.get(origin.on("/", answer("a"))) as answered:
        response: Any = answered
        assert await response.text() == "a"
        assert (response.cache_status, response.from_cache) == ("its own", False)


async def hit(client: Client, url: str) -> ClientResponse:
    """A response from the cache."""
    await client.fetch(url)
    await client.backend.settle()
    response = await client.session.get(url)
    assert getattr(response, "from_cache", False)
    return response


def stream_of(body: bytes) -> StreamReader:
    """A stream as made by a tool that replays a body."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    return stream


@pytest.mark.parametrize("made", [ClientResponse, Mine, Initialised])
async def test_a_body_that_is_set_is_the_one_that_is_read(
    clients: Clients, origin: Origin, made: type[ClientResponse]
) -> None:
    client = clients(session={"response_class": made})
    url = origin.on("/", answer("a"))
    response = await hit(client, url)
    response.content = stream = stream_of(b"another")
    assert response.content is stream
    assert await response.read() == b"another"

    recorded = await hit(client, url)
    body = await recorded.read()  # as vcrpy does: read the body, then feed it to the reader
    recorded.content = stream_of(body)
    assert await recorded.content.read() == b"a"
    assert await recorded.text() == "a"
    assert (await client.fetch(url))[1] == "a", "what is stored is not touched"


async def test_whatever_can_be_set_on_aiohttp_s_own_can_be_set_on_a_hit(clients: Clients, origin: Origin) -> None:
    client = clients(cache_control=True)
    response: Any = await hit(client, origin.on("/", answer("a")))
    fields = CIMultiDictProxy(CIMultiDict({"X-A": "b", "Content-Type": "text/plain"}))
    response.reason, response.version, response.status = "Other", HttpVersion(1, 0), 201
    response._headers, response._raw_headers = fields, ((b"X-A", b"b"),)
    assert (response.reason, response.version, response.status) == ("Other", HttpVersion(1, 0), 201)
    assert (response.headers, response.raw_headers) == (fields, ((b"X-A", b"b"),))
    assert await response.text() == "a"
    response.release()
    again: Any = await hit(client, origin.url + "/")
    assert (again.reason, again.status, "X-A" in again.headers) == ("OK", 200, False)
    for name in ("headers", "raw_headers", "request_info"):
        with pytest.raises(AttributeError):
            setattr(again, name, None)


@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_clock_that_was_a_year_ahead_makes_nothing_last_a_year(
    clients: Clients, origin: Origin, monkeypatch: pytest.MonkeyPatch, cache_control: bool
) -> None:
    now = time.time
    url = origin.on("/", lambda request: answer(str(request.number), headers={"Date": None}))
    client = clients(cache_control=cache_control, expire_after=60)
    monkeypatch.setattr(time, "time", lambda: now() + 365 * 86400)
    assert [await client.fetch(url) for _ in range(3)] == [(False, "1"), (True, "1"), (True, "1")]
    await client.backend.settle()
    monkeypatch.setattr(time, "time", now)
    assert (await client.fetch(url))[1] == "2"
    assert await client.fetch(url) == (True, "2")


async def test_for_ever_is_for_ever_by_any_clock(
    clients: Clients, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    url = origin.on("/", answer("a"))
    client = clients(expire_after=-1)
    monkeypatch.setattr(time, "time", lambda: now() + 365 * 86400)
    await client.fetch(url)
    await client.backend.settle()
    monkeypatch.setattr(time, "time", now)
    assert (await client.fetch(url))[0]
