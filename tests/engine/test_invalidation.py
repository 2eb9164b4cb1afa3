"""What a response may invalidate: entries of its own resource, and never those of a resource that it redirects to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientRequest,
    ClientResponse,
    ClientTimeout,
    TCPConnector,
)

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend, FileBackend, ResponseOrKey, SQLiteBackend
from aiohttp_cache_di.engine.runtime import Runtime
from tests.clients import Clients
from tests.origin import CLOSE, CUT, Origin, Received, answer
from tests.storages import CustomBackend, CustomStorage


@pytest.fixture
async def evil() -> AsyncIterator[Origin]:
    async with Origin() as origin:
        yield origin


@pytest.mark.parametrize("how", ["GET", "POST"])
async def test_a_redirect_to_another_origin_is_no_weapon_against_what_is_stored_there(
    origin: Origin, evil: Origin, clients: Clients, how: str
) -> None:
    client, victim = clients(cache_control=True), origin.on("/x", answer("precious"))

    def script(request: Received) -> bytes:
        if request.number == 1:
            return answer(status=301, headers={"Location": victim})
        return answer("changed", headers={"Cache-Control": "no-store"})

    url = evil.on("/", script)
    assert await client.fetch(url) == (False, "precious")
    await client.backend.settle()
    assert await client.fetch(url, how, headers={"Cache-Control": "no-cache"}) == (False, "changed")
    assert await client.fetch(victim) == (True, "precious")
    assert origin.hits == 1


async def test_by_the_rules_alone_neither(origin: Origin, evil: Origin) -> None:
    victim = origin.on("/x", answer("precious"))
    url = evil.on("/", answer(status=301, headers={"Location": victim}))
    async with CachedSession(cache=CacheBackend(expire_after=60)) as session:
        async with session.get(url) as response:
            assert await response.text() == "precious"
        evil.on("/", answer("changed", headers={"Cache-Control": "no-store"}))
        async with session.get(url, refresh=True) as response:
            assert await response.text() == "changed"
        assert await session.cache.has_url(victim)


async def test_a_chain_of_redirects_goes_as_far_as_it_leads_to_what_has_changed(origin: Origin) -> None:
    end = origin.on("/end", answer("end"))
    second = origin.on("/second", answer(status=301, headers={"Location": end}))
    first = origin.on("/first", answer(status=301, headers={"Location": second}))
    async with CachedSession(cache=CacheBackend(cache_control=True)) as session:
        for method, url in (("GET", first), ("POST", end), ("GET", first)):
            async with session.request(method, url) as response:
                assert await response.text() == "end"
    assert [origin.hits_of(path) for path in ("/first", "/second", "/end")] == [2, 2, 3]


async def test_what_once_led_to_it_and_is_a_response_by_now_stays(origin: Origin, clients: Clients) -> None:
    client, end = clients(cache_control=True), origin.on("/end", answer("end"))
    url = origin.on("/", answer(status=301, headers={"Location": end}))
    await client.fetch(url)
    origin.on("/", answer("now here"))
    assert await client.fetch(url, headers={"Cache-Control": "no-cache"}) == (False, "now here")
    await client.fetch(end, "POST")
    assert await client.fetch(url) == (True, "now here")


class Own(CacheBackend):
    """A backend with a `delete` of its own."""

    async def delete(self, key: str) -> None:
        await super().delete(key)


async def test_nor_is_it_one_where_the_user_has_a_delete_of_their_own_which_itself_follows(
    origin: Origin, evil: Origin
) -> None:
    victim = origin.on("/x", answer("precious"))
    url = evil.on("/", answer(status=301, headers={"Location": victim}))
    async with CachedSession(cache=Own(cache_control=True)) as session:
        for method in ("GET", "POST"):
            async with session.request(method, url):
                pass
        assert await session.cache.has_url(victim)
        async with session.get(url):
            pass
        await session.cache.delete_url(url)
        assert not await session.cache.has_url(victim)


@pytest.mark.parametrize("change", ["PUT", "delete_url"])
async def test_a_response_is_not_stored_if_the_resource_changes_while_a_function_judges_it(
    origin: Origin, change: str
) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def tags_of(response: ClientResponse) -> list[str]:
        begun.set()
        await goes_on.wait()
        return []

    url = origin.on("/", lambda request: answer(str(request.number), headers={"Cache-Control": "max-age=60"}))
    async with CachedSession(cache=CacheBackend(cache_control=True, tag_fn=tags_of)) as session:
        async with session.get(url) as response:
            assert await response.text() == "1"
            await begun.wait()
            if change == "PUT":
                await (await session.put(url)).read()
            else:
                await session.delete_url(url)
            goes_on.set()
            await Runtime.of(session.cache).finish(session.cache)
        assert "detail=invalidated" in response.cache_status
        async with session.get(url) as response:
            assert await response.text() == ("3" if change == "PUT" else "2")


@pytest.mark.parametrize("is_known", [False, True], ids=["", "in the fast lane"])
async def test_a_deleted_response_does_not_come_back_with_a_variant_that_was_looked_up_before(
    origin: Origin, is_known: bool
) -> None:
    is_watching, read, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Storage(CustomStorage):
        async def read(self, key: str) -> ResponseOrKey:
            found = await super().read(key)
            if found is not None and is_watching.is_set() and not read.is_set():
                read.set()
                await goes_on.wait()
            return found

    url = origin.on("/", lambda request: answer(str(request.number), headers={"Vary": "Accept-Language"}))
    backend = CustomBackend()
    backend.responses = Storage()

    async def ask(session: CachedSession) -> str:
        async with session.get(url) as response:
            return await response.text()

    async with (
        CachedSession(cache=backend, headers={"Accept-Language": "de"}) as german,
        CachedSession(cache=backend, headers={"Accept-Language": "en"}) as english,
    ):
        latest = [await ask(session) for session in (english, english, german) if is_known or session is german][-1]
        await backend.settle()
        is_watching.set()
        other = asyncio.create_task(ask(english))
        await read.wait()
        await backend.clear()
        goes_on.set()
        assert await other > latest
        await backend.settle()
        assert await ask(german) > await other


async def test_a_change_whose_caller_gives_up_during_the_deletion_invalidates_all_the_same(origin: Origin) -> None:
    begun = asyncio.Event()

    class Storage(CustomStorage):
        async def delete(self, key: str) -> None:
            if not begun.is_set():
                begun.set()
                await asyncio.Event().wait()
            await super().delete(key)

    url = origin.on("/", lambda request: answer(str(request.number), headers={"Cache-Control": "max-age=60"}))
    backend, other = CustomBackend(cache_control=True), CustomBackend(cache_control=True)
    backend.responses = other.responses = Storage()
    async with CachedSession(cache=backend) as session, CachedSession(cache=other) as second:
        await (await session.get(url)).read()
        await backend.settle()
        changing = asyncio.create_task(session.put(url))
        await begun.wait()
        changing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await changing
        assert await (await session.get(url)).text() == "3"
        await Runtime.of(backend).finish(backend)
        assert await (await second.get(url)).text() != "1"


class SlowScript:
    """Numbers its answers, which vary on the language; while it `is_slow`, they wait until it `goes_on`."""

    def __init__(self) -> None:
        self.is_slow = False
        self.begun, self.goes_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: Received) -> bytes:
        if self.is_slow:
            self.begun.set()
            await self.goes_on.wait()
        return answer(str(request.number), headers={"Vary": "Accept-Language", "Cache-Control": "max-age=60"})


async def ask(session: CachedSession, url: str, language: str) -> str:
    """The text of the response in *language*."""
    async with session.get(url, headers={"Accept-Language": language}) as response:
        return await response.text()


@pytest.mark.parametrize("deleted", ["other keys", "what has expired"])
async def test_variants_stay_if_others_are_deleted_while_one_is_on_its_way(
    tmp_path: Path, origin: Origin, deleted: str
) -> None:
    script = SlowScript()
    url = origin.on("/", script)
    backend = FileBackend(tmp_path)
    async with CachedSession(cache=backend) as session:
        await session.get(origin.on("/old", answer("old")), expire_after=0.001)
        for language in ("de", "en"):
            await ask(session, url, language)
        await backend.settle()
        script.is_slow = True
        other = asyncio.create_task(ask(session, url, "fr"))
        await script.begun.wait()
        if deleted == "other keys":
            await backend.bulk_delete({f"other-{number}" for number in range(4000)})
        else:
            await asyncio.sleep(0.01)
            assert await backend.delete_expired_responses() == 1
        script.goes_on.set()
        assert await other == "3"
        await backend.settle()
        assert [await ask(session, url, language) for language in ("de", "en", "fr")] == ["1", "2", "3"]
    assert origin.hits == 4


@pytest.mark.parametrize("change", ["PUT", "delete_url"])
async def test_a_variant_that_is_read_while_a_users_delete_is_at_work_does_not_come_back(
    origin: Origin, change: str
) -> None:
    is_deleting, goes_on, script = asyncio.Event(), asyncio.Event(), SlowScript()

    class Backend(CustomBackend):
        async def delete(self, key: str) -> None:
            is_deleting.set()
            await goes_on.wait()
            await self.responses.delete(key)

    url = origin.on("/", script)
    backend = Backend(cache_control=True)
    async with CachedSession(cache=backend) as session:
        assert await ask(session, url, "de") == "1"
        await backend.settle()
        changing = asyncio.create_task(changed(session, url, change))
        await is_deleting.wait()
        script.is_slow = True
        other = asyncio.create_task(ask(session, url, "en"))
        await script.begun.wait()
        goes_on.set()
        await changing
        script.goes_on.set()
        await other
        await backend.settle()
        assert await ask(session, url, "de") != "1"


@pytest.mark.parametrize("change", ["PUT", "delete_url", "clear"])
@pytest.mark.parametrize(
    "make",
    [CustomBackend, CacheBackend, partial(SQLiteBackend, near_tier=False), SQLiteBackend],
    ids=["storage", "memory", "SQLite", "SQLite with copies"],
)
async def test_a_variant_does_not_come_back_with_another_that_is_stored_while_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Origin, make: Callable[..., CacheBackend], change: str
) -> None:
    is_deleting, goes_on, script = asyncio.Event(), asyncio.Event(), SlowScript()
    monkeypatch.chdir(tmp_path)
    backend = make(cache_control=True, storage_deadline=60)
    store = backend.stack.whole

    def slowly(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def run(*args: Any) -> None:
            is_deleting.set()
            await goes_on.wait()
            await method(*args)

        return run

    monkeypatch.setattr(store, "delete", slowly(store.delete))
    monkeypatch.setattr(store, "clear", slowly(store.clear))
    url = origin.on("/", script)
    async with CachedSession(cache=backend) as session:
        assert await ask(session, url, "de") == "1"
        await backend.settle()
        changing = asyncio.create_task(changed(session, url, change))
        await is_deleting.wait()
        latest = await ask(session, url, "en")
        goes_on.set()
        await changing
        await backend.settle()
        assert int(await ask(session, url, "de")) > int(latest)


async def changed(session: CachedSession, url: str, change: str) -> None:
    """Change the resource at *url* as *change* says."""
    if change == "PUT":
        await (await session.put(url)).read()
    elif change == "clear":
        await session.cache.clear()
    else:
        await session.delete_url(url)


async def test_what_was_made_stale_is_not_fresh_again_with_a_variant_that_was_on_its_way(origin: Origin) -> None:
    script = SlowScript()
    url = origin.on("/", script)
    backend = CustomBackend(cache_control=True)
    async with CachedSession(cache=backend) as session:
        assert await ask(session, url, "de") == "1"
        await backend.settle()
        script.is_slow = True
        other = asyncio.create_task(ask(session, url, "en"))
        await script.begun.wait()
        await backend.purge(url=url, soft=True)
        script.goes_on.set()
        await other
        await backend.settle()
        assert await ask(session, url, "de") != "1"


async def test_a_change_whose_caller_gives_up_during_the_purge_of_groups_invalidates_all_the_same(
    origin: Origin,
) -> None:
    is_watching, begun, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Storage(CustomStorage):
        async def read(self, key: str) -> ResponseOrKey:
            if is_watching.is_set() and not goes_on.is_set():
                begun.set()
                await goes_on.wait()
            return await super().read(key)

    def script(request: Received) -> bytes:
        groups = "Cache-Groups" if request.method == "GET" else "Cache-Group-Invalidation"
        return answer(str(request.number), headers={groups: '"g"', "Cache-Control": "max-age=60"})

    url, member = origin.on("/", script), origin.on("/member", script)
    backend = CustomBackend(cache_control=True)
    backend.responses = Storage()
    async with CachedSession(cache=backend) as session:
        for each in (url, member):
            assert await (await session.get(each)).text() == "1"
        await backend.settle()
        is_watching.set()
        changing = asyncio.create_task(session.put(url))
        await begun.wait()
        changing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await changing
        goes_on.set()
        await Runtime.of(backend).finish(backend)
        assert await (await session.get(url)).text() == "3"
        assert await (await session.get(member)).text() == "2"


@pytest.mark.parametrize("end", ["cancelled", "timeout", "timeout of the socket", "closed", "reset", "nonsense"])
async def test_a_change_that_was_sent_and_got_no_response_invalidates_what_is_stored(
    origin: Origin, clients: Clients, end: str
) -> None:
    arrived = asyncio.Event()

    async def script(request: Received) -> bytes:
        if request.method != "PUT":
            return answer(str(request.number))
        arrived.set()
        if "out" in end or end == "cancelled":
            await asyncio.Event().wait()
        return {"closed": CLOSE, "reset": CUT}.get(end, b"?\r\n\r\n")

    client, url = clients(cache_control=True), origin.on("/", script)
    assert await client.fetch(url) == (False, "1")
    await client.backend.settle()
    limits = {"timeout": ClientTimeout(total=0.1), "timeout of the socket": ClientTimeout(sock_read=0.1)}
    changing = asyncio.create_task(client.fetch(url, "PUT", data=b"new", timeout=limits.get(end, ClientTimeout())))
    await arrived.wait()
    if end == "cancelled":
        changing.cancel()
    with pytest.raises(asyncio.CancelledError if end == "cancelled" else (ClientError, TimeoutError)):
        await changing
    await Runtime.of(client.backend).finish(client.backend)
    is_hit, text = await client.fetch(url)
    assert not is_hit
    assert int(text) > 2  # aiohttp may send a PUT again
    assert client.backend.stats.invalidated == 1


@pytest.mark.parametrize("headers", [{}, {"Vary": "Accept"}], ids=["one", "variants"])
async def test_a_change_without_a_response_is_heeded_by_the_very_next_request(
    origin: Origin, clients: Clients, headers: dict[str, str]
) -> None:
    def script(request: Received) -> bytes:
        return CUT if request.method == "POST" else answer(str(request.number), headers=headers)

    client, url = clients(cache_control=True), origin.on("/", script)
    texts = [(await client.fetch(url, headers={"Accept": accept}))[1] for accept in ("b/b", "a/a")]
    await client.backend.settle()
    for _ in range(2):  # the second time by the fast lane
        assert await client.fetch(url, headers={"Accept": "a/a"}) == (True, texts[-1])
    with pytest.raises(ClientError):
        await client.fetch(url, "POST", data=b"new")
    is_hit, text = await client.fetch(url, headers={"Accept": "a/a"})  # the event loop has not run in between
    assert not is_hit
    assert text not in texts
    assert (await client.fetch(url, headers={"Accept": "b/b"}))[1] not in texts


async def test_what_is_asked_for_after_a_change_without_a_response_is_stored(origin: Origin, clients: Clients) -> None:
    url = origin.on("/", lambda request: CUT if request.method == "POST" else answer(str(request.number)))
    client = clients(cache_control=True)
    await client.fetch(url)
    await client.backend.settle()
    with pytest.raises(ClientError):
        await client.fetch(url, "POST", data=b"new")
    is_hit, text = await client.fetch(url)
    assert not is_hit
    await Runtime.of(client.backend).finish(client.backend)
    assert await client.fetch(url) == (True, text)


async def test_what_could_not_be_deleted_from_memory_after_a_change_is_not_used(origin: Origin) -> None:
    class Failing(CacheBackend):
        async def delete(self, key: str) -> None:
            raise OSError("it fails")

    url = origin.on("/", lambda request: answer(str(request.number)))
    async with CachedSession(cache=Failing(cache_control=True)) as session:
        texts: list[str] = []
        for method in ("GET", "GET", "PUT", "GET"):
            async with session.request(method, url) as response:
                texts.append(await response.text())
    assert texts == ["1", "1", "2", "3"]


async def test_a_response_that_was_on_its_way_during_a_change_without_a_response_is_not_stored(
    origin: Origin, clients: Clients
) -> None:
    goes_on = asyncio.Event()

    async def script(request: Received) -> bytes:
        if request.method == "PUT":
            return CUT
        if request.number == 1:
            await goes_on.wait()
        return answer(str(request.number))

    client, url = clients(cache_control=True), origin.on("/", script)
    first = asyncio.create_task(client.fetch(url))
    await origin.arrival()
    with pytest.raises(ClientError):
        await client.fetch(url, "PUT")
    goes_on.set()
    assert await first == (False, "1")
    await client.backend.settle()
    assert (await client.fetch(url))[0] is False


async def test_a_change_that_was_not_sent_invalidates_nothing(origin: Origin, clients: Clients) -> None:
    class Broken(TCPConnector):
        """A connector whose connections for changes fail, or take for ever."""

        fails = False

        async def connect(self, req: ClientRequest, *args: Any, **kwargs: Any) -> Any:
            if req.method == "GET":
                return await super().connect(req, *args, **kwargs)
            if self.fails:
                raise ClientConnectionError
            return await asyncio.Event().wait()

    connector = Broken()
    client, url = clients(cache_control=True, session={"connector": connector}), origin.on("/", answer("1"))
    assert await client.fetch(url) == (False, "1")
    await client.backend.settle()
    with pytest.raises(TimeoutError):
        await client.fetch(url, "PUT", timeout=ClientTimeout(total=0.05))
    connector.fails = True
    with pytest.raises(ClientConnectionError):
        await client.fetch(url, "PUT")
    assert await client.fetch(url) == (True, "1")
