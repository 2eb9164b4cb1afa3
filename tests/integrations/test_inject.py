"""What docs/applications.md says of @inject, with and without annotations that are text."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

AS_TEXT = "from __future__ import annotations\n"
PROGRAM = """
from typing import Annotated

from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from fastapi import Depends, FastAPI

from aiohttp_cache_di import CacheContainer, CachedSession
from aiohttp_cache_di_fastapi import CachedSessionDep, make_lifespan


class Services(containers.DeclarativeContainer):
    cache = providers.Container(CacheContainer)


services = Services()
app = FastAPI(lifespan=make_lifespan(services.cache))


@app.get("/default")
@inject
async def default(session: CachedSession = Depends(Provide[Services.cache.session])) -> str:
    return type(session).__name__


@app.get("/annotated")
@inject
async def annotated(session: Annotated[CachedSession, Depends(Provide[Services.cache.session])]) -> str:
    return type(session).__name__


@app.get("/adapter")
async def adapter(session: CachedSessionDep) -> str:
    return type(session).__name__


services.wire(modules=[__name__])
"""


@pytest.mark.parametrize(
    ("program", "given"),
    [
        pytest.param(PROGRAM, {"default": "CachedSession", "annotated": "CachedSession"}, id="annotations"),
        pytest.param(AS_TEXT + PROGRAM, {"default": "CachedSession", "annotated": "Provide"}, id="annotations as text"),
    ],
)
def test_a_marker_is_found_where_the_page_says(
    program: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    module: Any = ModuleType("an_app_with_inject")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        exec(compile(program, "app.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # ours, above
    with TestClient(module.app) as client:
        for route, name in given.items():
            assert client.get(f"/{route}").json() == name
        assert client.get("/adapter").json() == "CachedSession"
    assert any("@inject is not required here" in str(one.message) for one in warned) == ("Provide" in given.values())
