"""The pages' code is real: each block of Python runs, and what it defines does what the page says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aiohttp_cache_di import CacheBackend, CachedSession
from tests.pages import DOCS, as_module, block_with, blocks

# What each page's blocks are run by: here, or a test of that page's own.
HERE = (
    *("applications", "configuration", "container", "downloads", "graphql", "rate-limits", "redis"),
    *("several-caches", "tags", "tutorial", "users"),
)
ELSEWHERE = {
    "admin": "tests/admin/test_docs.py",
    "custom-backends": "tests/examples/test_custom_backends_page.py",
    "monitoring": "tests/telemetry/test_pages.py",
    "neighbours": "tests/neighbours/test_page.py",
    "operations": "tests/backends/operating/test_operated.py",
    "testing": "tests/testing/test_testing_page.py",
}
UPSTREAM = "https://api.example.com"


NUMBERED = [(page, number) for page in HERE for number in range(len(blocks(page)))]


def test_each_page_with_code_has_a_test() -> None:
    pages = {path.stem for path in DOCS.glob("*.md") if blocks(path.stem)}
    assert pages == {*HERE, *ELSEWHERE} - {page for page in HERE if not blocks(page)}
    assert all((DOCS.parent / test).exists() for test in ELSEWHERE.values())


@pytest.mark.parametrize(("page", "number"), NUMBERED, ids=[f"{page}-{number}" for page, number in NUMBERED])
def test_a_block_runs(page: str, number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    as_module(blocks(page)[number], f"block_{number}")


class Origin:
    """Stands for `api.example.com`; answers what a test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.status, self.headers = 200, {"Cache-Control": "max-age=60"}
        self.answers: dict[str, object] = {}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, await request.text()))
        body = {"data": len(self.asked), **self.answers}
        return web.json_response(body, status=self.status, headers=self.headers)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    made, app = Origin(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


def shown(page: str, name: str, origin: Origin) -> Any:
    """What the one block defines in which *name* stands, asking *origin* instead of `api.example.com`."""
    code = block_with(page, f"(?:def|class) {name}")
    host = origin.url.partition("//")[2]
    return as_module(code.replace(UPSTREAM, origin.url).replace("api.example.com", host), page.replace("-", "_"))


async def test_a_tenants_new_token_finds_what_the_last_one_brought(origin: Origin) -> None:
    order = shown("users", "order", origin).order
    async with CachedSession(cache=CacheBackend(cache_control=True)) as session:
        answers = [await order(session, tenant, token) for tenant in ("red", "blue") for token in ("1", "2")]
    assert answers[0] == answers[1] != answers[2] == answers[3]
    assert len(origin.asked) == 2


async def test_a_function_tells_for_whom_a_request_is(origin: Origin) -> None:
    page = shown("users", "current_tenant", origin)
    async with page.make_session() as session:
        for tenant in ("red", "red", "blue"):
            page.tenant.set(tenant)
            async with session.get(origin.url, headers={"Authorization": str(len(origin.asked))}):
                pass
    assert len(origin.asked) == 2


async def test_hits_do_not_wait_for_a_limiters_place(origin: Origin) -> None:
    page = shown("rate-limits", "limit", origin)
    async with page.make_session(CacheBackend(cache_control=True)) as session:
        async with session.get(origin.url) as response:
            await response.read()
        async with page.places, page.places, asyncio.timeout(20), session.get(origin.url) as response:
            assert await response.json() == {"data": 1}
            assert response.from_cache


async def test_what_is_stored_stands_in_for_a_429_that_is_asked_to(origin: Origin) -> None:
    rates = shown("rate-limits", "rates", origin).rates
    origin.headers = {"Cache-Control": "max-age=0", "ETag": '"1"'}
    async with CachedSession(cache=CacheBackend(cache_control=True)) as session:
        first = await rates(session, origin.url)
        origin.status, origin.headers = 429, {"Retry-After": "10"}
        assert await rates(session, origin.url) == first
        async with session.get(origin.url) as response:
            assert response.status == 429
    assert len(origin.asked) == 3


def test_the_rules_for_a_limited_upstream_are_accepted(origin: Origin) -> None:
    settings = shown("rate-limits", "settings", origin).settings()
    assert settings.stale_if_error == 86_400


async def test_equal_queries_ask_once(origin: Origin) -> None:
    search = shown("graphql", "search", origin).search
    async with CachedSession(cache=CacheBackend(cache_control=True)) as session:
        assert await search(session) == await search(session)
    assert [method for method, _ in origin.asked] == ["QUERY"]


async def test_a_mutation_drops_what_queries_had_brought(origin: Origin) -> None:
    page = shown("graphql", "mutate", origin)
    cache = CacheBackend(cache_control=True, post_as_query=[origin.url.partition("//")[2] + "/graphql"])
    async with CachedSession(cache=cache) as session:
        assert [await page.query(session, "q", id=1) for _ in range(2)] == [1, 1]
        assert [await page.mutate(session, "m", id=1) for _ in range(2)] == [2, 3]
        assert await page.query(session, "q", id=1) == 4


async def test_answers_with_errors_are_kept_out(origin: Origin) -> None:
    cache = shown("graphql", "make_cache", origin).make_cache()
    bodies = iter(["errors", "data", "data"])

    async def answer(request: web.Request) -> web.Response:
        origin.asked.append((request.method, ""))
        return web.json_response({next(bodies): []}, headers={"Cache-Control": "max-age=60"})

    app = web.Application()
    app.router.add_post("/graphql", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/graphql"))
        cache.post_as_query = [url]
        async with CachedSession(cache=cache) as session:
            for _ in range(3):
                async with session.post(url, json={}) as response:
                    await response.read()
    assert len(origin.asked) == 2


async def test_a_user_that_has_changed_is_fetched_anew(origin: Origin) -> None:
    page = shown("tags", "profile", origin)
    async with CachedSession(cache=CacheBackend(cache_control=True)) as session:
        before = [await page.profile(session, user) for user in (7, 8, 7, 8)]
        assert before[:2] == before[2:]
        assert await page.user_has_changed(session, 7) == 1
        after = [await page.profile(session, user) for user in (7, 8)]
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)


async def test_tags_are_told_of_a_body(origin: Origin) -> None:
    cache = shown("tags", "tags_of", origin).make_cache()
    async with CachedSession(cache=cache) as session:
        origin.answers = {"customer": 7}
        async with session.get(origin.url) as response:
            await response.read()
        await cache.settle()
        assert (await cache.purge(tags="customer:7")).entries == 1
