"""Refuse connections to other machines, for all libraries that use Python's sockets."""

from __future__ import annotations

import ipaddress
import socket
from asyncio.proactor_events import BaseProactorEventLoop
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from aiohttp_cache_di.testing.calls import NetworkBlockedError

__all__ = ["blocked_network"]

_CONNECTING: Final = ("connect", "connect_ex", "sendmsg", "sendto")
_LOOKING_UP: Final = ("getaddrinfo", "gethostbyaddr", "gethostbyname", "gethostbyname_ex")
_NAMED: Final = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "0.0.0.0", "::"})  # noqa: S104  # no bind


def _is_here(host: object) -> bool:
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    if host is None or not isinstance(host, str):
        return host is None
    name = host.lower().rstrip(".").partition("%")[0]
    if name in _NAMED or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _refuse(what: str) -> None:
    raise NetworkBlockedError(
        f"{what}: the network is blocked (--block-network). Record the test with @pytest.mark.recorded and "
        "--record-mode=once, which works for sessions with a cache, or answer it by fake_upstream"
    )


@contextmanager
def blocked_network() -> Generator[None]:
    """Raise `NetworkBlockedError` for connections to other machines and for look-ups of their addresses.

    The loopback interface and Unix sockets stay usable. Other processes, and resolvers in C such as that of aiodns, are
    not affected, as they do not use Python's sockets.
    """
    guards: list[tuple[Any, str, Any]] = [(socket.socket, name, _guarded) for name in _CONNECTING if _has(name)]
    guards.append((BaseProactorEventLoop, "sock_connect", _guarded_loop))
    guards += [(socket, name, _guarded_look_up) for name in _LOOKING_UP]
    for loop in _foreign_loops():
        guards += [(loop, name, guard) for name, guard in _GUARDS_OF_LOOPS.items()]
    kept = [(owner, name, _own(owner, name)) for owner, name, _ in guards]
    for owner, name, guard in guards:
        setattr(owner, name, guard(getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, own in kept:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def _has(name: str) -> bool:
    return hasattr(socket.socket, name)


def _foreign_loops() -> list[Any]:
    """The classes of event loops that connect in C, without Python's sockets."""
    return [import_module(name).Loop for name in ("uvloop", "winloop") if find_spec(name) is not None]


def _own(owner: Any, name: str) -> Any:
    """The attribute *name* of *owner* itself; None if it inherits the attribute."""
    return owner.__dict__.get(name)


def _is_tuple(address: object) -> bool:
    return isinstance(address, tuple)


def _guarded(method: Any) -> Any:
    def guarded(self: socket.socket, *args: Any) -> Any:
        if _is_tuple(args[-1]):  # sendto and sendmsg take the address after the data
            _check(self, args[-1])
        return method(self, *args)

    return guarded


def _guarded_look_up(look_up: Any) -> Any:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_here(host) and not _is_address(host):
            _refuse(f"the address of {host!r} was asked for")
        return look_up(host, *args, **kwargs)

    return guarded


def _guarded_connection(connect: Any) -> Any:
    async def guarded(self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **kwargs: Any) -> Any:
        if not _is_here(host):
            _refuse(f"a connection to {host}:{port}")
        return await connect(self, protocol_factory, host, port, **kwargs)

    return guarded


def _guarded_endpoint(open_endpoint: Any) -> Any:
    async def guarded(
        self: Any, protocol_factory: Any, local_addr: Any = None, remote_addr: Any = None, **kwargs: Any
    ) -> Any:
        if _is_tuple(remote_addr) and not _is_here(remote_addr[0]):
            _refuse(f"a connection to {remote_addr[0]}:{remote_addr[1]}")
        return await open_endpoint(self, protocol_factory, local_addr, remote_addr, **kwargs)

    return guarded


def _guarded_loop_look_up(look_up: Any) -> Any:
    async def guarded(self: Any, host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_here(host) and not _is_address(host):
            _refuse(f"the address of {host!r} was asked for")
        return await look_up(self, host, *args, **kwargs)

    return guarded


_GUARDS_OF_LOOPS: Final = {
    "create_connection": _guarded_connection,
    "create_datagram_endpoint": _guarded_endpoint,
    "getaddrinfo": _guarded_loop_look_up,
}


def _guarded_loop(method: Any) -> Any:
    """As `_guarded`, for a method of asyncio's event loop on Windows, which connects without Python's sockets."""

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
