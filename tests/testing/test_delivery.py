"""The server of canned responses: sessions of every make are led to it, and go by their own limits."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from aiohttp import ClientTimeout, TCPConnector

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.testing import CacheUnderTest, FakeUpstream

API = "https://api.example.com"
OTHER = "https://other.example"


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as made:
        yield made


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC])
async def test_a_session_of_either_protocol_is_led_there(family: socket.AddressFamily, upstream: FakeUpstream) -> None:
    if family is socket.AF_INET6 and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    upstream.get(API, text="there")
    connector = TCPConnector(family=family)
    async with CachedSession(connector=connector) as session, session.get(API) as response:
        assert await response.text() == "there"


async def test_the_limit_of_one_host_holds_up_no_other(upstream: FakeUpstream) -> None:
    upstream.get(API, body=b"x" * 4_000_000, headers={"Cache-Control": "no-store"})
    upstream.get(OTHER, text="there")
    session = CachedSession(connector=TCPConnector(limit_per_host=1), timeout=ClientTimeout(total=20))
    async with session, session.get(API), session.get(OTHER) as response:  # the first keeps its connection
        assert await response.text() == "there"


async def test_what_one_answers_no_other_looks_at(upstream: FakeUpstream) -> None:
    inner = upstream.get("*", text="inner")
    async with FakeUpstream() as outer, CachedSession(cache_control=True) as session:
        outer.get(API, text="outer")
        with CacheUnderTest() as cache:
            cache.seed(OTHER, text="seeded")
            for url, text in ((API, "outer"), (OTHER, "seeded"), (f"{API}/else", "inner")):
                async with session.get(url) as response:
                    assert await response.text() == text
    assert [str(call.url) for call in inner.calls] == [f"{API}/else"]
