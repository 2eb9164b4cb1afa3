"""`CachedSession`: an `aiohttp.ClientSession` with the cache installed."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from aiohttp import ClientMiddlewareType, ClientResponse, ClientSession, DigestAuthMiddleware, TraceConfig
from aiohttp.typedefs import StrOrURL
from msgspec.structs import replace

from aiohttp_cache_di._aiohttp import Needs, can, request_parameters
from aiohttp_cache_di.arguments import parameters_below, refuse_unknown, warn_at_the_caller
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, refuse_unusable
from aiohttp_cache_di.backends.wrap.guarding.guard import PATIENCE
from aiohttp_cache_di.engine.bases.overrides import ADDING
from aiohttp_cache_di.engine.calls.call import CURRENT_CALL, Call, Disabled, EarlyRead, end_call
from aiohttp_cache_di.engine.calls.wishes import WISHES, take_wishes
from aiohttp_cache_di.engine.fairness import FAIR_SHARE, is_turn_over
from aiohttp_cache_di.engine.questions.digest import digest_user
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.engine.sessions.doubles import is_backend
from aiohttp_cache_di.engine.sessions.fast_lane import FastLane, KnownCall, State
from aiohttp_cache_di.engine.sessions.probing import Probing
from aiohttp_cache_di.engine.sessions.sending import Sender
from aiohttp_cache_di.engine.watching import tell_hit
from aiohttp_cache_di.keys import redact_url
from aiohttp_cache_di.middleware import CacheMiddleware
from aiohttp_cache_di.policy.rules.book import NO_WISHES, Wishes
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["CacheMixin", "CachedSession"]

_CAN_INSTALL = can(Needs.INSTALLING)
_DISCOURAGED = "Inheritance class .* from ClientSession is discouraged"
_DEPRECATED = frozenset({"auth", "conn_timeout", "proxy_auth", "read_timeout", "ssl_shutdown_timeout"})


if TYPE_CHECKING:
    from typing import Unpack

    from aiohttp_cache_di.engine.sessions.typed import DocumentedSession, SessionOptions, TypedSession
else:
    TypedSession, DocumentedSession = object, ClientSession


class CacheMixin(Probing, TypedSession):
    """Adds the cache to a class that is derived from `aiohttp.ClientSession`; put it first among the bases.

    Args:
        cache: the backend, which stores responses and has the rules for them; a new one in memory by default.
        principal: the user that the session's requests are for, instead of the one that their credentials identify;
            see `CacheBackend`.
        kwargs: arguments of the other bases and, without *cache*, options of `CacheBackend`.

    Raises:
        TypeError: an option is not known to any of them.
    """

    ATTRS = ClientSession.ATTRS | {
        "cache",
        "_cache_middleware",
        "_fast_lane",
        "_own_middlewares",
        "_owns_cache",
        "_principal",
        "principal",
        "_request_options",
        "_sender",
    }

    def __init__(
        self, *args: Any, cache: CacheBackend | None = None, principal: Principal = None, **kwargs: Any
    ) -> None:
        if not isinstance(cache, CacheBackend | None):
            from aiohttp_cache_di.backends.agreement import no_backend

            raise TypeError(f"{type(self).__name__}: cache= takes a CacheBackend, {no_backend(cache)}")
        accepted = parameters_below(type(self), CacheMixin)
        if principal is not None and "principal" in accepted.names:  # an argument of one of the user's base classes
            kwargs["principal"], principal = principal, None
        refuse_unusable({"principal": principal})
        self._principal = principal
        own = {name: kwargs.pop(name) for name in BACKEND_OPTIONS - accepted.names if name in kwargs}
        if cache is not None and own:
            from aiohttp_cache_di.backends.agreement import refuse_other  # few sessions need it

            refuse_other(type(self).__name__, cache, own)
        if accepted.are_all:
            refuse_unknown(type(self).__name__, kwargs, accepted.names | BACKEND_OPTIONS | {"cache", "principal"})
        self._request_options = _request_parameters(type(self))
        self.cache = CacheBackend(**own) if cache is None else cache
        self._owns_cache = cache is None
        self._sender = Sender(type(self), _OWN)
        if not _CAN_INSTALL:
            self._own_middlewares = kwargs.get("middlewares")
        try:
            if kwargs.keys() & _DEPRECATED:
                warn_at_the_caller(partial(super().__init__, *args, **kwargs), undo=self.detach)
            else:
                super().__init__(*args, **kwargs)
        except TypeError as exc:
            if args and isinstance(args[0], CacheBackend):  # where a base URL belongs
                raise TypeError(f"{type(self).__name__}: give the {type(args[0]).__name__} as cache=") from exc
            raise
        traceback = getattr(self, "_source_traceback", None)
        if traceback is not None:  # make it end at the line that called this method
            traceback.pop()

    def __repr__(self) -> str:
        if "_cache_middleware" not in vars(self):  # a traceback may show a session whose __init__ has not finished
            return f"<{type(self).__name__}>"
        state = "closed" if self.closed else "open"
        base = getattr(self, "_base_url", None)
        to = "" if base is None else f" to {redact_url(base)}"
        return f"<{type(self).__name__}{to}, {state}, on {self.cache!r}>"

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ADDING and "_fast_lane" in vars(self):
            self._fast_lane.forget()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _DISCOURAGED, DeprecationWarning)
            super().__init_subclass__(**kwargs)
        if CacheMixin not in cls.__bases__:  # warn as aiohttp does, but not of a class that has the mixin as a base
            warnings.warn(_DISCOURAGED.replace(".*", cls.__name__), DeprecationWarning, stacklevel=2)

    @property
    def cache(self) -> CacheBackend:
        """The backend, which stores responses and has the rules for them; may be replaced."""
        return self._cache_middleware.backend

    @cache.setter
    def cache(self, backend: CacheBackend) -> None:
        self._cache_middleware = CacheMiddleware(backend)
        self._fast_lane = FastLane(backend, self._cache_middleware.questions, _OWN)
        self._owns_cache = False

    @property
    def principal(self) -> Principal:
        """The user that the session's requests are for, unless a request names another."""
        return self._principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        refuse_unusable({"principal": principal})
        self._principal = principal
        self._fast_lane.forget()

    @property
    def _middlewares(self) -> Sequence[ClientMiddlewareType]:
        """The middlewares that aiohttp calls for each request: the session's own, then the cache as the innermost.

        aiohttp reads this for each request, so that middlewares set later are used too.
        """
        return (*(self._own_middlewares or ()), self._cache_middleware)

    @_middlewares.setter
    def _middlewares(self, middlewares: Sequence[ClientMiddlewareType]) -> None:
        self._own_middlewares = middlewares

    @property
    def _trace_configs(self) -> list[TraceConfig]:
        """The session's trace configs; while a request is sent through a base class, those that continue its traces."""
        call = CURRENT_CALL.get()
        if call is not None and call.through is not None and call.session() is self:
            traces = call.through.traces
            if traces is not None:
                return traces
        configs: list[TraceConfig] = vars(self)["_trace_configs"]
        return configs

    @_trace_configs.setter
    def _trace_configs(self, configs: list[TraceConfig]) -> None:
        vars(self)["_trace_configs"] = configs

    async def _request(self, method: str, str_or_url: StrOrURL, **options: Any) -> ClientResponse:
        """Send a request, or answer it from the cache.

        Args:
            options: the arguments of `aiohttp.ClientSession.request`, and those of `CacheRequestOptions`.
        """
        found: CachedResponse | KnownCall | EarlyRead | None = None
        lane = self._fast_lane
        began_at = perf_counter() if lane.watch.is_on else 0.0
        if not self._own_middlewares:  # middlewares see hits too, and the fast lane would skip them
            found = lane.answer(self, method, str_or_url, options)
            if type(found) is KnownCall:
                found = await lane.look_up(self, found, options, self._sender.asks_at_once)
            if isinstance(found, CachedResponse):
                if began_at:
                    tell_hit(lane.watch, method, found, began_at)
                if not lane.counts.hits % FAIR_SHARE and is_turn_over(lane.counts, lane.watch):
                    await asyncio.sleep(0)
                return found
        wishes = NO_WISHES if WISHES.isdisjoint(options) else take_wishes(options)
        may_learn = wishes is NO_WISHES and not self._own_middlewares and not callable(self._principal)
        call = self._call(options, wishes)
        call.early_read = found if isinstance(found, EarlyRead) else None
        return await self._send(method, str_or_url, call, options, began_in=lane.state(self) if may_learn else None)

    def _call(self, options: dict[str, Any], wishes: Wishes) -> Call:
        """The `Call` of a request with *options*, aiohttp's arguments, and *wishes*, the caller's for the cache."""
        if self._principal is not None and wishes.principal is None:
            wishes = replace(wishes, principal=self._principal)
        decoded, user = options.get("auto_decompress"), None
        if self._own_middlewares or "middlewares" in options:
            user = self._digest_user(options)
        return Call(
            ref(self),
            wishes=wishes,
            decoded=self.auto_decompress if decoded is None else bool(decoded),
            headers=options.get("headers") or (),
            cookies=options.get("cookies"),
            timeout=options.get("timeout"),
            follows=bool(options.get("allow_redirects", True)),
            digest_user=user,
        )

    def _digest_user(self, options: dict[str, Any]) -> DigestAuthMiddleware | None:
        """The middleware that logs in by digest, among those that a request with *options* passes."""
        own = options.get("middlewares")
        used = self._own_middlewares if own is None else own
        return digest_user(used) if used else None

    async def _send(
        self, method: str, url: StrOrURL, call: Call, options: dict[str, Any], *, began_in: State | None
    ) -> ClientResponse:
        """Send a request through aiohttp, which calls the cache's middleware for each hop.

        Args:
            began_in: the state of the fast lane, which may remember a hit; None if it may not.
        """
        own_middlewares = options.get("middlewares")
        if own_middlewares is None and not _CAN_INSTALL:
            own_middlewares = self._own_middlewares or ()
        if own_middlewares is not None:
            options["middlewares"] = (*own_middlewares, self._cache_middleware)
        token = CURRENT_CALL.set(call)
        try:
            if self._sender.is_direct(self.cache):
                response = await super()._request(method, url, **options)
            else:
                response = await self._sender.send(self, self.cache, super()._request, method, url, call, options)
        except TypeError:
            known = self._request_options
            if known is not None:
                refuse_unknown(f"{type(self).__name__}.request()", options, known | WISHES)
            raise
        finally:
            if call.early_read is not None:
                self._fast_lane.drop(call.early_read)
            call.headers = call.cookies = None  # objects that outlive the call refer to it, but not to its secrets
            end_call(token)
            if self._sender.adds:
                self._fast_lane.forget(for_good=True)
        if began_in is not None and isinstance(response, CachedResponse) and not self._sender.has_doubles(self.cache):
            self._fast_lane.learn(self, method, url, options, response, call.keys, began_in)
        return response

    def disabled(self) -> Disabled:
        """Turn the cache off: ``async with session.disabled(): …``, for this session in this task."""
        return Disabled(self)

    async def delete_expired_responses(self) -> None:
        """Delete all expired responses from the cache."""
        await self.cache.delete_expired_responses()

    remove_expired_responses = delete_expired_responses

    async def close(self) -> None:
        """Close the session, and also the cache if the session made it or ``autoclose`` is set.

        Pending writes are finished first; other background tasks are cancelled. May be called twice.
        """
        if not is_backend(self.cache):
            await super().close()
            if getattr(self.cache, "autoclose", False):
                await self.cache.close()
            return
        runtime = Runtime.of(self.cache)
        try:
            try:
                await runtime.cancel(self)
                if not self._owns_cache:  # the session's own cache is in memory, and ends with it
                    await runtime.drain_bodies(owner=ref(self))
            finally:  # close the session even if the wait is cancelled
                await super().close()
            await runtime.settle(within_s=PATIENCE * self.cache.guard.deadline_s)  # as long as one attempt may take
            await runtime.finish(self.cache)  # the owner of the cache may close it next
        finally:
            if self._owns_cache or self.cache.autoclose:
                await runtime.cancel(self.cache)
                await self.cache.close()


