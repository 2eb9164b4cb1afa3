"""Running a command on the cache that the settings describe, and ending with the status that says how it went."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.wrap.ping import reach
from aiohttp_cache_di.errors import CacheError, ConfigurationError, StorageError
from aiohttp_cache_di.settings.build import build_backend
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.settings.secrecy import without_secrets

__all__ = ["DONE", "FAILED", "INTERRUPTED", "REFUSED", "Cache", "Command", "run"]

DONE: Final = 0
FAILED: Final = 1
REFUSED: Final = 2  # as argparse exits for arguments that it refuses
INTERRUPTED: Final = 130  # as shells have it of a program that was ended by SIGINT


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
        print(json.dumps(told, indent=2) if self.as_json else "\n".join(lines()))


Command: TypeAlias = Callable[[Cache], Awaitable[int]]


def run(
    command: Command, *, prefix: str, env_file: str, as_json: bool, creates: bool = False, needs_store: bool = True
) -> int:
    """Run *command* and return its exit status; what went wrong is said on standard error.

    Args:
        creates: there need be no cache yet.
        needs_store: it is of no use while the store is down; else it tells of that itself.
    """
    logger = logging.getLogger("aiohttp_cache_di")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # what matters is said by the command
    try:
        return _status(command, prefix, env_file, as_json=as_json, creates=creates, needs_store=needs_store)
    finally:
        logger.setLevel(level)


def _status(command: Command, prefix: str, env_file: str, *, as_json: bool, creates: bool, needs_store: bool) -> int:
    try:
        settings = CacheSettings.load(prefix, env_file)
        _refuse_unseen(settings, creates=creates)
    except ConfigurationError as exc:
        return _failed(str(exc), REFUSED)
    except StorageError as exc:
        return _failed(str(exc), FAILED)
    try:
        return asyncio.run(_run(command, settings, as_json, needs_store=needs_store))
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except BrokenPipeError:  # of what reads the output, and has seen enough: no failure
        raise
    except ConfigurationError as exc:
        return _failed(without_secrets(str(exc), settings), REFUSED)
    except (CacheError, OSError) as exc:
        return _failed(without_secrets(str(exc), settings), FAILED)


async def _run(command: Command, settings: CacheSettings, as_json: bool, *, needs_store: bool) -> int:
    backend = await asyncio.to_thread(build_backend, settings)
    try:
        health = await reach(backend.stack.store, backend.guard)
        if needs_store and not health.is_ok:
            raise StorageError(health.reason)
        return await command(Cache(backend, settings, as_json))
    except (ConfigurationError, CacheError, OSError):
        raise
    except Exception as exc:  # of a driver, whose words may repeat what it was given
        raise StorageError(f"the store failed: {type(exc).__name__}") from exc
    finally:
        await backend.close()


def _refuse_unseen(settings: CacheSettings, *, creates: bool) -> None:
    """Refuse a cache that cannot be seen from here; or, where nothing is to be created, is not there."""
    if settings.backend == "memory":
        raise ConfigurationError(
            f"{settings.prefix}BACKEND=memory: what a service keeps in its own memory cannot be seen from here"
        )
    place = settings.place
    if place is None:
        return
    if place.warning is not None:
        print(f"warning: {place.warning}", file=sys.stderr)
    if not creates and not place.path.exists():
        raise StorageError(f"{place.path}: nothing is stored there")


def _failed(message: str, status: int) -> int:
    print(f"aiohttp-cache: {message}", file=sys.stderr)
    return status
