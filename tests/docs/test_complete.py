"""Each option, variable, reason and counter is on a page; each test that a page names is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import aiohttp_cache_di
import aiohttp_cache_di_fastapi
import aiohttp_cache_di_web
from aiohttp_cache_di import telemetry, testing
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, STORAGE_OPTIONS
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.telemetry.reasons import DETAILS, FORWARDED, SERVED

ROOT = Path(__file__).parents[2]
PAGES = {path.relative_to(ROOT / "docs"): path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}
ALL = "\n".join(PAGES.values())


def test_each_option_of_a_backend_is_on_a_page() -> None:
    assert [
        name
        for name in sorted(BACKEND_OPTIONS | STORAGE_OPTIONS)
        if not re.search(rf"(\b|_CACHE_){name}\b", ALL, re.IGNORECASE)
    ] == []


def test_each_variable_is_on_the_page_of_variables() -> None:
    page = PAGES[Path("variables.md")]
    assert [name for name in CacheSettings.model_fields if f"AIOHTTP_CACHE_{name.upper()}" not in page] == []


def test_each_reason_is_on_the_page_of_decisions() -> None:
    page = PAGES[Path("caching.md")]
    assert [word for word in [*FORWARDED, *SERVED, *DETAILS] if word not in page] == []


def test_each_counter_is_on_the_page_of_monitoring() -> None:
    page = PAGES[Path("monitoring.md")]
    counters = inspect.signature(telemetry.StatsSnapshot).parameters
    assert [name for name in counters if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "package",
    [aiohttp_cache_di, aiohttp_cache_di_fastapi, aiohttp_cache_di_web, telemetry, testing],
    ids=lambda package: package.__name__,
)
def test_each_public_name_is_in_the_reference(package: Any) -> None:
    listed = set(re.findall(r"^::: ([\w.]+)$", ALL, re.MULTILINE))
    missing = {f"{package.__name__}.{name}" for name in package.__all__} - listed
    modules = {name for name in listed if name.count(".") == 1 and name.startswith("aiohttp_cache_di.")}
    errors = {name for name in missing if getattr(package, name.rpartition(".")[2]).__module__ in modules}
    assert missing - errors == set()


def test_each_test_that_a_page_names_is_there() -> None:
    named = {path for page in PAGES.values() for path in re.findall(r"`(tests/[\w/.]+)`", page)}
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_each_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert [str(page) for page in PAGES if f" {page}\n" not in navigation] == []
