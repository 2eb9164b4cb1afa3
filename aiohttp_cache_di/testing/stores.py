"""Which store the containers of an app under test open: memory, or one for each worker of pytest-xdist."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp_cache_di.settings.model import CacheSettings

__all__ = ["in_memory", "store_per_worker"]


@contextmanager
def in_memory() -> Generator[CacheSettings]:
    """Let every container that is opened meanwhile keep responses in memory, empty at first.

    Also one that a module of the app has made before; variables and ``.env`` are not read.
    """
    # A prefix that no variables have: a test must not depend on the machine that it runs on.
    options: dict[str, Any] = {"_env_prefix": "AIOHTTP_CACHE_DI_TESTING_", "_env_file": None}
    settings = CacheSettings(backend="memory", cache_name="testing", **options)
    with _loading(lambda _: settings):
        yield settings


@contextmanager
def store_per_worker(worker: str | None = None) -> Generator[str]:
    """Let every container that is opened meanwhile keep responses apart from those of other workers.

    The settings are read as ever; the worker's name is added to that of the cache and to what names its store.

    Args:
        worker: its name; by default that of pytest-xdist (``gw0``), or ``main`` without.
    """
    name = worker or os.environ.get("PYTEST_XDIST_WORKER") or "main"
    with _loading(lambda load: _renamed(load(), name)):
        yield name


@contextmanager
def _loading(loaded: Callable[[Callable[[], CacheSettings]], CacheSettings]) -> Generator[None]:
    # Where all containers ask: an override of the class would not reach those that have been made already.
    genuine = vars(CacheSettings)["load"]
    original = CacheSettings.load

    def load(*args: Any, **kwargs: Any) -> CacheSettings:
        return loaded(lambda: original(*args, **kwargs))

    setattr(CacheSettings, "load", staticmethod(load))  # noqa: B010  # of a class
    try:
        yield
    finally:
        setattr(CacheSettings, "load", genuine)  # noqa: B010  # of a class


def _renamed(settings: CacheSettings, worker: str) -> CacheSettings:
    changed: dict[str, Any] = {"cache_name": f"{settings.name}-{worker}"}
    for part, field in (("sqlite", "path"), ("filesystem", "path"), ("mongodb", "database"), ("dynamodb", "table")):
        options: Any = getattr(settings, part)
        place: Any = getattr(options, field)
        if isinstance(place, Path):
            if str(place) != ":memory:":
                place = place.with_name(f"{place.stem}-{worker}{place.suffix}")
        elif place:
            place = f"{place}-{worker}"
        if place:
            changed[part] = options.model_copy(update={field: place})
    return settings.model_copy(update=changed)
