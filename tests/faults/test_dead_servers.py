"""A Redis server that is down, killed, frozen, silent, foreign or unwilling: no request notices."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.backends.redis import RedisBackend
from tests.faults.conftest import Note
from tests.faults.load import RESUMES_WITHIN_S, Traffic, hits_resume, open_circuit_costs
from tests.faults.origin import Origin
from tests.valkey import ValkeyServer

LOGGER = "aiohttp_cache_di"


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of a store that fails, without its numbers."""
    return [record.getMessage() for record in caplog.records if record.name.startswith(LOGGER)]


def check_observable(backend: RedisBackend, caplog: pytest.LogCaptureFixture) -> None:
    """The fault has moved a counter, degraded the health, and been logged once for each kind."""
    assert backend.stats.store_errors
    assert backend.stats.health().status == "degraded"
    kinds = len(backend.stats.store_errors)
    assert 1 <= len(lines_of(caplog)) <= kinds


async def wait_for_circuit(backend: RedisBackend, state: str) -> None:
    """Wait until the circuit is in *state*; nothing but traffic moves it."""
    async with asyncio.timeout(10):
        while backend.stats.circuit != state:  # noqa: ASYNC110  # the counters are for reading, and wake no task
            await asyncio.sleep(0.01)


async def killed(server: ValkeyServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(3)
    await asyncio.to_thread(server.start)


async def frozen(server: ValkeyServer) -> None:
    server.pause()
    await asyncio.sleep(3)
    server.resume()


@pytest.mark.parametrize("fault", [killed, frozen])
async def test_a_server_that_goes_and_comes_back(
    own_valkey: ValkeyServer,
    origin: Origin,
    note: Note,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[ValkeyServer], Coroutine[Any, Any, None]],
) -> None:
    backend = RedisBackend("faults", own_valkey.url)
    async with Traffic(backend, origin) as traffic:
        await asyncio.sleep(0.2)
        down = asyncio.create_task(fault(own_valkey))
        await wait_for_circuit(backend, "open")
        check_observable(backend, caplog)
        await down
        begun = time.perf_counter()
        await hits_resume(traffic)  # which does not tell all: what waits to be written is read from memory
        await wait_for_circuit(backend, "closed")
        resumed_s = time.perf_counter() - begun
    note(**traffic.figures, resumed_s=resumed_s)
    await backend.close()
    traffic.check()
    assert resumed_s < RESUMES_WITHIN_S
    assert "unwritten" not in backend.stats.store_errors


async def test_a_server_that_is_down_at_the_start(
    tmp_path: Path, origin: Origin, note: Note, caplog: pytest.LogCaptureFixture
) -> None:
    with ValkeyServer(tmp_path) as server:
        server.stop()
        backend = RedisBackend("faults", server.url)
        async with Traffic(backend, origin) as traffic:
            await wait_for_circuit(backend, "open")
            check_observable(backend, caplog)
        async with Traffic(backend, origin, clients=0) as alone:
            costs_s = min([await open_circuit_costs(alone) for _ in range(3)])
        await asyncio.to_thread(server.start)
        async with Traffic(backend, origin) as later:
            resumed_s = await hits_resume(later)
        note(**traffic.figures, open_circuit_ms=costs_s * 1000, resumed_s=resumed_s)
        await backend.close()
    traffic.check()
    later.check()
    assert costs_s < 0.001
    assert resumed_s < RESUMES_WITHIN_S


