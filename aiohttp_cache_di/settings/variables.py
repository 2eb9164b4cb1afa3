"""The variables of a cache's settings: their names, which of them are set and where, and why one is refused."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings.forms import CLASS_PATH
from aiohttp_cache_di.settings.kinds import Kind
from aiohttp_cache_di.settings.notation import FormError
from aiohttp_cache_di.settings.sources import DEFAULT_ENV_FILE, ENVIRONMENT, FILE_SUFFIX, Found, Layers

__all__ = ["CODE_SOURCE", "DEFAULT_SOURCE", "Source", "Variable", "Variables", "expect_prefix", "refuse"]

_PREFIX: Final = re.compile(r"[._-]*[A-Za-z][\w.-]*", re.ASCII)  # as in Kubernetes; shells allow fewer names
_BOUNDS: Final = {"gt": "more than", "ge": "from", "le": "up to", "min_length": "of a length from"}

Source: TypeAlias = str
"""Where the value of a setting came from: `DEFAULT_SOURCE`, `ENVIRONMENT`, `CODE_SOURCE` or the name of a file."""

DEFAULT_SOURCE: Final[Source] = "default"
"""Nothing sets the value."""

CODE_SOURCE: Final[Source] = "code"
"""A keyword argument sets the value."""

EnvFiles: TypeAlias = "str | Path | Sequence[str | Path] | None"


class Variable(NamedTuple):
    """The variable of a setting.

    Attributes:
        suffix: its name without the prefix.
        path: the names of the section, if any, and of the field in the model.
        field: the field of the model.
    """

    suffix: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def kind(self) -> Kind:
        """How the value is shown, and what is accepted apart from bounds."""
        for item in self.field.metadata:
            if isinstance(item, Kind):
                return item
        return _kind_of(self.field.annotation)

    @property
    def accepts(self) -> str:
        """What is accepted, in words."""
        bounds = {name: getattr(item, name) for item in self.field.metadata for name in _BOUNDS if hasattr(item, name)}
        if not bounds or self.kind.bounded:
            return self.kind.accepts
        words = {**_BOUNDS, "le": "to"} if "ge" in bounds else _BOUNDS
        extent = " ".join(f"{words[name]} {self.kind.show(bound)}" for name, bound in bounds.items())
        return f"{self.kind.accepts}{',' if ',' in self.kind.accepts else ''} {extent}"


def _kind_of(annotation: object) -> Kind:
    if get_origin(annotation) is Literal:
        return Kind(" or ".join(str(value) for value in get_args(annotation)))
    return Kind({int: "a whole number", float: "a number"}.get(cast(type, annotation), "any text"))


def expect_prefix(prefix: str) -> None:
    """Raise ConfigurationError unless *prefix* can be the prefix of variables and the name of a cache."""
    if not prefix:
        raise ConfigurationError("prefix='': variables without a prefix are never read; give one such as 'API_CACHE_'")
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(f"prefix={prefix!r}: no variable begins so; give one such as 'API_CACHE_'")


class Variables(NamedTuple):
    """The input of `CacheSettings` for one cache: its keyword arguments, and the variables with its prefix."""

    prefix: str
    known: tuple[Variable, ...]
    found: Mapping[str, Found]
    given: Mapping[str, Any]
    problems: list[str]

    @classmethod
    def read(cls, known: Iterable[Variable], prefix: str, env_files: EnvFiles, given: Mapping[str, Any]) -> Variables:
        """Read all sources; *given* are the keyword arguments, which take precedence."""
        items = tuple(known)
        names = {(prefix + item.suffix).lower(): item for item in items}
        layers = Layers(
            prefix,
            secret={name for name, item in names.items() if item.kind.secret},
            required={name for name, item in names.items() if not item.kind.may_be_empty},
        )
        if env_files is None or isinstance(env_files, (str, Path)):
            env_files = () if env_files is None else (env_files,)
        if isinstance(env_files, bytes) or not isinstance(env_files, Iterable):
            raise ConfigurationError(f"env_file={env_files!r}: use the path of a file, or None")
        directory = given.get("secrets_dir")
        layers.read_all(env_files, None if directory is None else str(directory))
        found = cls(prefix, items, layers.found, given, layers.problems)
        found.problems.extend([*found._unknown(), *found._untrusted()])
        return found

    def values(self) -> dict[str, Any]:
        """All input as keyword arguments of the model, which still has to parse the texts."""
        values: dict[str, Any] = {}
        for item in self.known:
            one = self.found.get(self.name(item).lower())
            if one is not None:
                place = values
                for step in item.path[:-1]:
                    place = place.setdefault(step, {})
                place[item.path[-1]] = one.text
        for name, value in self.given.items():
            both = isinstance(value, Mapping) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **value} if both else value
        return values

    def name(self, item: Variable) -> str:
        """The name of the variable with the prefix."""
        return self.prefix + item.suffix

    def source(self, item: Variable) -> Source:
        """Where the value of *item* comes from."""
        value: Any = self.given
        for step in item.path:
            if isinstance(value, BaseModel):
                return CODE_SOURCE
            if not isinstance(value, Mapping) or step not in value:
                break
            value = cast(Mapping[str, Any], value)[step]
        else:
            return CODE_SOURCE
        one = self.found.get(self.name(item).lower())
        return DEFAULT_SOURCE if one is None else one.source

    def explain(self, error: Any) -> str | None:
        """Turn an error of pydantic into a sentence that names the variable, the value and what is accepted.

        Returns None for an unknown variable, which `_unknown` explains.
        """
        location = tuple(str(step) for step in error["loc"])
        item = next((item for item in self.known if location[: len(item.path)] == item.path), None)
        if item is None:  # an unknown field, or a section that is not a mapping
            return f"{'.'.join(location)}: {error['msg']}" if location[0] in self.given else None
        cause = error.get("ctx", {}).get("error")
        accepted = f"it accepts {item.accepts}{f' ({cause})' if isinstance(cause, FormError) else ''}"
        source = self.source(item)
        if source == CODE_SOURCE:
            return f"{'.'.join(item.path)}={item.kind.mask(repr(error['input']))}: {accepted}"
        raw = item.kind.mask(self.found[self.name(item).lower()].text)
        return f"{self.name(item)}={raw!r}{'' if source == ENVIRONMENT else f' in {source}'}: {accepted}"

    def _untrusted(self) -> Iterator[str]:
        """Refuse a class as ``BACKEND`` from an untrusted file."""
        name = f"{self.prefix}BACKEND"
        one = self.found.get(name.lower())
        if one and one.is_untrusted and CLASS_PATH.fullmatch(one.text) and "backend" not in self.given:
            where = one.source if one.source == DEFAULT_ENV_FILE else f"{one.source}, which {DEFAULT_ENV_FILE} names"
            yield (
                f"{name}={one.text!r} in {where}: code is not imported at the word of a file that lies in the "
                "current directory; set it in the environment, or name the file: env_file='./.env'"
            )

    def _unknown(self) -> list[str]:
        """Explain the variables with the prefix that are no setting."""
        known = {self.name(item).lower(): self.name(item) for item in self.known}
        files = [name + FILE_SUFFIX for name, item in zip(known, self.known, strict=True) if item.kind.secret]
        meant = {**known, **{name: name.upper() for name in files}}
        tails = {
            name[len(self.prefix) :]: whole for name, whole in meant.items()
        }  # the prefix, which all share, must not count as similarity
        problems: list[str] = []
        for name in sorted(self.found.keys() - known.keys()):
            hints = list(_nearest(name[len(self.prefix) :], tails))
            if any(name.endswith(f"_{item.suffix.lower()}") for item in self.known) or not hints:
                hints.append(f"variables of another cache need a prefix that does not begin with {self.prefix}")
            source = self.found[name].source
            where = "" if source == ENVIRONMENT else f" in {source}"
            problems.append(f"{name.upper()}{where}: there is no such setting; {' '.join(hints)}")
        return problems


def _nearest(tail: str, tails: Mapping[str, str]) -> Iterator[str]:
    """A hint at the setting that is meant by *tail*: one of the same section, if *tail* names a section."""
    section, separator, name = tail.partition("__")
    inner = {each.removeprefix(f"{section}__"): each for each in tails if each.startswith(f"{section}__")}
    if not separator or not inner:
        inner, name = {each: each for each in tails}, tail
    near = difflib.get_close_matches(name, inner, 1)
    if near:
        yield f"did you mean {tails[inner[near[0]]]}?"
    elif name != tail:
        yield f"there are {', '.join(tails[each] for each in inner.values() if not each.endswith(FILE_SUFFIX.lower()))}"


def refuse(problems: list[str]) -> None:
    """Raise one ConfigurationError that lists all *problems*."""
    unique = list(dict.fromkeys(problems))
    if len(unique) == 1:
        raise ConfigurationError(unique[0])
    raise ConfigurationError(f"{len(unique)} settings cannot be used:\n" + "\n".join(f"  {line}" for line in unique))
