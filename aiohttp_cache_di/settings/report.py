"""Settings as text for people: the values in effect and their sources, and the table of all variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.variables import Variable

__all__ = ["EffectiveSetting", "effective_settings", "variables_table"]


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


def _value_at(settings: BaseModel, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for step in path:
        value = getattr(value, step)
    return value


def _default(item: Variable) -> str:
    shown = item.kind.show(item.field.get_default(call_default_factory=True))
    return f"`{shown}`" if shown else ""
