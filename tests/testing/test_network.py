"""The network that is blocked: no other machine is connected to, nor asked for, and this one can be."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.proactor_events import BaseProactorEventLoop
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import ClientSession

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.testing import FakeUpstream, NetworkBlockedError, blocked_network
from aiohttp_cache_di.testing.network import _is_here
from tests.origin import Origin, answer

NO_LOOP: Any = None
ELSEWHERE = ("192.0.2.1", 9)  # RFC 5737: an address of documentation, which is no machine's


@pytest.fixture(autouse=True)
def _blocked() -> Iterator[None]:
    with blocked_network():
        yield


@pytest.mark.parametrize("name", ["connect", "connect_ex"])
def test_a_socket_does_not_connect_to_another_machine(name: str) -> None:
    with socket.socket() as made, pytest.raises(NetworkBlockedError, match=r"192\.0\.2\.1:9"):
        getattr(made, name)(ELSEWHERE)


def test_a_datagram_is_not_sent_to_another_machine() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as made, pytest.raises(NetworkBlockedError):
        made.sendto(b"", ELSEWHERE)


@pytest.mark.skipif(not hasattr(socket.socket, "sendmsg"), reason="Python has no sendmsg there")
def test_a_datagram_in_pieces_is_not_sent_to_another_machine() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        with pytest.raises(NetworkBlockedError):
            made.sendmsg([b"a"], [], 0, ELSEWHERE)
        with pytest.raises(OSError, match="estination"):
            made.sendmsg([b"a"])


def test_an_address_is_not_asked_for() -> None:
    with pytest.raises(NetworkBlockedError, match=r"api\.example\.com"):
        socket.getaddrinfo("api.example.com", 443)


@pytest.mark.parametrize("look_up", [socket.gethostbyname, socket.gethostbyname_ex])
def test_nor_is_it_in_an_older_way(look_up: Any) -> None:
    name = look_up.__name__
    with pytest.raises(NetworkBlockedError, match=r"api\.example\.com"):
        getattr(socket, name)("api.example.com")
    assert getattr(socket, name)("127.0.0.1")


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1", "127.1.2.3", "localhost", b"localhost", "a.localhost"])
def test_what_is_of_this_machine_is_known(host: Any) -> None:
    assert _is_here(host)


async def test_a_name_is_not_looked_up_by_the_loop() -> None:
    with pytest.raises(NetworkBlockedError):
        await asyncio.get_running_loop().getaddrinfo("api.example.com", 443)
    with pytest.raises(NetworkBlockedError):
        await asyncio.open_connection("api.example.com", 443)


async def test_a_plain_session_is_refused_with_advice() -> None:
    async with ClientSession() as session:
        with pytest.raises(NetworkBlockedError, match="fake_upstream"):
            await session.get("https://api.example.com/")
        with pytest.raises(NetworkBlockedError):
            await session.get("http://192.0.2.1:9/")


async def test_this_machine_is_open(origin: Origin) -> None:
    url = origin.on("/a", answer("here"))
    async with CachedSession() as session:
        async with session.get(url) as response:
            assert await response.text() == "here"
        async with session.get(url.replace("127.0.0.1", "localhost")) as response:
            assert await response.text() == "here"


async def test_a_fake_upstream_is_not_in_its_way() -> None:
    with FakeUpstream() as upstream:
        upstream.get("https://api.example.com/", text="faked")
        async with CachedSession() as session, session.get("https://api.example.com/") as response:
            assert await response.text() == "faked"


async def test_the_loop_that_windows_has_does_not_connect_to_another_machine() -> None:
    with socket.socket() as made, pytest.raises(NetworkBlockedError):
        await BaseProactorEventLoop.sock_connect(NO_LOOP, made, ELSEWHERE)


@pytest.mark.skipif(sys.platform == "win32", reason="Python has no Unix sockets there")
def test_unix_sockets_are_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"a")
        assert theirs.recv(1) == b"a"
    with socket.socket(socket.AF_UNIX) as made, pytest.raises(FileNotFoundError):
        made.connect("/nowhere/at/all")


def test_after_it_sockets_are_as_they_were() -> None:
    look_up = socket.getaddrinfo
    with blocked_network():
        assert socket.getaddrinfo is not look_up
    assert socket.getaddrinfo is look_up


async def test_names_of_this_machine_are_looked_up() -> None:
    assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
