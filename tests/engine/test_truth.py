"""A response and the counters report only what has happened."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession

from aiohttp_cache_di import CachedResponse, CachedSession, CacheMiddleware, policy
from aiohttp_cache_di.backends import CacheBackend, FileBackend, RedisBackend, ResponseOrKey, SQLiteBackend
from aiohttp_cache_di.backends.wrap.writing import backlog
from aiohttp_cache_di.engine import fetching
from aiohttp_cache_di.engine.copies import recording
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.response import AnyResponse
from aiohttp_cache_di.telemetry.reasons import DETAILS
from tests.clients import Clients
from tests.origin import CLOSE, CUT, Origin, Received, answer, chunked
from tests.storages import CustomBackend, CustomStorage
from tests.valkey import ValkeyServer

LIMIT = 1000
MISS = "aiohttp-cache-di; fwd=uri-miss"


class Gate(CustomStorage):
    """A storage whose writes wait or fail."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store *item* once the gate is open."""
        await self.open.wait()
        if self.error is not None:
            raise self.error
        await super().write(key, item)


def gated(**options: Any) -> tuple[CustomBackend, Gate]:
    backend, gate = CustomBackend(write_behind=True, **options), Gate()
    backend.responses = gate
    return backend, gate


def told(response: ClientResponse) -> tuple[str, bool]:
    """The Cache-Status of a miss without the part common to all, and whether the response has an expiration."""
    said: Any = response
    assert said.cache_status.startswith(MISS)
    return said.cache_status.removeprefix(MISS).removeprefix("; "), said.expires is not None


async def test_a_small_miss_says_that_it_is_stored_when_it_is_there(origin: Origin) -> None:
    url = origin.on("/", answer("text"))
    async with CachedSession(expire_after=60) as session, session.get(url) as response:
        assert told(response) == ("stored", True)
        assert session.cache.stats.stored == 1


async def test_a_miss_that_was_stale_when_it_came_says_since_when(origin: Origin) -> None:
    url = origin.on("/", answer("text", headers={"Cache-Control": "max-age=60", "Age": "100", "ETag": '"a"'}))
    async with CachedSession(cache_control=True) as session, session.get(url) as response:
        said: Any = response
        assert said.is_expired
        assert -41 < (said.expires - said.created_at).total_seconds() < -39


async def test_a_miss_says_that_it_is_stored_when_its_last_byte_has_come(origin: Origin) -> None:
    more = asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        whole = answer(b"x" * 100)
        yield whole[:-50]
        await more.wait()
        yield whole[-50:]

    async with CachedSession(expire_after=60) as session, session.get(origin.on("/", script)) as response:
        assert told(response) == ("", False)
        more.set()
        await response.read()
        assert told(response) == ("stored", True)


@asynccontextmanager
async def closing(backend: CacheBackend) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await backend.close()


async def settled(backend: CacheBackend) -> None:
    """Wait until no write is pending."""
    async with asyncio.timeout(20):
        while backend.stack.here().pending.entries:
            await backend.stack.here().pending.finish(1.0)


HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"


async def cut(request: Received) -> AsyncIterator[bytes]:
    yield answer(b"x" * 100)[:-50]
    yield CUT


async def close_delimited(request: Received) -> AsyncIterator[bytes]:
    yield HEAD + b"\r\ntext"
    yield CLOSE


def refuse(response: AnyResponse) -> bool:
    return False


NEVER_STORED: dict[str, tuple[Any, dict[str, Any]]] = {
    "too-large": (answer(b"x" * (LIMIT + 1)), {}),
    "close-delimited": (close_delimited, {}),
    "event-stream": (answer("data: 1\n\n", headers={"Content-Type": "text/event-stream"}), {}),
    "filtered": (answer("text"), {"filter_fn": refuse}),
    "ignored-param": (answer(status=302, headers={"Location": "/next?token=1"}), {"ignored_params": ["token"]}),
    "odd-location": (answer(status=302, headers={"Location": "myapp://callback"}), {}),
    "no-room": (answer("text"), {"max_bytes": 1}),
    "no-lifetime": (answer("text", headers={"Cache-Control": "max-age=0"}), {"cache_control": True}),
    "must-understand": (
        answer("text", status=299, headers={"Cache-Control": "max-age=9, must-understand"}),
        {"cache_control": True},
    ),
    "vary": (answer("text", headers={"Vary": "*"}), {}),
    "status": (answer("text", status=500), {}),
    "no-store": (answer("text", headers={"Cache-Control": "no-store"}), {}),
    "private": (answer("text", headers={"Cache-Control": "private"}), {"shared": True}),
}


