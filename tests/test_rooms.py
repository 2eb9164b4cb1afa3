"""The docstring of each folder's ``__init__`` names all of its modules, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "aiohttp_cache_di"
ROOMS: Final = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)

LIST: Final = re.compile(r"(?:down this list|through the room)[^\n]*::\n\n(?P<lines>(?: {4}.*\n)+)")
LINE: Final = re.compile(r"^ +(?P<names>[a-z_0-9]+/?(?:, [a-z_0-9]+/?| [a-z_0-9]+/)*)(?=  )", re.MULTILINE)
BULLET: Final = re.compile(r"^- `{1,2}(?P<names>[a-z_0-9]+/?)`", re.MULTILINE)
DOTTED: Final = re.compile(r"`(?:aiohttp_cache_di\.)?(?P<name>[a-z_0-9]+(?:\.[a-z_0-9]+)+)\b")


def paragraph(room: Path) -> str:
    """The docstring of the folder's ``__init__``."""
    return ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) or ""


def parts(room: Path) -> Iterator[str]:
    """The modules and folders in a folder."""
    for path in room.iterdir():
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists():
            yield path.stem


def listed(told: str) -> Iterator[str]:
    """The names that a paragraph lists as parts of its folder."""
    for each in LIST.finditer(told):
        for line in LINE.finditer(each["lines"]):
            yield from re.findall(r"\w+", line["names"])
    for bullet in BULLET.finditer(told):
        yield bullet["names"].rstrip("/")


def is_there(name: str, room: Path) -> bool:
    """Whether a dotted *name* is a module or a name in one, relative to *room* or to a folder above it."""
    for base in (room, *room.parents):
        path = base.joinpath(*name.split("."))
        if any(each.with_suffix(".py").exists() or (each / "__init__.py").exists() for each in (path, path.parent)):
            return True
    return False


def name_of(room: Path) -> str:
    """The dotted name of a folder."""
    return ".".join(room.relative_to(ROOT).parts)


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_names_each_of_its_modules(room: Path) -> None:
    told = paragraph(room)
    assert [part for part in parts(room) if not re.search(rf"\b{part}\b", told)] == []


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_lists_no_module_that_is_not_there(room: Path) -> None:
    assert set(listed(paragraph(room))) - set(parts(room)) == set()


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_refers_to_no_module_that_is_not_there(room: Path) -> None:
    told = (found["name"] for found in DOTTED.finditer(paragraph(room)) if not found["name"].endswith(".py"))
    assert [name for name in told if not is_there(name, room)] == []


def test_the_lists_of_the_largest_rooms_are_read_by_these_tests() -> None:
    for name in ("engine", "backends", "backends/sqlite", "backends/filesystem", "testing/recording"):
        assert len(set(listed(paragraph(PACKAGE / name)))) >= 6, name
