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

from aiohttp_cache_di._aiohttp import Needs, can, genuine_request, own_request
from aiohttp_cache_di.arguments import named_parameters, parameters_below, refuse_unknown, warn_at_the_caller
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, refuse_unusable
from aiohttp_cache_di.backends.wrap.guarding.guard import PATIENCE
from aiohttp_cache_di.engine.bases.asking import Asking
from aiohttp_cache_di.engine.bases.doubles import is_backend
from aiohttp_cache_di.engine.bases.senders import ADDING
from aiohttp_cache_di.engine.bases.sending import Sender
from aiohttp_cache_di.engine.calls.call import CURRENT_CALL, Call, Disabled, end_call
from aiohttp_cache_di.engine.calls.reads import EarlyRead
from aiohttp_cache_di.engine.calls.wishes import WISHES, wish_for_nothing
from aiohttp_cache_di.engine.counting import FAIR_SHARE, is_turn_over
from aiohttp_cache_di.engine.hits import FastLane, KnownCall
from aiohttp_cache_di.engine.questions.digest import digest_user
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.keys import redact_url
from aiohttp_cache_di.middleware import CacheMiddleware
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["CacheMixin", "CachedSession"]

_CAN_INSTALL = can(Needs.INSTALLING)
_DISCOURAGED = "Inheritance class .* from ClientSession is discouraged"
_DEPRECATED = frozenset({"auth", "conn_timeout", "proxy_auth", "read_timeout", "ssl_shutdown_timeout"})


if TYPE_CHECKING:
    from typing import Unpack

    from aiohttp_cache_di.engine.calls.typed import DocumentedSession, SessionOptions, TypedSession
else:
    TypedSession, DocumentedSession = object, ClientSession


