"""A server that is down, killed, frozen, silent, foreign, throttled or refuses: no request fails."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from tests.faults.conftest import Note
from tests.faults.load import DEADLINE_S, RESUMES_WITHIN_S, Traffic, hits_resume, open_circuit_costs
from tests.faults.origin import Origin
from tests.server import ServerProcess
from tests.stores import SERVERS, Store, make_store
from tests.valkey import ValkeyServer

LOGGER = "aiohttp_cache_di"


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages that the package has logged."""
    return [record.getMessage() for record in caplog.records if record.name.startswith(LOGGER)]


def check_observable(backend: CacheBackend, caplog: pytest.LogCaptureFixture) -> None:
    """Assert that the fault has changed a counter and degraded the health, and was logged once for each kind."""
    assert backend.stats.store_errors
    assert backend.stats.health().status == "degraded"
    kinds = len(backend.stats.store_errors)
    assert 1 <= len(lines_of(caplog)) <= kinds


async def wait_for_circuit(backend: CacheBackend, state: str) -> None:
    """Wait until the circuit breaker is in *state*; only traffic changes it."""
    async with asyncio.timeout(10):
        while backend.stats.circuit != state:  # noqa: ASYNC110  # counters have no event
            await asyncio.sleep(0.01)


async def wait_until_degraded(backend: CacheBackend) -> None:
    """Wait until the health reports the fault; an answer of a foreign server may pass for a success in between."""
    async with asyncio.timeout(10):
        while backend.stats.health().is_ok:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)


async def killed(server: ServerProcess) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(2)
    await asyncio.to_thread(server.start)


async def frozen(server: ServerProcess) -> None:
    with server.frozen():
        await asyncio.sleep(2)


@pytest.fixture(params=SERVERS)
def down(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Store]:
    """A store on a server of its own, which has an address but does not run."""
    with SERVERS[request.param](tmp_path) as server:
        server.stop()
        yield make_store(request.param, tmp_path, server, f"faults-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def up(down: Store) -> Store:
    """The same store; its server runs."""
    down.server.start()
    return down


def clients(store: Store) -> int:
    """How many clients the server can serve."""
    return 8 if store.is_slow else 64


@pytest.mark.parametrize("fault", [killed, frozen])
async def test_a_server_that_goes_and_comes_back(
    up: Store,
    origin: Origin,
    note: Note,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[ServerProcess], Coroutine[Any, Any, None]],
) -> None:
    backend = up.backend(storage_deadline=DEADLINE_S)
    async with Traffic(backend, origin, clients=clients(up)) as traffic:
        await asyncio.sleep(0.2)
        under_way = asyncio.create_task(fault(up.server))
        await wait_for_circuit(backend, "open")
        check_observable(backend, caplog)
        await under_way
        begun = time.perf_counter()
        await hits_resume(traffic)  # not sufficient: pending writes are read from memory
        await wait_for_circuit(backend, "closed")
        resumed_s = time.perf_counter() - begun
    note(**traffic.figures, resumed_s=resumed_s)
    await backend.close()
    traffic.check()
    assert resumed_s < RESUMES_WITHIN_S
    assert "unwritten" not in backend.stats.store_errors


async def test_a_server_that_is_down_at_the_start(
    down: Store, origin: Origin, note: Note, caplog: pytest.LogCaptureFixture
) -> None:
    backend = down.backend(storage_deadline=DEADLINE_S)
    async with Traffic(backend, origin, clients=clients(down)) as traffic:
        await wait_for_circuit(backend, "open")
        check_observable(backend, caplog)
    async with Traffic(backend, origin, clients=0) as alone:
        costs_s = min([await open_circuit_costs(alone) for _ in range(3)])
    await asyncio.to_thread(down.server.start)
    async with Traffic(backend, origin, clients=clients(down)) as later:
        resumed_s = await hits_resume(later)
    note(**traffic.figures, open_circuit_ms=costs_s * 1000, resumed_s=resumed_s)
    await backend.close()
    traffic.check()
    later.check()
    assert costs_s < 0.001
    assert resumed_s < RESUMES_WITHIN_S


SCHEMES = {"redis": "redis", "mongodb": "mongodb", "dynamodb": "http"}


class Foreign:
    """A server of another kind: it answers everything with *answer*, or nothing at all."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._connections: set[asyncio.StreamWriter] = set()
        self._address = ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Serve within this context."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._address = ":".join(map(str, server.sockets[0].getsockname()[:2]))
        try:
            yield
        finally:
            server.close()
            for writer in self._connections:
                writer.transport.abort()
            await server.wait_closed()

    def url(self, kind: str) -> str:
        """Its address in the form for a store of this *kind*."""
        return f"{SCHEMES[kind]}://{self._address}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        with suppress(ConnectionError):
            while await reader.read(65536):
                if self._answer is not None:
                    writer.write(self._answer)


def http(status: str, body: str) -> bytes:
    """A response of an HTTP server."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


ANYWHERE: dict[str, bytes | None] = {
    "black hole": None,
    "HTTP": http("400 Bad Request", ""),
    "garbage": b"\x00\xff\xfe garbage \r\n",
}
TOLD = {"black hole", "garbage", "throttling", "no JSON"}
FOREIGN: dict[str, dict[str, bytes | None]] = {
    "redis": {
        "huge length": b"$99999999999999999999\r\n",
        "deep nesting": b"*1\r\n" * 5000,
        "wrong type": b":1\r\n",
        "too many replies": b"+OK\r\n" * 1000,
        "errors": b"-ERR no\r\n",
        "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    },
    "mongodb": {
        "a huge message": b"\xff\xff\xff\x7f" + bytes(12),
        "an empty message": b"\x10\x00\x00\x00" + bytes(12),
    },
    "dynamodb": {
        "throttling": http("400 Bad Request", '{"__type": "ProvisionedThroughputExceededException", "message": "no"}'),
        "no credentials": http("400 Bad Request", '{"__type": "UnrecognizedClientException", "message": "no"}'),
        "no region": http("503 Service Unavailable", ""),
        "no JSON": http("200 OK", "<html>"),
        "another service": http("200 OK", "{}"),
    },
}
CASES = [
    # Requests wait for a server without usable answers, so each case takes seconds.
    pytest.param(kind, name, marks=[] if kind == "redis" or name in TOLD else [pytest.mark.slow])
    for kind, own in FOREIGN.items()
    for name in (*ANYWHERE, *own)
]


@pytest.mark.parametrize(("kind", "name"), CASES)
async def test_a_server_that_is_none(
    origin: Origin, note: Note, caplog: pytest.LogCaptureFixture, tmp_path: Path, kind: str, name: str
) -> None:
    foreign = Foreign({**ANYWHERE, **FOREIGN[kind]}[name])
    async with foreign.running():
        server = SimpleNamespace(url=foreign.url(kind))
        backend = make_store(kind, tmp_path, server, "faults").backend(storage_deadline=DEADLINE_S)
        async with Traffic(backend, origin, clients=32) as traffic:
            await asyncio.sleep(0.4)
            if name != "wrong type":
                await wait_until_degraded(backend)
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
