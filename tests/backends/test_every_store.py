"""The promises to users that every store keeps: one suite, which runs on real files and servers.

`contract` and `store_contract` test each method of a storage and of a store; `tests/faults` tests floods of requests,
processes that die, servers that fail, loops, forks and planted bytes, also for every store.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import random
import subprocess
import sys
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession, MissingDependencyError
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.store import Record, Unreadable
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.response import CachedResponse
from tests.backends.entries import make_entry
from tests.origin import Origin, Received, answer
from tests.programs import started
from tests.stores import EVERY, GROUPS, KINDS, SHARED, SHARED_BY_ALL, STORES, Store, new_store

MANY = 10_000
MANY_AT_A_SLOW_SERVER = 2_500
"""Several pages of a listing all the same: the contract of stores on a server has one of two megabytes."""
MEGABYTE = 1024 * 1024
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    return new_store(request.param, request, tmp_path)


@pytest.fixture
async def backend(store: Store) -> AsyncIterator[CacheBackend]:
    """A backend on the store, with large bodies and long timeouts."""
    driver = {"socketTimeoutMS": 60_000} if store.kind == "mongodb" else {}
    made = store.backend(max_body_bytes=32 * MEGABYTE, storage_deadline=20.0, **driver)
    yield made
    await made.close()


@pytest.mark.parametrize("store", EVERY, indirect=True)
async def test_a_response_is_stored_once_for_all_sessions(origin: Origin, store: Store) -> None:
    url = origin.on("/a", answer("body"))
    first = store.backend()
    backends = [first, first if store.kind == "memory" else store.backend()]
    seen: list[bool] = []
    for backend in backends:
        async with CachedSession(cache=backend) as session:
            async with session.get(url) as response:
                assert await response.text() == "body"
                seen.append(response.from_cache)
            assert backend.stats.store_errors == {}
        if store.kind != "memory":
            await backend.close()
    await first.close()
    assert (origin.hits, seen) == (1, [False, True])


@pytest.mark.parametrize("store", EVERY, indirect=True)
async def test_a_backend_that_is_closed_and_dropped_is_freed(origin: Origin, store: Store) -> None:
    """A program that opens a session for each job must not grow with each."""
    url = origin.on("/a", answer("body", headers={"Vary": "Accept-Language"}))

    async def job() -> weakref.ref[CacheBackend]:
        backend = store.backend()
        async with CachedSession(cache=backend) as session, session.get(url) as response:
            assert await response.text() == "body"
        await backend.close()
        return weakref.ref(backend)

    gone = await job()
    async with asyncio.timeout(20):
        while gone() is not None:  # timers of a driver may have it for a moment
            gc.collect()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("store", EVERY, indirect=True)
def test_a_loop_that_has_ended_is_freed(store: Store) -> None:
    """A backend that serves one job after another, each in a loop of its own, keeps none of them."""
    backend = store.backend()

    async def job() -> weakref.ref[asyncio.AbstractEventLoop]:
        async with Origin() as origin, CachedSession(cache=backend) as session:
            for number in range(30):  # keys for each server of a cluster, which may know the latest loop that used it
                async with session.get(origin.on(f"/{number}", answer("body"))) as response:
                    assert await response.text() == "body"
        return weakref.ref(asyncio.get_running_loop())

    gone, _latest = asyncio.run(job()), asyncio.run(job())
    gc.collect()
    assert gone() is None
    asyncio.run(backend.close())


async def test_redirects_and_responses_are_kept_together_and_shown_apart(origin: Origin, backend: CacheBackend) -> None:
    origin.on("/a", answer("body"))
    url = origin.on("/redirect", answer(status=301, headers={"Location": "/a"}))
    async with CachedSession(cache=backend) as session:
        async with session.get(url) as response:
            await response.read()
        assert (await backend.responses.size(), await backend.redirects.size()) == (1, 1)
        await backend.redirects.clear()
        assert (await backend.responses.size(), await backend.redirects.size()) == (1, 0)


@pytest.mark.parametrize("store", SHARED_BY_ALL, indirect=True)
async def test_one_of_many_backends_fetches_what_all_ask_for(origin: Origin, store: Store) -> None:
    async def slowly(request: Received) -> bytes:
        await asyncio.sleep(0.3)
        return answer(f"{request.number}")

    async def fetch(session: CachedSession) -> str:
        async with session.get(url) as response:
            return await response.text()

    url = origin.on("/slow", slowly)
    async with AsyncExitStack() as stack:
        backends = [store.backend(autoclose=True, storage_deadline=10.0) for _ in range(4)]
        sessions = [await stack.enter_async_context(CachedSession(cache=backend)) for backend in backends]
        bodies = await asyncio.gather(*(fetch(session) for session in sessions for _ in range(5)))
    assert set(bodies) == {"1"}


# ---- sizes and numbers


@pytest.mark.parametrize("size", [0, 399_000, 401_000, 5_000_000, 17_000_000])
@pytest.mark.parametrize("secret_key", [None, "sixteen characters"])
async def test_a_body_of_any_size_is_kept_and_goes_with_its_entry(
    store: Store, size: int, secret_key: str | None
) -> None:
    if secret_key is not None and size not in (0, 401_000):
        pytest.skip("a signature is 32 bytes more")
    backend = store.backend(max_body_bytes=32 * MEGABYTE, storage_deadline=20.0, secret_key=secret_key)
    entry = make_entry("k", random.Random(size).randbytes(size))
    for _ in range(2):
        await backend.responses.write("k", CachedResponse.from_stored(entry))
        item = await backend.responses.read("k")
        assert isinstance(item, CachedResponse)
        assert item.stored == entry
        assert await backend.responses.size() == 1
    await backend.delete("k")
    assert await backend.responses.size() == 0
    assert [row async for page in backend.stack.store.pages(items=False) for row in page] == []
    await backend.close()


async def test_thousands_of_entries_are_kept_counted_listed_found_and_cleared(
    store: Store, backend: CacheBackend
) -> None:
    batch, many = backend.stack.store.limits.batch, MANY_AT_A_SLOW_SERVER if store.is_slow else MANY
    now = time.time()
    records = [
        Record(f"k{number}", make_entry(f"k{number}", b"%d" % number, now + 10_000), now + 10_000)
        for number in range(many)
    ]
    batches = [records[first : first + batch] for first in range(0, many, batch)]
    for first in range(0, len(batches), 8):
        written = await asyncio.gather(*map(backend.stack.whole.put, batches[first : first + 8]))
        assert not [each for part in written for each in part if isinstance(each, StorageError)]
    assert await backend.responses.size() == many
    keys = [key async for key in backend.responses.keys()]  # noqa: SIM118  # not a dict's
    assert sorted(keys) == sorted(record.key for record in records)
    found = await backend.stack.items([f"k{number}" for number in range(0, many, 50)] + ["missing"])
    assert {getattr(item, "body", None) for item in found} == {b"%d" % number for number in range(0, many, 50)}
    await backend.clear()
    assert await backend.responses.size() == 0


# ---- time


async def test_what_has_expired_is_gone_without_being_asked_to_go(store: Store, backend: CacheBackend) -> None:
    until = time.time() + 0.3
    for key, at in (("soon", until), ("late", until + 1000), ("never", math.inf)):
        await backend.stack.put(Record(key, make_entry(key, store_until=at), at))
    await asyncio.sleep(max(0.0, until - time.time()) + 0.05)
    if store.kind not in {"memory", "sqlite", "filesystem"}:  # a server drops it by itself, or the store hides it
        assert await backend.stack.items(["soon", "late", "never"]) != []
        assert {key async for key in backend.responses.keys()} == {"late", "never"}  # noqa: SIM118  # not a dict's
        assert not await backend.responses.contains("soon")
    await backend.delete_expired_responses()
    assert {key async for key in backend.responses.keys()} == {"late", "never"}  # noqa: SIM118  # not a dict's


# ---- bytes


@pytest.mark.parametrize("store", SHARED, indirect=True)
async def test_no_bit_of_an_entry_may_be_another(store: Store) -> None:
    backend = store.backend(storage_deadline=20.0)
    await backend.responses.write("k", CachedResponse.from_stored(make_entry("k", b"body")))
    bits = 8 * len(store.kept("k"))
    keys = [f"k{number}" for number in range(bits + 64)]  # frames differ in length, because they may contain the key
    batch = backend.stack.store.limits.batch
    for first in range(0, len(keys), batch):
        await backend.stack.store.put(
            [Record(key, make_entry(key, b"body"), math.inf) for key in keys[first : first + batch]]
        )
    frames = store.kept_all(keys)
    assert len(frames) == len(keys)
    store.plant({key: flipped(frames[key], number) for number, key in enumerate(keys) if number < 8 * len(frames[key])})
    believed: list[str] = []
    for first in range(0, len(keys), batch):
        asked = keys[first : first + batch]
        for key, found in zip(asked, await backend.stack.store.get(asked), strict=True):
            is_changed = keys.index(key) < 8 * len(frames[key])
            if is_changed and not (found is None or isinstance(found.item, Unreadable)):
                believed.append(key)
    assert believed == []
    await backend.close()


def flipped(frame: bytes, bit: int) -> bytes:
    """*frame* with one bit changed."""
    changed = bytearray(frame)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("store", SHARED_BY_ALL, indirect=True)
async def test_secrets_rotate_without_losing_what_is_stored(store: Store) -> None:
    old, both, new, none = (
        store.backend(secret_key=secrets)
        for secrets in ("the old secret key", ["the new secret key", "the old secret key"], "the new secret key", None)
    )
    await old.responses.write("k", CachedResponse.from_stored(make_entry("k", b"signed with the old one")))
    readable = {name: await each.responses.read("k") is not None for name, each in (("both", both), ("new", new))}
    assert readable == {"both": True, "new": False}
    assert await none.responses.read("k") is None
    await both.responses.write("k", CachedResponse.from_stored(make_entry("k", b"signed with the new one")))
    assert await new.responses.read("k") is not None
    assert await old.responses.read("k") is None
    for backend in (old, both, new, none):
        await backend.close()


class Serializer:
    """A serializer that stores only the body, after a prefix."""

    def dumps(self, item: Any) -> bytes:
        assert isinstance(item, CachedResponse)
        return b"mine:" + item.stored.body

    def loads(self, data: bytes) -> Any:
        assert data.startswith(b"mine:")
        return CachedResponse.from_stored(make_entry("k", data.removeprefix(b"mine:")))


@pytest.mark.parametrize("store", SHARED, indirect=True)
@pytest.mark.parametrize("size", [10, 500_000])
async def test_a_users_serializer_makes_what_is_kept(store: Store, size: int) -> None:
    backend, without = store.backend(serializer=Serializer(), storage_deadline=20.0), store.backend()
    entry = make_entry("k", bytes(size))
    await backend.responses.write("k", CachedResponse.from_stored(entry))
    assert b"mine:" in store.raw_bytes(backend)
    item = await backend.responses.read("k")
    assert isinstance(item, CachedResponse)
    assert item.stored.body == entry.body
    assert await without.responses.read("k") is None, "it is read by what has made it alone"
    await backend.close()
    await without.close()


# ---- another process

PEER = """
import asyncio, json, sys
from tests.backends.entries import make_entry
from tests.described import described
from aiohttp_cache_di.response import CachedResponse

