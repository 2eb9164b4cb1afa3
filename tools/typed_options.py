"""Show the options behind ``**kwargs: Unpack[…]`` in the reference: the keys of the TypedDict and of its bases.

An extension of griffe (see mkdocs.yml); griffe's own extension for this does not include the bases of a TypedDict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import griffe


class TypedOptions(griffe.Extension):
    """Replaces ``kwargs`` by the options, in signatures and in docstrings."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Expand all functions of a package, once it is loaded completely."""
        for function in functions_of(pkg):
            expand(function)


def functions_of(owner: griffe.Module | griffe.Class) -> Iterator[griffe.Function]:
    """All functions in *owner*, and in its modules and classes."""
    for member in owner.members.values():
        if isinstance(member, griffe.Function):
            yield member
        elif isinstance(member, griffe.Module | griffe.Class):
            yield from functions_of(member)


def expand(function: griffe.Function) -> None:
    """Replace ``kwargs`` of *function* by the options, if it is annotated with a TypedDict of this package."""
    unpacked = next((each for each in function.parameters if each.kind is griffe.ParameterKind.var_keyword), None)
    annotation = None if unpacked is None else unpacked.annotation
    if unpacked is None or not isinstance(annotation, griffe.ExprSubscript) or annotation.canonical_name != "Unpack":
        return
    told = annotation.slice
    if isinstance(told, str) or not told.canonical_path.startswith("aiohttp_cache_di."):
        return  # options of aiohttp, which documents them
    options = function.modules_collection[told.canonical_path].attributes.values()  # including those of its bases
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
    """The section of *docstring* that describes the arguments; None if there is none."""
    sections = docstring.parse("google")
    docstring.__dict__["parsed"] = sections
    return next((each for each in sections if isinstance(each, griffe.DocstringSectionParameters)), None)


def meaning_of(option: griffe.Attribute) -> str:
    """The docstring of *option*; "" if there is none."""
    return "" if option.docstring is None else option.docstring.value
