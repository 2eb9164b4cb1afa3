"""The variables of a cache: found in the environment and ``.env``, told apart, and explained when refused."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings.kinds import Kind

__all__ = ["Source", "Variable", "Variables", "explain", "refuse"]

_BOUNDS: Final = {"gt": "more than", "ge": "from", "le": "to", "min_length": "of a length from"}

Source: TypeAlias = str
"""Where the value of a setting came from: ``default``, ``environment``, ``code`` or the name of a file."""


class Variable(NamedTuple):
    """One setting as a variable: its name without prefix, where it stands in the model, and what it takes."""

    suffix: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def kind(self) -> Kind:
        """How the value is shown, and what is accepted apart from bounds."""
        return next((item for item in self.field.metadata if isinstance(item, Kind)), _kind_of(self.field.annotation))

    @property
    def accepts(self) -> str:
        """What is accepted, in words."""
        bounds = {name: getattr(item, name) for item in self.field.metadata for name in _BOUNDS if hasattr(item, name)}
        if not bounds or self.kind.bounded:
            return self.kind.accepts
        extent = " ".join(f"{_BOUNDS[name]} {bound}" for name, bound in bounds.items())
        return f"{self.kind.accepts}{',' if ',' in self.kind.accepts else ''} {extent}"


def _kind_of(annotation: object) -> Kind:
    if get_origin(annotation) is Literal:
        return Kind(" or ".join(str(value) for value in get_args(annotation)))
    return Kind({int: "a whole number", float: "a number"}.get(cast(type, annotation), "any text"))


class Variables(NamedTuple):
    """The variables that begin with the prefix, names in lower case, as the environment and ``.env`` have them."""

    prefix: str
    known: tuple[Variable, ...]
    environment: Mapping[str, str]
    env_file: Mapping[str, str]
    file_name: str

    @classmethod
    def read(cls, settings: type[BaseSettings], known: Iterable[Variable], prefix: str, env_file: Any) -> Variables:
        try:
            in_file = DotEnvSettingsSource(settings, env_file=env_file, env_prefix=prefix).env_vars
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"env_file={str(env_file)!r} cannot be read: {exc}") from exc
        return cls(prefix, tuple(known), _with_prefix(os.environ, prefix), _with_prefix(in_file, prefix), str(env_file))

    def unknown(self) -> list[str]:
        """Explain the variables that have the prefix and are no setting."""
        known = {self.name(item).lower(): self.name(item) for item in self.known}
        problems: list[str] = []
        for name in sorted({*self.environment, *self.env_file} - known.keys()):
            hints = [f"did you mean {known[near]}?" for near in difflib.get_close_matches(name, known, 1, cutoff=0.75)]
            if any(name.endswith(f"_{item.suffix.lower()}") for item in self.known) or not hints:
                hints.append(f"variables of another cache need a prefix that does not begin with {self.prefix}")
            problems.append(f"{name.upper()}: there is no such setting; {' '.join(hints)}")
        return problems

    def name(self, item: Variable) -> str:
        return self.prefix + item.suffix

    def raw(self, item: Variable) -> str | None:
        name = self.name(item).lower()
        return self.environment.get(name, self.env_file.get(name))

    def source(self, item: Variable, given: Mapping[str, Any]) -> Source:
        """Tell which source decides about *item*, *given* being the keyword arguments."""
        value: Any = given
        for step in item.path:
            if isinstance(value, BaseModel):
                return "code"
            if not isinstance(value, Mapping) or step not in value:
                break
            value = cast(Mapping[str, Any], value)[step]
        else:
            return "code"
        name = self.name(item).lower()
        if name in self.environment:
            return "environment"
        return self.file_name if name in self.env_file else "default"


def _with_prefix(variables: Mapping[str, str | None], prefix: str) -> dict[str, str]:
    start = prefix.lower()
    return {name.lower(): value for name, value in variables.items() if value and name.lower().startswith(start)}


def explain(error: Any, found: Variables, given: Mapping[str, Any]) -> str | None:
    """Turn one of pydantic's errors into a sentence that names the variable, the value and what is accepted."""
    location = tuple(str(step) for step in error["loc"])
    item = next((item for item in found.known if location[: len(item.path)] == item.path), None)
    if item is None:  # a section that is none, or has something that is no setting; a variable is refused as unknown
        return f"{'.'.join(location)}: {error['msg']}" if location[0] in given else None
    if found.source(item, given) == "code":
        return f"{'.'.join(item.path)}={item.kind.mask(repr(error['input']))}: it accepts {item.accepts}"
    raw = item.kind.mask(found.raw(item) or "")
    return f"{found.name(item)}={raw!r}: it accepts {item.accepts}"


def refuse(problems: list[str]) -> None:
    unique = list(dict.fromkeys(problems))
    if len(unique) == 1:
        raise ConfigurationError(unique[0])
    raise ConfigurationError(f"{len(unique)} settings cannot be used:\n" + "\n".join(f"  {line}" for line in unique))
