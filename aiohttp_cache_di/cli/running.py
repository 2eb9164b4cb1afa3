"""Run a command on the cache that the settings describe, and return its exit status."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.store.capabilities import Restrained
from aiohttp_cache_di.backends.wrap.guarding.outages import cause_of, kind_of
from aiohttp_cache_di.backends.wrap.ping import reach
from aiohttp_cache_di.cli.older_files import is_older
from aiohttp_cache_di.errors import CacheError, ConfigurationError, StorageError
from aiohttp_cache_di.settings.build import build_backend
from aiohttp_cache_di.settings.consistency import passed_over
from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.places import IN_MEMORY
from aiohttp_cache_di.settings.report import without_secrets
from aiohttp_cache_di.settings.variables import DEFAULT_SOURCE

__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "REFUSED",
    "Access",
    "Cache",
    "Command",
    "expect_reached",
    "expect_secret",
    "is_all_default",
    "refuse_memory",
    "run",
]

DONE: Final = 0
FAILED: Final = 1
REFUSED: Final = 2  # as argparse exits for arguments that it refuses
UNREADABLE: Final = (
    "of what is stored could not be read: damaged, foreign, made by another serializer, or signed with another key; "
    "purges by tag that are among it are not seen here"
)
TAKEN_OVER: Final = "whose responses are taken over by: aiohttp-cache copy --from-aiohttp-client-cache"
SETTING_ASIDE: Final = "aiohttp_cache_di.backends.sqlite.file.files"  # a logger, named after its module
SECRET_ATTEMPTS: Final = 3  # each as long as `storage_deadline`
INTERRUPTED: Final = 130  # the exit status that shells give to a program ended by SIGINT


class OutputError(OSError):
    """The output of a command cannot be written; the store itself works."""


@dataclass(frozen=True)
class Cache:
    """The cache that a command works on.

    Args:
        as_json: print JSON for scripts instead of text for people.
    """

    backend: CacheBackend
    settings: CacheSettings
    as_json: bool

    @property
    def where(self) -> str:
        """What the cache is called, and where it is kept."""
        where: str = getattr(self.backend.stack.store, "where", "")
        return f"{self.settings.backend} at {where}" if where else self.settings.backend

    def tell(self, told: Mapping[str, Any] | Iterable[Any], lines: Callable[[], list[str]]) -> None:
        """Print *told* as JSON, or *lines* for people."""
        with _output():
            for line in _json_lines(told) if self.as_json else lines():
                print(line)

    async def tell_each(self, told: AsyncIterable[Any]) -> None:
        """Print *told*, of which there may be any number, as a list in JSON with a line for each."""
        before = "["
        async for one in told:
            with _output():
                print(f"{before}{json.dumps(one)}")
            before = ","
        with _output():
            print("[]" if before == "[" else "]")


@contextmanager
def _output() -> Generator[None]:
    """Tell errors of the output, such as a full disk, from those of the store; not so a closed pipe."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise OutputError(*exc.args) from exc


def _json_lines(told: Mapping[str, Any] | Iterable[Any]) -> Iterator[str]:
    """*told* as JSON, a list with a line for each of its items."""
    if isinstance(told, Mapping):
        yield json.dumps(told, indent=2)
        return
    before = "["
    for one in told:
        yield f"{before}{json.dumps(one)}"
        before = ","
    yield "[]" if before == "[" else "]"


Command: TypeAlias = Callable[[Cache], Awaitable[int]]


@dataclass(frozen=True)
class Access:
    """What a command needs of the cache, and what it may do to it.

    Attributes:
        may_create: the cache need not exist yet.
        may_change: entries may be written or deleted; otherwise the store is opened read-only.
        needs_store: the command cannot run while the store is down.
        tests_store: the command tests whether the store works, so a store in memory is allowed too.
    """

    may_create: bool = False
    may_change: bool = False
    needs_store: bool = True
    tests_store: bool = False


def run(command: Command, access: Access, *, prefix: str, env_file: str, as_json: bool) -> int:
    """Run *command* on the cache whose variables begin with *prefix*, and return its exit status.

    What went wrong is printed on standard error.
    """
    with _quiet():
        settings = _settings(prefix, env_file, access)
        return settings if isinstance(settings, int) else _status(command, access, settings, as_json)


@contextmanager
def _quiet() -> Generator[None]:
    """Log nothing, since the command itself prints what matters, but that a damaged file has been set aside."""
    logger, files = logging.getLogger("aiohttp_cache_di"), logging.getLogger(SETTING_ASIDE)
    levels = logger.level, files.level
    printing = logging.StreamHandler(sys.stderr)
    printing.setFormatter(logging.Formatter("warning: %(message)s"))
    logger.setLevel(logging.CRITICAL)
    files.setLevel(logging.WARNING)
    files.addHandler(printing)
    try:
        yield
    finally:
        logger.setLevel(levels[0])
        files.setLevel(levels[1])
        files.removeHandler(printing)


