"""`Call`: what a session passes to the middleware about one call, in a context variable."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any
from weakref import ref

from aiohttp import ClientSession, ClientTimeout, DigestAuthMiddleware
from msgspec import Struct

from aiohttp_cache_di.backends.wrap.guarding.guard import Failed
from aiohttp_cache_di.engine.bases.through import Through
from aiohttp_cache_di.engine.bases.trials import Trial
from aiohttp_cache_di.policy.rules.book import NO_WISHES, Wishes
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import Result
from aiohttp_cache_di.telemetry.counters import Counts

__all__ = [
    "CURRENT_CALL",
    "DISABLED",
    "Call",
    "Disabled",
    "EarlyRead",
    "end_call",
    "is_disabled",
]


class EarlyRead(Struct, frozen=True):
    """The result of the fast lane's look-up, kept so that the store is not asked twice.

    If it found nothing, the look-up may have leased the key, too (`LoopStack.fetch`).

    Args:
        key: the key that was looked up.
        found: the entry; None if there is none, `FAILED` if the store has failed.
        deletions: their `count` before the look-up (`LoopStack.deletions`).
    """

    key: str
    found: StoredResponse | Failed | None
    deletions: int = 0


class Call(Struct):
    """One call of a session's request method, all hops of its redirects included.

    Args:
        session: a reference to the session that was called; a middleware of another session ignores the call. It is
            weak, because connections that are opened meanwhile keep the context, and so the call, for as long as they
            live.
        wishes: the caller's options for the cache, with the session's principal if the caller names none.
        decoded: whether the body is decoded (``auto_decompress``); None until that is known.
        headers, cookies: as the caller gave them; *headers* is None if they are not known.
        keys: the keys of the hops so far.
        timeout: as the caller gave it; None for that of the session.
        follows: whether aiohttp follows redirects.
        failures: how often the origin has not answered; aiohttp retries if an old connection may be the cause.
        comes_again: whether aiohttp sends the latest hop again, since only an idle connection had been closed.
        early_read: what the fast lane has read.
        digest_user: the middleware that logs in by digest.
        is_reached: whether the cache's middleware has seen a request of the call.
        trial: set during and after a request that must not go to the origin; see `bases.trials`.
        key: the key of the latest hop; "" until that is known.
        result: how the latest hop was answered; None until that is known.
        through: sends requests to the origin, instead of aiohttp's own handler; see `bases.through`.
    """

    session: ref[ClientSession]
    wishes: Wishes = NO_WISHES
    decoded: bool | None = None
    headers: Any = None
    cookies: Any = None
    timeout: Any = None
    follows: bool = True
    keys: list[str] = []
    failures: int = 0
    comes_again: bool = False
    early_read: EarlyRead | None = None
    digest_user: DigestAuthMiddleware | None = None
    is_reached: bool = False
    trial: Trial | None = None
    key: str = ""
    result: Result | None = None
    through: Through | None = None

    @property
    def is_trial(self) -> bool:
        """Whether a trial is under way, so that the origin must not be asked."""
        return self.trial is not None and not self.trial.is_over

    def count(self, counts: Counts) -> None:
        """Count the latest hop in *counts* by its `result`; without one, it counts nowhere."""
        match self.result:
            case "hit":
                counts.hits += 1
            case "miss":
                counts.misses += 1
            case "stale":
                counts.hits += 1
                counts.stale += 1
            case "revalidated":
                counts.revalidated += 1
            case "coalesced":
                counts.coalesced += 1
            case "bypass":
                counts.bypassed += 1
            case _:
                pass

    @property
    def read_timeout_s(self) -> float | None:
        """The caller's limit for waiting for data from the origin (``sock_read``), in seconds; None for no limit."""
        timeout, session = self.timeout, self.session()
        if not isinstance(timeout, ClientTimeout):
            timeout = None if session is None else session.timeout
        return timeout.sock_read if isinstance(timeout, ClientTimeout) else None


CURRENT_CALL: ContextVar[Call | None] = ContextVar("aiohttp_cache_di_call", default=None)
DISABLED: ContextVar[tuple[ref[ClientSession], ...]] = ContextVar("aiohttp_cache_di_disabled", default=())


def is_disabled(session: ClientSession) -> bool:
    """Whether the cache of *session* is off in this task."""
    disabled = DISABLED.get()
    return bool(disabled) and any(one() is session for one in disabled)


def end_call(token: Token[Call | None]) -> None:
    """End the call for which setting `CURRENT_CALL` returned *token*."""
    try:  # noqa: SIM105  # suppress() takes a microsecond, in each request
        CURRENT_CALL.reset(token)
    except ValueError:  # a coroutine that was never finished is closed in another context
        pass


class Disabled:
    """A context manager, usable with ``with`` or ``async with``, that turns the cache of one session off.

    It applies to this task and to those that it starts meanwhile. Leaving it restores the state before.
    """

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._tokens: list[Token[tuple[ref[ClientSession], ...]]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: the cache of {self._session!r}>"

    def __enter__(self) -> None:
        self._tokens.append(DISABLED.set((*DISABLED.get(), ref(self._session))))

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        DISABLED.reset(self._tokens.pop())

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc, traceback)
