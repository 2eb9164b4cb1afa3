"""What people are told of a store that fails: where it is, why it fails, and that it is back; never a secret.

A driver's words may repeat what it was given, a password among it: they are told only where the store knows its
secrets and none of them is in there. Otherwise the kind of the error has to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from aiohttp_cache_di.backends.store.capabilities import Describing, Discreet, Placed
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.lazy import compiled_later

__all__ = ["TIMEOUT", "Outages", "cause_of", "kind_of"]

logger: logging.Logger = logging.getLogger(__name__)

TIMEOUT: Final = "timeout"

LOG_INTERVAL_S: Final = 60.0
MAX_WORDS_CHARS: Final = 300
# What Redis and its like say of a command that they do not know is followed by what it was given.
ECHO: Final = "with args beginning with"
USERINFO: Final = compiled_later(r"//[^/\s]*@")  # of an address, ours or not


class Outages:
    """Logs the first failure of a kind and the recovery from it, and knows the latest cause of each failure.

    Args:
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.store: object = None
        """Which store it is about; it tells its place if it is `Placed`."""
        self.causes: dict[str, str] = {}
        """Why the operations fail that failed when they were tried last."""
        self._clock = clock
        self._logged: dict[str, tuple[float, int]] = {}
        self._begun: dict[str, tuple[float, int]] = {}  # by operation: when its failures began, and how many they are
        self._told: set[str] = set()

    @property
    def place(self) -> str:
        """Where the store is, if it tells that."""
        try:
            return self.store.where if isinstance(self.store, Placed) else ""
        except Exception:  # while the interpreter ends, a driver cannot be imported any more to read an address
            return ""

    @property
    def where(self) -> str:
        """What to call the store: with its place, if it tells that."""
        place = self.place
        return f"The store {place}" if place else "The store"

    def failed(self, operation: str, kind: str, error: BaseException | None) -> None:
        """Note that *operation* failed, and log it unless its like was logged lately.

        Args:
            error: what was raised; None for what took too long.
        """
        now = self._clock()
        begun_at, count = self._begun.get(operation, (now, 0))
        self._begun[operation] = begun_at, count + 1
        self.causes[operation] = cause = cause_of(kind, error, self.store)
        logged_at, unlogged = self._logged.get(kind, (-LOG_INTERVAL_S, 0))
        if now - logged_at < LOG_INTERVAL_S:
            self._logged[kind] = (logged_at, unlogged + 1)
            return
        self._logged[kind] = (now, 0)
        self._told.add(operation)
        more = f"; {unlogged} more of this kind since the last message" if unlogged else ""
        logger.warning(
            "%s has failed (%s: %s); %s%s. No more of this kind is logged for %d s",
            self.where,
            operation,
            cause,
            "requests go to the origin meanwhile" if operation == "read" else "no request fails for it",
            more,
            LOG_INTERVAL_S,
        )

    def recovered(self, operation: str) -> None:
        """Note that *operation* has succeeded, and log it if its failure was."""
        self.causes.pop(operation, None)
        begun_at, count = self._begun.pop(operation, (0.0, 0))
        if operation not in self._told:
            return
        self._told.discard(operation)
        after_s = self._clock() - begun_at
        logger.info("%s works again (%s), after %d failures in %.1f s", self.where, operation, count, after_s)


def cause_of(kind: str, error: BaseException | None, store: object = None) -> str:
    """The kind of a failure, its server's name for it and, where they hold no secret, the driver's words."""
    if error is None:
        return kind
    cause = _cause(error)
    words = " ".join(str(cause).split())
    name = kind if kind != TIMEOUT else type(cause).__name__
    told = store.told_of(cause) if isinstance(store, Describing) else ""
    if told and told != name:
        return f"{name}: {told}"
    if isinstance(cause, OSError) and cause.errno is None:  # the words of a program, not of the system
        return name
    if not words or not isinstance(store, Discreet) or store.secrets is None:
        return name
    forms = {
        form for secret in store.secrets if secret for form in (secret, repr(secret)[1:-1], quote(secret, safe=""))
    }
    if ECHO in words or USERINFO.search(words) or any(form in words for form in forms):
        return name
    return f"{name}: {words[:MAX_WORDS_CHARS]}"


def kind_of(exc: BaseException) -> str:
    """The kind of a failure: the name of the driver's error, or that of ours when it has no other cause."""
    cause = _cause(exc)
    if isinstance(exc, TimeoutError) or isinstance(cause, TimeoutError) or type(cause).__name__ == "TimeoutError":
        return TIMEOUT
    return type(cause).__name__


def _cause(exc: BaseException) -> BaseException:
    return exc.__cause__ if isinstance(exc, StorageError) and exc.__cause__ is not None else exc
