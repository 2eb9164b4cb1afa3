"""What the source says of TypedDicts: keys and docstrings, read without an import of what the types are of."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import aiohttp_cache_di

__all__ = ["OPTION_FILES", "typed_dicts"]

PACKAGE = Path(aiohttp_cache_di.__file__).parent

OPTION_FILES = (
    "_aiohttp/options.py",
    "backends/options/typed.py",
    "backends/sqlite/options.py",
    "backends/filesystem/backend.py",
    "backends/redis/typed.py",
    "backends/mongodb/typed.py",
    "backends/dynamodb/typed.py",
    "engine/sessions/typed.py",
)
"""The modules that have the options of sessions, backends and storages."""


def typed_dicts(*files: str) -> dict[str, dict[str, str]]:
    """The docstring of each key, "" for none, by key and by TypedDict, those of its bases included.

    Args:
        files: below the package; bases come before what derives from them.
    """
    found: dict[str, dict[str, str]] = {}
    for file in files:
        for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                if "TypedDict" in bases or any(base in found for base in bases):
                    inherited = {key: doc for base in bases for key, doc in found.get(base, {}).items()}
                    found[node.name] = inherited | dict(_keys(node))
    return found


def _keys(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            doc = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                doc = str(following.value.value)
            yield statement.target.id, " ".join(inspect.cleandoc(doc).split())
