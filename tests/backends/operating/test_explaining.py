"""`explain` predicts what a request does, and why, without a request to the origin and without any change."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession, UrlExpiration
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.operating import store_view
from aiohttp_cache_di.backends.operating.explanation import Explanation
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.entries.info import EntryInfo
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend

TAGGED = {"ETag": '"abc"', "Cache-Control": "max-age=60"}
DATE, LATER = "Mon, 02 Nov 2026 10:00:00 GMT", "Mon, 02 Nov 2226 10:00:00 GMT"
BACKENDS = [CacheBackend, SQLiteBackend, CustomBackend]


def options_of(backend: type[CacheBackend], tmp_path: Path) -> dict[str, Any]:
    return {"cache_name": str(tmp_path / "cache")} if backend is SQLiteBackend else {}


def step(explanation: Explanation, question: str) -> tuple[bool, str]:
    (found,) = [step for step in explanation.steps if step.question == question]
    return found.answer, found.because


def validating(request: Received) -> bytes:
    if request.headers.get("If-None-Match") == '"abc"':
        return answer(status=304, headers={**TAGGED, "Content-Length": None})
    return answer("body", headers={**TAGGED, "Vary": "Accept-Language"})


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "Serve", {}),
    ("HEAD", "Serve", {}),
    ("GET", "Validate", {"refresh": True}),
    ("GET", "Validate", {"headers": {"Cache-Control": "no-cache"}}),
    ("GET", "Validate", {"headers": {"Accept-Language": "de"}}),
    ("GET", "NotModified", {"headers": {"If-None-Match": '"abc"'}}),
    ("GET", "Partial", {"headers": {"Range": "bytes=1-2"}}),
    ("GET", "RangeNotSatisfiable", {"headers": {"Range": "bytes=10-"}}),
    ("GET", "Bypass", {"headers": {"Cache-Control": "no-store"}}),
    ("POST", "Bypass", {}),
    ("GET", "GatewayTimeout", {"params": {"other": "1"}, "only_if_cached": True}),
    ("GET", "Fetch", {"headers": {"Authorization": "Bearer other"}}),
    ("GET", "Fetch", {"principal": "tenant-7"}),
    ("GET", "Fetch", {"params": {"page": "2"}}),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("method", "decision", "options"), REQUESTS, ids=str)
async def test_what_is_told_is_what_happens_next(
    origin: Origin, tmp_path: Path, backend: type[CacheBackend], method: str, decision: str, options: dict[str, Any]
) -> None:
    origin.on("/x", validating)
    cache = backend(cache_control=True, autoclose=True, **options_of(backend, tmp_path))
    async with CachedSession(origin.url + "/", cache=cache, headers={"Authorization": "Bearer a"}) as session:
        async with session.get("x") as response:
            await response.read()
        (kept,) = [info.key async for info in cache.entries()]
        before = origin.hits, cache.stats.snapshot()

        told = await session.explain(method, "x", **options)

        assert (origin.hits, cache.stats.snapshot()) == before
        assert told.decision == decision
        assert [info.key for info in told.stored] == ([] if "params" in options else [kept])
        async with session.request(method, "x", **options) as said:
            await said.read()
        happened = said.cache_status.split("; ttl=")[0]
        assert happened.startswith(told.cache_status.split("; ttl=")[0])
        assert str(said.cache_decision)


async def test_the_values_that_decide_are_told(origin: Origin) -> None:
    url = origin.on("/x", answer("body", headers=TAGGED))
    async with CachedSession(cache_control=True) as session:
        assert step(await session.explain("GET", url), "selected") == (False, "nothing is stored for it")
        async with session.get(url) as response:
            await response.read()

        told = await session.explain("GET", url)
        assert step(told, "usable") == (True, "max-age=60 from the origin, age 0 s: fresh for 60 s")
        told = await session.explain("GET", url, headers={"Cache-Control": "min-fresh=90"})
        answer_, because = step(told, "usable")
        assert (answer_, because.partition(", and")[0]) == (False, "min-fresh=90 in the request")
        assert step(told, "askable") == (True, 'If-None-Match: "abc"')
        await session.cache.purge(url=url, soft=True)
        told = await session.explain("GET", url)
        assert told.decision == "Validate"
        assert "it was made stale" in step(told, "usable")[1]
        told = await session.explain("GET", url, auth=None, headers={"Authorization": "Bearer a"})
        assert step(told, "selected") == (False, "what is stored for the URL is for others: everyone")


async def test_what_is_signed_with_another_key_is_not_said_to_be_for_others(origin: Origin, tmp_path: Path) -> None:
    url = origin.on("/x", answer("body", headers=TAGGED))
    options = options_of(SQLiteBackend, tmp_path)
    plain = SQLiteBackend(cache_control=True, autoclose=True, **options)
    async with CachedSession(cache=plain) as session, session.get(url) as response:
        await response.read()
    signed = SQLiteBackend(cache_control=True, autoclose=True, secret_key="one that has not signed it", **options)
    async with CachedSession(cache=signed) as session:
        told = await session.explain("GET", url)
    unreadable = (
        "what is stored for it cannot be read: damaged, foreign, made by another serializer, or signed with another key"
    )
    assert (told.decision, step(told, "selected"), len(told.stored)) == ("Fetch", (False, unreadable), 1)


async def test_the_setting_that_says_so_is_told(origin: Origin) -> None:
    url, other = origin.on("/v1/x", answer("body")), origin.on("/v2/x", answer("body"))
    patterns = {"127.0.0.1:*/v1/*": UrlExpiration(30, stale_if_error=60)}
    async with CachedSession(urls_expire_after=patterns, expire_after=90, stale_if_error=True) as session:
        async with session.get(url) as response:
            await response.read()
        told = await session.explain("GET", url)
        assert told.settings == (
            "cache_control=False",
            "expire_after says 30 s, by urls_expire_after['127.0.0.1:*/v1/*']",
            "stale_if_error=60 s, by urls_expire_after['127.0.0.1:*/v1/*']",
        )
        assert step(told, "usable") == (True, "expire_after 30 s, age 0 s: fresh for 30 s")
        told = await session.explain("GET", other, expire_after=5)
        assert told.settings == (
            "cache_control=False",
            "expire_after says 5 s, by the request",
            "stale_if_error=as long as it is stored, by the backend",
        )


async def test_a_backend_is_told_all_that_a_session_adds(origin: Origin) -> None:
    url = origin.on("/x", answer("body"))
    headers = {"Authorization": "Bearer a"}
    async with CachedSession(cache_control=True, headers=headers, cookies={"id": "1"}) as session:
        async with session.get(url, params={"a": "1"}) as response:
            await response.read()
        backend = session.cache
        assert (await backend.explain("GET", url, params={"a": "1"})).decision == "Fetch"
        told = await backend.explain("GET", f"{url}?a=1", headers=headers, cookies={"id": "1"})
        assert told.decision == "Serve"
        assert told.partition == told.stored[0].partition != ""


async def test_a_redirect_whose_end_is_not_at_hand_is_asked_for_anew(origin: Origin) -> None:
    url = origin.on("/from", answer(status=302, headers={"Location": "/to", "Cache-Control": None}))
    origin.on("/to", answer("body"))
    async with CachedSession(expire_after=60) as session:
        async with session.get(url) as response:
            await response.read()
        assert (await session.explain("GET", url)).decision == "Serve"
        await session.cache.purge(match="*/to")
        told = await session.explain("GET", url)
        assert told.decision == "Fetch"
        assert told.steps[-1].because == "what the redirect leads to is not at hand"


async def test_a_store_that_takes_too_long_to_search_is_searched_in_part(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.on("/x", answer("body", headers=TAGGED))
    async with CachedSession(cache=CacheBackend(cache_control=True)) as session:
        async with session.get(url) as response:
            await response.read()
        assert (await session.explain("GET", url)).is_all
        entries = session.cache.entries

        async def endless(**selectors: Any) -> AsyncGenerator[EntryInfo]:
            async for info in entries(**selectors):
                yield info
            await asyncio.Event().wait()

        monkeypatch.setattr(session.cache, "entries", endless)
        monkeypatch.setattr(store_view, "LISTED_WITHIN_S", 0.05)
        told = await session.explain("GET", url)
        assert (told.decision, told.is_all, told.store_error, len(told.stored)) == ("Serve", False, "", 1)
        assert "too large to be searched" in str(told)
        assert json.loads(json.dumps(told.as_dict()))["is_all"] is False
        missing = await session.explain("GET", f"{url}/other")
        assert (missing.decision, missing.is_all) == ("Fetch", False)
        assert "nothing is stored for the URL" not in str(missing)


async def test_what_a_filter_refuses_is_told(origin: Origin) -> None:
    url = origin.on("/x", answer("body"))
    async with CachedSession() as session:
        async with session.get(url) as response:
            await response.read()
        session.cache.filter_fn = lambda response: False
        assert step(await session.explain("GET", url), "selected") == (False, "filter_fn refuses what is stored")


async def test_an_explanation_has_no_secret_and_can_be_written_as_json(origin: Origin) -> None:
    origin.on("/x", answer("body", headers=TAGGED))
    secret = "hunter2"
    async with CachedSession(cache_control=True, headers={"Authorization": f"Bearer {secret}"}) as session:
        url = f"{origin.url}/x?token={secret}".replace("http://", f"http://user:{secret}@")
        async with session.get(url.replace(f"user:{secret}@", "")) as response:
            await response.read()
        told = await session.explain("GET", url.replace(f"user:{secret}@", ""), headers={"X-Api-Key": secret})
        anyone = await session.cache.explain("GET", url)
        for explanation in (told, anyone):
            assert secret not in str(explanation)
            assert secret not in json.dumps(explanation.as_dict(), allow_nan=False)
            assert explanation.stored


async def words(session: CachedSession, url: str, **fields: str) -> str:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with session.get(url, headers=headers) as response:
        await response.read()
    return re.sub(r"\b\d+ s\b", "N s", str(response.cache_decision))  # a machine may be slow


async def test_what_had_been_stored_is_told_of_what_is_asked_for_anew(origin: Origin) -> None:
    stale = {"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "72", "Last-Modified": DATE}
    url = origin.on("/x", answer("body", headers=stale))
    other = origin.on("/y", answer("body", headers={"Cache-Control": "max-age=60"}))
    async with CachedSession(cache_control=True) as session:
        await words(session, url)
        assert await words(session, url) == (
            "answered from the cache; age N s, stale by N s; it was stale, and is validated in the background"
        )
        assert await words(session, url, Cache_Control="max-age=90, no-cache") == (
            "sent to the origin: what was stored is no longer fresh; of what was stored: age N s, stale by N s; stored"
        )
        await words(session, other)
        assert await words(session, other, Cache_Control="no-cache") == (
            "sent to the origin: the request itself keeps what is stored from being used; "
            "of what was stored: age N s, fresh for N s; stored"
        )
        assert await words(session, other, If_Modified_Since=LATER) == (
            "answered from the cache; age N s, fresh for N s; "
            "it has not changed since the date in the caller's If-Modified-Since"
        )


async def test_a_response_says_in_words_what_happened(origin: Origin) -> None:
    url = origin.on("/x", answer("body", headers={"Cache-Control": "no-store"}))
    other = origin.on("/y", answer("body", headers=TAGGED))
    async with CachedSession(cache_control=True) as session:
        async with session.get(url) as response:
            await response.read()
        assert (response.cache_decision.reason, response.cache_decision.is_hit) == ("no-store", False)
        assert str(response.cache_decision) == (
            "sent to the origin: nothing was stored for it; not stored: request or response forbids it"
        )
        for _ in range(2):
            async with session.get(other) as response:
                await response.read()
        decision = response.cache_decision
        assert (decision.is_hit, decision.reason) == (True, "")
        assert str(decision) == "answered from the cache; age 0 s, fresh for 60 s"
        assert await words(session, other, If_None_Match='"abc"') == (
            'answered from the cache; age N s, fresh for N s; the caller\'s If-None-Match has its ETag: "abc"'
        )
        assert await words(session, other, Range="bytes=1-2") == (
            "answered from the cache; age N s, fresh for N s; bytes 1-2 of 4 are cut from it"
        )
        assert await words(session, other, Range="bytes=7-") == (
            "answered from the cache; age N s, fresh for N s; the range lies beyond its 4 bytes"
        )
        async with session.get(other, headers={"Cache-Control": "only-if-cached"}, params={"a": "b"}) as response:
            pass
        assert "may only be answered from the cache" in str(response.cache_decision)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_first_line_names_the_partition_by_which_the_entry_is_purged(
    origin: Origin, tmp_path: Path, backend: type[CacheBackend]
) -> None:
    origin.on("/x", lambda _: answer("body", headers=TAGGED))
    url = f"{origin.url}/x"
    cache = backend(cache_control=True, **options_of(backend, tmp_path))
    async with CachedSession(cache=cache) as session:
        for principal in ("tenant-7", "tenant-8"):
            async with session.get(url, principal=principal) as response:
                await response.read()
        explanation = await session.explain("GET", url, principal="tenant-7")
        assert str(explanation).split("\n")[0] == f"GET {url}, for principal {explanation.partition}"
        assert (await session.cache.purge(partition=explanation.partition)).entries == 1
        assert (await session.explain("GET", url, principal="tenant-7")).decision == "Fetch"
        assert (await session.explain("GET", url, principal="tenant-8")).decision == "Serve"
