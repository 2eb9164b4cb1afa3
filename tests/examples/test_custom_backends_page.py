"""The back-end that docs/custom-backends.md shows, on a real server."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.response import CachedResponse
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.entries import make_entry
from tests.origin import Origin, Received, answer
from tests.valkey import ValkeyServer

PAGE = Path(__file__).parents[2] / "docs" / "custom-backends.md"


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What the page defines."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    defined: dict[str, Any] = {}
    # By its name it is the code of a test: what its driver does in the loop is no affair of ours.
    exec(compile(code, str(Path(__file__).with_name(PAGE.name)), "exec"), defined)  # noqa: S102  # our own page
    return defined


@pytest.fixture
async def client(valkey: ValkeyServer) -> AsyncIterator[Counting]:
    patient = {"socket_connect_timeout": 60, "socket_timeout": 60}  # hundreds of connections at once, on a busy machine
    made = cast(Any, Redis).from_url(valkey.url, max_connections=1000, **patient)
    yield Counting(made)
    await made.aclose()


class Counting:
    """A client that notes which commands it sends, and with how many keys."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.sent: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("get", "mget", "set", "mset"):
            return partial(self._send, name)
        return getattr(self._client, name)

    def _send(self, name: str, *args: Any, **options: Any) -> Any:
        self.sent.append((name, len(args[0]) if name.startswith("m") else 1))
        return getattr(self._client, name)(*args, **options)


def make_backend(shown: dict[str, Any], client: Any, name: str, **options: Any) -> CacheBackend:
    made: CacheBackend = shown["KeyValueBackend"](client, name, **options)
    return made


class TestContract(StorageContract):
    """It keeps to all that a storage keeps to."""

    @pytest.fixture
    def make(self, shown: dict[str, Any], client: Counting) -> MakeStorage:
        prefix = f"{uuid.uuid4().hex}:"
        return partial(shown["KeyValueCache"], client, prefix)

    # Its client sends the two on two connections, and the server takes them as they come.
    test_deleting_after_writing_deletes_even_if_no_caller_has_waited = None  # type: ignore[assignment]


async def test_what_is_asked_for_at_once_is_few_calls_and_so_is_what_is_stored(
    shown: dict[str, Any], client: Counting, origin: Origin
) -> None:
    backend = make_backend(shown, client, uuid.uuid4().hex, storage_deadline=5.0, coalesce=False)
    urls = [origin.on(f"/{number}", answer(f"{number}")) for number in range(60)]

    async def fetch(session: CachedSession, url: str) -> bool:
        async with session.get(url) as response:
            await response.read()
            return response.from_cache

    async with CachedSession(cache=backend) as session:
        await asyncio.gather(*(fetch(session, url) for url in urls))
        await backend.settle()
        assert max(count for name, count in client.sent if name == "mset") > 20
        backend.stack.here().near = None
        client.sent.clear()
        assert all(await asyncio.gather(*(fetch(session, url) for url in urls)))
    assert 1 <= len(client.sent) <= 6, client.sent
    await backend.close()


async def test_a_hot_response_is_answered_from_memory(shown: dict[str, Any], client: Counting, origin: Origin) -> None:
    backend = make_backend(shown, client, uuid.uuid4().hex, storage_deadline=5.0)
    url = origin.on("/", answer("body"))
    async with CachedSession(cache=backend) as session:
        for number in range(4):
            async with session.get(url) as response:
                assert await response.text() == "body"
            await backend.settle()
            if number == 1:
                client.sent.clear()
    assert client.sent == []
    assert backend.stats.hits == 3
    await backend.close()


async def test_one_of_several_processes_fetches(shown: dict[str, Any], client: Counting, origin: Origin) -> None:
    async def slowly(request: Received) -> bytes:
        await asyncio.sleep(0.2)
        return answer(f"{request.number}")

    async def fetch(session: CachedSession) -> str:
        async with session.get(url) as response:
            return await response.text()

    url, name = origin.on("/", slowly), uuid.uuid4().hex
    backends = [make_backend(shown, client, name, storage_deadline=5.0) for _ in range(3)]
    sessions = [CachedSession(cache=backend) for backend in backends]
    assert set(await asyncio.gather(*map(fetch, sessions))) == {"1"}
    for session, backend in zip(sessions, backends, strict=True):
        await session.close()
        await backend.close()
    assert origin.hits == 1


async def test_a_frame_that_was_spoilt_costs_no_other_of_its_batch(shown: dict[str, Any], client: Counting) -> None:
    name = uuid.uuid4().hex
    backend = make_backend(shown, client, name)
    for key in ("a", "b", "c"):
        await backend.responses.write(key, CachedResponse.from_stored(make_entry(key)))
    await client.set(f"{name}:responses:b", b"spoilt")
    found = await backend.stack.items(["a", "b", "c", "missing"])
    assert [getattr(item, "key", None) for item in found] == ["a", "c"]
    assert backend.stats.unreadable == 1
    await backend.close()


def test_the_example_is_short_enough_to_be_read(shown: dict[str, Any]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) <= 45
