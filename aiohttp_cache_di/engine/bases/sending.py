"""How a session sends a request that its fast lane does not answer: by what stands below the cache, or around it.

What stands below are bases of the user's and aiohttp's own method, or what an instrument has put in its place. Those
that only hand on what they were given, such as limits of rates (`senders`), are asked for what goes to the origin
alone: by a look that comes first (`looks`), or where that would be noticed, by `through`. In place of all that, a test
may have something that answers itself (`doubles`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientResponse, ClientSession
from aiohttp.typedefs import StrOrURL

from aiohttp_cache_di._aiohttp import genuine_request, middlewares_of, own_request
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.bases.doubles import Doubles, is_backend
from aiohttp_cache_di.engine.bases.senders import hands_on, senders_below, taken_by
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.calls.looks import Look, NotStored, may_look
from aiohttp_cache_di.engine.calls.through import Through, may_go_through

__all__ = ["Sender"]

Send = Callable[..., Awaitable[ClientResponse]]


class Sender:
    """Sends the requests of one session.

    Args:
        session_class: its class.
        own: our classes of sessions.
    """

    def __init__(self, session_class: type, own: frozenset[type]) -> None:
        self._below = senders_below(session_class, own)
        self._doubles = Doubles()
        self.adds: bool = False
        """Whether what stands below has been seen to send another request than it was given."""
        self._last: object = None
        self._theirs = frozenset[str]()
        self._looks_first = self._is_double = False
        self._judge()  # what that imports is there before the first request

    @property
    def looks_first(self) -> bool:
        """Whether what stands below is not asked for hits."""
        self._judge()
        return self._looks_first

    def asks_at_once(self) -> bool:
        """Whether what stands below is asked for all that the fast lane does not answer."""
        return not self.looks_first

    def has_doubles(self, backend: object) -> bool:
        """Whether something stands in for the network or for *backend*."""
        self._judge()
        return self._is_double or not is_backend(backend)

    def _judge(self) -> None:
        """See through what stands below, unless it is what stood there before."""
        last = genuine_request()
        if last is self._last:
            return
        own = own_request()
        senders = self._below if last is own else [*self._below, last]
        taken = [taken_by(sender) for sender in senders]
        self._looks_first = not self.adds and own is not None and bool(senders) and None not in taken
        self._theirs = frozenset[str]().union(*filter(None, taken))
        self._is_double = Doubles.are_there() and not hands_on(last)
        self._last = last

    def is_direct(self, backend: object) -> bool:
        """Whether a request simply goes to what stands below, as `send` would have it."""
        if genuine_request() is not self._last:
            self._judge()
        return not (self._is_double or self._looks_first) and is_backend(backend)

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
        """Send a request by aiohttp, which asks the cache for each hop.

        Args:
            below: the method ``_request`` of the base below ours.
            options: the arguments of the request.
        """
        if self.has_doubles(backend):
            return await self._doubles.request(below, backend, call, method, url, options)
        own = own_request() if self._looks_first else None
        if own is not None:
            theirs = {name: options[name] for name in self._theirs & options.keys()}
            ours = {name: value for name, value in options.items() if name not in theirs} if theirs else options
            if may_look(session, ours, len(tuple(middlewares_of(session)))):
                return await self._look_first(session, own, below, method, url, call, ours, theirs)
            if may_go_through(ours):
                call.through = through = Through(below, ours, theirs)
                try:
                    response: ClientResponse = await own(session, method, url, **ours)
                finally:
                    through.forget()
                return response
        return await below(method, url, **options)

    async def _look_first(
        self,
        session: ClientSession,
        own: Send,
        below: Send,
        method: str,
        url: StrOrURL,
        call: Call,
        options: dict[str, Any],
        theirs: dict[str, Any],
    ) -> ClientResponse:
        """Answer a request from what is stored, or else send it by the bases below, which may limit rates.

        Args:
            theirs: arguments that the bases take for themselves.
        """
        call.look = look = Look()
        try:
            return await own(session, method, url, **options)
        except NotStored:
            call.keys.clear()
        finally:
            look.is_over = True
        try:
            return await below(method, url, **options, **theirs)
        finally:
            self.adds = self.adds or look.differs
            self._looks_first = self._looks_first and not self.adds
