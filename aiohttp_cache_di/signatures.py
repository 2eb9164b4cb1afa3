"""Signatures that `inspect.signature`, `help` and IPython show for classes whose parameters are defined elsewhere."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

__all__ = ["OptionsSignature", "ProvidersSignature"]

_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class _Omitted:
    """The default that is shown for an option; the option's docstring states the real one."""

    def __repr__(self) -> str:
        return "…"


_OMITTED: Final = _Omitted()


class OptionsSignature(inspect.Signature):
    """The ``__signature__`` of a class whose ``**kwargs`` are the keys of a TypedDict; each is shown as a parameter.

    The signature is built when something asks for it, because the types need imports that nothing else needs. A
    subclass with an ``__init__`` of its own keeps its own signature. Where the types cannot be imported, because their
    driver is not installed, ``**kwargs`` is shown as it is written.

    This class is itself a signature, that of the class it is defined in: `functools.wraps` copies the attribute to the
    wrapping function, where it is no descriptor any more.

    Args:
        options: module and name of the TypedDict, separated by a colon.
        leading: names of positional parameters that a base class takes.
    """

    def __init__(self, options: str, *, leading: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._options, self._leading = options, leading

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        own, theirs = inspect.getattr_static(self._owner, "__init__"), inspect.getattr_static(owner, "__init__")
        if instance is not None or own is not theirs:
            raise AttributeError("__signature__")
        return inspect.Signature(self._shown_parameters())

    @property
    def parameters(self) -> MappingProxyType[str, inspect.Parameter]:
        """The parameters of the class it is defined in, by name."""
        return MappingProxyType({each.name: each for each in self._shown_parameters()})

    def replace(self, **changes: Any) -> Any:
        """A plain `inspect.Signature` with *changes*."""
        return inspect.Signature(self._shown_parameters()).replace(**changes)

    def __replace__(self, **changes: Any) -> Any:
        """The same as `replace`, for `copy.replace`."""
        return self.replace(**changes)

    def _shown_parameters(self) -> list[inspect.Parameter]:
        own = inspect.getattr_static(self._owner, "__init__")
        try:  # evaluated types: with them FastAPI refuses ``Depends(CachedSession)`` at the route's definition
            named = list(inspect.signature(own, eval_str=True).parameters.values())[1:]
        except NameError:
            named = list(inspect.signature(own).parameters.values())[1:]
        found = {name: inspect.Parameter(name, _BY_NAME[0], default=None) for name in self._leading}
        found |= {each.name: each for each in named if each.kind in _BY_NAME}
        module, _, typed = self._options.partition(":")
        try:
            options: dict[str, object] = getattr(import_module(module), typed).__annotations__
        except ImportError:  # `help`, Sphinx and `unittest.mock` do not expect one here
            return [*found.values(), *(each for each in named if each.kind is each.VAR_KEYWORD)]
        for name, annotation in options.items():
            written = getattr(annotation, "__forward_arg__", annotation)
            found.setdefault(name, inspect.Parameter(name, _BY_NAME[1], default=_OMITTED, annotation=written))
        return list(found.values())


class ProvidersSignature(inspect.Signature):
    """The ``__signature__`` of a container class: each of its providers is shown as a keyword parameter.

    Args:
        provider: how annotations spell the type of a provider; a parameter takes a provider or what it provides.
    """

    def __init__(self, provider: str) -> None:
        super().__init__()
        self._provider = provider

    def __get__(self, instance: object, owner: Any) -> inspect.Signature:
        annotated: dict[str, str] = {}
        for base in reversed(owner.__mro__):
            annotated |= inspect.get_annotations(base)
        own = [(name, self._type_of(annotated.get(name))) for name in owner.providers]
        return inspect.Signature(
            [inspect.Parameter(name, _BY_NAME[1], default=_OMITTED, annotation=given) for name, given in own]
        )

    def _type_of(self, annotation: object) -> object:
        if not isinstance(annotation, str):
            return inspect.Parameter.empty
        return f"{annotation.removeprefix(f'{self._provider}[').removesuffix(']')} | {annotation}"
