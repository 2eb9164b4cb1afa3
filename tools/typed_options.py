"""Shows in the reference what ``**kwargs: Unpack[…]`` takes: the options of the TypedDict and of those below it.

An extension of griffe, which mkdocs.yml names; griffe's own of that kind does not look at what a TypedDict is derived
from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import griffe


class TypedOptions(griffe.Extension):
    """Puts options in the place of ``kwargs``, in signatures and in docstrings."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Do so in all functions of a package, once all of it is known."""
        for function in functions_of(pkg):
            expand(function)


def functions_of(owner: griffe.Module | griffe.Class) -> Iterator[griffe.Function]:
    """All functions below *owner*."""
    for member in owner.members.values():
        if isinstance(member, griffe.Function):
            yield member
        elif isinstance(member, griffe.Module | griffe.Class):
            yield from functions_of(member)


def expand(function: griffe.Function) -> None:
    """Put options in the place of the ``kwargs`` of *function*, if their types are told."""
    unpacked = next((each for each in function.parameters if each.kind is griffe.ParameterKind.var_keyword), None)
    annotation = None if unpacked is None else unpacked.annotation
    if unpacked is None or not isinstance(annotation, griffe.ExprSubscript) or annotation.canonical_name != "Unpack":
        return
    told = annotation.slice
    if isinstance(told, str) or not told.canonical_path.startswith("aiohttp_cache_di."):
        return  # aiohttp's own, on whose pages they are told
    options = function.modules_collection[told.canonical_path].attributes.values()  # those of its bases, too
    section = None if function.docstring is None else arguments_in(function.docstring)
    if section is not None:
        section.value = [each for each in section.value if each.name.lstrip("*") != unpacked.name]
        section.value += [
            griffe.DocstringParameter(
                option.name, annotation=option.annotation, description=meaning_of(option), value="..."
            )
            for option in options
        ]
    del function.parameters[unpacked.name]
    for option in options:
        function.parameters[option.name] = griffe.Parameter(
            option.name, annotation=option.annotation, kind=griffe.ParameterKind.keyword_only, default="..."
        )


def arguments_in(docstring: griffe.Docstring) -> griffe.DocstringSectionParameters | None:
    """The arguments that *docstring* tells of."""
    sections = docstring.parse("google")
    docstring.__dict__["parsed"] = sections
    return next((each for each in sections if isinstance(each, griffe.DocstringSectionParameters)), None)


def meaning_of(option: griffe.Attribute) -> str:
    """What the docstring of *option* says."""
    return "" if option.docstring is None else option.docstring.value
