"""`explain` predicts what the next request does, in each situation of a table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from aiohttp import ClientResponse

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend, RedisBackend, ResponseOrKey, SQLiteBackend
from aiohttp_cache_di.backends.operating.explanation import Explanation
from aiohttp_cache_di.response import AnyResponse
from aiohttp_cache_di.rfc9111.messages import Request
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend, CustomStorage

Meddle = Callable[[CachedSession, Origin], Awaitable[object]]

STANDARD: Final = {"cache_control": True}
RULES: Final = {"expire_after": 60}
Fields: TypeAlias = Mapping[str, str | None]
FRESH: Final[Fields] = {"Cache-Control": "max-age=60", "ETag": '"abc"'}
STALE: Final[Fields] = {"Cache-Control": "max-age=60", "Age": "72", "ETag": '"abc"'}
WITHOUT_ETAG: Final[Fields] = {"Cache-Control": "max-age=60", "Age": "72", "ETag": None}
FIELD = "Cache-Control"


@dataclass(frozen=True)
class Situation:
    """What is stored, and the request that follows.

    Args:
        decision: the decision for that request.
        backend: options of the backend.
        headers: header fields of the stored response; None if nothing is stored.
        first: the arguments of the request that stored it.
        then: the arguments of the request that is explained, and then sent.
        meddle: what happens in between.
        status: the status of the origin's answer to it.
    """

    decision: str
    backend: dict[str, Any] = field(default_factory=lambda: STANDARD)
    headers: Fields | None = field(default_factory=lambda: FRESH)
    method: str = "GET"
    first: dict[str, Any] = field(default_factory=dict[str, Any])
    then: dict[str, Any] = field(default_factory=dict[str, Any])
    meddle: Meddle | None = None
    status: int = 200


async def purged(session: CachedSession, origin: Origin) -> None:
    await session.cache.purge(tags="a")


async def purged_softly(session: CachedSession, origin: Origin) -> None:
    await session.cache.purge(tags="a", soft=True)


async def made_stale(session: CachedSession, origin: Origin) -> None:
    await session.cache.purge(all=True, soft=True)


async def refused(session: CachedSession, origin: Origin) -> None:
    def refuse(response: AnyResponse) -> bool:
        return False

    session.cache.filter_fn = refuse


async def failing_filter(session: CachedSession, origin: Origin) -> None:
    def fail(response: AnyResponse) -> bool:
        raise LookupError

    session.cache.filter_fn = fail


async def switched_off(session: CachedSession, origin: Origin) -> None:
    session.cache.disabled = True


def wish(**directives: str) -> dict[str, Any]:
    return {"headers": {FIELD: ", ".join(f"{name.replace('_', '-')}{value}" for name, value in directives.items())}}


async def in_parts() -> AsyncIterator[bytes]:
    yield b"text"


IN_GERMAN: Final = {"headers": {"Accept-Language": "de"}}
PART: Final = {"headers": {"Range": "bytes=1-2"}}
QUERY: Final = {"data": b"q", "headers": {"Content-Type": "text/plain"}}
TAGGED: Final = {"tags": ["a"]}

SITUATIONS: Final[dict[str, Situation]] = {
    "nothing stored": Situation("Fetch", headers=None),
    "nothing stored, rules": Situation("Fetch", RULES, headers=None),
    "nothing stored, only-if-cached": Situation("GatewayTimeout", headers=None, then=wish(only_if_cached="")),
    "nothing stored, only_if_cached=True": Situation("GatewayTimeout", RULES, None, then={"only_if_cached": True}),
    "fresh": Situation("Serve"),
    "fresh, rules": Situation("Serve", RULES),
    "fresh, HEAD": Situation("Serve", method="HEAD"),
    "fresh, HEAD, rules": Situation("Fetch", RULES, method="HEAD"),
    "fresh, only-if-cached": Situation("Serve", then=wish(only_if_cached="")),
    "fresh, no-cache": Situation("Validate", then=wish(no_cache="")),
    "fresh, no-cache, rules": Situation("Serve", RULES, then=wish(no_cache="")),
    "fresh, max-age=0": Situation("Validate", then=wish(max_age="=0")),
    "fresh, min-fresh": Situation("Validate", then=wish(min_fresh="=90")),
    "fresh, no-store in the request": Situation("Bypass", then=wish(no_store="")),
    "fresh, no-store in the request, rules": Situation("Bypass", RULES, then=wish(no_store="")),
    "fresh, no-store and only-if-cached": Situation("Serve", then=wish(no_store="", only_if_cached="")),
    "fresh, refresh": Situation("Validate", then={"refresh": True}),
    "fresh, refresh, rules": Situation("Validate", RULES, then={"refresh": True}),
    "fresh, refresh, no ETag, rules": Situation("Fetch", RULES, {"ETag": None}, then={"refresh": True}),
    "fresh, refresh, only_if_cached": Situation("GatewayTimeout", then={"refresh": True, "only_if_cached": True}),
    "fresh, immutable": Situation("Serve", headers={FIELD: "max-age=60, immutable"}, then=wish(max_age="=0")),
    "no-store in the response": Situation("Fetch", headers={FIELD: "no-store"}),
    "no-store in the response, rules": Situation("Fetch", RULES, {FIELD: "no-store"}),
    "no-cache in the response": Situation("Validate", headers={**FRESH, FIELD: "no-cache"}),
    "no lifetime": Situation("Fetch", headers={FIELD: None, "ETag": None}),
    "no lifetime, ETag": Situation("Validate", headers={FIELD: None, "ETag": '"abc"'}),
    "stale, ETag": Situation("Validate", headers=STALE),
    "stale, nothing to validate by": Situation(
        "Fetch", headers={**WITHOUT_ETAG, FIELD: "max-age=60, stale-if-error=9"}
    ),
    "stale, max-stale": Situation("Serve", headers=STALE, then=wish(max_stale="")),
    "stale, max-stale=5": Situation("Validate", headers=STALE, then=wish(max_stale="=5")),
    "stale, must-revalidate, max-stale": Situation(
        "Validate", headers={**STALE, FIELD: "max-age=60, must-revalidate"}, then=wish(max_stale="")
    ),
    "stale, only-if-cached": Situation("GatewayTimeout", headers=STALE, then=wish(only_if_cached="")),
    "stale, stale-while-revalidate": Situation(
        "Serve", headers={**STALE, FIELD: "max-age=60, stale-while-revalidate=60"}
    ),
    "stale, stale-while-revalidate of the setting": Situation(
        "Serve", STANDARD | {"stale_while_revalidate": 60}, STALE
    ),
    "stale, stale-while-revalidate, rules": Situation(
        "Serve", RULES | {"stale_while_revalidate": 60}, meddle=made_stale
    ),
    "stale, rules": Situation("Fetch", RULES, meddle=made_stale),
    "stale, stale-if-error and a 500": Situation(
        "Validate", headers={**STALE, FIELD: "max-age=60, stale-if-error=60"}, status=500
    ),
    "stale, stale_if_error and a 500": Situation("Validate", headers=STALE, then={"stale_if_error": True}, status=500),
    "Vary, the same": Situation("Serve", headers={**FRESH, "Vary": "Accept-Language"}, first=IN_GERMAN, then=IN_GERMAN),
    "Vary, another": Situation("Validate", headers={**FRESH, "Vary": "Accept-Language"}, then=IN_GERMAN),
    "Vary, another, no ETag": Situation(
        "Fetch", headers={FIELD: "max-age=60", "ETag": None, "Vary": "Accept-Language"}, then=IN_GERMAN
    ),
    "Vary, another, rules": Situation("Fetch", RULES, {**FRESH, "Vary": "Accept-Language"}, then=IN_GERMAN),
    "Vary: *": Situation("Fetch", headers={**FRESH, "Vary": "*"}),
    "for another by Authorization": Situation("Fetch", then={"headers": {"Authorization": "Bearer other"}}),
    "for the same by Authorization": Situation(
        "Serve",
        first={"headers": {"Authorization": "Bearer a"}},
        then={"headers": {"Authorization": "Bearer a"}},
    ),
    "for the same by Authorization, shared": Situation(
        "Fetch",
        STANDARD | {"shared": True},
        first={"headers": {"Authorization": "Bearer a"}},
        then={"headers": {"Authorization": "Bearer a"}},
    ),
    "for another principal": Situation("Fetch", first={"principal": "a"}, then={"principal": "b"}),
    "for the same principal": Situation("Serve", first={"principal": "a"}, then={"principal": "a"}),
    "private": Situation("Serve", headers={**FRESH, FIELD: "private, max-age=60"}),
    "private, shared": Situation("Fetch", STANDARD | {"shared": True}, {**FRESH, FIELD: "private, max-age=60"}),
    "purged by tag": Situation("Fetch", first=TAGGED, meddle=purged),
    "purged by tag, only_if_cached": Situation(
        "GatewayTimeout", first=TAGGED, meddle=purged, then={"only_if_cached": True}
    ),
    "purged softly by tag": Situation("Validate", first=TAGGED, meddle=purged_softly),
    "purged softly by tag, served while revalidated": Situation(
        "Serve", STANDARD | {"stale_while_revalidate": 60}, first=TAGGED, meddle=purged_softly
    ),
    "purged softly by tag, rules": Situation("Fetch", RULES, first=TAGGED, meddle=purged_softly),
    "refused by filter_fn": Situation("Fetch", meddle=refused),
    "refused by filter_fn, rules": Situation("Fetch", RULES, meddle=refused),
    "refused by filter_fn, only_if_cached": Situation("GatewayTimeout", meddle=refused, then={"only_if_cached": True}),
    "filter_fn fails": Situation("Fetch", meddle=failing_filter),
    "switched off": Situation("Bypass", meddle=switched_off),
    "expire_after=0": Situation("Bypass", RULES, then={"expire_after": 0}),
    "expire_after=0 of the request, standard": Situation("Serve", then={"expire_after": 0}),
    "POST": Situation("Bypass", method="POST"),
    "POST, only_if_cached": Situation("GatewayTimeout", method="POST", then={"only_if_cached": True}),
    "POST, rules, allowed": Situation(
        "Fetch", RULES | {"allowed_methods": ("GET", "POST")}, method="POST", then={"data": b"q"}
    ),
    "QUERY": Situation("Fetch", headers=None, method="QUERY", then=QUERY),
    "QUERY without Content-Type": Situation("Bypass", headers=None, method="QUERY"),
    "a body that is read once": Situation("Bypass", method="QUERY", then={"data": in_parts()}),
    "a stream of events": Situation("Bypass", then={"headers": {"Accept": "text/event-stream"}}),
    "If-None-Match that matches": Situation("NotModified", then={"headers": {"If-None-Match": '"abc"'}}),
    "If-None-Match of another": Situation("Serve", then={"headers": {"If-None-Match": '"other"'}}),
    "If-None-Match, stale": Situation("Fetch", headers=STALE, then={"headers": {"If-None-Match": '"abc"'}}),
    "If-None-Match, rules": Situation("Bypass", RULES, then={"headers": {"If-None-Match": '"abc"'}}),
    "If-Match of another": Situation("Fetch", then={"headers": {"If-Match": '"other"'}}),
    "Range": Situation("Partial", then=PART),
    "Range beyond": Situation("RangeNotSatisfiable", then={"headers": {"Range": "bytes=10-"}}),
    "Range, stale": Situation("Validate", headers=STALE, then=PART),
    "Range, rules": Situation("Bypass", RULES, then=PART),
    "a redirect with its end": Situation(
        "Serve", RULES, {"Location": "/end", FIELD: None}, then={"allow_redirects": False}
    ),
}


class Upstream:
    """The origin of a situation: it sends the response to store, then the later answer, and confirms its own ETag."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self.asked: list[Received] = []

    def __call__(self, request: Received) -> bytes:
        """Answer *request*."""
        situation = self._situation
        headers = situation.headers or FRESH
        self.asked.append(request)
        if request.number > 1 and situation.status != 200:
            return answer(status=situation.status)
        if '"abc"' in request.headers.get("If-None-Match", "") and headers.get("ETag"):
            return answer(status=304, headers={**headers, "Age": None, "Content-Length": None})
        if request.method == "HEAD":
            return answer(headers={**headers, "Content-Length": "4"})
        status = 302 if "Location" in headers else 200
        return answer("text", status=status, headers=headers)


