"""Generate the types of the arguments of `CacheSettings`, for type checkers: ``python -m tools.settings_types``.

An argument accepts more than the type of its field: also text, in every form that a variable may have. So the types are
derived from the kinds of the fields, and the docstrings from the descriptions in the model.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from aiohttp_cache_di.settings import kinds
from aiohttp_cache_di.settings.forms import BUILT_IN_BACKENDS
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.settings.variables import Variable

TYPED = Path(__file__).parents[1] / "aiohttp_cache_di" / "settings" / "typed.py"

TAKES: Final = {
    "Flag": "bool | str",
    "OptionalFlag": "bool | str | None",
    "OptionalText": "str | None",
    "Duration": "float | str | timedelta",
    "Wait": "float | str | timedelta",
    "OptionalDuration": "float | str | timedelta | None",
    "Lifetime": "ExpirationTime",
    "StaleWindow": "Window",
    "Size": "int | str",
    "OptionalSize": "int | str | None",
    "SizeLimit": "int | str | None",
    "OptionalCount": "int | str | None",
    "OptionalPath": "str | PathLike[str] | None",
    "Names": "Iterable[str]",
    "HeaderNames": "Iterable[str]",
    "Methods": "Collection[str]",
    "Codes": "Collection[int | str] | str | None",
    "Secrets": "Collection[SecretStr | str] | str",  # pragma: allowlist secret
    "OptionalSecret": "SecretStr | str | None",  # pragma: allowlist secret
    "RedisUrl": "SecretStr | str",
    "OptionalEndpoint": "str | None",
    "MongoDBUrl": "SecretStr | str",
    "JsonObject": "Mapping[str, Any] | str",
    "UrlPatterns": "Collection[str]",
    "UrlNames": "Mapping[str, str] | str",
    "UrlLifetimes": "Mapping[str, UrlLifetime] | str",
}
"""The types that each kind of value accepts in code; text is parsed like that of a variable."""

HEAD: Final = '''"""What settings take in code, as type checkers and editors see it; nothing here is needed at run time.

Made from the model by ``python -m tools.settings_types``, and a test says when that is to be done again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from os import PathLike
from typing import Any, Literal, TypedDict

from pydantic import SecretStr

from aiohttp_cache_di.policy.rules.expiration import ExpirationTime, UrlLifetime
from aiohttp_cache_di.policy.rules.windows import Window

__all__ = [
{names}]
'''

FOR_PYDANTIC: Final = """
    _env_prefix: str
    \"\"\"What the names of the variables begin with. Default: "AIOHTTP_CACHE_".\"\"\"
    _env_file: str | PathLike[str] | None
    \"\"\"Path of a file of variables, for what the environment lacks; None for none. Default: ".env".\"\"\"
    _secrets_dir: str | PathLike[str] | None
    \"\"\"The same as ``secrets_dir``, as pydantic-settings spells it. Default: None.\"\"\"
"""


def typed_source() -> str:
    """The source of the module `aiohttp_cache_di.settings.typed`."""
    variables = list(CacheSettings.variables())
    sections = {
        name: field.annotation.__name__
        for name, field in CacheSettings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    classes = [*(f"{section}Options" for section in sections.values()), "SettingsOptions"]
    parts = [HEAD.format(names="".join(f'    "{name}",\n' for name in sorted(classes)))]
    for name, section in sections.items():
        keys = "".join(_key(each) for each in variables if each.path[0] == name)
        parts += (_opening(section), "\n", keys)
    parts += (_opening("CacheSettings", "SettingsOptions"), FOR_PYDANTIC)
    parts += (_key(each) for each in variables if len(each.path) == 1)
    return "".join(parts)


def _opening(described: str, name: str = "") -> str:
    name = name or f"{described}Options"
    return f'\n\nclass {name}(TypedDict, total=False):\n    """What `{described}` takes."""\n'


def _key(variable: Variable) -> str:
    shown = variable.kind.show(variable.field.get_default(call_default_factory=True)) or "none"
    meaning = variable.field.description or ""
    meaning = f"{meaning[:1].upper()}{meaning[1:]}. It takes {variable.accepts}. Default: {shown}."
    doc = textwrap.fill(f'"""{meaning}"""', 120, initial_indent="    ", subsequent_indent="    ")
    return f"    {variable.path[-1]}: {_type_of(variable)}\n{doc}\n"


def _type_of(variable: Variable) -> str:
    annotation = variable.field.annotation
    if get_origin(annotation) is Literal:
        return _literal(*get_args(annotation))
    name = _KINDS.get(id(next((each for each in variable.field.metadata if isinstance(each, kinds.Kind)), None)))
    if name == "BackendName":
        return f"{_literal(*BUILT_IN_BACKENDS)} | str"
    if name is not None:
        return TAKES[name]
    return {int: "int | str", float: "float | str"}[annotation]  # type: ignore[index]  # else add a kind


def _literal(*words: str) -> str:
    quoted = ", ".join(f'"{word}"' for word in words)
    return f"Literal[{quoted}]"


_KINDS: Final[dict[int, str]] = {
    id(part): name
    for name, alias in vars(kinds).items()
    if get_origin(alias) is Annotated
    for part in get_args(alias)
    if isinstance(part, kinds.Kind)
}


if __name__ == "__main__":
    TYPED.write_text(typed_source(), encoding="utf-8")
