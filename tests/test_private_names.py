"""Private names of other packages are used only in the modules that isolate those of aiohttp and of drivers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aiohttp_cache_di

PACKAGE = Path(aiohttp_cache_di.__file__).parent
MODULES = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "integrations").rglob("*.py")]
OF_ITS_OWN = {"aiohttp", "aiohttp_cache_di", "aiosqlite"}
"""Packages with a module for their private names."""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_no_private_name_is_imported(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in OF_ITS_OWN:
            private = [one.name for one in node.names if one.name.startswith("_") and not one.name.endswith("__")]
            assert not private, f"{module.name} imports {', '.join(private)} of {node.module}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_no_private_attribute_of_another_object_is_read_that_is_not_ours(module: Path) -> None:
    """Exempt are attributes of ``self`` (other tests cover those of bases) and those that the package's classes set."""
    if module.parent.name == "_aiohttp":
        return
    for node in ast.walk(ast.parse(module.read_text())):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.endswith("__"):
            continue
        is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        assert is_own or node.attr in OURS or node.attr in ALLOWED, f"{module.name}:{node.lineno} reads {node.attr}"


ALLOWED = {
    "_asdict": "documented of named tuples",
    "_replace": "documented of named tuples",
    "_log_destroy_pending": "of asyncio's tasks; done without where it is missing",
    "_loop": "of a ClientSession, in response.py: see _aiohttp/names.py",
    "_resolve_charset": "of a ClientSession, in response.py: see _aiohttp/names.py",
    "_BaseRequestContextManager": "for type checkers only",
}


def _ours() -> set[str]:
    names: set[str] = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    names.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)) | ast.FunctionDef(name=name):
                    names.add(name)
                case ast.AsyncFunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                    names.add(name)
                case ast.Constant(value=str(name)) if name.startswith("_") and name.isidentifier():
                    names.add(name)  # in __slots__
                case _:
                    pass
    return names


OURS = _ours() - {"_loop"}