@asynccontextmanager
async def server_saying(answer: bytes | None) -> AsyncGenerator[str]:
    """A server that is no Redis: it answers everything with *answer*, or with nothing."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        while await reader.read(65536):
            if answer is not None:
                writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"redis://{host}:{port}"
    finally:
        server.close()
        for writer in connections:
            writer.transport.abort()
        await server.wait_closed()


FOREIGN = {
    "black hole": None,
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\xff\xfe garbage \r\n",
    "huge length": b"$99999999999999999999\r\n",
    "deep nesting": b"*1\r\n" * 5000,
    "wrong type": b":1\r\n",
    "too many replies": b"+OK\r\n" * 1000,
    "errors": b"-ERR no\r\n",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_server_that_is_none(origin: Origin, note: Note, caplog: pytest.LogCaptureFixture, name: str) -> None:
    async with server_saying(FOREIGN[name]) as url:
        backend = RedisBackend("faults", url)
        async with Traffic(backend, origin, clients=32) as traffic:
            await asyncio.sleep(0.4)
            if name != "wrong type":
                check_observable(backend, caplog)
        note(**traffic.figures, circuit=backend.stats.circuit)
        await backend.close()
    traffic.check()


def oom(server: ValkeyServer) -> None:
    server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.command("CONFIG", "SET", "maxmemory", "1")


def oom_over(server: ValkeyServer) -> None:
    server.command("CONFIG", "SET", "maxmemory", "0")


def read_only(server: ValkeyServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", "1")


def read_only_over(server: ValkeyServer) -> None:
    server.command("REPLICAOF", "NO", "ONE")


def auth(server: ValkeyServer) -> None:
    server.command("ACL", "SETUSER", "default", "-@all", "+client", "+acl", "+ping")


def auth_over(server: ValkeyServer) -> None:
    server.command("ACL", "SETUSER", "default", "+@all")


UNWILLING = {"OOM": (oom, oom_over), "READONLY": (read_only, read_only_over), "NOPERM": (auth, auth_over)}


@pytest.mark.parametrize("name", UNWILLING)
async def test_a_server_that_refuses(
    own_valkey: ValkeyServer, origin: Origin, note: Note, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    begin, end = UNWILLING[name]
    backend = RedisBackend("faults", own_valkey.url)
    async with Traffic(backend, origin) as traffic:
        await asyncio.to_thread(begin, own_valkey)
        await wait_for_circuit(backend, "open")
        check_observable(backend, caplog)
        if name != "NOPERM":
            before = traffic.hits
            assert await traffic.ask("/old/1"), "what can be read is still served"
            assert traffic.hits > before
        await asyncio.sleep(0.3)
        await asyncio.to_thread(end, own_valkey)
        resumed_s = await hits_resume(traffic)
    note(**traffic.figures, resumed_s=resumed_s)
    await backend.close()
    traffic.check()
    assert resumed_s < RESUMES_WITHIN_S


async def test_a_server_that_wants_a_password(
    tmp_path: Path, origin: Origin, note: Note, caplog: pytest.LogCaptureFixture
) -> None:
    with ValkeyServer(tmp_path, config={"requirepass": "pw7QSECRET"}) as server:
        for url in (server.url, server.url.replace("redis://", "redis://:wrongSECRET@")):
            backend = RedisBackend("faults", url)
            async with Traffic(backend, origin) as traffic:
                await wait_for_circuit(backend, "open")
            note(**traffic.figures)
            await backend.close()
            traffic.check()
            assert backend.stats.store_errors
    assert "SECRET" not in caplog.text


async def test_keys_of_another_type_are_misses_that_are_overwritten(
    own_valkey: ValkeyServer, origin: Origin, note: Note
) -> None:
    backend = RedisBackend("faults", own_valkey.url)
    async with Traffic(backend, origin, clients=0) as traffic:
        for name in own_valkey.command("KEYS", "faults:responses:*"):
            own_valkey.command("DEL", name)
            own_valkey.command("RPUSH", name, "a", "list")
        for _ in range(2):
            await asyncio.gather(*(traffic.ask(f"/old/{number}") for number in range(20)))
            await backend.settle()
    note(**traffic.figures)
    await backend.close()
    traffic.check()
    assert traffic.hits == 20
    assert not backend.stats.store_errors


@pytest.fixture(autouse=True)
def warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
