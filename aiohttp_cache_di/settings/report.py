"""Settings as text for people, without secrets: values in effect and their sources, all variables, and messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from pydantic import BaseModel

from aiohttp_cache_di.addresses import MASK, secrets_of
from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.variables import Variable

__all__ = ["EffectiveSetting", "effective_settings", "variables_table", "without_secrets"]

MIN_MASKED_CHARS: Final = 4  # of a driver's option: a shorter value occurs in ordinary words


class EffectiveSetting(NamedTuple):
    """A setting that is in effect; secrets in *value* are masked."""

    variable: str
    value: str
    source: str


def effective_settings(settings: CacheSettings) -> Iterator[EffectiveSetting]:
    """All settings with their values and sources, in the order of the model."""
    for item in type(settings).variables():
        shown = item.kind.show(_value_at(settings, item.path))
        if item.path == ("cache_name",):
            shown = settings.name
        elif item.path == ("sqlite", "path"):
            shown = str(settings.sqlite_path)
        elif item.path == ("filesystem", "path"):
            shown = str(settings.filesystem_place.path)
        yield EffectiveSetting(settings.prefix + item.suffix, shown, settings.source_of(item.path))


def variables_table() -> str:
    """Write the table of all variables in Markdown, with defaults that are the same on every machine."""
    rows = ["| variable | default | meaning | accepts |", "|---|---|---|---|"]
    for item in CacheSettings.variables():
        cells = (f"`{DEFAULT_PREFIX}{item.suffix}`", _default(item), item.field.description or "", item.accepts)
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def without_secrets(text: str, settings: CacheSettings) -> str:
    """*text*, such as the error message of a driver, with every secret of *settings* masked."""
    for secret in sorted(set(_secrets(settings)), key=len, reverse=True):
        for form in (secret, repr(secret)[1:-1]):
            text = text.replace(form, MASK)
    return text


def _value_at(settings: BaseModel, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for step in path:
        value = getattr(value, step)
    return value


def _default(item: Variable) -> str:
    shown = item.kind.show(item.field.get_default(call_default_factory=True))
    return f"`{shown}`" if shown else ""


def _secrets(settings: CacheSettings) -> Iterator[str]:
    yield from (key.get_secret_value() for key in settings.secret_key)
    if settings.redis.password is not None:
        yield settings.redis.password.get_secret_value()
    for url in (settings.redis.url, settings.mongodb.url):
        address = url.get_secret_value()
        secrets = list(secrets_of(address))
        yield from (*secrets, *([address] if secrets else ()))
    yield from _texts(settings.backend_options)


def _texts(value: object) -> Iterator[str]:
    """All texts in the options of a driver, any of which may be a secret."""
    if isinstance(value, (str, int)):
        if len(str(value)) >= MIN_MASKED_CHARS and not isinstance(value, bool):
            yield str(value)
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[str, object]", value).items():
            yield from _texts(item)
            if not name.isidentifier():  # then it is no option, and may be a secret itself
                yield name
    elif isinstance(value, (list, tuple)):
        for item in cast("list[object]", value):
            yield from _texts(item)
