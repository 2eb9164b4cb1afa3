"""A clock of the cache's own, which a test may put forward; nothing but this package sees it.

Each module of the package finds a stand-in under the name by which it has imported ``time``. The stand-in asks the real
module and adds what the clock has been put forward by, so freezegun and time-machine move it as well. asyncio's timers,
the app's own clock, aiohttp's cookies and what a database does by itself stay as they are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from math import isfinite
from types import ModuleType
from typing import Any, Final, Self

from aiohttp_cache_di.units import parse_duration

__all__ = ["CacheClock"]

_PACKAGE: Final = "aiohttp_cache_di"
# Between them and other processes, or files, it is the real time that counts.
_REAL: Final = frozenset(
    {
        __name__,
        f"{_PACKAGE}.backends.filesystem.leases",
        f"{_PACKAGE}.backends.filesystem.records.uses",
    }
)
# Where `time.monotonic` measures the age of something that is known: elsewhere it bounds waits.
_AGEING: Final = frozenset(
    {
        f"{_PACKAGE}.backends.wrap.near",
        f"{_PACKAGE}.engine.runtime",
        f"{_PACKAGE}.engine.sharing",
        f"{_PACKAGE}.engine.keeping.storing",
    }
)


def _seconds(by: float | str | timedelta) -> float:
    if isinstance(by, timedelta):
        return by.total_seconds()
    seconds = parse_duration(by) if isinstance(by, str) else float(by)
    if not isfinite(seconds):
        raise ValueError
    return seconds


class CacheClock:
    """Puts the clock of the cache forward: lifetimes, stale windows and what is remembered for a while grow old.

    A context manager; at its end the cache goes by the real time again::

        with CacheClock() as clock:
            clock.advance("2h")
    """

    def __init__(self) -> None:
        self.offset_s: float = 0.0
        """By how much it is ahead of the real time, in seconds."""
        self._moved: list[ModuleType] = []
        self._finder = _Finder(self)

    def __enter__(self) -> Self:
        for name, module in list(sys.modules.items()):
            if name.startswith(f"{_PACKAGE}."):
                self.move(module)
        sys.meta_path.insert(0, self._finder)
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(ValueError):
            sys.meta_path.remove(self._finder)
        for module in self._moved:
            setattr(module, "time", time)  # noqa: B010  # a name of the module's, which type checkers know as another
        self._moved.clear()
        self.offset_s = 0.0

    def advance(self, by: float | str | timedelta) -> None:
        """Put the clock forward.

        Args:
            by: seconds, a duration such as ``"1h30m"``, or a timedelta; not below zero.

        Raises:
            ValueError: *by* is none of these.
        """
        try:
            seconds = _seconds(by)
        except (TypeError, ValueError):
            raise ValueError(f"advance({by!r}): use seconds, a text such as '1h30m', or a timedelta") from None
        if seconds < 0:
            raise ValueError(f"advance({by!r}): a clock that goes back would make the future of what is stored")
        self.offset_s += seconds

    def now(self) -> datetime:
        """What the cache takes for the present, in UTC."""
        return datetime.fromtimestamp(time.time() + self.offset_s, UTC)

    def move(self, module: ModuleType) -> None:
        """Let *module* go by this clock, if it looks at one."""
        if vars(module).get("time") is time and module.__name__ not in _REAL:
            moved = _AgeingTime(self) if module.__name__ in _AGEING else _MovedTime(self)
            setattr(module, "time", moved)  # noqa: B010  # see above
            self._moved.append(module)


class _MovedTime:
    """What a module finds in the place of ``time``."""

    def __init__(self, clock: CacheClock) -> None:
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return time.time() + self._clock.offset_s


class _AgeingTime(_MovedTime):
    def monotonic(self) -> float:
        return time.monotonic() + self._clock.offset_s


class _Finder(MetaPathFinder):
    """Moves the clock of modules that are imported later."""

    def __init__(self, clock: CacheClock) -> None:
        self._clock = clock

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(f"{_PACKAGE}."):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self._clock)
                return spec
        return None


class _Loader(Loader):
    def __init__(self, loader: Loader, clock: CacheClock) -> None:
        self._loader = loader
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._clock.move(module)
