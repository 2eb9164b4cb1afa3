"""What type checkers are told that sessions, backends and storages take is what they take at run time."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, get_type_hints

import pytest
from aiohttp import ClientSession
from pymongo import common

from aiohttp_cache_di import (
    BaseCache,
    CacheBackend,
    CachedSession,
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
    open_container,
)
from aiohttp_cache_di.backends.mongodb.client import NAMED
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, STORAGE_OPTIONS
from aiohttp_cache_di.backends.redis.clients import CONNECT_TIMEOUT_S, SOCKET_TIMEOUT_S
from aiohttp_cache_di.backends.sqlite.file.files import BUSY_TIMEOUT_S
from aiohttp_cache_di.engine.calls.wishes import WISHES
from aiohttp_cache_di.keys import DEFAULT_CREDENTIAL_HEADERS
from aiohttp_cache_di.policy.rules.book import Wishes
from aiohttp_cache_di.policy.rules.tags import Tags
from aiohttp_cache_di_fastapi import install, make_lifespan
from aiohttp_cache_di_web import make_cache_ctx
from tests.typing.typed_dicts import OPTION_FILES, typed_dicts

TYPED: Final = typed_dicts(*OPTION_FILES)
NEWER: Final = "With newer drivers."
"""Says the docstring of an option that the lowest release of a driver does not have yet."""

BACKENDS: Final[dict[type[CacheBackend], str]] = {
    CacheBackend: "BackendOptions",
    SQLiteBackend: "SQLiteBackendOptions",
    RedisBackend: "RedisBackendOptions",
    FileBackend: "FileBackendOptions",
    MongoDBBackend: "MongoDBBackendOptions",
    DynamoDBBackend: "DynamoDBBackendOptions",
}
STORAGES: Final[dict[type[BaseCache], str]] = {
    DictCache: "StorageOptions",
    SQLiteCache: "SQLiteOptions",
    RedisCache: "RedisOptions",
    FileCache: "FileOptions",
    MongoDBCache: "MongoDBCacheOptions",
    DynamoDbCache: "DynamoDbCacheOptions",
}
PLACES: Final[dict[type[BaseCache], tuple[str, ...]]] = {MongoDBCache: ("db", "c"), DictCache: ()}
"""What a storage has to be given."""


def named(function: Callable[..., object]) -> set[str]:
    """The parameters that *function* names."""
    found = inspect.signature(function).parameters.values()
    return {one.name for one in found if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)} - {"self"}


def taken(make: Callable[..., object], *arguments: object) -> set[str]:
    """What *make* says that it takes, when it is given what nothing takes."""
    with pytest.raises(TypeError, match="unexpected option 'qqqqqqqq'; it takes ") as caught:
        make(*arguments, qqqqqqqq=1)
    return set(str(caught.value).partition("it takes ")[2].split(", "))


def taken_by_mongodb() -> set[str]:
    """What pymongo takes, in small letters."""
    return set(common.VALIDATORS) | NAMED


def lacking(names: set[str]) -> set[str]:
    """Those of *names* that newer drivers than the one that is installed have, as their docstrings say."""
    docs = {key: doc for keys in TYPED.values() for key, doc in keys.items()}
    return {name for name in names if NEWER not in docs[name]}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_takes_what_type_checkers_are_told(backend: type[CacheBackend]) -> None:
    told = set(TYPED[BACKENDS[backend]])
    assert not told & named(backend.__init__)
    if backend is MongoDBBackend:
        of_driver = {key.lower() for key in TYPED["MongoDBDriverOptions"]}
        assert not taken_by_mongodb() - of_driver
        assert not lacking({key for key in TYPED["MongoDBDriverOptions"] if key.lower() not in taken_by_mongodb()})
        told -= set(TYPED["MongoDBDriverOptions"])
        assert told | named(backend.__init__) == BACKEND_OPTIONS | set(TYPED["NearOptions"]) | {"connection"}
        return
    found = taken(backend)
    assert not found - told - named(backend.__init__), "these have no type"
    assert not lacking(told - found), "these are not taken"


@pytest.mark.parametrize("storage", STORAGES)
def test_a_storage_takes_what_type_checkers_are_told(storage: type[BaseCache]) -> None:
    told = set(TYPED[STORAGES[storage]])
    of_backends = BACKEND_OPTIONS - STORAGE_OPTIONS  # passed over, so that a backend may hand on what it was given
    if storage is MongoDBCache:
        told -= set(TYPED["MongoDBDriverOptions"])
        assert told == STORAGE_OPTIONS | set(TYPED["NearOptions"])
        return
    found = taken(storage, *PLACES.get(storage, ("place",)))
    assert not found - told - named(storage.__init__) - of_backends, "these have no type"
    assert not lacking(told - found), "these are not taken"


def test_a_session_takes_what_type_checkers_are_told_on_this_aiohttp() -> None:
    of_aiohttp = named(ClientSession.__init__) - {"base_url"}
    told = set(TYPED["ClientOptions"])

    assert not of_aiohttp - told, "aiohttp takes more: add it to _aiohttp/options.py"
    assert not lacking(told - of_aiohttp), "aiohttp does not take these (any more)"
    assert set(TYPED["SessionOptions"]) == told | BACKEND_OPTIONS


async def test_a_session_says_the_same_at_run_time() -> None:
    found = taken(CachedSession)

    assert not found - set(TYPED["SessionOptions"]) - {"base_url", "cache"}
    assert not lacking(set(TYPED["SessionOptions"]) - found - {"principal"})  # which the mixin itself names


def test_the_defaults_of_aiohttp_are_the_ones_that_its_options_tell() -> None:
    parameters = inspect.signature(ClientSession.__init__).parameters
    compared = 0
    for name, doc in TYPED["ClientOptions"].items():
        literal = default_in(doc)
        if name in parameters and literal is not None and isinstance(parameters[name].default, bool | int | None):
            assert literal[0] == parameters[name].default, name
            compared += 1
    assert compared > 15


def test_a_request_takes_what_type_checkers_are_told() -> None:
    told = set(TYPED["CacheRequestOptions"])
    assert told == set(WISHES)
    from aiohttp_cache_di.engine.sessions.typed import CacheRequestOptions

    hints = get_type_hints(Wishes) | {"tags": Tags}  # of which a tuple is made

    assert {name: hints[name] for name in told} == get_type_hints(CacheRequestOptions)


@pytest.mark.parametrize("name", sorted(name for name, keys in TYPED.items() if keys))
def test_every_option_tells_what_it_is_for_and_its_default(name: str) -> None:
    for key, doc in TYPED[name].items():
        assert re.match("[A-Z`]", doc), key
        assert doc.endswith("."), key
        assert "Default: " in doc or doc.startswith("Of no effect"), key


UNITS: Final = {
    "_s$|timeout|deadline|^lease$|_interval$": "[Ss]econds|[Mm]illiseconds|limits|timed out",
    "_bytes$|bufsize|read_size|max_line_size|max_field_size": "bytes|weigh",
    "MS$": "[Mm]illiseconds",
    "expire_after$|^stale_": "seconds|[Ll]ifetimes by URL",
}


@pytest.mark.parametrize("name", sorted(name for name, keys in TYPED.items() if keys))
def test_an_option_that_has_a_unit_names_it(name: str) -> None:
    for key, doc in TYPED[name].items():
        for pattern, unit in UNITS.items():
            if re.search(pattern, key) and key != "retry_on_timeout" and not doc.startswith("Of no effect"):
                assert re.search(unit, doc), f"{key}: {doc}"


def default_in(doc: str) -> tuple[object] | None:
    """The default that *doc* tells, where it is a literal."""
    found = re.search(r"Default: (None|True|False|-?\d+(?:\.\d+)?|b?\"[^\"]*\"|\([^)]*\))(?=[.,; ])", doc)
    return None if found is None else (ast.literal_eval(found[1]),)


@pytest.mark.shortcuts
@pytest.mark.usefixtures("usual_deadline")
def test_the_defaults_of_a_backend_are_the_ones_that_its_options_tell() -> None:
    backend, named_ones = CacheBackend(), inspect.signature(CacheBackend.__init__).parameters
    elsewhere: dict[str, object] = {
        "secret_key": None,
        "salt": b"aiohttp-client-cache",
        "serializer": None,
        "max_entries": None,
        "storage_deadline": backend.guard.deadline_s,
    }
    compared: set[str] = set()
    for name, doc in TYPED["CacheOptions"].items():
        literal = default_in(doc)
        if literal is None:
            continue
        if name in named_ones:
            assert literal[0] == named_ones[name].default, name
        elif name in elsewhere:
            assert literal[0] == elsewhere[name], name
        else:
            assert literal[0] == getattr(backend, name, getattr(backend, f"{name}_s", "none at all")), name
        compared.add(name)
    assert set(TYPED["CacheOptions"]) - compared == {"filter_fn", "credential_headers", "max_bytes"}
    assert backend.credential_headers == DEFAULT_CREDENTIAL_HEADERS


@pytest.mark.shortcuts
def test_the_defaults_of_our_own_options_are_the_ones_that_they_tell(tmp_path: Path) -> None:
    sqlite, redis = TYPED["ConnectOptions"], TYPED["RedisDriverOptions"]
    assert default_in(sqlite["timeout"]) == (BUSY_TIMEOUT_S,)
    assert default_in(sqlite["near_tier_bytes"]) == (SQLiteBackend(str(tmp_path / "c")).stack.near_bytes,)
    assert default_in(redis["socket_timeout"]) == (SOCKET_TIMEOUT_S,)
    assert default_in(redis["socket_connect_timeout"]) == (CONNECT_TIMEOUT_S,)
    assert default_in(TYPED["NearOptions"]["near_tier_bytes"]) == (RedisBackend(near_tier_s=1).stack.near_bytes,)


def arguments_of(function: Callable[..., object]) -> dict[str, str]:
    """What the docstring of *function* says of each argument."""
    section = re.search(r"Args:\n(.*?)(?:\n\n|\Z)", inspect.getdoc(function) or "", re.DOTALL)
    assert section is not None, function
    entries = re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w|\Z)", section[1], re.DOTALL | re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


@pytest.mark.parametrize("made", [CachedSession, BaseCache, *BACKENDS, *STORAGES])
def test_an_initialiser_tells_of_each_of_its_arguments(made: type) -> None:
    """An editor shows of a parameter what the docstring of the same function says, and nothing of the class."""
    if made is CachedSession:
        return  # what it takes is told to type checkers alone; see below
    init: Any = vars(made)["__init__"]
    assert set(arguments_of(init)) == named(init) | {"kwargs"}


def test_the_named_arguments_of_a_backend_are_told_alike_for_all_of_them() -> None:
    for name, text in arguments_of(CacheBackend.__init__).items():
        if name in TYPED["RuleOptions"]:
            told = TYPED["RuleOptions"][name]
            assert told[1:20] == text[1:20], name


def test_the_types_that_are_read_at_run_time_can_be_read() -> None:
    """As containers and other frameworks do that look at annotations."""
    for made in (CacheBackend, SQLiteBackend, FileBackend, DictCache, SQLiteCache, FileCache, CachedSession):
        assert get_type_hints(made.__init__)
    for opened in (open_container, make_lifespan, install, make_cache_ctx):
        assert "container" in get_type_hints(opened)
