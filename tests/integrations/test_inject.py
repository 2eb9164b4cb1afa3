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


@pytest.mark.parametrize("is_text", [False, True], ids=["annotations", "annotations as text"])
def test_a_marker_is_found_where_the_page_says(is_text: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    module: Any = ModuleType("an_app_with_inject")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that `@inject is not required here`, where it sees no marker
        program = compile(AS_TEXT * is_text + PROGRAM, "app.py", "exec", dont_inherit=True)
        exec(program, module.__dict__)  # noqa: S102  # ours, above
    with TestClient(module.app) as client:
        assert client.get("/default").json() == "CachedSession"
        assert client.get("/adapter").json() == "CachedSession"
        # The marker itself, or a refusal, by the versions of dependency-injector and FastAPI.
        assert (client.get("/annotated").json() == "CachedSession") is not is_text
