"""No connection leaves this machine: for whatever library, since it is Python's sockets that refuse."""

from __future__ import annotations

import ipaddress
import socket
from asyncio.proactor_events import BaseProactorEventLoop
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from aiohttp_cache_di.testing.calls import NetworkBlockedError

__all__ = ["blocked_network"]

_CONNECTING: Final = ("connect", "connect_ex", "sendto")
_NAMED: Final = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "0.0.0.0", "::"})  # noqa: S104  # to ask


def _is_here(host: object) -> bool:
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    if host is None or not isinstance(host, str):
        return host is None
    name = host.lower().rstrip(".").partition("%")[0]
    if name in _NAMED or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refuse(what: str) -> None:
    raise NetworkBlockedError(
        f"{what}: the network is blocked (--block-network). Record the test with @pytest.mark.recorded and "
        "--record-mode=once, which works for sessions with a cache, or answer it by fake_upstream"
    )


@contextmanager
def blocked_network() -> Generator[None]:
    """Refuse to connect to other machines, and to look up their addresses; raise `NetworkBlockedError` instead.

    This machine's loopback interface and Unix sockets stay open.
    """
    guards: list[tuple[Any, str, Any]] = [(socket.socket, name, _guarded) for name in _CONNECTING]
    guards.append((BaseProactorEventLoop, "sock_connect", _guarded_loop))
    kept = [(owner, name, _own(owner, name)) for owner, name, _ in guards]
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_here(host) and not _is_address(host):
            _refuse(f"the address of {host!r} was asked for")
        return look_up(host, *args, **kwargs)

    for owner, name, guard in guards:
        setattr(owner, name, guard(getattr(owner, name)))
    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = look_up
        for owner, name, own in kept:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def _own(owner: type, name: str) -> Any:
    """What *owner* itself has as *name*; None where it is a base's."""
    return vars(owner).get(name)


def _guarded(method: Any) -> Any:
    def guarded(self: socket.socket, *args: Any) -> Any:
        _check(self, args[-1])  # of sendto, after the data
        return method(self, *args)

    return guarded


def _guarded_loop(method: Any) -> Any:
    """As `_guarded`, for a method of the loop that asyncio has on Windows, which asks the system by itself."""

    async def guarded(self: Any, sock: socket.socket, address: Any) -> None:
        _check(sock, address)
        await method(self, sock, address)

    return guarded


def _check(sock: socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
        _refuse(f"a connection to {address[0]}:{address[1]}")


def _is_address(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True
