"""Fail every test in which the package makes a blocking call in a running event loop.

blockbuster raises at the call. The package tolerates errors outside the request itself, so the raised error
alone might change nothing that a test asserts: each is recorded too, and fails the test. A call counts if a function of
the package is among its callers, also through a driver or the standard library. It does not count if code of the tests
is a nearer caller: a test's storage, filter or settings class stands for the user's code.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any

from blockbuster import BlockBuster, BlockingError
from blockbuster.blockbuster import BlockBusterFunction

import aiohttp_cache_di

__all__ = ["allow_blocking", "allowed_to_block", "forbid_blocking", "no_blocking"]

PACKAGES = ["aiohttp_cache_di", "aiohttp_cache_di_fastapi", "aiohttp_cache_di_web"]

NOT_OURS: tuple[tuple[str, set[str]], ...] = (
    # Logging handlers belong to the application; here the handler is pytest's, which writes to a file.
    ("logging/__init__.py", {"emit"}),
    # The driver checks whether it runs in a container, once for each server that a client discovers.
    ("pymongo/pool_options.py", {"get_container_env_info"}),
    # This thread runs its own event loop, because the driver looks up credentials in a coroutine.
    ("aiohttp_cache_di/backends/dynamodb/client.py", {"_prepared_session"}),
)

# Calls that blockbuster does not cover.
MORE = ("builtins.open", "io.open", "os.open", "os.fsync", "sqlite3.connect", "socket.getaddrinfo")

_reason: ContextVar[str] = ContextVar("reason", default="")
_seen: list[str] = []
_all: list[BlockBuster] = []


def forbid_blocking() -> None:
    """Make blocking calls of the package raise in every running event loop from now on."""
    blocking = BlockBuster(PACKAGES)
    for name in MORE:
        blocking.functions[name] = BlockBusterFunction(None, name, scanned_modules=PACKAGES)
    root = Path(aiohttp_cache_di.__file__).parent
    tests = Path(__file__).parent.as_posix()
    folders = (root.as_posix(), (root.parent / "integrations").as_posix())
    for function in blocking.functions.values():
        function.can_block_predicate = _unless_ours(function.can_block_predicate, folders, tests)
        for file, functions in NOT_OURS:
            function.can_block_in(file, functions)
    _note_each()
    blocking.activate()
    _all.append(blocking)


def allow_blocking() -> None:
    """Undo `forbid_blocking`."""
    while _all:
        _all.pop().deactivate()


def _lock_of_coverage() -> object:
    """The lock that coverage's tracer takes when a thread runs a file for the first time; None without coverage."""
    return getattr(getattr(sys.gettrace(), "lock_data", None), "__self__", None)


def _unless_ours(allowed: Callable[..., bool], ours: tuple[str, ...], tests: str) -> Callable[..., bool]:
    def is_allowed(*args: Any, **kwargs: Any) -> bool:
        if allowed(*args, **kwargs) or _reason.get() or (args and args[0] is _lock_of_coverage()):
            return True
        frame: FrameType | None = sys._getframe(2)  # the caller of blockbuster's wrapper
        while frame is not None and not frame.f_code.co_filename.startswith(ours):
            if frame.f_code.co_filename.startswith(tests):
                return True
            frame = frame.f_back
        return frame is None

    return is_allowed


def _note_each() -> None:
    init: Any = BlockingError.__init__

    def noted(self: BlockingError, func: str) -> None:
        init(self, func)
        _seen.append(f"{func}\n{''.join(traceback.format_stack(limit=25)[:-2])}")

    BlockingError.__init__ = noted  # type: ignore[method-assign]  # to record errors that are caught


@contextmanager
def allowed_to_block(reason: str) -> Generator[None]:
    """Let this task block its loop; *reason* says why the package is not at fault."""
    token = _reason.set(reason)
    try:
        yield
    finally:
        _reason.reset(token)


@contextmanager
def no_blocking() -> Generator[None]:
    """Raise AssertionError at the end if the package has blocked a loop meanwhile, even if the error was caught."""
    _seen.clear()
    yield
    seen, _seen[:] = _seen[:], []
    if seen:
        raise AssertionError(f"the event loop waited {len(seen)} times, first for {seen[0]}")
