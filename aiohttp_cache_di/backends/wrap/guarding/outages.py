"""Reports failures of a store to people: where it is, why it fails, and when it has recovered; never a secret.

Records that cannot be read are reported, too.

Of an error, its kind is shown, and what else the store knows to contain no secret (`Describing`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from aiohttp_cache_di.backends.store.capabilities import Describing, Placed
from aiohttp_cache_di.errors import StorageError

__all__ = ["TIMEOUT", "Outages", "cause_of", "kind_of"]

logger: logging.Logger = logging.getLogger(__name__)

TIMEOUT: Final = "timeout"
UNREADABLE: Final = "unreadable"

LOG_INTERVAL_S: Final = 60.0


class Outages:
    """Logs the first failure of each kind and the recovery from it, and knows the cause of each present failure.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.store: object = None
        """The store, whose place is shown if it is `Placed`."""
        self.causes: dict[str, str] = {}
        """The cause, by operation, for operations whose last try failed."""
        self._clock = clock
        self._logged: dict[str, tuple[float, int]] = {}
        self._begun: dict[str, tuple[float, int]] = {}  # by operation: time of the first failure, and their number
        self._reported: set[str] = set()

    @property
    def place(self) -> str:
        """The place of the store; "" if it is not `Placed`."""
        try:
            return self.store.where if isinstance(self.store, Placed) else ""
        except Exception:  # during interpreter shutdown, a driver that parses the address cannot be imported
            return ""

    @property
    def where(self) -> str:
        """The store as the subject of a sentence, with its place if known."""
        place = self.place
        return f"The store {place}" if place else "The store"

    def failed(self, operation: str, kind: str, error: BaseException | None) -> None:
        """Note that *operation* failed, and log it unless a failure of that kind was logged in the last minute.

        Args:
            error: the exception; None after a timeout.
        """
        now = self._clock()
        begun_at, count = self._begun.get(operation, (now, 0))
        self._begun[operation] = begun_at, count + 1
        self.causes[operation] = cause = cause_of(kind, error, self.store)
        more = self._since_logged(kind)
        if more is None:
            return
        self._reported.add(operation)
        logger.warning(
            "%s has failed (%s: %s); %s%s. No more of this kind is logged for %d s",
            self.where,
            operation,
            cause,
            "requests go to the origin meanwhile" if operation == "read" else "no request fails because of it",
            more,
            LOG_INTERVAL_S,
        )

    def unreadable(self, count: int = 1) -> None:
        """Log, once a minute at most, that *count* records cannot be read: nothing else tells of a wrong key."""
        more = self._since_logged(UNREADABLE, count)
        if more is not None:
            logger.warning(
                "%s has records that cannot be read: damaged, foreign, made by another serializer, or signed with a "
                "secret_key that is not given here; their responses are fetched anew%s. No more of this kind is logged "
                "for %d s",
                self.where,
                more,
                LOG_INTERVAL_S,
            )

    def recovered(self, operation: str) -> None:
        """Note that *operation* has succeeded, and log it if its failure was logged."""
        self.causes.pop(operation, None)
        begun_at, count = self._begun.pop(operation, (0.0, 0))
        if operation not in self._reported:
            return
        self._reported.discard(operation)
        after_s = self._clock() - begun_at
        failures = "1 failure" if count == 1 else f"{count} failures"
        logger.info("%s works again (%s), after %s in %.1f s", self.where, operation, failures, after_s)

    def _since_logged(self, kind: str, count: int = 1) -> str | None:
        """How many were not logged since the last message of *kind*; None if it is too early for another one."""
        now = self._clock()
        logged_at, unlogged = self._logged.get(kind, (-LOG_INTERVAL_S, 0))
        if now - logged_at < LOG_INTERVAL_S:
            self._logged[kind] = (logged_at, unlogged + count)
            return None
        self._logged[kind] = (now, 0)
        return f"; {unlogged} more of this kind since the last message" if unlogged else ""


def cause_of(kind: str, error: BaseException | None, store: object) -> str:
    """The kind of a failure, and what *store* knows of it; the *error* is None after a timeout or a cancellation."""
    if error is None and kind != TIMEOUT:
        return kind
    cause = TimeoutError() if error is None else _cause(error)
    name = kind if error is None or kind != TIMEOUT else type(cause).__name__
    told = store.told_of(cause) if isinstance(store, Describing) else ""
    return f"{name}: {told}" if told and told != name else name


def kind_of(exc: BaseException) -> str:
    """The kind of a failure: the class name of the driver's error, or of our own if it has no cause."""
    cause = _cause(exc)
    if isinstance(exc, TimeoutError) or isinstance(cause, TimeoutError) or type(cause).__name__ == "TimeoutError":
        return TIMEOUT
    return type(cause).__name__


def _cause(exc: BaseException) -> BaseException:
    return exc.__cause__ if isinstance(exc, StorageError) and exc.__cause__ is not None else exc
