"""The list of a URL's variants has all that this process has written, also in a store without copies in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend


@pytest.mark.parametrize("before", [("en",), ("de",), ("de", "en")], ids=["another", "its own", "both"])
async def test_a_variant_that_was_written_during_a_request_for_another_stays_in_the_list(
    origin: Origin, before: tuple[str, ...]
) -> None:
    is_slow, begun, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(request: Received) -> bytes:
        language = request.headers["Accept-Language"]
        if is_slow.is_set() and language == "de":
            begun.set()
            await goes_on.wait()
        lifetime = "max-age=0" if not is_slow.is_set() and language == "de" else "max-age=60"
        fields = {"Vary": "Accept-Language", "ETag": f'"{language}"', "Cache-Control": lifetime}
        is_confirmed = "If-None-Match" in request.headers
        return answer("" if is_confirmed else language, status=304 if is_confirmed else 200, headers=fields)

    async def ask(language: str) -> tuple[str, bool]:
        async with session.get(url, headers={"Accept-Language": language}) as response:
            return await response.text(), response.from_cache

    url, backend = origin.on("/", script), CustomBackend(cache_control=True)
    async with CachedSession(cache=backend) as session:
        for language in before:
            assert await ask(language) == (language, False)
            await backend.settle()
        is_slow.set()
        slow = asyncio.create_task(ask("de"))
        await begun.wait()
        for language in ("fr", "it"):
            assert await ask(language) == (language, False)
            await backend.settle()
        goes_on.set()
        assert (await slow)[0] == "de"
        await backend.settle()
        for language in {"de", "fr", "it", *before}:
            assert await ask(language) == (language, True)


@pytest.mark.parametrize("later", ["whole", "part", "part of another"])
async def test_a_body_that_arrives_late_replaces_no_response_to_a_later_request(origin: Origin, later: str) -> None:
    goes_on, is_part = asyncio.Event(), later != "whole"

    async def script(request: Received) -> AsyncIterator[bytes]:
        text = "12" if later == "part" or request.number == 1 else "34"
        whole = answer(text, headers={"ETag": f'"{text}"'})
        if "Range" in request.headers:
            whole = answer(text[:1], status=206, headers={"ETag": f'"{text}"', "Content-Range": "bytes 0-0/2"})
        yield whole[:-1]
        if request.number == 1:
            await goes_on.wait()
        yield whole[-1:]

    url, backend = origin.on("/", script), CustomBackend(cache_control=True)
    async with CachedSession(cache=backend) as session:
        async with session.get(url) as first:
            fields = {"Range": "bytes=0-0"} if is_part else {}
            await (await session.get(url, headers=fields, refresh=True)).read()
            await backend.settle()
            goes_on.set()
            assert await first.text() == "12"
            assert ("detail=invalidated" in first.cache_status) is (later != "part")
        async with session.get(url, headers={"Range": "bytes=0-0"}) as latest:
            assert (await latest.text(), latest.from_cache) == ("1" if later == "part" else "3", True)


async def test_an_older_response_that_is_left_under_the_key_of_a_variant_is_not_used(origin: Origin) -> None:
    async def ask(language: str, **options: Any) -> str:
        async with session.get(url, headers={"Accept-Language": language}, **options) as response:
            text = await response.text()
        await backend.settle()
        return text

    url = origin.on("/", lambda request: answer(str(request.number), headers={"Vary": "Accept-Language"}))
    backend = CustomBackend(cache_control=True)
    async with CachedSession(cache=backend) as session:
        assert [await ask("de"), await ask("en")] == ["1", "2"]
        (older,) = ({key: item} for key, item in backend.responses.items.items() if "." in key)
        assert [await ask("de", refresh=True), await ask("en", refresh=True), await ask("de")] == ["3", "4", "3"]
        assert older.keys() <= backend.responses.items.keys()
        backend.responses.items.update(older)
        assert await ask("de") == "5"


@pytest.mark.parametrize("headers", [{}, {"Vary": "Accept"}], ids=["one", "variants"])
@pytest.mark.parametrize("make", [CacheBackend, CustomBackend], ids=["memory", "storage"])
async def test_a_response_to_head_updates_no_response_that_was_replaced_meanwhile(
    origin: Origin, headers: dict[str, str], make: type[CacheBackend]
) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def script(request: Received) -> bytes:
        if request.method == "HEAD":
            begun.set()
            await goes_on.wait()
        return answer(str(request.number), headers={**headers, "Content-Length": None} if begun.is_set() else headers)

    url, backend = origin.on("/", script), make(cache_control=True)
    async with CachedSession(cache=backend) as session:
        assert await (await session.get(url)).text() == "1"
        await backend.settle()
        asking = asyncio.create_task(session.head(url, refresh=True))
        await begun.wait()
        begun.clear()
        async with session.get(url, refresh=True) as later:
            assert await later.text() == "3"
        await backend.settle()
        begun.set()
        goes_on.set()
        await asking
        async with session.get(url) as latest:
            assert (await latest.text(), latest.from_cache) == ("3", True)


async def test_a_variant_that_was_deleted_during_a_request_for_another_does_not_come_back(origin: Origin) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def script(request: Received) -> bytes:
        if request.headers["Accept-Language"] == "de":
            begun.set()
            await goes_on.wait()
        return answer(str(request.number), headers={"Vary": "Accept-Language"})

    async def ask(language: str) -> str:
        async with session.get(url, headers={"Accept-Language": language}) as response:
            return await response.text()

    url, backend = origin.on("/", script), CustomBackend(cache_control=True)
    async with CachedSession(cache=backend) as session:
        assert await ask("en") == "1"
        await backend.settle()
        slow = asyncio.create_task(ask("de"))
        await begun.wait()
        assert await ask("fr") == "3"
        await backend.settle()
        await backend.delete_url(url)
        goes_on.set()
        assert await slow == "2"
        await backend.settle()
        assert await ask("fr") == "4"
