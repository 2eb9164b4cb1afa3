"""What an editor completes and shows of every option: its name, its meaning, its unit and its default."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.typing.editor import Editor
from tests.typing.typed_dicts import OPTION_FILES, typed_dicts

ROOT = Path(__file__).parents[2]
NAMED = {
    "CachedSession": ("SessionOptions", "base_url cache"),
    "CacheBackend": (
        "BackendOptions",
        "cache_name expire_after urls_expire_after allowed_codes allowed_methods include_headers ignored_params "
        "autoclose cache_control filter_fn",
    ),
    "SQLiteBackend": ("SQLiteBackendOptions", "cache_name use_temp fast_save autoclose"),
    "RedisBackend": ("RedisBackendOptions", "cache_name address connection"),
    "FileBackend": ("FileBackendOptions", "cache_name use_temp autoclose"),
    "MongoDBBackend": ("MongoDBBackendOptions", "cache_name connection"),
    "DynamoDBBackend": (
        "DynamoDBBackendOptions",
        "cache_name key_attr_name val_attr_name create_if_not_exists context",
    ),
    "DictCache": ("StorageOptions", "secret_key salt serializer"),
    "SQLiteCache": ("SQLiteOptions", "filename table_name use_temp fast_save"),
    "RedisCache": ("RedisOptions", "namespace collection_name address connection"),
    "FileCache": ("FileOptions", "cache_name use_temp"),
    "MongoDBCache": ("MongoDBCacheOptions", "db_name collection_name connection"),
    "DynamoDbCache": (
        "DynamoDbCacheOptions",
        "table_name namespace key_attr_name val_attr_name create_if_not_exists context",
    ),
    "CacheMiddleware": ("", "backend"),
    "CacheContainer": ("ContainerOptions", ""),
    "CacheSettings": ("_Given", ""),
    "make_lifespan": ("", "container key"),
    "make_cache_health": ("", "keys degraded_status ping"),
    "make_cache_ctx": ("", "container key"),
    "make_cache_metrics": ("", "keys registry"),
    "make_get_cached_session": ("", "key"),
    "install": ("", "app container key"),
    "get_cached_session": ("", "source key"),
    "open_container": ("", "container"),
    "UrlExpiration": ("", "value override_origin stale_if_error stale_while_revalidate allowed_methods"),
    "session.get": ("CacheRequestOptions", ""),
}
"""What is called, the options that it takes beside those that it names, and these."""

HEAD = """\
from aiohttp_cache_di import *
from aiohttp_cache_di_fastapi import *
from aiohttp_cache_di_web import get_cached_session, make_cache_ctx
from typing import Any
session = CachedSession()
x: Any = None
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the server is ended with what it has started, by their group")
@pytest.mark.skipif(
    find_spec("pyright") is None or (shutil.which("node") is None and find_spec("nodeenv") is None),
    reason="pyright is not installed",
)
def test_every_option_is_completed_and_shown_with_its_meaning(tmp_path: Path) -> None:
    files = (*OPTION_FILES, "settings/typed.py", "settings/model.py", "containers/parts.py")
    options = {"": {}, **typed_dicts(*files)}
    lines, expected, places = HEAD.splitlines(), dict[int, tuple[str, set[str]]](), dict[tuple[int, int], str]()
    for call, (typed_dict, names) in NAMED.items():
        keys = [*names.split(), *options[typed_dict]]
        line = f"{call}("
        for key in keys:
            places[len(lines), len(line)] = f"{call}({key}=…)"
            line += f"{key}=x, "
        lines += [line + ")", f"{call}()"]
        expected[len(lines) - 1] = call, {key for key in keys if key[0] != "_"}  # which are offered after a _
    program = tmp_path / "program.py"
    program.write_text("\n".join(lines))

    with Editor(program, ROOT) as editor:
        for number, (call, keys_) in expected.items():
            assert not keys_ - editor.arguments_at(number, len(call) + 1), call
        shown = {what: editor.shown_at(*place) for place, what in places.items()}

    mute = [what for what, text in shown.items() if len(text.partition("```\n")[2]) < 15]
    assert not mute, f"an editor shows nothing of {mute}"
    assert len(shown) > 500
