"""The README: its code runs, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fastapi.testclient import TestClient as FastAPIClient

from tests.integrations.origin import Origin, running_origin

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
UPSTREAM = "https://api.example.com"


def block_with(text: str, origin: Origin) -> str:
    (found,) = (block for block in BLOCKS if text in block)
    assert UPSTREAM in found
    return str(found).replace(UPSTREAM, origin.url)


def run(code: str) -> Any:
    names: dict[str, Any] = {"__name__": "readme"}
    # Annotations of a FastAPI route are looked up here: as text they would have to be found in this module.
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)  # noqa: S102  # it is our own
    return names.get("app")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path / "cache.sqlite"))


@pytest.fixture
def answer_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(origin: Origin, request: web.Request) -> web.Response:
        origin.hits += 1
        return web.json_response(request.path, headers={"Cache-Control": "max-age=60"})

    monkeypatch.setattr(Origin, "answer", answer)


def test_every_block_is_run_by_a_test_here() -> None:
    assert len(BLOCKS) == 3


@pytest.mark.usefixtures("answer_in_json")
def test_the_fastapi_example_caches() -> None:
    with running_origin() as origin, FastAPIClient(run(block_with("FastAPI", origin))) as client:
        assert [client.get("/weather/paris").json() for _ in range(2)] == ["/weather/paris"] * 2
        assert origin.hits == 1


@pytest.mark.usefixtures("answer_in_json")
async def test_the_aiohttp_example_caches() -> None:
    with running_origin() as origin:
        async with TestClient(TestServer(run(block_with("cache_ctx", origin)))) as client:
            for _ in range(2):
                async with client.get("/weather/paris") as response:
                    assert await response.json() == "/weather/paris"
        assert origin.hits == 1


def test_the_example_without_a_framework_caches(capsys: pytest.CaptureFixture[str]) -> None:
    with running_origin() as origin:
        code = block_with("open_container", origin)
        run(code)
        run(code)
        assert origin.hits == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("False aiohttp-cache-di; fwd=uri-miss")
    assert second.startswith("True aiohttp-cache-di; hit; ttl=")


def test_links_within_the_project_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_every_target_that_the_documents_name_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z-]+)*:", (README.parent / "Makefile").read_text(), re.MULTILINE))
    for document in (README, README.parent / "CONTRIBUTING.md"):
        named = set(re.findall(r"`make ([a-z-]+)", document.read_text()))
        assert named <= targets | {"imports", "types"}, document.name
