"""Every public name has a docstring where it is defined."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final

import pytest

import aiohttp_cache_di_fastapi
import aiohttp_cache_di_web

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = sorted(
    path
    for package in ("aiohttp_cache_di", "integrations/aiohttp_cache_di_fastapi", "integrations/aiohttp_cache_di_web")
    for path in (ROOT / package).rglob("*.py")
)
PUBLIC: Final = (
    "aiohttp_cache_di",
    "aiohttp_cache_di.backends",
    "aiohttp_cache_di.backends.base",
    "aiohttp_cache_di.containers",
    "aiohttp_cache_di.errors",
    "aiohttp_cache_di.response",
    "aiohttp_cache_di.session",
    "aiohttp_cache_di.settings",
    "aiohttp_cache_di.telemetry",
    "aiohttp_cache_di_fastapi",
    "aiohttp_cache_di_web",
)
"""The modules that users import from."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(tree: ast.Module) -> Iterator[str]:
    """The public names of a module that have no docstring."""
    if ast.get_docstring(tree) is None:
        yield "the module"
    for node in tree.body:
        if isinstance(node, Definition) and node.name[0] != "_":
            yield from undocumented_in(node)


def undocumented_in(node: Definition, owner: str = "") -> Iterator[str]:
    """*node* if it has no docstring, and the methods without one if it is a class."""
    if ast.get_docstring(node) is None and not says_so_elsewhere(node):
        yield f"{owner}{node.name}"
    if isinstance(node, ast.ClassDef):
        for inner in chain(node.body, *(block.body for block in node.body if isinstance(block, ast.If))):
            if isinstance(inner, Definition) and inner.name[0] != "_":
                yield from undocumented_in(inner, f"{owner}{node.name}.")


def says_so_elsewhere(node: Definition) -> bool:
    """Whether *node* is an overload of a function or the setter of a property: its docstring is elsewhere."""
    return any(ast.unparse(each).rpartition(".")[2] in {"overload", "setter"} for each in node.decorator_list)


def test_what_a_module_defines_has_docstrings() -> None:
    assert [
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in undocumented(ast.parse(path.read_text(encoding="utf-8")))
    ] == []


@cache
def documented_values() -> set[str]:
    """The constants and aliases of all modules that are followed by a docstring."""
    found: set[str] = set()
    bodies = [ast.parse(path.read_text(encoding="utf-8")).body for path in SOURCES]
    for statement, following in chain.from_iterable(map(pairwise, bodies)):
        is_told = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if is_told and isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_what_a_public_module_offers_has_docstrings(name: str) -> None:
    module: Any = importlib.import_module(name)
    mute: list[str] = []
    for offered in module.__all__:
        found = getattr(module, offered)
        if not isinstance(found, type) and not inspect.isfunction(found):
            if offered not in documented_values():
                mute.append(offered)
        elif not inspect.getdoc(found):
            mute.append(offered)
    assert not mute


def parameters_of(function: Any) -> list[str]:
    """The parameters of *function* that a caller passes."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in found if one.name not in ("self", "args", "exc_info")]


@pytest.mark.parametrize("module", [aiohttp_cache_di_fastapi, aiohttp_cache_di_web])
def test_the_adapters_tell_of_each_argument(module: Any) -> None:
    for name in module.__all__:
        function: Any = getattr(module, name)
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            doc = inspect.getdoc(function) or ""
            assert len(doc) > 30, name
            if function.__name__ == name and parameters_of(function):
                entries = re.findall(r"^ {4}(\w+):", doc.partition("Args:")[2], re.MULTILINE)
                assert set(parameters_of(function)) <= set(entries), name


@pytest.mark.parametrize("name", ["lifespan", "get_cached_session", "cache_health", "cache_metrics"])
def test_what_is_made_of_others_tells_of_itself_at_run_time(name: str) -> None:
    assert inspect.getdoc(getattr(aiohttp_cache_di_fastapi, name))


@pytest.mark.parametrize("name", ["cache_ctx", "get_cached_session", "cache_health", "cache_metrics"])
def test_what_is_made_of_others_tells_of_itself_at_run_time_in_aiohttp_web(name: str) -> None:
    assert inspect.getdoc(getattr(aiohttp_cache_di_web, name))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (aiohttp_cache_di_fastapi.lifespan, ("Args:", "app:", "Yields:", "Raises:", "ConfigurationError:")),
        (aiohttp_cache_di_fastapi.get_cached_session, ("Args:", "connection:", "Returns:", "LifecycleError:")),
        (aiohttp_cache_di_web.cache_ctx, ("Args:", "app:", "Raises:", "ConfigurationError:")),
        (aiohttp_cache_di_web.get_cached_session, ("Args:", "source:", "key:", "Returns:", "LifecycleError:")),
    ],
    ids=["lifespan", "get_cached_session", "cache_ctx", "get_cached_session of aiohttp.web"],
)
def test_what_an_app_names_tells_of_arguments_results_and_errors(made: Any, told: tuple[str, ...]) -> None:
    doc = inspect.getdoc(made) or ""
    assert [word for word in told if word not in doc] == []
