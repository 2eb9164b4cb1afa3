"""Choose the store that the containers of an app under test open: memory, or one for each worker of pytest-xdist."""

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
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from aiohttp_cache_di.settings.build import plan_backend
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.testing.together import Together

__all__ = ["StoreOfWorker", "in_memory", "store_per_worker"]

logger: logging.Logger = logging.getLogger(__name__)

_SERVERS: Final = frozenset({"redis", "mongodb", "dynamodb"})
_WITHIN_S: Final = 10.0  # to delete what tests have stored on a server


@contextmanager
def in_memory() -> Generator[CacheSettings]:
    """Make all containers that are opened meanwhile keep responses in memory, initially empty.

    This includes containers that the app made earlier, at import time. Variables and ``.env`` are not read.
    """
    # No variables have this prefix, so that tests do not depend on the environment.
    options: dict[str, Any] = {"_env_prefix": "AIOHTTP_CACHE_DI_TESTING_", "_env_file": None}
    settings = CacheSettings(backend="memory", cache_name="testing", **options)
    with _loading(lambda _: settings):
        yield settings


@contextmanager
def store_per_worker(worker: str | None = None) -> Generator[str]:
    """Make all containers that are opened meanwhile use the store of this worker; see `StoreOfWorker`.

    Args:
        worker: the worker's name; by default that of pytest-xdist (``gw0``), or ``main`` without.
    """
    with StoreOfWorker(worker) as store, store.used():
        yield store.worker


class StoreOfWorker:
    """The store of one worker, which is deleted at the end. A context manager.

    The settings are read as usual, except for the place of the store: files are in a temporary directory, and the name
    of a store on a server gets the worker's name as a suffix.

    Args:
        worker: the worker's name; by default that of pytest-xdist (``gw0``), or ``main`` without.
        directory: the directory of the files; by default a new one.
    """

    def __init__(self, worker: str | None = None, directory: Path | None = None) -> None:
        self.worker: str = worker or os.environ.get("PYTEST_XDIST_WORKER") or "main"
        self._directory = directory
        self._on_servers: dict[str, CacheSettings] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._directory is not None or self._on_servers:
            with ThreadPoolExecutor(1) as thread:  # an event loop may run in this thread
                thread.submit(self._end).result()

    def _end(self) -> None:
        if self._on_servers:
            asyncio.run(_empty(list(self._on_servers.values())))
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    @contextmanager
    def used(self) -> Generator[None]:
        """Make all containers that are opened meanwhile use this store."""
        with _loading(lambda load: self._own(load())):
            yield

    def _own(self, settings: CacheSettings) -> CacheSettings:
        """*settings*, changed to use the worker's own store."""
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
        """The worker's own path for each configured path *given*; None for memory."""
        if str(given) == ":memory:":
            return None
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="aiohttp-cache-di-"))
        if given is None:
            return self._directory / f"{settings.name}-{self.worker}.{part}"
        apart = hashlib.sha256(str(given).encode()).hexdigest()[:8]  # distinguishes paths with the same file name
        return self._directory / f"{given.stem}-{apart}-{self.worker}{given.suffix}"


async def _empty(stores: list[CacheSettings]) -> None:
    for settings in stores:
        backend = plan_backend(settings).build()
        try:
            await asyncio.wait_for(backend.clear(), _WITHIN_S)
        except Exception as error:  # left-over entries must not fail a test
            logger.warning("The store of %s may not be empty: %s", settings.name, type(error).__name__)
        finally:
            await backend.close()


@contextmanager
def _loading(loaded: Callable[[Callable[[], CacheSettings]], CacheSettings]) -> Generator[None]:
    with _LOADERS.entered(loaded):
        yield


def _install() -> Callable[[], None]:
    # All containers call CacheSettings.load; overriding a provider of the class would not affect existing containers.
    genuine = vars(CacheSettings)["load"]
    original = CacheSettings.load

    def load(*args: Any, **kwargs: Any) -> CacheSettings:
        call: Callable[[], CacheSettings] = partial(original, *args, **kwargs)
        for loaded in _LOADERS.active:
            call = partial(loaded, call)
        return call()

    setattr(CacheSettings, "load", staticmethod(load))  # noqa: B010  # type checkers refuse to assign a method
    return partial(setattr, CacheSettings, "load", genuine)


_Loaded: TypeAlias = Callable[[Callable[[], CacheSettings]], CacheSettings]
_LOADERS: Final[Together[_Loaded]] = Together(_install)