class CachedSession(CacheMixin, DocumentedSession):
    """A drop-in replacement for `aiohttp.ClientSession` that caches responses; make it inside a running event loop.

    Args:
        base_url: base of relative URLs.
        cache: the backend, which stores responses and has the rules for them; a new one in memory by default.
        principal: the user that the session's requests are for, instead of the one that their credentials identify;
            see `CacheBackend`.
        kwargs: arguments of `aiohttp.ClientSession` and options of `CacheBackend` (``expire_after``,
            ``cache_control`` …), each with a docstring of its own. With *cache*, an option of `CacheBackend` must have
            the value that *cache* has.

    Raises:
        TypeError: an option is not known, or differs from that of *cache*.
        ConfigurationError: an option has a value that cannot be used.

    Example::

        async with CachedSession(cache=SQLiteBackend()) as session:
            async with session.get("https://example.org/") as response:
                print(response.from_cache, await response.text())
    """

    __signature__: OptionsSignature = OptionsSignature(
        "aiohttp_cache_di.engine.sessions.typed:SessionOptions", leading=("base_url",)
    )

    if TYPE_CHECKING:  # at run time, the mixin's __init__ takes the arguments of all base classes

        def __init__(
            self,
            base_url: StrOrURL | None = None,
            *,
            cache: CacheBackend | None = None,
            **kwargs: Unpack[SessionOptions],
        ) -> None:
            """Make a session; see the class.

            Args:
                base_url: base of relative URLs.
                cache: the backend, which stores responses and has the rules for them; a new one in memory by default.
                kwargs: further options, each with a docstring of its own.
            """


_OWN: Final = frozenset({CacheMixin, Probing, CachedSession})


def _request_parameters(session_class: type) -> frozenset[str] | None:
    """The names of a request's arguments; None if a base class overrides ``_request``, so that they are not known."""
    for base in session_class.__mro__[:-1]:
        if "_request" in vars(base) and base not in (CacheMixin, ClientSession):
            return None
    return request_parameters()
