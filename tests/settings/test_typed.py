"""What type checkers are told of settings is what the model takes."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from aiohttp_cache_di import CacheSettings
from aiohttp_cache_di.settings import model
from tests.typing.typed_dicts import typed_dicts
from tools.settings_types import TYPED, typed_source


def test_the_types_are_the_ones_that_the_model_makes() -> None:
    written = ast.dump(ast.parse(TYPED.read_text(encoding="utf-8")))

    assert written == ast.dump(ast.parse(typed_source())), "python -m tools.settings_types writes them"


def test_the_types_name_every_setting_and_no_other() -> None:
    known = typed_dicts("settings/typed.py", "settings/model.py", "settings/sections.py")
    ours = {name for name in known["_Given"] if not name.startswith("_")}

    assert ours == set(CacheSettings.model_fields)
    for name, field in CacheSettings.model_fields.items():
        if name in ("sqlite", "redis", "mongodb", "dynamodb", "filesystem", "client"):
            section: Any = field.annotation
            assert set(known[f"{section.__name__}Options"]) == set(section.model_fields)


@pytest.mark.parametrize("name", ["_env_prefix", "_env_file", "_secrets_dir"])
def test_what_pydantic_settings_takes_is_taken(name: str) -> None:
    assert name in typed_dicts("settings/typed.py")["SettingsOptions"]
    given: dict[str, Any] = {name: None}
    assert CacheSettings(**given).prefix == model.DEFAULT_PREFIX
