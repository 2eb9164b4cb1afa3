"""The documented API: names, parameters and defaults, each with a docstring."""

from __future__ import annotations

import inspect
from collections import UserDict
from collections.abc import Callable
from typing import Any, Final

import pytest

from aiohttp_cache_di.backends import (
    BaseCache,
    CacheBackend,
    DictCache,
    FileBackend,
    FileCache,
    RedisBackend,
    RedisCache,
    SQLiteBackend,
)
from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.session import CachedSession, CacheMixin

REQUIRED: Final = inspect.Parameter.empty
STORAGE: Final[dict[str, dict[str, Any]]] = {
    "bulk_delete": {"keys": REQUIRED},
    "clear": {},
    "close": {},
    "contains": {"key": REQUIRED},
    "delete": {"key": REQUIRED},
    "keys": {},
    "pop": {"key": REQUIRED, "default": None},
    "read": {"key": REQUIRED},
    "size": {},
    "values": {},
    "write": {"key": REQUIRED, "item": REQUIRED},
}
BACKEND: Final[dict[str, dict[str, Any]]] = {
    "bulk_delete": {"keys": REQUIRED},
    "clear": {},
    "close": {},
    "create_cache_actions": {"key": REQUIRED, "url": REQUIRED, "expire_after": None, "refresh": False},
    "create_key": {"method": REQUIRED, "url": REQUIRED},
    "delete": {"key": REQUIRED},
    "delete_expired_responses": {},
    "delete_url": {"url": REQUIRED, "method": "GET", "everywhere": False},  # an addition of this package, keyword-only
    "get_response": {"key": REQUIRED},
    "get_urls": {},
    "has_url": {"url": REQUIRED, "method": "GET"},
    "is_cacheable": {"response": REQUIRED, "actions": None},
    "request": {"actions": REQUIRED},
    "save_response": {"response": REQUIRED, "cache_key": None, "expires": None},
}


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """Names and defaults, without ``self`` and ``**kwargs``."""
    found = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in found if one.name != "self" and one.kind is not one.VAR_KEYWORD}


@pytest.mark.parametrize("storage", [BaseCache, DictCache, SQLiteCache, RedisCache, FileCache])
@pytest.mark.parametrize("name", STORAGE)
def test_a_storage_has_each_method_with_its_parameters(storage: type, name: str) -> None:
    assert parameters(getattr(storage, name)) == STORAGE[name]
    assert inspect.getdoc(getattr(storage, name))


@pytest.mark.parametrize("backend", [CacheBackend, SQLiteBackend, RedisBackend, FileBackend])
@pytest.mark.parametrize("name", BACKEND)
def test_a_backend_has_each_method_with_its_parameters(backend: type, name: str) -> None:
    assert parameters(getattr(backend, name)) == BACKEND[name]
    assert inspect.getdoc(getattr(backend, name))


@pytest.mark.parametrize("storage", [BaseCache, DictCache])
def test_a_storage_is_made_as_documented(storage: type) -> None:
    made_with = {"secret_key": None, "salt": b"aiohttp-client-cache", "serializer": None}
    assert parameters(vars(storage)["__init__"]) == made_with
    assert next(iter(parameters(vars(BaseCache)["serialize"]))) == "item"
    assert next(iter(parameters(vars(BaseCache)["deserialize"]))) == "item"


def test_a_backend_is_made_as_documented() -> None:
    found = parameters(vars(CacheBackend)["__init__"])
    assert callable(found.pop("filter_fn"))
    assert found == {
        "cache_name": "aiohttp-cache",
        "expire_after": -1,
        "urls_expire_after": None,
        "allowed_codes": (200,),
        "allowed_methods": ("GET", "HEAD"),
        "include_headers": False,
        "ignored_params": None,
        "autoclose": False,
        "cache_control": False,
    }


def test_the_default_storage_is_a_dict() -> None:
    assert issubclass(DictCache, UserDict)
    assert issubclass(DictCache, BaseCache)


@pytest.mark.parametrize("name", ["_request", "close", "delete_expired_responses", "disabled"])
def test_a_session_has_each_method(name: str) -> None:
    assert issubclass(CachedSession, CacheMixin)
    assert inspect.getdoc(getattr(CachedSession, name))
