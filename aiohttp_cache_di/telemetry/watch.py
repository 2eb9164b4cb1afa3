"""Whether a cache is watched, and by whom: the log, exporters, and what users hang in."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp_cache_di.telemetry.decisions import Decision, Observer
from aiohttp_cache_di.telemetry.log import decisions_log, log_decision

__all__ = ["Watch"]

logger: logging.Logger = logging.getLogger(__name__)


class Watch:
    """Hands decisions to the observers of one cache, and to the log if that wants them.

    A hit looks at `is_on` and at nothing else. Whether the log wants decisions is asked elsewhere: see `refresh`.
    """

    __slots__ = ("_blamed", "_observers", "is_on")

    def __init__(self) -> None:
        self.is_on: bool = True
        """Whether anything is to be told; of a new cache that is found out by telling."""
        self._observers: tuple[Observer, ...] = ()
        self._blamed: set[int] = set()

    def __repr__(self) -> str:
        return f"<Watch, {'on' if self.is_on else 'off'}>"

    def add(self, observer: Observer) -> Callable[[], None]:
        """Hand all decisions to *observer* too, until the function that is returned is called."""
        self._observers = (*self._observers, observer)
        self.is_on = True

        def end() -> None:
            self._observers = tuple(one for one in self._observers if one is not observer)
            self.refresh()

        return end

    def refresh(self) -> None:
        """Ask whether the log wants decisions by now; called where a microsecond makes no difference."""
        self.is_on = bool(self._observers) or decisions_log.isEnabledFor(logging.DEBUG)

    def decided(self, decision: Decision) -> None:
        """Tell of *decision*; raises nothing."""
        for observer in self._observers:
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
            self.is_on = False

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Tell of an operation of the store; raises nothing."""
        for observer in self._observers:
            try:
                observer.operated(operation, seconds, failed=failed)
            except Exception:
                self._blame(observer)

    def _blame(self, observer: Observer) -> None:
        """Log what *observer* has just raised, the first time."""
        if id(observer) not in self._blamed:
            self._blamed.add(id(observer))
            logger.exception("%s fails; what it raises is not logged again", type(observer).__name__)
