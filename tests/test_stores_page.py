"""docs/stores.md names every store and its settings."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.settings.forms import BUILT_IN_BACKENDS

PAGE = (Path(__file__).parent.parent / "docs" / "stores.md").read_text()
SECTIONS = ("SQLITE", "FILESYSTEM", "REDIS", "MONGODB", "DYNAMODB")


def test_every_store_that_is_built_in_is_named() -> None:
    assert all(f"`{name}`" in PAGE for name in BUILT_IN_BACKENDS)


def test_the_settings_of_each_store_are_those_that_there_are() -> None:
    there_are = {each.suffix for each in CacheSettings.variables() if each.suffix.startswith(SECTIONS)}
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})__\w+)", PAGE))
    assert named == there_are


def test_every_row_of_the_comparison_has_a_cell_for_each_store() -> None:
    rows = re.findall(r"^\|.*\|$", PAGE.partition("\nThe factors")[0], re.MULTILINE)
    assert {row.count(" | ") for row in rows if not row.startswith("|---")} == {6}
