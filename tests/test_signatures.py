"""`help` and IPython show the options of sessions, backends and storages by name; signatures are built on demand."""

from __future__ import annotations

import functools
import inspect
import pydoc
import subprocess
import sys
from typing import Annotated, Any

import pytest
from aiohttp import ClientSession
from dependency_injector import providers
from fastapi import Depends, FastAPI
from fastapi.exceptions import FastAPIError

from aiohttp_cache_di import (
    BaseCache,
    CacheBackend,
    CacheContainer,
    CachedSession,
    CacheMixin,
    DictCache,
    DynamoDBBackend,
    DynamoDbCache,
    FileBackend,
    FileCache,
    MongoDBBackend,
    MongoDBCache,
    RedisBackend,
    RedisCache,
    SQLiteBackend,
    SQLiteCache,
)
from aiohttp_cache_di._aiohttp import is_genuine
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, STORAGE_OPTIONS

BACKENDS = [CacheBackend, SQLiteBackend, RedisBackend, FileBackend, MongoDBBackend, DynamoDBBackend]
STORAGES = [DictCache, SQLiteCache, RedisCache, FileCache, MongoDBCache, DynamoDbCache, BaseCache]


@pytest.mark.parametrize("kind", [CachedSession, *BACKENDS])
def test_each_option_is_a_parameter(kind: type) -> None:
    found = inspect.signature(kind).parameters
    places = {"cache_name", "db_name", "table_name", "autoclose"}
    assert BACKEND_OPTIONS - set(found) <= places
    assert not [each for each in found.values() if each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]


@pytest.mark.parametrize("kind", STORAGES)
def test_each_option_of_a_storage_is_a_parameter(kind: type) -> None:
    assert set(inspect.signature(kind).parameters) >= STORAGE_OPTIONS


def test_what_comes_first_by_position_does_so_there_too() -> None:
    assert [*inspect.signature(CachedSession).parameters][:3] == ["base_url", "cache", "principal"]
    assert set(inspect.signature(CachedSession).parameters) >= set(inspect.signature(ClientSession).parameters)
    backend = inspect.signature(SQLiteBackend)
    assert [*backend.parameters][:4] == ["cache_name", "use_temp", "fast_save", "autoclose"]
    assert backend.parameters["autoclose"].default is True
    assert str(backend.parameters["lease"]) == "lease: 'float' = …"
    assert backend.bind("name", expire_after=60).arguments == {"cache_name": "name", "expire_after": 60}


def test_help_shows_them() -> None:
    told = pydoc.plain(pydoc.render_doc(CachedSession)).replace("'", "")  # CPython before 3.14 quotes annotations
    assert "expire_after: ExpirationTime = …" in told
    assert "timeout: ClientTimeout | None = …" in told


@pytest.mark.parametrize(
    ("kind", "driver", "own"),
    [(RedisBackend, "redis", "address"), (MongoDBBackend, "bson", "connection"), (MongoDBCache, "pymongo", "db_name")],
)
def test_help_works_without_the_driver(kind: type, driver: str, own: str) -> None:
    """In an interpreter that has neither the driver nor the modules that import it."""
    code = (
        f"import sys, pydoc, inspect; sys.modules[{driver!r}] = None; import aiohttp_cache_di\n"
        f"kind = aiohttp_cache_di.{kind.__name__}; pydoc.render_doc(kind)\n"
        "print(*(str(each).partition(':')[0] for each in inspect.signature(kind).parameters.values()))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert not found.returncode, found.stderr
    assert own in found.stdout.split()
    assert found.stdout.split()[-1] == "**kwargs"


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
def test_a_class_with_an_initialiser_of_its_own_has_its_own_signature() -> None:
    class Own(CacheMixin, ClientSession):
        def __init__(self, tenant: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    class OwnBackend(CacheBackend):
        def __init__(self, tenant: str) -> None:
            super().__init__(tenant)

    class Plain(CacheBackend):
        """A backend without its own initialiser."""

    assert str(inspect.signature(Own)) == "(tenant: 'str', **kwargs: 'Any') -> 'None'"
    assert str(inspect.signature(OwnBackend)) == "(tenant: 'str') -> 'None'"
    assert inspect.signature(Plain) == inspect.signature(CacheBackend)
    assert not hasattr(OwnBackend("a"), "__signature__")


def test_a_session_class_is_as_genuine_as_without_it() -> None:
    assert is_genuine(CachedSession)  # or no hit would take the fast lane


def test_each_part_of_a_container_is_a_parameter() -> None:
    class Own(CacheContainer):
        rates = providers.Object(1.25)

    found = inspect.signature(CacheContainer)
    assert set(found.parameters) == set(CacheContainer.providers)
    assert str(found.parameters["prefix"]) == "prefix: 'str | providers.Provider[str]' = …"
    assert "rates" in inspect.signature(Own).parameters
    assert "prefix: 'str" in pydoc.plain(pydoc.render_doc(CacheContainer))
    assert found.bind(prefix="A_").arguments == {"prefix": "A_"}
    with pytest.raises(TypeError, match="prefx"):
        found.bind(prefx="A_")


def test_an_import_makes_none_of_it() -> None:
    code = "import sys, aiohttp_cache_di; print('aiohttp_cache_di.engine.sessions.typed' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == "False\n"


def test_what_wraps_a_class_has_its_signature() -> None:
    @functools.wraps(CachedSession)
    def made(*args: Any, **kwargs: Any) -> CachedSession:
        return CachedSession(*args, **kwargs)

    assert inspect.signature(made) == inspect.signature(CachedSession)
    assert str(inspect.signature(made)) == str(inspect.signature(CachedSession))
    assert inspect.signature(functools.partial(made, expire_after=60)).parameters["expire_after"].default == 60


def test_fastapi_refuses_to_make_a_session_of_query_parameters() -> None:
    async def route(session: Annotated[object, Depends(CachedSession)]) -> None:
        del session

    with pytest.raises(FastAPIError, match="check that"):
        FastAPI().get("/")(route)
