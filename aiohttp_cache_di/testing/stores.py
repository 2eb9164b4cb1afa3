"""Which store the containers of an app under test open: memory, or one for each worker of pytest-xdist."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from aiohttp_cache_di.settings.build import plan_backend
from aiohttp_cache_di.settings.model import CacheSettings

__all__ = ["StoreOfWorker", "in_memory", "store_per_worker"]

logger: logging.Logger = logging.getLogger(__name__)

_SERVERS: Final = frozenset({"redis", "mongodb", "dynamodb"})
_WITHIN_S: Final = 10.0  # to empty what a test has put on a server


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
    """Let every container that is opened meanwhile keep responses apart from other workers'; see `StoreOfWorker`.

    Args:
        worker: its name; by default that of pytest-xdist (``gw0``), or ``main`` without.
    """
    with StoreOfWorker(worker) as store, store.used():
        yield store.worker


class StoreOfWorker:
    """What the containers of one worker keep, until the end of the run. A context manager.

    The settings are read as ever, and what names the store is changed: files are in a temporary directory, which goes
    away in the end; on a server the worker's name is added, and what is there is deleted in the end.

    Args:
        worker: its name; by default that of pytest-xdist (``gw0``), or ``main`` without.
        directory: where files go; by default one that is made for them.
    """

    def __init__(self, worker: str | None = None, directory: Path | None = None) -> None:
        self.worker: str = worker or os.environ.get("PYTEST_XDIST_WORKER") or "main"
        self._directory = directory
        self._on_servers: dict[str, CacheSettings] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._directory is not None or self._on_servers:
            with ThreadPoolExecutor(1) as thread:  # a loop may run in this one
                thread.submit(self._end).result()

    def _end(self) -> None:
        if self._on_servers:
            asyncio.run(_empty(list(self._on_servers.values())))
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    @contextmanager
    def used(self) -> Generator[None]:
        """Let every container that is opened meanwhile use it."""
        with _loading(lambda load: self._own(load())):
            yield

    def _own(self, settings: CacheSettings) -> CacheSettings:
        """*settings* of the worker's own store."""
        changed: dict[str, Any] = {"cache_name": f"{settings.name}-{self.worker}"}
        for part, field in (("sqlite", "path"), ("filesystem", "path"), ("mongodb", "database"), ("dynamodb", "table")):
            options: Any = getattr(settings, part)
            place: Any = getattr(options, field)
            if field == "path":
                place = self._file_of(settings, part, place)
            elif place:
                place = f"{place}-{self.worker}"
            if place:
                changed[part] = options.model_copy(update={field: place})
        own = settings.model_copy(update=changed)
        if own.backend in _SERVERS:
            self._on_servers[own.name] = own
        return own

    def _file_of(self, settings: CacheSettings, part: str, given: Path | None) -> Path | None:
        """The worker's own file or directory in the place of *given*, another one for each; None for memory."""
        if str(given) == ":memory:":
            return None
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="aiohttp-cache-di-"))
        if given is None:
            return self._directory / f"{settings.name}-{self.worker}.{part}"
        apart = hashlib.sha256(str(given).encode()).hexdigest()[:8]  # from another one of the same name
        return self._directory / f"{given.stem}-{apart}-{self.worker}{given.suffix}"


async def _empty(stores: list[CacheSettings]) -> None:
    for settings in stores:
        backend = plan_backend(settings).build()
        try:
            await asyncio.wait_for(backend.clear(), _WITHIN_S)
        except Exception as error:  # a test must not fail of what is left behind
            logger.warning("The store of %s may not be empty: %s", settings.name, type(error).__name__)
        finally:
            await backend.close()


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
