"""Limits of what is under way on a connection: fewer commands if replies are large, and no server that falls silent."""

from __future__ import annotations

import asyncio
import socket
import time

from aiohttp_cache_di.backends.redis.connections.limits import (
    MAX_WINDOW,
    MIN_WINDOW,
    WIDE_WINDOW,
    WINDOW_BYTES,
    Silence,
    Window,
)

TIMEOUT_S = 0.05


def test_large_replies_allow_fewer_commands_but_never_none() -> None:
    window = Window()
    before = window.size
    window.received(WINDOW_BYTES, 1)
    assert MIN_WINDOW < window.size < before
    for _ in range(50):
        window.received(WINDOW_BYTES, 1)
    assert window.size == MIN_WINDOW


def test_small_replies_allow_many_commands_again() -> None:
    window = Window()
    for size in (WINDOW_BYTES, 100):
        for _ in range(100):
            window.received(size, 1)
    assert WIDE_WINDOW <= window.size <= MAX_WINDOW


def test_the_window_fits_replies_of_one_size() -> None:
    window = Window()
    for _ in range(100):
        window.received(10 * WINDOW_BYTES // 100, 10)
    assert 95 <= window.size <= 100


def test_a_reply_counts_with_all_its_parts() -> None:
    whole, parts = Window(), Window()
    whole.received(WINDOW_BYTES // 20, 1)
    for _ in range(4):
        parts.received(WINDOW_BYTES // 100, 0)
    assert parts.partial_bytes == 4 * (WINDOW_BYTES // 100)
    parts.received(WINDOW_BYTES // 100, 1)
    assert parts.partial_bytes == 0
    assert parts.size == whole.size


async def test_a_silent_server_is_given_up_when_the_time_is_over() -> None:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[float] = loop.create_future()
    silence = Silence(TIMEOUT_S, lambda: True, over.set_result)
    begun_at = loop.time()
    silence.asked(is_first=True)
    async with asyncio.timeout(20):
        assert await over == TIMEOUT_S
    assert loop.time() - begun_at >= TIMEOUT_S * 0.9


async def test_the_time_begins_anew_when_the_server_is_heard_and_with_the_first_command_after_a_rest() -> None:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[float] = loop.create_future()
    silence = Silence(TIMEOUT_S, lambda: True, over.set_result)
    silence.asked(is_first=True)
    silence.heard_at = heard_at = loop.time() + TIMEOUT_S
    async with asyncio.timeout(20):
        await over
    assert loop.time() - heard_at >= TIMEOUT_S * 0.9

    silence.heard_at = 0.0
    silence.asked(is_first=False)
    assert silence.heard_at > 0, "the timer has been started"
    silence.heard_at = 0.0
    silence.asked(is_first=False)
    assert silence.heard_at == 0, "a command beside others says nothing about the server"
    silence.asked(is_first=True)
    assert silence.heard_at > 0
    silence.stop()


async def test_a_reply_that_is_read_late_because_the_loop_was_blocked_is_heard() -> None:
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    over: asyncio.Future[float] = loop.create_future()
    silence = Silence(TIMEOUT_S, lambda: True, over.set_result)
    ours, theirs = socket.socketpair()

    def hear() -> None:
        ours.recv(1)
        silence.heard_at = loop.time()
        heard.set()

    with ours, theirs:
        loop.add_reader(ours, hear)
        silence.asked(is_first=True)
        time.sleep(1.5 * TIMEOUT_S)  # noqa: ASYNC251  # the timer is due in the next turn, after this task goes on
        await asyncio.sleep(0)
        silence.asked(is_first=True)
        theirs.send(b"+")
        time.sleep(1.5 * TIMEOUT_S)  # noqa: ASYNC251  # and is late then
        async with asyncio.timeout(20):
            await heard.wait()
        loop.remove_reader(ours)
    assert not over.done()
    silence.stop()


async def test_a_server_that_owes_nothing_may_be_silent() -> None:
    is_owed, looked = True, asyncio.Event()
    over: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def owes() -> bool:
        looked.set()
        return is_owed

    silence = Silence(TIMEOUT_S, owes, over.set_result)
    silence.asked(is_first=True)
    is_owed = False
    async with asyncio.timeout(20):
        await looked.wait()
        assert not over.done()
        is_owed = True
        silence.asked(is_first=True)
        await over


async def test_without_a_limit_or_once_stopped_nothing_is_called() -> None:
    calls: list[float] = []
    Silence(None, lambda: True, calls.append).asked(is_first=True)
    silence = Silence(TIMEOUT_S, lambda: True, calls.append)
    silence.asked(is_first=True)
    silence.stop()
    await asyncio.sleep(2 * TIMEOUT_S)
    assert calls == []
