"""Settings that may change at any time, and a revision number that shows when derived values are outdated."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getattr_static
from types import MethodType
from typing import Any, ClassVar, TypeVar, cast

from aiohttp_cache_di.backends.options.values import collected, refuse_unusable
from aiohttp_cache_di.lazy import derived, outdate

__all__ = ["Revised", "Setting", "hook", "setting", "settings_of"]

F = TypeVar("F", bound=Callable[..., Any])

_DERIVED = (
    "names_of_credentials",
    "names_principals",
    "of_all_urls",
    "overridden",
    "principal_patterns",
    "query_patterns",
    "resolved",
    "shared_patterns",
    "url_rules",
)
"""Properties that are `derived` from the settings."""


def _as_it_is(value: object) -> object:
    return value


class Revised:
    """Base of a class with settings."""

    revision: int = 0
    """Raised whenever a setting changes, or a hook is replaced."""
    hooks: ClassVar[frozenset[str]] = frozenset()
    """Names of the methods that users may override or replace."""

    @derived
    def overridden(self) -> frozenset[str]:
        """Names of the hooks that the user has overridden in a subclass or replaced on the object."""
        ours = {name for name in self.hooks if isinstance(getattr_static(type(self), name), _Hook)}
        return self.hooks - ours | (self.hooks & self.__dict__.keys())

    def revise(self) -> None:
        """Forget values that are derived from the settings, and raise the revision."""
        outdate(self, _DERIVED)


class Setting:
    """An attribute whose change raises the revision; made by `setting`.

    It has no ``__get__``, so that reading it is a plain look-up in the object's dictionary.

    Args:
        kept: makes of a value that is set the one that is kept.
        option: the name of its option; "" for that of the attribute.
        default: the value of an option that is not given.
    """

    def __init__(self, kept: Callable[[Any], object], option: str, default: object) -> None:
        self.kept = kept
        self.option: str = option
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name: str = name
        self.option = self.option or name

    def __set__(self, instance: Revised, value: object) -> None:
        given = collected({self.option: value})
        refuse_unusable(given)
        instance.__dict__[self.name] = self.kept(given[self.option])
        instance.revise()


class _Hook:
    """A method that users may override in a subclass or replace on an object; replacing it raises the revision."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = self.__wrapped__ = function  # for `unittest.mock`, which reads the signature there

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


def setting(kept: Callable[[Any], object] = _as_it_is, *, option: str = "", default: object = None) -> Any:
    """An attribute whose change raises the revision, and that refuses values which its option refuses.

    Args:
        kept: returns what is kept of a value that is assigned, or raises an error.
        option: name of the option, if it is not that of the attribute.
        default: the value if the option is not given.
    """
    return Setting(kept, option, default)


def settings_of(owner: type) -> dict[str, Setting]:
    """The settings that the class *owner* declares, by the names of their options."""
    return {each.option: each for each in vars(owner).values() if isinstance(each, Setting)}


def hook(function: F) -> F:
    """A method whose replacement raises the revision."""
    return cast("F", _Hook(function))
