"""The page on the admin page: its code runs and lets in whom it says; its tables have what there is."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from fastapi.testclient import TestClient as FastAPIClient

from aiohttp_cache_di.admin import ENDPOINTS
from aiohttp_cache_di.admin.shapes import PurgeRequest
from examples import fastapi_app, web_app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "admin.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
GOOD, WRONG = (
    {"Authorization": f"Basic {base64.b64encode(f'me:{word}'.encode()).decode()}"} for word in ("good", "no")
)
AT = "/cache-admin/"
LOCAL: Any = {"base_url": "http://localhost", "client": ("127.0.0.1", 50_000)}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("AIOHTTP_CACHE_", "RATES_CACHE_"):
        monkeypatch.setenv(f"{prefix}BACKEND", "memory")
    monkeypatch.setenv("ADMIN_PASSWORD", "good")
    monkeypatch.setenv("CACHE_ADMIN", "local")


def app_of(number: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType(f"admin_{number}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(BLOCKS[number], f"{module.__name__}.py", "exec", dont_inherit=True), vars(module))  # noqa: S102  # ours
    return module.app


def test_the_fastapi_example_lets_in_who_knows_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with FastAPIClient(app_of(0, monkeypatch)) as client:
        assert client.get(AT).status_code == 401
        assert client.get(AT, headers=WRONG).status_code == 401
        assert client.get(AT, headers=GOOD).status_code == 200


async def test_the_aiohttp_example_lets_in_who_knows_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async with TestClient(TestServer(app_of(1, monkeypatch))) as client:
        for headers, status in (({}, 401), (WRONG, 401), (GOOD, 200)):
            async with client.get(AT, headers=headers) as response:
                assert response.status == status


def test_the_local_example_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(2, monkeypatch)
    with FastAPIClient(app) as client:
        assert client.get(AT).status_code == 403
    with FastAPIClient(app, **LOCAL) as client:
        assert client.get(AT).status_code == 200


async def test_the_example_apps_have_the_page_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with TestClient(TestServer(web_app.make_app())) as client, client.get(f"{AT}api/caches") as response:
        assert [one["is_open"] for one in (await response.json())["caches"]] == [True, True]
    monkeypatch.delenv("CACHE_ADMIN")
    async with TestClient(TestServer(web_app.make_app())) as client, client.get(AT) as response:
        assert response.status == 404


def test_the_example_app_of_fastapi_has_it_too() -> None:
    with FastAPIClient(fastapi_app.make_app(), **LOCAL) as client:
        assert len(client.get(f"{AT}api/caches").json()["caches"]) == 2


def test_the_tables_have_each_endpoint_each_code_and_each_selector() -> None:
    for name, method, path in ENDPOINTS:
        assert name == "page" or f"`{method} {path.removeprefix('/')}" in PAGE
    sources = "".join(path.read_text() for path in (ROOT / "aiohttp_cache_di" / "admin").glob("*.py"))
    codes = set(re.findall(r'AdminError\(\s*\d+, "([a-z-]+)"', sources)) - {"error"}
    assert len(codes) > 8
    assert [code for code in codes if f"`{code}`" not in PAGE] == []
    assert [name for name in PurgeRequest.__struct_fields__ if f'"{name}": ' not in PAGE] == []


def test_the_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)
    assert pictures
    assert all((ROOT / "docs" / name).stat().st_size < 150_000 for name in pictures)
