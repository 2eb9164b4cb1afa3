"""The observers of a cache: the log, exporters, and users' own."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp_cache_di.telemetry.decisions import Decision, Observer
from aiohttp_cache_di.telemetry.log import decisions_log, log_decision

__all__ = ["Watch"]

logger: logging.Logger = logging.getLogger(__name__)


class Watch:
    """Passes decisions on to the observers of one cache, and to the log if its level is DEBUG.

    For speed, a hit reads only `is_on`. The level of the log is looked up elsewhere; see `refresh`. Event loops in
    several threads may use it at once, and add and remove observers.
    """

    __slots__ = ("_blamed", "_observers", "is_on")

    def __init__(self) -> None:
        self.is_on: bool = True
        """Whether anyone observes the cache. True at first: the first decision finds out."""
        self._observers: dict[object, Observer] = {}  # by key; see `add`
        self._blamed: set[int] = set()

    def __repr__(self) -> str:
        return f"<Watch, {'on' if self.is_on else 'off'}>"

    def add(self, observer: Observer, *, key: object = None) -> Callable[[], None]:
        """Add *observer*; the returned function removes it.

        Args:
            key: what is added under the same key again is there once; None for a key of its own.
        """
        if isinstance(observer, type) or not callable(getattr(observer, "decided", None)):
            raise TypeError(f"observe() takes an Observer, not {observer!r}")
        key = object() if key is None else key
        self._observers[key] = observer
        self.is_on = True

        def end() -> None:
            self._observers.pop(key, None)
            self.refresh()

        return end

    def refresh(self) -> None:
        """Look up the level of the log again; called where a microsecond makes no difference."""
        self.is_on = bool(self._observers) or decisions_log.isEnabledFor(logging.DEBUG)
        if self._observers:  # another thread may have added one meanwhile
            self.is_on = True

    def decided(self, decision: Decision) -> None:
        """Report *decision*; raises nothing."""
        for observer in list(self._observers.values()):  # a copy in one step
            try:
                observer.decided(decision)
            except Exception:
                self._blame(observer)
        if decisions_log.isEnabledFor(logging.DEBUG):
            try:
                log_decision(decision)
            except Exception:
                logger.exception("A decision could not be logged")
        elif not self._observers:
            self.refresh()

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Report an operation on the store; raises nothing."""
        for observer in list(self._observers.values()):  # a copy in one step
            try:
                observer.operated(operation, seconds, failed=failed)
            except Exception:
                self._blame(observer)

    def _blame(self, observer: Observer) -> None:
        """Log the exception that *observer* has just raised, but only its first one."""
        if id(observer) not in self._blamed:
            self._blamed.add(id(observer))
            logger.exception("%s fails; what it raises is not logged again", type(observer).__name__)