BACKENDS: Final = {"memory": CacheBackend, "sqlite": SQLiteBackend, "custom": CustomBackend}


@asynccontextmanager
async def session_on(made: str, options: dict[str, Any], tmp_path: Path) -> AsyncGenerator[CachedSession]:
    place: dict[str, Any] = {"cache_name": str(tmp_path / "cache")} if made == "sqlite" else {}
    backend = BACKENDS[made](autoclose=True, **options, **place)
    async with CachedSession(cache=backend) as session:
        yield session


def words(cache_status: str) -> set[str]:
    """The parts of *cache_status*, without the remaining lifetime."""
    return {word for word in cache_status.split("; ") if not word.startswith("ttl=")}


def check(told: Explanation, response: ClientResponse, asked: list[Received], situation: Situation) -> None:
    """Assert that the request did what `explain` had predicted."""
    said: Any = response
    happened, foretold = (words(text) for text in (said.cache_status, told.cache_status))
    if situation.status == 500:  # a stored response replaces the error, whatever the decision was
        foretold = {"aiohttp-cache-di", "hit", "detail=stale-if-error"}
    assert foretold <= happened
    match told.decision:
        case "Serve":
            assert said.from_cache
            assert not asked or "detail=stale-while-revalidate" in happened
        case "NotModified":
            assert (said.from_cache, response.status, asked) == (True, 304, [])
        case "Partial":
            assert (said.from_cache, response.status, asked) == (True, 206, [])
        case "RangeNotSatisfiable":
            assert (said.from_cache, response.status, asked) == (True, 416, [])
        case "GatewayTimeout":
            assert (response.status, asked) == (504, [])
        case "Bypass" | "Fetch":
            (request,) = asked
            assert request.headers.get("If-None-Match") == situation.then.get("headers", {}).get("If-None-Match")
        case "Validate":
            (request,) = asked
            (offered,) = [step.because for step in told.steps if step.question == "askable"]
            name, _, value = offered.partition(": ")
            assert request.headers.get(name) == value
        case other:
            pytest.fail(f"a decision that is not known: {other}")


