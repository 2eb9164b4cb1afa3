"""The back-end of one's own that the documentation shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from aiohttp_cache_di import CachedSession, CacheSettings
from aiohttp_cache_di.settings.build import build_backend
from examples.custom_backend import FolderBackend


class Origin:
    def __init__(self) -> None:
        self.hits = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.hits += 1
        if request.path == "/old":
            return web.Response(status=302, headers={"Location": "/new"})
        return web.Response(text=f"answer {self.hits}")

    def server(self) -> TestServer:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        return TestServer(app)


async def text(session: CachedSession, server: BaseTestServer, path: str) -> str:
    async with session.get(server.make_url(path)) as response:
        return await response.text()


async def test_entries_outlive_the_session_as_files(tmp_path: Path) -> None:
    origin, folder = Origin(), str(tmp_path / "cache")
    async with origin.server() as server:
        for _ in range(2):
            async with CachedSession(cache=FolderBackend(folder, expire_after=60)) as session:
                assert await text(session, server, "/page") == "answer 1"
    assert origin.hits == 1
    assert len(list((tmp_path / "cache" / "responses").iterdir())) == 1


async def test_a_redirect_is_kept_apart_from_responses(tmp_path: Path) -> None:
    origin = Origin()
    backend = FolderBackend(str(tmp_path), expire_after=60)
    async with origin.server() as server, CachedSession(cache=backend) as session:
        assert [await text(session, server, "/old") for _ in range(2)] == ["answer 2"] * 2
        assert await backend.has_url(server.make_url("/old"))
    assert origin.hits == 2
    assert await backend.responses.size() == 1
    assert await backend.redirects.size() == 1


async def test_a_damaged_file_is_a_miss_that_is_overwritten(tmp_path: Path) -> None:
    origin = Origin()
    backend = FolderBackend(str(tmp_path), expire_after=60)
    async with origin.server() as server:
        async with CachedSession(cache=backend) as session:
            assert await text(session, server, "/") == "answer 1"
        (path,) = (tmp_path / "responses").iterdir()
        path.write_bytes(path.read_bytes()[:-1])
        async with CachedSession(cache=backend) as session:
            assert await text(session, server, "/") == "answer 2"
            assert await text(session, server, "/") == "answer 2"


async def test_the_storage_does_what_a_storage_must(tmp_path: Path) -> None:
    storage = FolderBackend(str(tmp_path)).responses
    await storage.write("a", "b")
    await storage.write("b", b"bytes")
    assert {key async for key in storage.keys()} == {"a", "b"}  # noqa: SIM118  # no dict
    assert await storage.contains("a")
    assert await storage.read("a") == "b"
    assert await storage.read("missing") is None
    assert await storage.pop("a") == "b"
    await storage.delete("a")
    assert await storage.size() == 1
    await storage.clear()
    assert [item async for item in storage.values()] == []


def test_a_variable_selects_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "examples.custom_backend:FolderBackend")
    monkeypatch.setenv("AIOHTTP_CACHE_CACHE_NAME", str(tmp_path))
    assert isinstance(build_backend(CacheSettings()), FolderBackend)
