"""Names of servers for which no name server answers: the program's other look-ups go on."""

from __future__ import annotations

import asyncio
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from aiohttp_cache_di.backends.redis.clients import topology_at
from aiohttp_cache_di.backends.redis.servers.lookups import attempt, looked_up
from aiohttp_cache_di.errors import StorageError
from tests.valkey import ValkeyServer
from tests.valkey_cluster import ValkeyCluster
from tests.valkey_sentinels import SERVICE, Sentinels


class Silence:
    """Look-ups of one name, which hang until `ended` is set; then it is the name of this machine."""

    def __init__(self) -> None:
        self.name = f"{uuid.uuid4().hex}.test"
        self.ended = threading.Event()
        self.asked: Counter[str] = Counter()


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    """Let no name server answer for one name."""
    made, usual = Silence(), socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        made.asked[host] += 1
        if host == made.name:
            made.ended.wait(60)
            host = "127.0.0.1"
        return usual(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield made
    made.ended.set()


def fail_at(*hosts: str) -> None:
    """Let an attempt to connect to *hosts* fail."""
    with suppress(OSError), attempt(hosts):
        raise OSError


@pytest.mark.parametrize("address", ["redis://{}", "rediss://{}", "redis+cluster://{}", "redis+sentinel://{}/service"])
async def test_attempts_at_a_name_that_is_not_answered_leave_the_threads_to_other_look_ups(
    silence: Silence, address: str
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(4))  # as few as on a small machine
    topology = topology_at(address.format(silence.name), {"socket_connect_timeout": 0.02})
    causes: list[BaseException | None] = []
    for _ in range(8):
        with pytest.raises(StorageError) as caught:
            await topology.connection(b"name")
        causes.append(caught.value.__cause__)
    assert all(isinstance(cause, TimeoutError) for cause in causes[1:]), "of the first, the driver has its own"
    async with asyncio.timeout(5):
        await asyncio.to_thread(int)
    assert silence.asked[silence.name] <= 2, "one of the first attempt, and one for all others"
    silence.ended.set()
    await topology.close()


async def test_a_name_that_is_answered_is_looked_up_by_the_driver_alone(silence: Silence, valkey: ValkeyServer) -> None:
    silence.ended.set()
    topology = topology_at(f"redis://{silence.name}:{valkey.port}", {})
    assert not (await topology.connection(b"name")).closed
    assert silence.asked[silence.name] == 1
    await topology.close()


async def test_a_server_is_used_once_its_name_is_answered(silence: Silence, valkey: ValkeyServer) -> None:
    topology = topology_at(f"redis://{silence.name}:{valkey.port}", {"socket_connect_timeout": 0.1})
    with pytest.raises(StorageError):
        await topology.connection(b"name")
    silence.ended.set()
    async with asyncio.timeout(10):
        assert not (await topology.connection(b"name")).closed
    silence.ended.set()
    await topology.close()


async def test_a_cluster_is_used_although_one_name_is_not_answered(silence: Silence, cluster: ValkeyCluster) -> None:
    (answering, *_) = cluster.primaries()
    topology = topology_at(
        f"redis+cluster://{silence.name},127.0.0.1:{answering.port}", {"socket_connect_timeout": 0.2}
    )
    async with asyncio.timeout(10):
        assert not (await topology.connection(b"name")).closed
    silence.ended.set()
    await topology.close()


async def test_sentinels_are_asked_although_one_name_is_not_answered(silence: Silence, sentinels: Sentinels) -> None:
    others = sentinels.url.partition("://")[2].partition("/")[0]
    address = f"redis+sentinel://{silence.name},{others}/{SERVICE}"
    topology = topology_at(address, {"socket_connect_timeout": 0.2})
    async with asyncio.timeout(10):
        assert not (await topology.connection(b"name")).closed
    silence.ended.set()
    await topology.close()


async def test_who_leaves_does_not_end_the_look_up_of_others(silence: Silence) -> None:
    fail_at(silence.name)
    first, second = (asyncio.ensure_future(looked_up([silence.name], 10)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    silence.ended.set()
    assert await second == {silence.name}
    assert first.cancelled()


async def test_a_name_that_does_not_exist_and_an_address_are_done() -> None:
    fail_at("no.such.host.invalid", "127.0.0.1", "::1")
    assert await looked_up(["no.such.host.invalid", "127.0.0.1", "::1"], 30) == {
        "no.such.host.invalid",
        "127.0.0.1",
        "::1",
    }


async def test_a_thread_that_cannot_be_started_leaves_the_look_up_to_the_driver(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    fail_at(silence.name)
    assert await looked_up([silence.name], 10) == {silence.name}