@pytest.mark.parametrize("made", BACKENDS)
@pytest.mark.parametrize("name", SITUATIONS)
async def test_what_is_told_is_what_the_next_request_does(origin: Origin, tmp_path: Path, made: str, name: str) -> None:
    situation = SITUATIONS[name]
    upstream = Upstream(situation)
    url = origin.on("/x", upstream)
    origin.on("/end", answer("end"))
    async with session_on(made, situation.backend, tmp_path) as session:
        if situation.headers is not None:
            async with session.get(url, **situation.first) as response:
                await response.read()
            await session.cache.settle()
        if situation.meddle is not None:
            await situation.meddle(session, origin)
        asked, before = list(upstream.asked), session.cache.stats.snapshot()
        told = await session.explain(situation.method, url, **situation.then)
        assert (upstream.asked, session.cache.stats.snapshot()) == (asked, before)
        assert told.decision == situation.decision
        upstream.asked.clear()
        async with session.request(situation.method, url, **situation.then) as response:
            await response.read()
        check(told, response, upstream.asked[:1], situation)
        assert str(told)
        assert str(response.cache_decision)


async def request(session: CachedSession, url: str, **options: Any) -> Any:
    async with session.get(url, **options) as response:
        await response.read()
        return response


async def test_without_an_answer_of_the_store_the_origin_is_asked_and_that_is_told(origin: Origin) -> None:
    url = origin.on("/x", answer("text"))
    backend = RedisBackend(address="redis://127.0.0.1:1", expire_after=60, write_behind=True, autoclose=True)
    async with CachedSession(cache=backend) as session:
        for explain in (session.explain, backend.explain):
            told = await explain("GET", url)
            assert (told.decision, told.cache_status) == ("Fetch", "aiohttp-cache-di; fwd=miss")
            (because,) = [step.because for step in told.steps if step.question == "selected"]
            assert because == told.store_error
            assert "redis://127.0.0.1:1" in told.store_error
            assert "what is stored for the URL is not known" in str(told)
        assert (await session.explain("POST", url)).decision == "Bypass"
        assert (await session.explain("GET", url, only_if_cached=True)).decision == "GatewayTimeout"
        response = await request(session, url)
        assert response.cache_status == "aiohttp-cache-di; fwd=miss; detail=pending"
        await backend.settle()

        told = await session.explain("GET", url)  # of a pending write
        assert (told.decision, told.cache_status.partition("; ttl")[0]) == ("Serve", "aiohttp-cache-di; hit")
        assert (await request(session, url)).from_cache
        for _ in range(5):  # opens the circuit
            await request(session, url, params={"n": "1"})
        told = await session.explain("GET", url, params={"n": "2"})
        assert told.decision == "Fetch"
        assert told.store_error