def _settings(prefix: str, env_file: str, access: Access) -> CacheSettings | int:
    """The settings of a cache that this process can use; the exit status if there is none."""
    try:
        settings = CacheSettings.load(prefix, env_file)
        _refuse_unreachable(settings, access)
    except ConfigurationError as exc:
        return _failed(str(exc), REFUSED)
    except (StorageError, OSError) as exc:
        return _failed(str(exc), FAILED)
    return settings


def _status(command: Command, access: Access, settings: CacheSettings, as_json: bool) -> int:
    """Run *command* in an event loop and turn what it raises into an exit status."""
    try:
        return asyncio.run(_run(command, access, settings, as_json))
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except (BrokenPipeError, OutputError):  # `main` handles a closed pipe and a full disk
        raise
    except ConfigurationError as exc:
        return _failed(without_secrets(str(exc), settings), REFUSED)
    except (CacheError, OSError) as exc:
        return _failed(without_secrets(str(exc), settings), FAILED)


async def _run(command: Command, access: Access, settings: CacheSettings, as_json: bool) -> int:
    lenient = settings.model_copy(update={"require_store": False})  # the command reports an unusable store itself
    backend = await asyncio.to_thread(build_backend, lenient)
    store = backend.stack.store
    if not access.may_change and isinstance(store, Restrained):
        store.only_read()
    try:
        if access.needs_store:
            await expect_reached(backend)
        return await command(Cache(backend, settings, as_json))
    except (ConfigurationError, CacheError, OSError):
        raise
    except Exception as exc:  # of a driver, whose message may contain a secret
        words = cause_of(kind_of(exc), exc, store)
        raise StorageError(f"{backend.guard.outages.where} fails: {words}") from exc
    finally:
        await backend.close()
        if backend.stats.unreadable:
            print(f"warning: {backend.stats.unreadable} {UNREADABLE}", file=sys.stderr)


async def expect_reached(backend: CacheBackend) -> None:
    """Raise StorageError where the store of *backend* cannot be read."""
    health = await reach(backend.stack.store, backend.guard)
    if not health.is_ok:
        raise StorageError(health.reason)


async def expect_secret(backend: CacheBackend) -> None:
    """Read the secret with which *backend* makes keys from its store: no service finds entries stored without it.

    Raises:
        StorageError: the store does not return it.
    """
    for _ in range(SECRET_ATTEMPTS):
        await backend.learn_secret()
        if not backend.is_secret_open:
            return
    outages = backend.guard.outages
    cause = "; ".join(outages.causes.values()) or "it keeps none"
    raise StorageError(f"{outages.where} does not tell the secret that its keys are made with ({cause})")


def refuse_memory(settings: CacheSettings, why: str) -> None:
    """Raise ConfigurationError where *settings* say that responses are kept in memory."""
    if settings.backend == "memory":
        raise ConfigurationError(f"{settings.prefix}BACKEND=memory: {why}")
    if settings.backend == "sqlite" and settings.sqlite.path == IN_MEMORY:
        raise ConfigurationError(f"{settings.prefix}SQLITE__PATH={IN_MEMORY}: {why}")


def _refuse_unreachable(settings: CacheSettings, access: Access) -> None:
    """Refuse a cache that another process keeps in memory, or that does not exist and may not be created."""
    if not access.tests_store:
        refuse_memory(settings, "what a service keeps in its own memory cannot be seen from here")
    if (unused := passed_over(settings)) is not None:
        print(f"warning: {unused}", file=sys.stderr)
    place = settings.place
    if place is None or (access.tests_store and place.path == IN_MEMORY):
        return
    if place.is_out_of_reach:
        raise StorageError(place.warning)
    if place.warning is not None:
        print(f"warning: {place.warning}", file=sys.stderr)
    if settings.backend == "sqlite" and is_older(place.path):
        print(f"warning: {place.path} is a cache of aiohttp-client-cache, {TAKEN_OVER} {place.path}", file=sys.stderr)
    if access.may_create:
        _refuse_unnamed(settings, place.path)
    elif not place.path.exists():
        raise StorageError(f"{place.path}: nothing is stored there")


def _refuse_unnamed(settings: CacheSettings, path: Path) -> None:
    """Refuse a prefix without variables and without a file: a misspelt one would silently create a new, empty cache."""
    prefix = settings.prefix
    if prefix.upper() != DEFAULT_PREFIX and is_all_default(settings) and not path.exists():
        raise ConfigurationError(
            f"--prefix {prefix!r}: no variable begins with it, and there is no {path}; set {prefix}BACKEND at least"
        )


def is_all_default(settings: CacheSettings) -> bool:
    """Whether every setting has its default."""
    return all(settings.source_of(variable.path) == DEFAULT_SOURCE for variable in settings.variables())


def _failed(message: str, status: int) -> int:
    print(f"aiohttp-cache: {message}", file=sys.stderr)
    return status
