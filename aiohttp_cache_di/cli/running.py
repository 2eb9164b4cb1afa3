"""Running a command on the cache that the settings describe, and ending with the status that says how it went."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.store.capabilities import Restrained
from aiohttp_cache_di.backends.wrap.guarding.outages import cause_of, kind_of
from aiohttp_cache_di.backends.wrap.ping import reach
from aiohttp_cache_di.errors import CacheError, ConfigurationError, StorageError
from aiohttp_cache_di.settings.build import build_backend
from aiohttp_cache_di.settings.consistency import passed_over
from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.places import IN_MEMORY
from aiohttp_cache_di.settings.secrecy import without_secrets

__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "REFUSED",
    "Cache",
    "Command",
    "expect_reached",
    "expect_secret",
    "is_unsaid",
    "refuse_memory",
    "run",
]

DONE: Final = 0
DEFAULT: Final = "default"  # where a setting comes from that nothing has set
FAILED: Final = 1
REFUSED: Final = 2  # as argparse exits for arguments that it refuses
UNREADABLE: Final = (
    "of what is stored could not be read: damaged, foreign, or signed with another key; "
    "purges by tag that are among it are not seen here"
)
ASKED_AT_MOST: Final = 3  # times, each within the deadline of a request
INTERRUPTED: Final = 130  # as shells have it of a program that was ended by SIGINT


class OutputError(OSError):
    """What a command has to say cannot be written; there is nothing wrong with the store."""


@dataclass(frozen=True)
class Cache:
    """The cache that a command works on.

    Args:
        as_json: print for scripts rather than for people.
    """

    backend: CacheBackend
    settings: CacheSettings
    as_json: bool

    @property
    def where(self) -> str:
        """What the cache is called, and where it is kept."""
        where: str = getattr(self.backend.stack.store, "where", "")
        return f"{self.settings.backend} at {where}" if where else self.settings.backend

    def tell(self, told: Any, lines: Callable[[], list[str]]) -> None:
        """Print *told* as JSON, or *lines* for people."""
        said = json.dumps(told, indent=2) if self.as_json else "\n".join(lines())
        try:
            print(said)
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise OutputError(*exc.args) from exc


Command: TypeAlias = Callable[[Cache], Awaitable[int]]


def run(
    command: Command,
    *,
    prefix: str,
    env_file: str,
    as_json: bool,
    creates: bool = False,
    tries: bool = False,
    needs_store: bool = True,
    changes: bool = True,
) -> int:
    """Run *command* and return its exit status; what went wrong is said on standard error.

    Args:
        creates: there need be no cache yet.
        tries: the command itself tells what is wrong with the cache.
        needs_store: it is of no use while the store is down; else it tells of that itself.
        changes: it may change what is stored; else nothing is changed, be it damaged or of another version.
    """
    logger = logging.getLogger("aiohttp_cache_di")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # what matters is said by the command
    try:
        settings = _settings(prefix, env_file, creates=creates, tries=tries)
        if isinstance(settings, int):
            return settings
        return _status(command, settings, as_json, needs_store=needs_store, changes=changes)
    finally:
        logger.setLevel(level)


def _settings(prefix: str, env_file: str, *, creates: bool, tries: bool) -> CacheSettings | int:
    """The settings of a cache that can be seen from here, or the exit status where there is none."""
    try:
        settings = CacheSettings.load(prefix, env_file)
        _refuse_unseen(settings, creates=creates, tries=tries)
    except ConfigurationError as exc:
        return _failed(str(exc), REFUSED)
    except (StorageError, OSError) as exc:
        return _failed(str(exc), FAILED)
    return settings


def _status(command: Command, settings: CacheSettings, as_json: bool, *, needs_store: bool, changes: bool) -> int:
    try:
        return asyncio.run(_run(command, settings, as_json, needs_store=needs_store, changes=changes))
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except (BrokenPipeError, OutputError):  # what reads the output has seen enough, or there is no room for it
        raise
    except ConfigurationError as exc:
        return _failed(without_secrets(str(exc), settings), REFUSED)
    except (CacheError, OSError) as exc:
        return _failed(without_secrets(str(exc), settings), FAILED)


async def _run(command: Command, settings: CacheSettings, as_json: bool, *, needs_store: bool, changes: bool) -> int:
    unasked = settings.model_copy(update={"require_store": False})  # what is wrong with the store is said by us
    backend = await asyncio.to_thread(build_backend, unasked)
    store = backend.stack.store
    if not changes and isinstance(store, Restrained):
        store.only_read()
    try:
        if needs_store:
            await expect_reached(backend)
        return await command(Cache(backend, settings, as_json))
    except (ConfigurationError, CacheError, OSError):
        raise
    except Exception as exc:  # of a driver, whose words may repeat what it was given
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
    """Learn the secret of the digests of *backend*: what is stored without it is found by no service.

    Raises:
        StorageError: the store does not tell it.
    """
    for _ in range(ASKED_AT_MOST):
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


def _refuse_unseen(settings: CacheSettings, *, creates: bool, tries: bool) -> None:
    """Refuse a cache that cannot be seen from here; or, where nothing is to be created, is not there."""
    if not tries:
        refuse_memory(settings, "what a service keeps in its own memory cannot be seen from here")
    if (unused := passed_over(settings)) is not None:
        print(f"warning: {unused}", file=sys.stderr)
    place = settings.place
    if place is None or (tries and place.path == IN_MEMORY):
        return
    if place.is_stand_in:
        raise StorageError(place.warning)
    if place.warning is not None:
        print(f"warning: {place.warning}", file=sys.stderr)
    if creates:
        _refuse_unnamed(settings, place.path)
    elif not place.path.exists():
        raise StorageError(f"{place.path}: nothing is stored there")


def _refuse_unnamed(settings: CacheSettings, path: Path) -> None:
    """Refuse a prefix that names no cache: one that is misspelt would be a new file, and be taken for the other."""
    prefix = settings.prefix
    if prefix.upper() != DEFAULT_PREFIX and is_unsaid(settings) and not path.exists():
        raise ConfigurationError(
            f"--prefix {prefix!r}: no variable begins with it, and there is no {path}; set {prefix}BACKEND at least"
        )


def is_unsaid(settings: CacheSettings) -> bool:
    """Whether nothing but defaults says what the cache is."""
    return all(settings.source_of(variable.path) == DEFAULT for variable in settings.variables())


def _failed(message: str, status: int) -> int:
    print(f"aiohttp-cache: {message}", file=sys.stderr)
    return status
