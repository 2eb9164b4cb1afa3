"""Servers that die, freeze, refuse or send garbage: the package raises its own errors, in time, and then recovers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.redis import RedisCache, store
from aiohttp_cache_di.backends.redis.connections.wire import Reply, command
from aiohttp_cache_di.backends.redis.records.commands import page
from aiohttp_cache_di.errors import StorageError, StorageTimeoutError
from tests.backends.entries import make_entry
from tests.backends.redis.opened import connection_of, store_of
from tests.valkey import ValkeyServer

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server_that(script: Script) -> AsyncGenerator[str]:
    """Run a server that follows *script*; yields its address."""

    serving = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*serving), 20)  # each ends with its client


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, after: bytes = b"") -> None:
    """Accept the driver's two CLIENT SETINFO commands, and send *after* together with the second answer."""
    for last in (False, True):
        lines = int((await reader.readuntil(b"\r\n"))[1:-2]) * 2
        for _ in range(lines):
            await reader.readuntil(b"\r\n")
        writer.write(b"+OK\r\n" + (after if last else b""))


async def test_a_server_that_is_not_there_is_our_error_with_the_drivers_behind_it(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as server:
        url = server.url
    cache = RedisCache("app", "r", url.replace("redis://", "redis://user:geheim@"))
    for operation in (cache.read_entry("k"), cache.write_entry(make_entry("k")), cache.delete("k"), cache.size()):
        with pytest.raises(StorageError, match="cannot be used") as caught:
            await operation
        assert caught.value.__cause__ is not None
        assert "geheim" not in f"{caught.value!r} {caught.value.__cause__!r} {cache!r} {store_of(cache)!r}"
    await cache.close()


async def test_a_host_that_does_not_exist_is_our_error() -> None:
    cache = RedisCache("app", "r", "redis://does-not-exist.invalid:1")
    with pytest.raises(StorageError):
        await cache.read_entry("k")


async def test_reads_under_way_fail_when_the_server_is_killed_and_work_when_it_is_back(
    own_valkey: ValkeyServer,
) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    await cache.write_entry(make_entry("k"))
    own_valkey.pause()
    reads = [asyncio.create_task(cache.read_entry(f"k{index}")) for index in range(64)]
    await asyncio.sleep(0)
    own_valkey.kill()
    found = await asyncio.gather(*reads, return_exceptions=True)
    assert all(isinstance(each, StorageError) for each in found)
    with pytest.raises(StorageError):
        await cache.read_entry("k")
    own_valkey.start()
    assert await cache.read_entry("k") is None
    await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None
    await cache.close()


async def test_a_restart_between_two_reads_goes_unnoticed(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    await cache.write_entry(make_entry("k"))
    connection = await connection_of(cache)
    own_valkey.restart()
    await connection.wait_closed()
    assert await cache.read_entry("k") is None
    await cache.close()


async def test_a_frozen_server_is_given_up_after_the_timeout(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url, socket_timeout=0.2)
    await cache.write_entry(make_entry("k"))
    own_valkey.pause()
    started = time.monotonic()
    with pytest.raises(StorageTimeoutError):
        await cache.read_entry("k")
    with pytest.raises(StorageError):  # the kernel accepts the connection, but the server does not answer
        await cache.read_entry("k")
    assert time.monotonic() - started < 2
    own_valkey.resume()
    assert await cache.read_entry("k") is not None
    await cache.close()


async def test_a_slow_server_that_goes_on_sending_is_not_given_up(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url, socket_timeout=0.3)
    await cache.write_entry(make_entry("k", b"x" * 1000))
    connection = await connection_of(cache)
    started = time.monotonic()
    while time.monotonic() - started < 0.7:
        assert await cache.read_entry("k") is not None
    assert await connection_of(cache) is connection
    await cache.close()


async def test_a_reply_that_trickles_in_and_that_nobody_waits_for_is_given_up() -> None:
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        is_slow = connections == 1
        await greet(reader, writer)
        await reader.read(1000)
        writer.write(b"$1000000\r\n" if is_slow else b"$-1\r\n")
        while is_slow:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)  # as over a bad link
        await reader.read()

    async with server_that(script) as url:
        cache = RedisCache("app", "r", url, socket_timeout=0.2)
        connection = await connection_of(cache)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # the caller decides how long to wait
                await cache.read_entry("k")
        assert not connection.closed
        async with asyncio.timeout(2):
            await connection.wait_closed()
            assert await cache.read_entry("k") is None
        await cache.close()


@pytest.mark.parametrize(
    ("config", "code"),
    [({"requirepass": "secret"}, "Auth"), ({"maxmemory": "1", "maxmemory-policy": "noeviction"}, "OOM")],
)
async def test_a_server_that_refuses_us_is_our_error(tmp_path: Path, config: dict[str, str], code: str) -> None:
    with ValkeyServer(tmp_path, config=config) as server:
        cache = RedisCache("app", "r", server.url)
        with pytest.raises(StorageError) as caught:
            await cache.write_entry(make_entry("k", b"very private body"))
        assert caught.value.__cause__ is not None
        assert code in f"{caught.value} {type(caught.value.__cause__).__name__} {caught.value.__cause__}"
        assert "private" not in f"{caught.value!r} {caught.value.__cause__!r}"
        await cache.close()


async def test_a_replica_refuses_writes_and_answers_reads(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    await cache.write_entry(make_entry("k"))
    own_valkey.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StorageError, match="READONLY"):
        await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None
    own_valkey.command("REPLICAOF", "NO", "ONE")
    await cache.write_entry(make_entry("k"))
    await cache.close()


async def test_a_server_that_takes_no_writes_any_more_is_looked_for_anew(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    await cache.write_entry(make_entry("k"))
    connection = await connection_of(cache)
    own_valkey.command("REPLICAOF", "127.0.0.1", "1")
    steps = [cache.read_entry("k"), cache.write_entry(make_entry("k")), cache.read_entry("k")]
    before, refused, after = await asyncio.gather(*steps, return_exceptions=True)
    assert isinstance(refused, StorageError)
    assert not isinstance(before, BaseException)
    assert not isinstance(after, BaseException)
    own_valkey.command("REPLICAOF", "NO", "ONE")
    await connection.wait_closed()
    assert await connection_of(cache) is not connection
    await cache.write_entry(make_entry("k"))
    assert own_valkey.connections() == 1
    await cache.close()


@pytest.mark.parametrize("line", [b"-MOVED 1 127.0.0.1:1\r\n", b"-LOADING soon\r\n", b"-NOAUTH no\r\n", b"-ERR x\r\n"])
async def test_an_error_reply_is_our_error_and_the_server_is_asked_again(line: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        while await reader.read(1000):
            writer.write(line)

    async with server_that(script) as url:
        cache = RedisCache("app", "r", url)
        for _ in range(2):
            with pytest.raises(StorageError, match=line[1:].split()[0].decode()):
                await cache.read_entry("k")
        assert not (await connection_of(cache)).closed
        await cache.close()


async def test_a_connection_that_lost_its_rights_is_opened_anew(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url, password="new", username="default")
    own_valkey.command("CONFIG", "SET", "requirepass", "new")
    own_valkey.config["requirepass"] = "new"
    await cache.write_entry(make_entry("k"))
    connection = await connection_of(cache)
    await connection.submit(command(b"RESET"))
    with pytest.raises(StorageError, match="NOAUTH"):
        await cache.read_entry("k")
    assert await cache.read_entry("k") is not None
    await cache.close()


async def test_a_message_ahead_of_the_first_reply_is_read_past() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer, b">2\r\n+MOVING\r\n:1\r\n")
        while await reader.read(1000):
            writer.write(b"$-1\r\n")

    async with server_that(script) as url:
        cache = RedisCache("app", "r", url)
        assert await cache.read_entry("k") is None
        await cache.close()


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 200 OK\r\n\r\n", b"\x00" * 70_000, b"+ours\r\n+nobody asked\r\n"])
async def test_nonsense_ends_the_connection(nonsense: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.read(1000)
        writer.write(nonsense)
        await reader.read()

    async with server_that(script) as url:
        cache = RedisCache("app", "r", url)
        connection = await connection_of(cache)
        with contextlib.suppress(StorageError):
            assert await cache.read_entry("k") is None
        await connection.wait_closed()
        assert connection.closed
        await cache.close()


async def test_random_bytes_never_hang_or_raise_anything_but_our_error() -> None:
    source = random.Random(7)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.read(1000)
        writer.write(bytes(source.choice(b"+-:$*_#,(=!%~>|01239\r\nab") for _ in range(200)))

    async with server_that(script) as url:
        cache = RedisCache("app", "r", url, socket_timeout=0.2)
        for _ in range(100):
            with contextlib.suppress(StorageError):
                assert await cache.read_entry("k") is None
        await cache.close()


async def test_cancelled_readers_and_writers_take_nothing_from_the_others(own_valkey: ValkeyServer) -> None:
    source = random.Random(1)
    cache = RedisCache("app", "r", own_valkey.url)
    keys = [f"k{index}" for index in range(40)]
    for key in keys:
        await cache.write_entry(make_entry(key, key.encode() * 2000))
    connection = await connection_of(cache)
    wrong = 0

    async def work(key: str) -> None:
        nonlocal wrong
        for _ in range(20):
            found = await cache.read_entry(key)
            wrong += found is None or found.body != key.encode() * 2000
            await cache.write_entry(make_entry(key, key.encode() * 2000))

    tasks = [asyncio.create_task(work(source.choice(keys))) for _ in range(200)]
    for task in source.sample(tasks, 150):
        await asyncio.sleep(0)
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert wrong == 0
    assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
    assert await connection_of(cache) is connection
    assert own_valkey.connections() == 1
    await cache.close()


async def test_who_waits_for_the_connection_may_leave_without_taking_it_along(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    first = asyncio.create_task(cache.read_entry("k"))
    second = asyncio.create_task(cache.read_entry("k"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is None
    assert own_valkey.connections() == 1
    await cache.close()


async def test_closing_while_the_connection_is_being_opened_is_an_error_for_those_who_wait(
    own_valkey: ValkeyServer,
) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    own_valkey.pause()
    read = asyncio.create_task(cache.read_entry("k"))
    await asyncio.sleep(0.01)
    await cache.close()
    with pytest.raises(StorageError, match="closed"):
        await read
    own_valkey.resume()


async def test_closing_with_reads_under_way_fails_them(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    await cache.size()
    reads = [asyncio.create_task(cache.read_entry(f"k{index}")) for index in range(10)]
    await asyncio.sleep(0)
    await cache.close()
    assert {type(each) for each in await asyncio.gather(*reads, return_exceptions=True)} == {StorageError}


async def test_what_was_cancelled_before_it_was_sent_is_never_sent(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    await cache.size()
    writes = [asyncio.create_task(cache.write_entry(make_entry(f"k{index}"))) for index in range(10)]
    await asyncio.sleep(0)  # all have begun; the first is being sent, and the others would follow in one batch
    for write in writes[1:]:
        write.cancel()
    await writes[0]
    assert await cache.size() == 1
    await cache.close()


async def test_large_writes_wait_for_a_server_that_is_slower_than_we_are(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    await cache.size()
    own_valkey.pause()
    body = bytes(2_000_000)
    writes = [asyncio.create_task(cache.write_entry(make_entry(f"k{index}", body))) for index in range(20)]
    await asyncio.sleep(0.05)
    own_valkey.resume()
    await asyncio.gather(*writes)
    found = await asyncio.gather(*(cache.read_entry(f"k{index}") for index in range(20)))
    assert all(entry is not None and entry.body == body for entry in found)
    await cache.close()


@pytest.mark.parametrize("endless", [b"$99999999999999\r\n", b"+"])
async def test_a_reply_that_is_larger_than_anything_we_keep_is_refused_before_it_is_whole(endless: bytes) -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await greet(reader, writer)
        await reader.read(1000)
        writer.write(endless)
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()
            sent += 10_000

    async with server_that(script) as url:
        cache = RedisCache("app", "r", url)
        connection = await connection_of(cache)
        with pytest.raises(StorageError, match="larger than any"):
            await connection.submit(command(b"PING"), max_bytes=lambda: 1_000_000)
        assert connection.closed
        assert sent < 50_000_000
        await cache.close()


@pytest.mark.parametrize("opening", [b"|1\r\n", b"*1\r\n", b"%1\r\n", b">1\r\n", b"~1\r\n", b"*1\r\n|1\r\n"])
async def test_a_reply_that_is_nested_without_end_is_our_error(opening: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.read(1000)
        writer.write(opening * 100_000)
        await writer.drain()
        await reader.read()

    async with server_that(script) as url:
        cache = RedisCache("app", "r", url)
        for _ in range(2):
            with pytest.raises(StorageError):
                await cache.read_entry("k")
        await cache.close()


@pytest.mark.parametrize("attributes", [b"|1\r\n+a\r\n+b\r\n", b"|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n"])
async def test_a_reply_with_attributes_is_our_error_or_what_was_asked_for(attributes: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        while await reader.read(1000):
            writer.write(attributes + b"$-1\r\n")

    async with server_that(script) as url:
        cache = RedisCache("app", "r", url)
        for _ in range(3):
            try:
                assert await cache.read_entry("k") is None
            except StorageError:
                continue
        await cache.close()


@pytest.fixture
async def told() -> AsyncGenerator[list[str]]:
    """Messages of unhandled errors that the loop has reported."""
    loop, messages = asyncio.get_running_loop(), list[str]()
    loop.set_exception_handler(lambda _, context: messages.append(context["message"]))
    yield messages
    loop.set_exception_handler(None)


async def test_a_server_that_goes_while_it_is_asked_to_track_leaves_no_failure_behind(told: list[str]) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"TRACKING")

    async with server_that(leave) as url:
        cache = RedisCache("app", "r", url, near_tier_s=30)
        with pytest.raises(StorageError, match="was lost"):
            await cache.read_entry("k")
        await cache.close()
    gc.collect()
    assert not told


async def test_a_walk_that_loses_its_connection_leaves_no_failure_behind(
    own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    cache = RedisCache("app", "r", own_valkey.url)
    for number in range(8):
        await cache.write_entry(make_entry(f"k{number}"))
    loop, connection = asyncio.get_running_loop(), await connection_of(cache)

    def page_and_end(reply: Reply) -> tuple[bytes, list[bytes]]:
        loop.call_soon(loop.call_soon, connection.abort)  # once the records of the page have been requested
        return page(reply)

    monkeypatch.setattr(store, "page", page_and_end)
    with pytest.raises(StorageError, match="is closed"):
        async for _ in store_of(cache).infos(lambda info: True):
            pass
    await asyncio.sleep(0)  # the current iteration of the loop still references the request
    gc.collect()
    assert not told
    await cache.close()