async def main():
    backend = described(*json.loads(sys.argv[1]), storage_deadline=20.0)
    for line in sys.stdin:
        word, key = line.split()
        if word == "write":
            await backend.responses.write(key, CachedResponse.from_stored(make_entry(key, b"by the other")))
        elif word == "delete":
            await backend.delete(key)
        print(await backend.responses.contains(key), flush=True)
    await backend.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("store", SHARED_BY_ALL, indirect=True)
async def test_what_another_process_writes_or_deletes_is_seen_at_once(store: Store) -> None:
    backend = store.backend(storage_deadline=20.0)
    command = (sys.executable, "-c", PEER, json.dumps([store.kind, store.options]))
    async with started(*command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(60):
            for word, expected in (("look", False), ("write", True), ("delete", False), ("write", True)):
                process.stdin.write(f"{word} k\n".encode())
                assert (await process.stdout.readline()).strip() == str(expected).encode()
                assert (await backend.responses.read_entry("k") is not None) is expected
            await backend.delete("k")
            process.stdin.write(b"look k\n")
            assert (await process.stdout.readline()).strip() == b"False"
            process.stdin.close()
            assert await process.wait() == 0
    await backend.close()


PROGRAM = """
import asyncio, json, sys
from tests.described import described

async def main():
    await backend.responses.contains("k")
    assert await backend.responses.acquire_lease("k", 5)
    await backend.responses.release_lease("k")
    await backend.close()

backend = described(*json.loads(sys.argv[1]))
for _ in range(2):
    asyncio.run(main())
"""


def test_a_program_that_closes_ends_without_a_word(store: Store) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps([store.kind, store.options])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- drivers


@pytest.mark.parametrize(("kind", "driver"), [("redis", "redis"), ("mongodb", "pymongo"), ("dynamodb", "aiobotocore")])
def test_a_missing_driver_is_said_with_the_extra_that_brings_it(kind: str, driver: str) -> None:
    code = f"""
import sys
sys.modules[{driver!r}] = None
from aiohttp_cache_di import MissingDependencyError
from aiohttp_cache_di import backends
try:
    backends.{KINDS[kind].backend_class.__name__}()
except MissingDependencyError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert f"pip install 'aiohttp-cache-di[{kind}]'" in done.stdout
    assert issubclass(MissingDependencyError, ImportError)


def test_all_stores_are_here() -> None:
    from aiohttp_cache_di.settings.forms import BUILT_IN_BACKENDS

    assert set(KINDS) - set(GROUPS) == set(BUILT_IN_BACKENDS)
    assert all(issubclass(type(each.backend_class("name").responses), StackCache) for each in KINDS.values())
