"""An app that PyInstaller has made an executable has what it needs: the hook names what the code does not show.

`tests/neighbours` makes one with PyInstaller itself.
"""

from __future__ import annotations

import ast
import runpy
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import aiohttp_cache_di
from aiohttp_cache_di_pyinstaller import hook_directories

ROOT = Path(__file__).parent.parent.parent
COMMAND = Path(aiohttp_cache_di.__file__).parent / "cli"  # a program of its own, which is in no app


@pytest.fixture
def hook() -> dict[str, Any]:
    """The names of the hook, as PyInstaller reads them."""
    (directory,) = hook_directories()
    (file,) = Path(directory).glob("hook-*.py")
    assert file.stem == "hook-aiohttp_cache_di"  # PyInstaller runs it for the package of this name
    return runpy.run_path(str(file))


def _trees() -> Iterator[ast.AST]:
    for file in Path(aiohttp_cache_di.__file__).parent.rglob("*.py"):
        if COMMAND not in file.parents:
            yield ast.parse(file.read_text(encoding="utf-8"))


def _imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports; PyInstaller also follows those for type checkers."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _named(node: ast.AST) -> str | None:
    """The module that a call of `import_module` names."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
        name = node.args[0]
        return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None
    return None


def test_pyinstaller_finds_the_hook() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["entry-points"]["pyinstaller40"]["hook-dirs"].split(":")
    assert getattr(import_module(module), function) is hook_directories


def test_what_is_imported_by_name_is_shown_or_in_the_hook(hook: dict[str, Any]) -> None:
    nodes = [node for tree in _trees() for node in ast.walk(tree)]
    named = {name for node in nodes if (name := _named(node))}
    shown = {name for node in nodes for name in _imported(node)}
    assert {"redis.asyncio", "fcntl"} <= named  # the search finds them
    installed = {name for name in named - shown if find_spec(name.partition(".")[0])}
    assert installed - {"redis"} <= set(hook["hiddenimports"])  # a package comes with each of its modules


def test_what_the_hook_names_is_there(hook: dict[str, Any]) -> None:
    for name in hook["hiddenimports"]:
        assert find_spec(name), name
    ((assets, place),) = hook["datas"]
    assert (Path(assets) / "page.html").is_file()
    assert place == "aiohttp_cache_di/admin/assets"


def test_modules_that_compiled_ones_import_are_in_the_hook(hook: dict[str, Any]) -> None:
    assert {"dependency_injector.errors", "dependency_injector.wiring"} <= set(hook["hiddenimports"])
