"""How a session sends a request that its fast lane does not answer.

The methods below the cache are ``_request`` of the user's base classes, and then aiohttp's own or what an
instrumentation has replaced it with. Those that only pass requests on, such as rate limiters (`bases.overrides`),
should get only requests that go to the origin. So a trial without them comes first (`bases.trials`); or, if that would
have side effects, the request is made without them and sent through them at the end (`bases.through`). A test may have
replaced all of it with a double (`doubles`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientResponse, ClientSession
from aiohttp.typedefs import StrOrURL

from aiohttp_cache_di._aiohttp import (
    genuine_request,
    middlewares_of,
    own_request,
    raises_for_status,
    request_parameters,
)
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.bases.overrides import hands_on, overrides_below, taken_by
from aiohttp_cache_di.engine.bases.through import Through
from aiohttp_cache_di.engine.bases.trials import NotStored, Trial, may_try
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.sessions.doubles import Doubles, is_backend

__all__ = ["Sender"]

Send = Callable[..., Awaitable[ClientResponse]]

_KNOWN: Final = request_parameters() or frozenset[str]()


class Sender:
    """Sends the requests of one session.

    Args:
        session_class: the class of the session.
        own: the session classes of this package.
    """

    def __init__(self, session_class: type, own: frozenset[type]) -> None:
        self._below = overrides_below(session_class, own)
        self._doubles = Doubles()
        self.adds: bool = False
        """Whether a method below the cache was seen to change a request."""
        self._last: object = None
        self._theirs = frozenset[str]()
        self._hits_skip_bases = self._is_double = False
        self._judge()  # imports what it needs before the first request

    def asks_at_once(self) -> bool:
        """Whether the methods below the cache get each request that the fast lane does not answer: hits too."""
        self._judge()
        return not self._hits_skip_bases

    def has_doubles(self, backend: object) -> bool:
        """Whether a test double replaces the network or *backend*."""
        self._judge()
        return self._is_double or not is_backend(backend)

    def _judge(self) -> None:
        """Analyse the methods below the cache, if they have changed since the last time."""
        last = genuine_request()
        if last is self._last:
            return
        own = own_request()
        overrides = self._below if last is own else [*self._below, last]
        taken = [taken_by(override) for override in overrides]
        self._hits_skip_bases = not self.adds and own is not None and bool(overrides) and None not in taken
        self._theirs = frozenset[str]().union(*filter(None, taken))
        self._is_double = Doubles.are_there() and not hands_on(last)
        self._last = last

    def is_direct(self, backend: object) -> bool:
        """Whether `send` would simply call the method below, so that the caller may do so."""
        if genuine_request() is not self._last:
            self._judge()
        return not (self._is_double or self._hits_skip_bases) and is_backend(backend)

    async def send(
        self,
        session: ClientSession,
        backend: CacheBackend,
        below: Send,
        method: str,
        url: StrOrURL,
        call: Call,
        options: dict[str, Any],
    ) -> ClientResponse:
        """Send a request through aiohttp, which calls the cache's middleware for each hop.

        Args:
            below: the ``_request`` of the next base class below the cache.
            options: the arguments of the request.
        """
        if self.has_doubles(backend):
            return await self._doubles.request(below, backend, call, method, url, options)
        own = own_request() if self._hits_skip_bases else None
        theirs = {name: options[name] for name in self._theirs & options.keys()}
        ours = {name: value for name, value in options.items() if name not in theirs} if theirs else options
        if own is None or not _KNOWN.issuperset(ours):
            return await below(method, url, **options)
        if may_try(session, ours, len(tuple(middlewares_of(session)))):
            return await self._try_first(
                partial(own, session, method, url), partial(below, method, url), call, ours, theirs
            )
        call.through = through = Through(below, ours, theirs, _raises(session, call, ours))
        try:
            response: ClientResponse = await own(session, method, url, **ours)
        finally:
            through.forget()
        return response

    async def _try_first(
        self, own: Send, below: Send, call: Call, options: dict[str, Any], theirs: dict[str, Any]
    ) -> ClientResponse:
        """Answer a request from the store by *own*; or else send it by *below*, the methods below the cache.

        Args:
            theirs: arguments that these methods use up themselves.
        """
        call.trial = trial = Trial()
        try:
            return await own(**options)
        except NotStored:
            call.keys.clear()
        finally:
            trial.is_over = True
        try:
            return await below(**options, **theirs)
        finally:
            self.adds = self.adds or trial.differs
            self._hits_skip_bases = self._hits_skip_bases and not self.adds


def _raises(session: ClientSession, call: Call, options: Mapping[str, Any]) -> Callable[[ClientResponse], bool]:
    """Whether a response is an exception for base classes.

    A function of the user's own is called once, for the final response, and a log-in by digest begins with a 401.
    """
    given = options.get("raise_for_status")
    if (raises_for_status(session) if given is None else given) is not True:
        return lambda response: False
    return lambda response: response.status != HTTPStatus.UNAUTHORIZED or call.digest_user is None
