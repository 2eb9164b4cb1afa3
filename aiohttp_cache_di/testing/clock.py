"""A clock that a test can advance for this package alone.

In each module of the package the name ``time`` is replaced by an object that adds the clock's offset to the real time,
so it can be combined with freezegun and time-machine. It does not affect asyncio's timers, the app's own clock,
aiohttp's cookies, and the expiry that a database does by itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from math import isfinite
from types import ModuleType
from typing import Any, Final, Self

from aiohttp_cache_di.testing.together import Together
from aiohttp_cache_di.units import parse_duration

__all__ = ["CacheClock"]

_PACKAGE: Final = "aiohttp_cache_di"
# These compare times with other processes or with files, so they keep the real time.
_REAL: Final = frozenset(
    {
        __name__,
        f"{_PACKAGE}.backends.filesystem.leases",
        f"{_PACKAGE}.backends.filesystem.records.checked",
        f"{_PACKAGE}.backends.filesystem.records.uses",
    }
)
# In these `time.monotonic` measures ages, which the clock has to advance; elsewhere it bounds waits.
_AGEING: Final = frozenset({f"{_PACKAGE}.backends.wrap.near", f"{_PACKAGE}.engine.hits_for_miss"})


def _seconds(by: float | str | timedelta) -> float:
    if isinstance(by, timedelta):
        return by.total_seconds()
    seconds = parse_duration(by) if isinstance(by, str) else float(by)
    if not isfinite(seconds):
        raise ValueError
    return seconds


class CacheClock:
    """Advances the clock of the cache, so that lifetimes, stale windows and everything kept for a while expire.

    A context manager; at its end the cache uses the real time again. Several that are active advance the same clock::

        with CacheClock() as clock:
            clock.advance("2h")
    """

    def __init__(self) -> None:
        self.offset_s: float = 0.0
        """How many seconds this clock is ahead of the real time."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(_CLOCKS.entered(self))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()
        self.offset_s = 0.0

    def advance(self, by: float | str | timedelta) -> None:
        """Advance the clock.

        Args:
            by: seconds, a duration such as ``"1h30m"``, or a timedelta; not below zero.

        Raises:
            ValueError: *by* is invalid.
        """
        try:
            seconds = _seconds(by)
        except (TypeError, ValueError):
            raise ValueError(f"advance({by!r}): use seconds, a text such as '1h30m', or a timedelta") from None
        if seconds < 0:
            raise ValueError(f"advance({by!r}): the clock cannot go back; advance it by 0 seconds or more")
        self.offset_s += seconds

    def now(self) -> datetime:
        """The current time of the cache, in UTC."""
        return datetime.fromtimestamp(time.time() + _offset_s(), UTC)

    def move(self, module: ModuleType) -> None:
        """Make *module* use this clock, if it has imported ``time``."""
        _move(module)


def _offset_s() -> float:
    """How many seconds the clock of the cache is ahead of the real time."""
    return sum(clock.offset_s for clock in set(_CLOCKS.active))


_moved: Final[list[ModuleType]] = []


def _move(module: ModuleType) -> None:
    """Make *module* use the clock of the cache, if it has imported ``time``."""
    if vars(module).get("time") is time and module.__name__ not in _REAL:
        moved = _AgeingTime() if module.__name__ in _AGEING else _MovedTime()
        setattr(module, "time", moved)  # noqa: B010  # to type checkers a module has no attribute of this name
        _moved.append(module)


def _install() -> Callable[[], None]:
    finder = _Finder()

    def undo() -> None:
        with suppress(ValueError):
            sys.meta_path.remove(finder)
        for module in _moved:
            setattr(module, "time", time)  # noqa: B010  # as above
        _moved.clear()

    for name, module in list(sys.modules.items()):
        if name.startswith(f"{_PACKAGE}."):
            _move(module)
    sys.meta_path.insert(0, finder)
    return undo


_CLOCKS: Final[Together[CacheClock]] = Together(_install)


class _MovedTime:
    """Replaces the module ``time`` in another module, and adds the offset to `time`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return time.time() + _offset_s()


class _AgeingTime(_MovedTime):
    """Adds the offset to `monotonic` as well."""

    def monotonic(self) -> float:
        return time.monotonic() + _offset_s()


class _Finder(MetaPathFinder):
    """Makes modules that are imported later use the clock, too."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(f"{_PACKAGE}."):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _move(module)