async def test_a_store_that_hangs_holds_an_explanation_up_for_a_while_only(origin: Origin) -> None:
    release = asyncio.Event()

    class Hanging(CustomStorage):
        async def read(self, key: str) -> ResponseOrKey:
            await release.wait()
            return await super().read(key)

    backend, url = CustomBackend(expire_after=60, storage_deadline=0.01, autoclose=True), origin.on("/x", answer())
    backend.responses = Hanging()
    async with asyncio.timeout(20), CachedSession(cache=backend) as session:
        told = await session.explain("GET", url)
        assert (told.decision, told.cache_status) == ("Fetch", "aiohttp-cache-di; fwd=miss")
        assert "does not answer: timeout" in told.store_error
        release.set()


async def test_why_the_cache_is_passed_by_is_told(origin: Origin) -> None:
    def fail(request: Request) -> str:
        raise LookupError

    url = origin.on("/x", answer("text"))
    async with CachedSession(expire_after=60) as session:
        await request(session, url)
        with session.disabled():
            told = await session.explain("GET", url)
            assert (await request(session, url)).cache_status == told.cache_status == "aiohttp-cache-di; fwd=bypass"
        assert (told.decision, told.steps[0].because) == ("Bypass", "the cache is turned off here")
        told = await session.explain("GET", url, principal=fail)
        assert (await request(session, url, principal=fail)).cache_status == told.cache_status
        assert (told.decision, "fails: LookupError" in told.steps[0].because) == ("Bypass", True)


@pytest.mark.parametrize("made", [None, LookupError("who")], ids=["None", "raises"])
async def test_that_a_user_s_rules_fail_is_told(origin: Origin, made: LookupError | None) -> None:
    class Own(CacheBackend):
        def create_cache_actions(self, key: str, url: Any, *args: Any, **kwargs: Any) -> Any:
            if made is not None:
                raise made

    url = origin.on("/x", answer("text"))
    async with CachedSession(cache=Own(expire_after=60)) as session:
        told = await session.explain("GET", url)
        assert (await request(session, url)).cache_status == told.cache_status == "aiohttp-cache-di; fwd=bypass"
        assert told.decision == "Bypass"
        assert ("create_cache_actions() has returned" if made is None else "LookupError") in told.steps[0].because
        assert "who" not in told.steps[0].because


async def test_methods_of_the_user_s_are_told_not_to_be_asked(origin: Origin) -> None:
    class Own(CacheBackend):
        async def get_response(self, key: str) -> Any:
            raise AssertionError("explaining changes nothing, and this might")

    async with CachedSession(cache=Own()) as session:
        told = await session.explain("GET", origin.url)
        assert "get_response() is your own, and is not asked here" in told.settings
