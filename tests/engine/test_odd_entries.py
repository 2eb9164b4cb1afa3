"""An entry that can be decoded but on which a rule fails is a miss, and is then deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import ClientError, CookieJar
from msgspec import Struct
from msgspec.structs import asdict, replace

from aiohttp_cache_di import CachedSession, middleware, policy
from aiohttp_cache_di.backends import SQLiteBackend
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine import exchange, hop, sharing
from aiohttp_cache_di.engine.sessions import fast_lane
from aiohttp_cache_di.response import AnyResponse, CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.clients import Client, Clients, is_hit
from tests.origin import CUT, Origin, Received, answer
from tests.storages import CustomBackend

ODD = b"odd"
RULES: dict[str, list[tuple[Any, str]]] = {
    "decide": [(fast_lane, "decide"), (middleware, "decide"), (exchange, "decide"), (sharing, "decide")],
    "plain_answer": [(middleware, "plain_answer"), (hop, "plain_answer")],
    "answer_from": [(hop, "answer_from")],
    "may_be_used_alone": [(policy, "may_be_used_alone")],
    "serve": [(policy, "serve")],
    "on_response": [(policy, "on_response")],
    "select_variant": [(policy, "select_variant")],
    "place_variant": [(policy, "place_variant")],
    "background_plan": [(policy, "background_plan")],
    "response": [(CachedResponse, "from_stored")],
}


def is_odd(value: object) -> bool:
    """Whether *value* is the odd entry, or contains it."""
    if isinstance(value, StoredResponse):
        return value.body == ODD
    if isinstance(value, Struct):
        return any(map(is_odd, cast("dict[str, object]", asdict(value)).values()))
    return isinstance(value, tuple) and any(map(is_odd, cast("tuple[object, ...]", value)))


def fail_on_odd(monkeypatch: pytest.MonkeyPatch, rule: str) -> list[str]:
    """Make *rule* fail on the odd entry; the returned list gets an item for each failure."""
    failed: list[str] = []
    for place, attribute in RULES[rule]:
        genuine = getattr(place, attribute)

        def failing(*args: Any, _genuine: Any = genuine, **kwargs: Any) -> Any:
            if any(map(is_odd, (*args, *kwargs.values()))):
                failed.append(rule)
                raise ZeroDivisionError
            return _genuine(*args, **kwargs)

        monkeypatch.setattr(place, attribute, failing)
    return failed


async def plant(backend: CacheBackend, url: str, **changes: Any) -> None:
    """Store the odd entry for *url*."""
    now = time.time()
    entry = StoredResponse(
        key=backend.create_key("GET", url),
        method="GET",
        url=url,
        status=200,
        reason=b"OK",
        raw_headers=((b"ETag", b'"odd"'), (b"Content-Length", b"3")),
        requested_at=now,
        received_at=now,
        created_at=now,
        fresh_until=now + 60,
        body=ODD,
    )
    await backend.write(replace(entry, **changes))


async def numbered(request: Received) -> bytes:
    return answer(f"new {request.number}", headers={"ETag": '"new"'})


STATES: dict[str, Callable[[float], dict[str, Any]]] = {
    "fresh": lambda now: {},
    "stale": lambda now: {"fresh_until": now - 10, "store_until": now + 60},
    "varying": lambda now: {"vary_fields": ("accept",), "vary_digest": b"x" * 16},
    "redirect": lambda now: {"status": 302, "raw_headers": ((b"Location", b"/elsewhere"),)},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "rules": {"expire_after": 60},
    "standard": {"cache_control": True, "stale_if_error": 60, "stale_while_revalidate": 60},
}


async def known_origin(origin: Origin, client: Client) -> None:
    """Let the fast lane learn the origin."""
    url = origin.on("/known", numbered)
    for _ in range(2):
        await client.fetch(url)


async def is_there(backend: CacheBackend, url: str) -> bool:
    await backend.settle()
    entry = await backend.responses.read_entry(backend.create_key("GET", url))
    return entry is not None and entry.body == ODD


@pytest.mark.parametrize("mode", OPTIONS)
@pytest.mark.parametrize("rule", RULES)
async def test_it_is_a_miss_and_goes(
    origin: Origin, clients: Clients, monkeypatch: pytest.MonkeyPatch, rule: str, mode: str
) -> None:
    for number, (state, changes) in enumerate(STATES.items()):
        client, url = clients(**OPTIONS[mode]), origin.on(f"/{number}", numbered)
        await known_origin(origin, client)
        await plant(client.backend, url, **changes(time.time()))
        with monkeypatch.context() as patch:
            failed = fail_on_odd(patch, rule)
            fetched = [await client.fetch(url, allow_redirects=rule == "may_be_used_alone") for _ in range(3)]
        if failed:
            assert [text[:3] for _, text in fetched] == ["new"] * 3, state
            assert not await is_there(client.backend, url), state


@pytest.mark.parametrize("asked", [{}, {"headers": {"Range": "bytes=0-1"}}], ids=["whole", "a part"])
async def test_it_does_not_count_as_a_hit(
    origin: Origin, clients: Clients, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    client, url = clients(expire_after=60), origin.on("/", numbered)
    await plant(client.backend, url)
    for rule in ("plain_answer", "answer_from"):
        fail_on_odd(monkeypatch, rule)
    await client.fetch(url, **asked)
    assert (client.backend.stats.hits, origin.hits) == (0, 1)


@pytest.mark.parametrize("rule", ["decide", "serve", "answer_from", "response"])
async def test_those_who_wait_for_it_ask_for_themselves(
    origin: Origin, clients: Clients, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    async def slowly(request: Received) -> bytes:
        await asyncio.sleep(0.02)
        return answer("odd")

    client, url = clients(expire_after=60), origin.on("/", slowly)
    failed = fail_on_odd(monkeypatch, rule)
    fetched = await asyncio.gather(*(client.fetch(url) for _ in range(4)))
    assert fetched == [(False, "odd")] * 4
    assert failed
    assert origin.hits == 4


async def test_without_it_a_failure_of_the_origin_is_one(
    origin: Origin, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(request: Received) -> AsyncIterator[bytes]:
        yield CUT

    url = origin.on("/", cut)
    for rule, places in {"on_failure": [(policy, "on_failure")], "answer_from": RULES["answer_from"]}.items():
        monkeypatch.setitem(RULES, rule, places)
        client = clients(cache_control=True)
        await plant(client.backend, url, **STATES["stale"](time.time()))
        with monkeypatch.context() as patch:
            failed = fail_on_odd(patch, rule)
            with pytest.raises(ClientError):
                await client.fetch(url)
        assert set(failed) == {rule}, "aiohttp may ask twice"


async def test_a_walk_passes_it_by_and_drops_it(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, url = clients().backend, "http://origin.test/"
    await plant(backend, url)
    fail_on_odd(monkeypatch, "response")
    assert [url async for url in backend.get_urls()] == []
    assert await backend.get_response(backend.create_key("GET", url)) is None
    assert not await backend.has_url(url) or isinstance(backend, CustomBackend), "whose storage is the user's"


@pytest.mark.parametrize("mode", OPTIONS)
async def test_what_a_filter_fails_on_is_a_miss(origin: Origin, clients: Clients, mode: str) -> None:
    def fail(response: AnyResponse) -> bool:
        raise ZeroDivisionError

    client, url = clients(**OPTIONS[mode]), origin.on("/", numbered)
    assert await client.fetch(url) == (False, "new 1")
    await client.backend.settle()
    client.backend.filter_fn = fail
    assert await client.fetch(url) == (False, "new 2")
    await client.backend.settle()
    assert not await client.backend.has_url(url)
    await plant(client.backend, url)
    await client.backend.delete_expired_responses()
    assert not await client.backend.has_url(url)


@pytest.mark.parametrize("location", ["http://[", "file:///etc/passwd", "/", "?", "http:///x"])
async def test_a_planted_redirect_that_leads_nowhere_is_a_miss_and_goes(
    origin: Origin, tmp_path: Path, location: str
) -> None:
    url = origin.on("/", numbered)
    backend = SQLiteBackend(str(tmp_path / "cache.sqlite"), expire_after=60)
    await backend.learn_secret()
    await plant(backend, url, status=301, raw_headers=((b"Location", location.encode()),))
    await backend.close()
    async with CachedSession(cache=SQLiteBackend(str(tmp_path / "cache.sqlite"), expire_after=60)) as session:
        for expected in (False, True, True):
            async with session.get(url) as response:
                assert (getattr(response, "from_cache", False), await response.text()) == (expected, "new 1")
        assert session.cache.stats.unreadable


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_is_led_back_with_a_cookie_gets_what_aiohttp_gets(origin: Origin, method: str) -> None:
    """Without the cookie the origin sends the client back to where it is."""

    def script(request: Received) -> bytes:
        if "seen=1" in request.headers.get("Cookie", ""):
            return answer("in")
        return answer(status=302, headers={"Location": "/"}, lines=(("Set-Cookie", "seen=1"),))

    url = origin.on("/", script)
    for _ in range(2):
        async with CachedSession(expire_after=60, cookie_jar=CookieJar(unsafe=True)) as session:
            for expected in (False, True, True):
                async with session.request(method, url) as response:
                    assert (is_hit(response), response.status) == (expected, 200)
                    assert await response.text() == ("in" if method == "GET" else "")