class CacheMixin(Asking, TypedSession):
    """Adds the cache to a class that is derived from `aiohttp.ClientSession`; put it first among the bases.

    Args:
        cache: where responses are kept, and the rules for them; a `CacheBackend` in memory by default.
        principal: whom the session's requests are for, in place of what their credentials say; see `CacheBackend`.
        kwargs: the arguments of the other bases; without *cache*, also the options of `CacheBackend`.

    Raises:
        TypeError: an option that neither of them knows.
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
        if principal is not None and "principal" in accepted.names:  # of a base of the user's
            kwargs["principal"], principal = principal, None
        refuse_unusable({"principal": principal})
        self._principal = principal
        own = {name: kwargs.pop(name) for name in BACKEND_OPTIONS - accepted.names if name in kwargs}
        if cache is not None and own:
            from aiohttp_cache_di.backends.agreement import refuse_other  # which few sessions need

            refuse_other(type(self).__name__, cache, own)
        if accepted.are_all:
            refuse_unknown(type(self).__name__, kwargs, accepted.names | BACKEND_OPTIONS | {"cache", "principal"})
        self._owns_cache = cache is None
        self._request_options = _request_parameters(type(self))
        backend = CacheBackend(**own) if cache is None else cache
        self._cache_middleware = CacheMiddleware(backend)
        self._fast_lane = FastLane(backend, self._cache_middleware.questions, _OWN)
        self._sender = Sender(type(self), _OWN)
        if not _CAN_INSTALL:
            self._own_middlewares = kwargs.get("middlewares")
        if kwargs.keys() & _DEPRECATED:
            warn_at_the_caller(partial(super().__init__, *args, **kwargs), undo=self.detach)
        else:
            super().__init__(*args, **kwargs)
        traceback = getattr(self, "_source_traceback", None)
        if traceback is not None:  # which is to end at the line that calls us
            traceback.pop()

    def __repr__(self) -> str:
        if "_cache_middleware" not in vars(self):  # of one that is still being made, as a traceback may show it
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
        if CacheMixin not in cls.__bases__:  # what the API is made of; a class that derives from that is warned of
            warnings.warn(_DISCOURAGED.replace(".*", cls.__name__), DeprecationWarning, stacklevel=2)

    @property
    def cache(self) -> CacheBackend:
        """Where responses are kept, and the rules for them; another backend may take its place."""
        return self._cache_middleware.backend

    @cache.setter
    def cache(self, backend: CacheBackend) -> None:
        self._cache_middleware = CacheMiddleware(backend)
        self._fast_lane = FastLane(backend, self._cache_middleware.questions, _OWN)
        self._owns_cache = False

    @property
    def principal(self) -> Principal:
        """Whom the session's requests are for, unless they say so themselves."""
        return self._principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        refuse_unusable({"principal": principal})
        self._principal = principal
        self._fast_lane = FastLane(self.cache, self._cache_middleware.questions, _OWN)

    @property
    def _middlewares(self) -> Sequence[ClientMiddlewareType]:
        """What aiohttp calls for each request: the session's own, which may have changed, and innermost the cache."""
        return (*(self._own_middlewares or ()), self._cache_middleware)

    @_middlewares.setter
    def _middlewares(self, middlewares: Sequence[ClientMiddlewareType]) -> None:
        self._own_middlewares = middlewares

    @property
    def _trace_configs(self) -> list[TraceConfig]:
        """Who traces the session's requests; while one is handed over to a base below, what goes on of its traces."""
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
        if not self._own_middlewares:  # which would have to be asked about a hit too
            found = lane.answer(self, method, str_or_url, options)
            if type(found) is KnownCall:
                known = found
                found = lane.made_of(await lane.look(known, self._sender.asks_at_once), self, known, options)
            if isinstance(found, CachedResponse):
                if began_at:
                    lane.tell(method, found, began_at)
                if not lane.stats.hits % FAIR_SHARE and is_turn_over(lane.stats):
                    await asyncio.sleep(0)
                return found
        may_learn, wishes = not self._own_middlewares and not callable(self._principal), None
        if not WISHES.isdisjoint(options):
            may_learn = may_learn and wish_for_nothing(options)
            wishes = {name: options.pop(name) for name in WISHES & options.keys()}
        call = self._call(options, self._principal)
        if wishes:
            call.wish(**wishes)
        call.early_read = found if isinstance(found, EarlyRead) else None
        return await self._send(method, str_or_url, call, options, may_learn=may_learn)

    def _call(self, options: dict[str, Any], principal: Principal) -> Call:
        """A call with *options*, the arguments of aiohttp."""
        decoded, user = options.get("auto_decompress"), None
        if self._own_middlewares or "middlewares" in options:
            user = self._digest_user(options)
        return Call(
            ref(self),
            decoded=self.auto_decompress if decoded is None else bool(decoded),
            headers=options.get("headers") or (),
            cookies=options.get("cookies"),
            timeout=options.get("timeout"),
            follows=bool(options.get("allow_redirects", True)),
            principal=principal,
            digest_user=user,
            is_plain=principal is None and user is None,
        )

    def _digest_user(self, options: dict[str, Any]) -> DigestAuthMiddleware | None:
        """Who logs in by digest, of the middlewares that a request passes."""
        own = options.get("middlewares")
        used = self._own_middlewares if own is None else own
        return digest_user(used) if used else None

    async def _send(
        self, method: str, url: StrOrURL, call: Call, options: dict[str, Any], *, may_learn: bool
    ) -> ClientResponse:
        """Send a request through aiohttp, which asks the cache for each hop; let the fast lane learn from a hit."""
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
            call.headers = call.cookies = None  # what remembers the call must not remember what was sent
            end_call(token)
            if self._sender.adds:
                self._fast_lane.forget(for_good=True)
        if may_learn and isinstance(response, CachedResponse) and not self._sender.has_doubles(self.cache):
            self._fast_lane.learn(self, method, url, options, response)
        return response

    def disabled(self) -> Disabled:
        """Turn the cache off: ``async with session.disabled(): …``, for this session in this task."""
        return Disabled(self)

    async def delete_expired_responses(self) -> None:
        """Delete all expired responses from the cache."""
        await self.cache.delete_expired_responses()

    remove_expired_responses = delete_expired_responses

    async def close(self) -> None:
        """Close the session, and the cache with it where it is the session's own or ``autoclose`` is set.

        What is being stored is stored first; what runs in the background is cancelled. May be called twice.
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
                if not self._owns_cache:  # else it is in memory, and is asked no more
                    await runtime.drain_bodies(owner=ref(self))
            finally:  # one who cancels the wait wants all closed nevertheless
                await super().close()
            await runtime.settle(within_s=PATIENCE * self.cache.guard.deadline_s)  # as long as one try may take
            await runtime.finish(self.cache)  # its owner may close it next
        finally:
            if self._owns_cache or self.cache.autoclose:
                await runtime.cancel(self.cache)
                await self.cache.close()


class CachedSession(CacheMixin, DocumentedSession):
    """A drop-in for `aiohttp.ClientSession` that keeps responses in a cache; make it in the running event loop.

    Args:
        base_url: what relative URLs are joined to.
        cache: where responses are kept, and the rules for them; a `CacheBackend` in memory by default.
        principal: whom the session's requests are for, in place of what their credentials say; see `CacheBackend`.
        kwargs: the arguments of `aiohttp.ClientSession`, and the options of `CacheBackend` (``expire_after``,
            ``cache_control`` …), each with a docstring of its own; beside a *cache*, those that it has anyway.

    Raises:
        TypeError: an option is not known, or says something else than the backend that is passed as *cache*.
        ConfigurationError: an option has a value that cannot be used.

    Example::

        async with CachedSession(cache=SQLiteBackend()) as session:
            async with session.get("https://example.org/") as response:
                print(response.from_cache, await response.text())
    """

    __signature__: OptionsSignature = OptionsSignature(
        "aiohttp_cache_di.engine.calls.typed:SessionOptions", leading=("base_url",)
    )

    if TYPE_CHECKING:  # at run time the mixin takes what any of the other bases may take

        def __init__(
            self,
            base_url: StrOrURL | None = None,
            *,
            cache: CacheBackend | None = None,
            **kwargs: Unpack[SessionOptions],
        ) -> None:
            """Make a session, as the class says.

            Args:
                base_url: what relative URLs are joined to.
                cache: where responses are kept, and the rules for them; a `CacheBackend` in memory by default.
                kwargs: further options, each with a docstring of its own.
            """


_OWN: Final = frozenset({CacheMixin, Asking, CachedSession})


def _request_parameters(session_class: type) -> frozenset[str] | None:
    """The arguments that a request takes; None where one of the bases has a ``_request`` of its own."""
    for base in session_class.__mro__[:-1]:
        if "_request" in vars(base) and base not in (CacheMixin, ClientSession):
            return None
    return named_parameters(own_request() or genuine_request())