@pytest.mark.parametrize("detail", NEVER_STORED)
async def test_what_is_known_not_to_be_stored_says_why_at_once(origin: Origin, detail: str) -> None:
    script, options = NEVER_STORED[detail]
    own: dict[str, Any] = {"expire_after": 60, "max_body_bytes": LIMIT, **options}
    backend = CacheBackend(**own)
    url = origin.on("/", script)
    async with CachedSession(cache=backend) as session, session.get(url, allow_redirects=False) as response:
        assert told(response) == (f"detail={detail}", False)
        await response.read()
        assert told(response) == (f"detail={detail}", False)
        assert session.cache.stats.stored == 0


async def test_what_cannot_be_copied_says_so(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_CAN_RECORD", False)
    async with CachedSession(expire_after=60) as session, session.get(origin.on("/", answer("text"))) as response:
        assert told(response) == ("detail=unseen", False)


async def damaged(request: Received) -> bytes:
    coded = gzip.compress(b"text" * 100)[:-9]
    return answer(coded, headers={"Content-Encoding": "gzip"})


FOUND_OUT: dict[str, Any] = {
    "too-large": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x" * LIMIT, b"x"),
    "cut": cut,
    "damaged": damaged,
}


@pytest.mark.parametrize("detail", FOUND_OUT)
async def test_what_turns_out_not_to_be_stored_says_why(origin: Origin, detail: str) -> None:
    url = origin.on("/", FOUND_OUT[detail])
    async with CachedSession(expire_after=60, max_body_bytes=LIMIT) as session, session.get(url) as response:
        try:
            await response.read()
        except Exception:
            assert detail == "cut"
        assert told(response) == (f"detail={detail}", False)
        assert session.cache.stats.stored == 0


async def test_what_was_invalidated_on_its_way_says_so(origin: Origin) -> None:
    more = asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        whole = answer(b"x" * 100)
        yield whole[:-50]
        await more.wait()
        yield whole[-50:]

    url = origin.on("/", script)
    async with CachedSession(expire_after=60) as session, session.get(url) as response:
        await session.cache.clear()
        more.set()
        await response.read()
        assert told(response) == ("detail=invalidated", False)


async def test_what_waits_to_be_written_is_stored_until_that_fails(origin: Origin) -> None:
    backend, gate = gated(expire_after=60)
    async with CachedSession(cache=backend) as session, session.get(origin.on("/", answer("text"))) as response:
        assert told(response) == ("stored", True)
        assert backend.stats.stored == 0
        gate.error = OSError("down")
        gate.open.set()
        await backend.settle()
        assert told(response) == ("detail=pending", True)
        assert backend.stats.stored == 0
        async with session.get(response.url) as hit:
            assert (hit.from_cache, hit.expires) == (True, response.expires)
        gate.error = None
        await settled(backend)
        assert (told(response), backend.stats.stored) == (("stored", True), 1)


async def test_what_is_deleted_while_it_waits_to_be_written_says_so(origin: Origin) -> None:
    backend, gate = gated(expire_after=60)
    gate.error = OSError("down")
    gate.open.set()
    async with CachedSession(cache=backend) as session, session.get(origin.on("/", answer("text"))) as response:
        await backend.settle()
        assert told(response) == ("detail=pending", True)
        await backend.clear()
        assert told(response) == ("detail=given-up", False)


async def test_nothing_is_promised_while_a_store_is_known_to_fail(origin: Origin) -> None:
    backend, gate = gated(expire_after=60)
    gate.error = OSError("down")
    gate.open.set()
    async with CachedSession(cache=backend) as session:
        async with session.get(origin.on("/one", answer("text"))) as response:
            await backend.settle()
        gate.error = None
        async with session.get(origin.on("/two", answer("text"))) as response:
            assert told(response) == ("detail=pending", True)
            await backend.settle()
            assert told(response) == ("stored", True)
            assert backend.stats.stored == 1


async def test_what_finds_no_room_among_the_writes_says_so(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_PENDING_BYTES", 10)
    backend = CustomBackend(expire_after=60)
    async with CachedSession(cache=backend) as session, session.get(origin.on("/", answer("text"))) as response:
        assert told(response) == ("detail=no-room", False)
        await backend.settle()
        assert backend.stats.stored == 0


@pytest.mark.parametrize("works", [True, False])
async def test_what_a_method_of_the_user_s_saves_is_stored_if_it_does(origin: Origin, works: bool) -> None:
    class Own(CacheBackend):
        async def save_response(self, *args: Any, **kwargs: Any) -> None:
            if not works:
                raise OSError("down")
            await super().save_response(*args, **kwargs)

    backend = Own(expire_after=60)
    async with CachedSession(cache=backend) as session, session.get(origin.on("/", answer("text"))) as response:
        await response.read()
        await session.close()
        assert told(response) == (("stored", True) if works else ("detail=store-failed", False))
        assert backend.stats.stored == works


async def test_what_a_304_confirms_says_whether_that_is_stored(origin: Origin) -> None:
    fields = {"ETag": '"a"', "Cache-Control": "max-age=0"}

    def script(request: Received) -> bytes:
        return answer(status=304 if "If-None-Match" in request.headers else 200, headers=fields)

    backend, gate = gated(cache_control=True)
    url = origin.on("/", script)
    async with CachedSession(cache=backend) as session:
        gate.open.set()
        async with session.get(url):
            pass
        await backend.settle()
        gate.open.clear()
        async with session.get(url) as response:
            said: Any = response
            assert said.cache_status == "aiohttp-cache-di; fwd=stale; fwd-status=304; stored"
            gate.error = OSError("down")
            gate.open.set()
            await backend.settle()
            assert said.cache_status == "aiohttp-cache-di; fwd=stale; fwd-status=304; detail=pending"
            assert response.headers["Cache-Status"] == said.cache_status


@pytest.mark.parametrize("failure", ["status", "disconnection"])
async def test_a_validation_in_the_background_that_fails_counts_no_hit(
    origin: Origin, clients: Clients, failure: str
) -> None:
    failed = asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        if request.number == 1:
            yield answer("text", headers={"Cache-Control": "max-age=0, stale-while-revalidate=60, stale-if-error=60"})
            return
        failed.set()
        yield answer(status=503) if failure == "status" else CUT

    client, url = clients(cache_control=True), origin.on("/", script)
    for _ in range(2):
        await client.fetch(url)
        await client.backend.settle()
    async with asyncio.timeout(10):
        await failed.wait()
    await Runtime.of(client.backend).finish(client.session)
    assert (client.backend.stats.hits, client.backend.stats.stale) == (1, 1)


async def test_a_follower_that_asked_for_itself_was_spared_nothing(origin: Origin, clients: Clients) -> None:
    """It waits for a body of unknown length, gives up and sends a request, but the leader is answered first."""
    client, go, both = clients(expire_after=60, coalesce_timeout=0.05), asyncio.Event(), asyncio.Event()

    async def script(request: Received) -> AsyncIterator[bytes]:
        if request.number == 2:
            both.set()
            await asyncio.Event().wait()
        yield answer(headers={"Content-Length": None, "Transfer-Encoding": "chunked"})
        await go.wait()
        yield chunked(b"text")

    url = origin.on("/", script)
    leader = asyncio.create_task(client.fetch(url))
    await origin.arrival()

    async def follow() -> str:
        async with client.session.get(url) as response:
            said: Any = response
            await response.read()
            return str(said.cache_status)

    follower = asyncio.create_task(follow())
    async with asyncio.timeout(10):
        await both.wait()
        go.set()
        await leader
        assert await follower == f"{MISS}; detail=overtaken"
    stats = client.backend.stats
    assert (stats.coalesced, stats.misses, stats.hits) == (0, 2, 0)


def dead(store: str, tmp_path: Path, **options: Any) -> CacheBackend:
    """A backend whose store does not exist."""
    if store == "redis":
        return RedisBackend(address="redis://127.0.0.1:1", **options)
    (tmp_path / "file").touch()  # a file, so it cannot be a directory
    if store == "filesystem":
        return FileBackend(str(tmp_path / "file" / "cache"), **options)
    return SQLiteBackend(str(tmp_path / "file" / "cache.sqlite"), **options)


@pytest.mark.parametrize("is_plain", [False, True], ids=["session", "middleware"])
@pytest.mark.parametrize("store", ["redis", "sqlite", "filesystem"])
async def test_what_a_dead_store_does_not_take_is_said_to_be_kept_in_memory_and_is(
    origin: Origin, tmp_path: Path, store: str, is_plain: bool
) -> None:
    backend, url = dead(store, tmp_path, expire_after=60, write_behind=True), origin.on("/", answer("text"))
    session = ClientSession(middlewares=(CacheMiddleware(backend),)) if is_plain else CachedSession(cache=backend)
    async with session, closing(backend):
        async with session.get(url) as response:
            said: Any = response
            await response.read()
            await backend.settle()
            assert said.cache_status == "aiohttp-cache-di; fwd=miss; detail=pending"
            assert "not stored: not yet, as the store fails" in str(said.cache_decision)
            assert not said.cache_decision.is_stored
        for _ in range(3):  # the last ones through the fast lane
            async with session.get(url) as hit:
                again: Any = hit
                assert (again.from_cache, again.expires) == (True, said.expires)
        stats = backend.stats
        assert (stats.stored, stats.misses, stats.hits, origin.hits) == (0, 1, 3, 1)
        assert stats.store_errors


@pytest.mark.parametrize("options", [{"write_behind": False}, {}], ids=["write_behind", "get_response"])
async def test_what_waits_and_is_not_read_meanwhile_is_said_to_have_failed(
    origin: Origin, tmp_path: Path, options: dict[str, Any]
) -> None:
    class Own(RedisBackend):
        async def get_response(self, key: str) -> Any:
            return await super().get_response(key)

    made = RedisBackend if options else Own
    backend, url = made(address="redis://127.0.0.1:1", expire_after=60, **options), origin.on("/", answer("text"))
    async with CachedSession(cache=backend) as session, closing(backend):
        for _ in range(2):
            async with session.get(url) as response:
                await response.read()
                await backend.settle()
                assert response.cache_status.endswith("; detail=store-failed")
                assert response.expires is None
    assert origin.hits == 2


async def test_what_was_kept_in_memory_is_stored_when_the_store_is_there(
    origin: Origin, own_valkey: ValkeyServer
) -> None:
    url, address = origin.on("/", answer("text")), own_valkey.url
    own_valkey.stop()
    backend = RedisBackend(address=address, expire_after=60, write_behind=True)
    async with CachedSession(cache=backend) as session, closing(backend):
        async with session.get(url) as response:
            await response.read()
        await backend.settle()
        assert response.cache_status.endswith("; detail=pending")
        own_valkey.start()
        await settled(backend)
        assert response.cache_status == "aiohttp-cache-di; fwd=miss; stored"
        assert backend.stats.stored == 1


async def test_a_request_that_only_the_cache_may_answer_is_told_that_the_store_does_not(
    origin: Origin, tmp_path: Path
) -> None:
    backend = dead("redis", tmp_path)
    async with CachedSession(cache=backend) as session, closing(backend):
        response = await session.get(origin.url, only_if_cached=True)
        assert (response.status, origin.hits) == (504, 0)
        assert "the store does not answer" in await response.text()


async def test_a_response_that_a_method_of_the_users_has_found_counts_as_a_hit(origin: Origin) -> None:
    class Elsewhere(CacheBackend):
        found: Any = None

        async def get_response(self, key: str) -> Any:
            return self.found

    backend, url = Elsewhere(), origin.on("/", answer("text"))
    async with ClientSession() as plain, CachedSession(cache=backend) as session:
        backend.found = await plain.get(url)
        async with session.get(url) as response:
            assert await response.text() == "text"
    stats = backend.stats
    assert (stats.hits, stats.misses, stats.bypassed) == (1, 0, 0)


@pytest.mark.parametrize("method", ["get_response", "request"])
@pytest.mark.parametrize("found", ["text", {"status": 200}, 5, False])
async def test_what_a_method_of_the_users_has_found_and_is_no_response_is_a_miss_and_told(
    origin: Origin, caplog: pytest.LogCaptureFixture, method: str, found: Any
) -> None:
    async def find(*args: Any) -> Any:
        return found

    backend, url = CacheBackend(), origin.on("/", answer("text"))
    setattr(backend, method, find)
    async with CachedSession(cache=backend) as session:
        for _ in range(2):
            async with session.get(url) as response:
                assert await response.text() == "text"
    assert (backend.stats.hits, backend.stats.misses) == (0, 2)
    (told,) = caplog.messages
    assert f"{method}() has returned an object of type {type(found).__name__}; it has to return a response" in told


@pytest.mark.parametrize("method", ["get_response", "request"])
async def test_a_method_of_the_users_that_is_no_coroutine_function_is_no_failure_of_the_store(
    origin: Origin, method: str
) -> None:
    backend, url = CacheBackend(), origin.on("/", answer("text"))
    found: list[CachedResponse | None] = [None]

    def latest(*args: Any) -> CachedResponse | None:
        return found[0]

    setattr(backend, method, latest)
    async with CachedSession() as other, CachedSession(cache=backend) as session:
        for is_hit in (False, True):
            async with session.get(url) as response:
                assert (await response.text(), response.from_cache) == ("text", is_hit)
            await other.get(url)
            found[0] = await other.cache.get_response(other.cache.create_key("GET", url))
    assert not backend.stats.store_errors


async def test_a_response_that_is_not_aiohttps_counts_as_a_miss(origin: Origin) -> None:
    class FakeResponse:
        status, connection, _raw_cookie_headers, _history = 200, None, None, ()

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            """Take the arguments of any response."""

        async def start(self, connection: Any) -> None:
            """Do not wait."""
            connection.close()

    fake: Any = FakeResponse
    async with CachedSession(response_class=fake) as session:
        response: Any = await session.get(origin.on("/", answer("text")))
        assert isinstance(response, FakeResponse)
        stats = session.cache.stats
    assert (stats.hits, stats.misses, stats.bypassed) == (0, 1, 0)


async def test_a_response_that_the_cache_cannot_judge_counts_as_a_miss(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("of the cache")

    monkeypatch.setattr(policy, "on_response", broken)
    async with CachedSession() as session, session.get(origin.on("/", answer("text"))) as response:
        said: Any = response
        assert await response.text() == "text"
        assert said.cache_status == "aiohttp-cache-di; fwd=bypass; detail=error"
        stats = session.cache.stats
    assert (stats.hits, stats.misses, stats.bypassed) == (0, 1, 0)


def test_each_detail_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "caching.md").read_text(encoding="utf-8")
    for detail, meaning in DETAILS.items():
        assert f"| `{detail}` | {meaning} |" in text


async def test_an_error_of_the_cache_beside_a_304_reaches_no_caller(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"ETag": '"a"', "Cache-Control": "max-age=0"}

    def script(request: Received) -> bytes:
        if "If-None-Match" in request.headers:
            return answer(status=304, headers=fields)
        return answer("text", headers=fields)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("of the cache")

    url = origin.on("/", script)
    async with CachedSession(cache_control=True) as session:
        async with session.get(url) as response:
            await response.read()
        monkeypatch.setattr(fetching, "place_and_tell", broken)
        async with session.get(url) as response:
            said: Any = response
            assert await response.text() == "text"
            assert said.cache_status == "aiohttp-cache-di; fwd=stale; fwd-status=304; detail=error"
