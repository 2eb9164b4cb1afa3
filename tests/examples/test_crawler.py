"""The crawler keeps to robots.txt, and a second run begins where the first one ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from aiohttp_cache_di import CachedSession, FileBackend
from examples.crawler import Crawler

PAGES = {
    "/": '<a href="/a">a</a> <a href="/private/x">x</a> <a href="https://elsewhere.test/">elsewhere</a>'
    '<a href="http://[x/">broken</a> <a href="mailto:a@b.test">mail</a>',
    "/a": '<a href="b#part">b</a> <a href="/">back</a>',
    "/b": "the end",
}


class Site:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.agents: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.agents.add(request.headers["User-Agent"])
        if request.path == "/robots.txt":
            return web.Response(text="User-agent: *\nDisallow: /private/\n")
        return web.Response(text=PAGES[request.path], content_type="text/html")

    def server(self) -> TestServer:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        return TestServer(app)


async def _crawl(server: BaseTestServer, folder: Path, pages: int) -> Crawler:
    cache = FileBackend(str(folder), cache_control=True, expire_after="1d")
    async with CachedSession(cache=cache, headers={"User-Agent": "test"}) as session:
        crawler = Crawler(session, str(server.make_url("/")), pages, pause_s=0)
        await crawler.run()
    return crawler


async def test_a_second_run_goes_on_where_the_first_one_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site()
    async with site.server() as server:
        first = await _crawl(server, tmp_path, pages=1)
        assert site.asked == ["/robots.txt", "/"]
        second = await _crawl(server, tmp_path, pages=100)
    assert site.asked == ["/robots.txt", "/", "/a", "/b"]
    assert (first.fetched, first.from_cache) == (2, 0)
    assert (second.fetched, second.from_cache) == (2, 2)
    assert site.agents == {"test"}
    assert "hit" in capsys.readouterr().out
