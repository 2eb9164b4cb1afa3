"""Looking up the names of servers in threads of our own, before the driver does so.

asyncio looks names up in a few threads that the whole program shares, and a thread waits for DNS, perhaps for half a
minute, even if its caller has long given up. While no name server answers for a store, each attempt to connect would
occupy one more of them, until requests to other hosts wait for a thread. So once an attempt at a host has failed, the
driver looks its name up only after a look-up has ended here, where a name has one thread, however many attempts wait
for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread

__all__ = ["attempt", "looked_up"]

_failed: set[str] = set()
"""Names of hosts at which the latest attempt to connect has failed."""

_under_way: dict[tuple[int, str], Future[None]] = {}
"""Look-ups by process and name: a forked child has none of its parent's threads."""


async def looked_up(hosts: Iterable[str], within_s: float | None) -> set[str]:
    """Those of *hosts* whose look-up ends within *within_s* seconds, whatever it finds; None: wait for all.

    Only hosts at which the latest `attempt` has failed are looked up. An error is not raised here: the driver gets the
    same, and reports it.
    """
    named = set(hosts)
    asked = {host: asyncio.wrap_future(_begin(host)) for host in named & _failed}
    try:
        if asked:
            await asyncio.wait(asked.values(), timeout=within_s)
        return {host for host in named if host not in asked or asked[host].done()}
    finally:
        for waiting in asked.values():
            waiting.cancel()  # the look-up itself goes on


@contextmanager
def attempt(hosts: Iterable[str]) -> Generator[None]:
    """Note whether the attempt to connect to *hosts* in the ``with`` block fails."""
    names = {host for host in hosts if not _is_address(host)}
    try:
        yield
    except BaseException:
        _failed.update(names)
        raise
    _failed.difference_update(names)


def _begin(host: str) -> Future[None]:
    """The look-up of *host* that is under way, begun if there is none."""
    mine: Future[None] = Future()
    mine.set_running_or_notify_cancel()  # so that none of those who wait can cancel it
    place = os.getpid(), host
    found = _under_way.setdefault(place, mine)
    if found is mine:
        try:
            Thread(target=_look_up, args=(place, mine), name="look-up", daemon=True).start()
        except RuntimeError:  # no more threads: leave it to the driver
            _end(place, mine)
    return found


def _look_up(place: tuple[int, str], ended: Future[None]) -> None:
    try:
        with suppress(Exception):  # also those of a test that forbids look-ups
            socket.getaddrinfo(place[1], None)
    finally:
        _end(place, ended)


def _end(place: tuple[int, str], ended: Future[None]) -> None:
    _under_way.pop(place, None)
    ended.set_result(None)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
