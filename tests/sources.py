"""What the package's modules name: each is parsed once, for all tests that look for names of other packages."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import aiohttp_cache_di

__all__ = ["PACKAGE", "Source", "sources"]

PACKAGE: Final = Path(aiohttp_cache_di.__file__).parent
ROOT: Final = PACKAGE.parent


@dataclass(frozen=True, slots=True)
class Source:
    """One module.

    Args:
        path: its file.
        imported: names that it imports from others, each with the name of the other module.
        read: attributes that it reads or sets of anything but ``self`` and ``cls``, each with the number of its line.
        looked_up: attributes that it asks for by their name, with ``getattr`` or ``hasattr``.
        own: attributes of ``self`` that it sets.
        defined: functions, and variables that have a type.
        assigned: variables that are assigned without one.
        texts: private names that it has as texts, as in ``__slots__``.
    """

    path: Path
    imported: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    read: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    looked_up: set[str] = field(default_factory=set[str])
    own: set[str] = field(default_factory=set[str])
    defined: set[str] = field(default_factory=set[str])
    assigned: set[str] = field(default_factory=set[str])
    texts: set[str] = field(default_factory=set[str])

    @property
    def name(self) -> str:
        """Its path from the root of the repository."""
        return self.path.relative_to(ROOT).as_posix()

    def note(self, node: ast.AST) -> None:
        """Note what a node of its tree names."""
        match node:
            case ast.ImportFrom():
                self.imported.extend((node.module or "", one.name) for one in node.names)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                self.own.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name):
                self.read.append((name, node.lineno))
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
                self.looked_up.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self.defined.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                self.assigned.add(name)
            case ast.Constant(value=str(name)) if name.startswith("_") and name.isidentifier():
                self.texts.add(name)
            case _:
                pass


@cache
def sources() -> tuple[Source, ...]:
    """All modules of the package and of its integrations."""
    found = [Source(path) for folder in (PACKAGE, ROOT / "integrations") for path in sorted(folder.rglob("*.py"))]
    for source in found:
        for node in ast.walk(ast.parse(source.path.read_text(encoding="utf-8"))):
            source.note(node)
    return tuple(found)
