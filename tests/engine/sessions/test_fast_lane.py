"""The fast lane over an asynchronous storage: one lookup, whatever its outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import ClientTimeout
from msgspec.structs import replace

from aiohttp_cache_di import CacheBackend, CachedResponse, CachedSession
from aiohttp_cache_di.backends import ResponseOrKey
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend


@pytest.fixture
async def backend() -> CustomBackend:
    return CustomBackend(storage_deadline=0.2)


@pytest.fixture
async def session(origin: Origin, backend: CustomBackend) -> AsyncIterator[CachedSession]:
    """Make a session whose fast lane has learned one request."""
    origin.on("/", answer(b"a"))
    async with CachedSession(cache=backend) as session:
        for _ in range(2):
            assert await body_of(session, origin) == b"a"
            await backend.settle()
        assert origin.hits == 1
        yield session


@pytest.fixture
def hanging(session: CachedSession, backend: CustomBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the storages hang from now on, after the fast lane has learned its request."""

    async def hang(key: str) -> ResponseOrKey:
        await asyncio.Event().wait()
        return None

    for storage in (backend.responses, backend.redirects):
        monkeypatch.setattr(storage, "read", hang)


async def body_of(session: CachedSession, origin: Origin, limit: ClientTimeout | None = None) -> bytes:
    request = session.get(origin.url + "/") if limit is None else session.get(origin.url + "/", timeout=limit)
    async with request as response:
        return await response.read()


@pytest.fixture
def slow(backend: CustomBackend, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Events that say that a read has begun, and that reads may go on."""
    begun, goes_on = asyncio.Event(), asyncio.Event()
    read = backend.responses.read

    async def wait(key: str) -> ResponseOrKey:
        begun.set()
        await goes_on.wait()
        return await read(key)

    monkeypatch.setattr(backend.responses, "read", wait)
    return begun, goes_on


def by_tenant(request: Received) -> bytes:
    """Answer with the number of the request, and say that it depends on a header field if it has that."""
    return answer(str(request.number), headers={"Vary": "X-Tenant"} if "X-Tenant" in request.headers else {})


def name_another_user(session: CachedSession) -> None:
    session.principal = "b"


def name_another_tenant(session: CachedSession) -> None:
    session.headers["X-Tenant"] = "b"


@pytest.mark.parametrize("change", [name_another_user, name_another_tenant])
@pytest.mark.parametrize("knows", ["nothing", "the origin"])
async def test_a_hit_for_another_user_is_not_remembered_for_the_one_named_meanwhile(
    origin: Origin,
    backend: CustomBackend,
    slow: tuple[asyncio.Event, asyncio.Event],
    change: Callable[[CachedSession], None],
    knows: str,
) -> None:
    (begun, goes_on), url = slow, origin.on("/", by_tenant)
    headers = {"X-Tenant": "a"} if change is name_another_tenant else {}
    goes_on.set()
    async with CachedSession(cache=backend, headers=headers) as session:
        assert await body_of(session, origin) == b"1"
        await backend.settle()
    async with CachedSession(cache=backend, headers=headers) as session:
        if knows == "the origin":
            for _ in range(2):
                async with session.get(origin.on("/known", answer("known"))) as response:
                    await response.read()
                await backend.settle()
        begun.clear()
        goes_on.clear()
        under_way = asyncio.create_task(body_of(session, origin))
        await begun.wait()
        change(session)
        goes_on.set()
        assert await under_way == b"1", "as it began before"
        async with session.get(url) as response:
            assert not response.from_cache


async def test_a_hit_takes_one_look(session: CachedSession, origin: Origin, backend: CustomBackend) -> None:
    before = backend.responses.reads
    assert await body_of(session, origin) == b"a"
    assert backend.responses.reads == before + 1
    assert origin.hits == 1


async def test_what_has_gone_is_looked_for_once(session: CachedSession, origin: Origin, backend: CustomBackend) -> None:
    backend.responses.items.clear()
    before = backend.responses.reads
    assert await body_of(session, origin) == b"a"
    assert backend.responses.reads == before + 1
    assert origin.hits == 2


@pytest.mark.usefixtures("hanging")
async def test_a_storage_that_hangs_costs_one_deadline(
    session: CachedSession, origin: Origin, backend: CustomBackend
) -> None:
    assert await body_of(session, origin) == b"a"
    assert backend.stats.store_errors == {"timeout": 1}
    assert origin.hits == 2


@pytest.mark.usefixtures("hanging")
async def test_a_short_timeout_of_the_caller_bounds_the_look(
    session: CachedSession, origin: Origin, backend: CustomBackend
) -> None:
    backend.guard.deadline_s = 60.0
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await body_of(session, origin, ClientTimeout(total=0.02))
    assert time.monotonic() - started < 30


async def test_a_variant_is_not_used_after_a_deletion_that_could_not_find_it(origin: Origin) -> None:
    origin.on("/v", lambda request: answer(str(request.number), headers={"Vary": "Accept-Language"}))
    backend = CacheBackend()
    async with (
        CachedSession(cache=backend, headers={"Accept-Language": "a"}) as first,
        CachedSession(cache=backend, headers={"Accept-Language": "b"}) as second,
    ):
        for session in (first, second, first, first):
            async with session.get(origin.url + "/v") as response:
                latest = await response.read()
        assert latest == b"1"
        await backend.stack.store.delete([backend.create_key("GET", origin.url + "/v")])  # as an eviction does
        await first.delete_url(origin.url + "/v")
        async with first.get(origin.url + "/v") as response:
            assert await response.read() == b"3"


async def test_each_variant_is_used_while_the_latest_one_lists_it(origin: Origin) -> None:
    origin.on("/v", lambda request: answer(str(request.number), headers={"Vary": "Accept-Language"}))
    url, backend = origin.url + "/v", CacheBackend(cache_control=True, expire_after=60)
    async with (
        CachedSession(cache=backend, headers={"Accept-Language": "a"}) as first,
        CachedSession(cache=backend, headers={"Accept-Language": "b"}) as second,
    ):
        for session in (first, second, first, second):
            async with session.get(url) as response:
                await response.read()
        for session, body in ((first, b"1"), (second, b"2")):
            found = session._fast_lane.answer(session, "GET", url, {})
            assert isinstance(found, CachedResponse)
            assert await found.read() == body
        primary = backend.stack.here().peek(backend.create_key("GET", url))
        assert primary is not None
        backend.stack.here().store(replace(primary, variants=()))
        assert first._fast_lane.answer(first, "GET", url, {}) is None
        assert second._fast_lane.answer(second, "GET", url, {}) is not None
