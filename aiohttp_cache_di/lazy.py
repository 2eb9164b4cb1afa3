"""Names of a package that are imported when they are asked for (PEP 562): what needs a driver, or takes long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["imported_later"]


def imported_later(package: dict[str, Any], where: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package; hide it from type checkers, to which any name would be there with it.

    Args:
        package: the ``globals()`` of the package; a name that has been asked for is kept there.
        where: names, and the module of the package that has each.
    """
    of = package["__name__"]

    def find(name: str) -> Any:
        module = where.get(name)
        if module is None:
            raise AttributeError(f"module {of!r} has no attribute {name!r}")
        found = package[name] = getattr(import_module(f"{of}.{module}"), name)
        return found

    return find
