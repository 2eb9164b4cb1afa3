"""What the caller of one request asks of the cache, on its way from the session to the middleware."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any
from weakref import ref

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, DigestAuthMiddleware
from msgspec import Struct

from aiohttp_cache_di.backends.options.values import refuse_unusable
from aiohttp_cache_di.engine.calls.looks import Look
from aiohttp_cache_di.engine.calls.reads import EarlyRead
from aiohttp_cache_di.engine.calls.through import Through
from aiohttp_cache_di.policy.rules.expiration import ExpirationTime
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.policy.rules.tags import Tags, tags_of
from aiohttp_cache_di.policy.rules.windows import Window
from aiohttp_cache_di.telemetry import Result

__all__ = [
    "CURRENT_CALL",
    "DISABLED",
    "Call",
    "Disabled",
    "current_call",
    "end_call",
    "is_disabled",
    "refuse_when_closed",
]


class Call(Struct):
    """One call of a session's request method, all hops of its redirects included.

    Args:
        session: refers to the session that was called; a middleware of another session ignores the call. What is
            opened meanwhile remembers the call for as long as it lives, and must not keep the session alive.
        expire_after, refresh, only_if_cached, stale_if_error: the caller's wishes for this request.
        decoded: whether the body is to be decoded (``auto_decompress``).
        headers, cookies: as the caller gave them; *headers* is None where that is not known.
        keys: keys of the hops so far.
        timeout: as the caller gave it; None for that of the session.
        follows: whether aiohttp goes on where a redirect leads.
        failures: how often the origin has not answered; aiohttp asks again where an old connection may be to blame.
        early_read: what the fast lane has read.
        principal: whom it is for, as the caller says or the session.
        digest_user: the middleware that logs in by digest.
        is_reached: whether the engine has seen a request of the call.
        look: what is to be found out without asking the origin.
        result: how the latest hop was answered.
        through: sends what goes to the origin, in place of aiohttp's own handler.
        tags: of what is stored of it, beside those that the responses have.
        is_plain: whether the caller wishes for nothing, and is no one in particular.
    """

    session: ref[ClientSession]
    expire_after: ExpirationTime = None
    refresh: bool = False
    only_if_cached: bool = False
    stale_if_error: Window = None
    decoded: bool = True
    headers: Any = None
    cookies: Any = None
    timeout: Any = None
    follows: bool = True
    keys: list[str] = []
    failures: int = 0
    early_read: EarlyRead | None = None
    principal: Principal = None
    digest_user: DigestAuthMiddleware | None = None
    is_reached: bool = False
    look: Look | None = None
    result: Result | None = None
    through: Through | None = None
    tags: tuple[str, ...] = ()
    is_plain: bool = True

    def wish(
        self,
        *,
        expire_after: ExpirationTime = None,
        refresh: bool = False,
        only_if_cached: bool = False,
        stale_if_error: Window = None,
        principal: Principal = None,
        tags: Tags = (),
    ) -> None:
        """Take note of what the caller wishes for this request alone: see `CacheRequestOptions`."""
        self.expire_after, self.refresh, self.only_if_cached = expire_after, refresh, only_if_cached
        self.stale_if_error = stale_if_error
        if principal is not None:
            refuse_unusable({"principal": principal})
            self.principal = principal
        if tags:
            self.tags = tags_of(tags, bounded=False)
        wishes = expire_after is not None or refresh or only_if_cached or stale_if_error is not None
        self.is_plain = self.is_plain and not wishes and principal is None and not self.tags

    @property
    def is_looking(self) -> bool:
        """Whether the origin may not be asked."""
        return self.look is not None and not self.look.is_over

    @property
    def read_timeout_s(self) -> float | None:
        """How long the caller would wait for the origin to send anything; None for as long as the call may take."""
        timeout, session = self.timeout, self.session()
        if not isinstance(timeout, ClientTimeout):
            timeout = None if session is None else session.timeout
        return timeout.sock_read if isinstance(timeout, ClientTimeout) else None


CURRENT_CALL: ContextVar[Call | None] = ContextVar("aiohttp_cache_di_call", default=None)
DISABLED: ContextVar[tuple[ref[ClientSession], ...]] = ContextVar("aiohttp_cache_di_disabled", default=())


def current_call(session: ClientSession) -> Call | None:
    """The call that *session* is serving in this task; None where it is a plain session."""
    call = CURRENT_CALL.get()
    return call if call is not None and call.session() is session else None


def is_disabled(session: ClientSession) -> bool:
    """Whether the cache of *session* is off in this task."""
    disabled = DISABLED.get()
    return bool(disabled) and any(one() is session for one in disabled)


def end_call(token: Token[Call | None]) -> None:
    """The call that *token* came with is over."""
    try:  # noqa: SIM105  # suppress() takes a microsecond, on the way of each request
        CURRENT_CALL.reset(token)
    except ValueError:  # a coroutine that is thrown away ends in another context
        pass


def refuse_when_closed(session: ClientSession) -> None:
    """Raise what aiohttp raises for a request that is about to connect when its session is closed."""
    if session.closed:
        raise ClientConnectionError("Connector is closed.")


class Disabled:
    """Turns the cache of one session off, for this task and those that it starts meanwhile.

    A context manager, asynchronous or not; what was before is restored however it is left.
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
