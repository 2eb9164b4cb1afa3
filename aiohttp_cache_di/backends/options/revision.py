"""Settings that may change at any time, and the number that tells those who remember what they led to."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from inspect import getattr_static
from types import MethodType
from typing import Any, ClassVar, TypeVar, cast

__all__ = ["Revised", "hook", "setting"]

F = TypeVar("F", bound=Callable[..., Any])

_DERIVED = (
    "names_principals",
    "of_all_urls",
    "overridden",
    "principal_patterns",
    "query_patterns",
    "resolved",
    "shared_patterns",
    "url_rules",
)
"""Cached properties that are made of the settings."""


class Revised:
    """Base of a class with settings."""

    revision: int = 0
    """Raised whenever a setting changes, or a hook is replaced."""
    hooks: ClassVar[frozenset[str]] = frozenset()
    """Names of the methods that users may put others in place of."""

    @cached_property
    def overridden(self) -> frozenset[str]:
        """Names of the hooks that are the user's: overridden in a subclass, or replaced on the object."""
        ours = {name for name in self.hooks if isinstance(getattr_static(type(self), name), _Hook)}
        return self.hooks - ours | (self.hooks & self.__dict__.keys())

    def revise(self) -> None:
        """Forget what was made of the settings."""
        for name in _DERIVED:
            self.__dict__.pop(name, None)
        self.revision += 1


class _Setting:
    """An attribute of the object whose change is noticed.

    It has no ``__get__``, so that reading it is reading the object's own dictionary.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, instance: Revised, value: object) -> None:
        instance.__dict__[self._name] = value
        instance.revise()


class _Hook:
    """A method that users may override in a subclass or replace on an object, which is noticed."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = self.__wrapped__ = function  # what the stand-ins of `unittest.mock` look at

    def __set_name__(self, owner: type[Revised], name: str) -> None:
        self._name = name
        owner.hooks |= {name}

    def __get__(self, instance: Revised | None, owner: type) -> Any:
        if instance is None:
            return self.function
        return instance.__dict__.get(self._name) or MethodType(self.function, instance)

    def __set__(self, instance: Revised, value: object) -> None:
        instance.__dict__[self._name] = value
        instance.revise()

    def __delete__(self, instance: Revised) -> None:
        try:
            del instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None
        instance.revise()


def setting() -> Any:
    """An attribute whose change raises the revision."""
    return _Setting()


def hook(function: F) -> F:
    """A method whose replacement raises the revision."""
    return cast("F", _Hook(function))
