"""Methods of a session that tell what is stored for its own requests, which are made but not sent.

The request is made as any other of the session, with its middlewares; a `Probe` in the place of the cache ends it.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from aiohttp import ClientHandlerType, ClientRequest, ClientSession, InvalidURL, NonHttpUrlClientError, hdrs
from aiohttp.typedefs import StrOrURL

from aiohttp_cache_di._aiohttp import build_url, own_request, untraced
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.operating.explanation import Explanation
from aiohttp_cache_di.backends.operating.terms import expect_method, parsed_url, quoted, unusable_url
from aiohttp_cache_di.engine.calls.call import Call, is_disabled
from aiohttp_cache_di.engine.calls.wishes import WISHES, take_wishes
from aiohttp_cache_di.engine.notes import what_failed
from aiohttp_cache_di.engine.questions.question import NOWHERE, Questions
from aiohttp_cache_di.engine.questions.wire import key_arguments, passes_by, request_body
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.engine.sessions.doubles import Doubles
from aiohttp_cache_di.engine.sessions.sending import Sender
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.keys import is_redacted
from aiohttp_cache_di.policy import FullQuestion
from aiohttp_cache_di.policy.rules.book import NO_WISHES, Wishes
from aiohttp_cache_di.policy.rules.principals import Principal

__all__ = ["Probing"]

if TYPE_CHECKING:
    Session = ClientSession
else:
    Session = object

UNREADABLE = "a body that cannot be read twice, or is large"


class ProbeReached(BaseException):
    """Ends a request that was made for its *key* alone; not an `Exception`, so that nothing takes it for a failure."""

    def __init__(self, key: str, question: FullQuestion | None = None, get_key: str = "", passed_by: str = "") -> None:
        super().__init__(key)
        self.key = key
        self.question = question
        """The complete question, if the request is explained."""
        self.get_key = get_key
        """The key of the same request with the method GET, if the request is explained; "" if it bypasses the cache."""
        self.passed_by = passed_by
        """Why the request bypasses the cache; "" if it does not."""


class Probe:
    """Takes the place of the cache as the innermost middleware of a session.

    Args:
        explains: a request that bypasses the cache is reported as such, rather than raising an error.
    """

    def __init__(self, backend: CacheBackend, questions: Questions, call: Call, *, explains: bool) -> None:
        self._backend = backend
        self._questions = questions
        self._call = call
        self._explains = explains

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> NoReturn:
        """Raise `ProbeReached` with the key of *request*."""
        body = await request_body(request)
        if body is None and not self._explains:
            raise TypeError(f"a request with {UNREADABLE} is not cached: pass the body as bytes")
        url, wishes = str(request.url), self._call.wishes
        if not self._explains:
            arguments = key_arguments(request, body or b"", self._call, self._backend)
            raise ProbeReached(self._questions.place_of(request, arguments, url).key)
        passed_by = "" if body is not None else UNREADABLE
        arguments = {"headers": request.headers}
        try:
            arguments = key_arguments(request, body or b"", self._call, self._backend)
            place = self._questions.place_of(request, arguments, url)
            question = self._questions.full(request, wishes, arguments, url=url, place=place)
        except Exception as error:  # raised by a user's function
            place, question = NOWHERE, self._questions.full(request, wishes, arguments, url=url)
            passed_by = f"a function that makes its principal, its key or its rules fails: {what_failed(error)}"
        if passes_by(request, self._backend):
            passed_by = "it asks for a tunnel, another protocol or a stream of events"
        get_key = "" if passed_by else self._backend.create_key(hdrs.METH_GET, request.url, **arguments)
        raise ProbeReached(place.key, question, get_key, passed_by)


class Probing(Session):
    """The methods of a session with a cache that answer questions about its requests."""

    _sender: Sender
    _own_middlewares: Any

    @property
    @abstractmethod
    def cache(self) -> CacheBackend:
        """The backend."""

    @property
    @abstractmethod
    def principal(self) -> Principal:
        """The user that the session's requests are for."""

    async def has_url(self, url: StrOrURL, method: str = "GET", **kwargs: Any) -> bool:
        """Tell whether the response to a request of this session is cached; *kwargs* are the request's arguments.

        The request is made with the session's base URL, headers, cookies, credentials and middlewares, but not sent.
        """
        named = await self._keys_of(url, method, kwargs)
        return await self.cache.is_kept(named) or bool(await self._listed_as(url, method, kwargs))

    async def delete_url(self, url: StrOrURL, method: str = "GET", **kwargs: Any) -> int:
        """Delete the response to a request of this session, with all variants; the arguments are those of `has_url`.

        Return the number of entries deleted. To delete the responses of all users, call `CacheBackend.delete_url` with
        ``everywhere=True``.
        """
        named = await self._keys_of(url, method, kwargs)
        return await self.cache.drop(named | await self._listed_as(url, method, kwargs))

    async def _listed_as(self, url: StrOrURL, method: str, arguments: dict[str, Any]) -> set[str]:
        whole = build_url(self, url) if is_redacted(url) else url
        return await self.cache.listed_as(whole, method, arguments.get("params"))

    async def explain(self, method: str, url: StrOrURL, **kwargs: Any) -> Explanation:
        """Tell what the cache would do with a request of this session now, and why, without asking the origin.

        The request is made with the session's base URL, headers, cookies, credentials and middlewares, but not sent.

        Args:
            kwargs: the arguments of the request, including those of the cache such as ``expire_after``.

        Raises:
            ConfigurationError: the URL cannot be requested, or a middleware answers the request before the cache is
                asked.
        """
        if self._sender.has_doubles(self.cache):
            return await self.cache.explain(method, url, **kwargs)
        expect_method(method)
        await self.cache.learn_secret()
        wishes = take_wishes(kwargs)
        call = self._call(kwargs, wishes)
        probed = await self._asked(method, url, kwargs, call, explains=True)
        if probed is None or probed.question is None:
            raise ConfigurationError(
                f"{method} {quoted(url)}: a middleware of the session answers before the cache is asked"
            )
        passed_by = "the cache is turned off here" if is_disabled(self) else probed.passed_by
        if not passed_by and Runtime.of(self.cache).changes(self):
            passed_by = "the session changes credentials of requests after the cache is asked"
        return await self.cache.explain_question(
            probed.question, get_key=probed.get_key, wishes=wishes, follows=call.follows, passed_by=passed_by
        )

    async def _keys_of(self, url: StrOrURL, method: str, arguments: dict[str, Any]) -> set[str]:
        """The keys that a request may have, one for each spelling of *url*."""
        expect_method(method)
        principal = arguments.get("principal")
        options = {name: value for name, value in arguments.items() if name not in WISHES}
        if principal is None:
            principal = self.principal
        found = [await self._key_of(method, spelling, options, principal) for spelling in parsed_url(url)]
        return {key for key in found if key}

    async def _key_of(self, method: str, url: StrOrURL, options: dict[str, Any], principal: Principal) -> str:
        """The key of a request; "" if a middleware answers it before the cache is asked."""
        if self._sender.has_doubles(self.cache):
            named = {} if principal is None else {"principal": principal}
            return Doubles.key(self, self.cache, method, url, {**options, **named})
        wishes = NO_WISHES if principal is None else Wishes(principal=principal)
        probed = await self._asked(method, url, options, self._call(options, wishes))
        return "" if probed is None else probed.key

    async def _asked(
        self, method: str, url: StrOrURL, options: dict[str, Any], call: Call, *, explains: bool = False
    ) -> ProbeReached | None:
        """Make a request as far as the cache; None if a middleware answers it before that."""
        asker, given = untraced(self), options.get("middlewares")
        probe = Probe(self.cache, Questions(self.cache), call, explains=explains)
        own = own_request()
        at_once = self._sender.asks_at_once()
        send = super(Probing, asker)._request if own is None or at_once else partial(own, asker)
        options = {**options, "middlewares": (*((self._own_middlewares if given is None else given) or ()), probe)}
        try:
            await send(method, url, **options)
        except ProbeReached as reached:
            return reached
        except (InvalidURL, NonHttpUrlClientError):
            raise unusable_url(url) from None  # aiohttp's own error has the URL with its secrets
        finally:
            if asker is not self:
                asker.detach()
        return None

    @abstractmethod
    def _call(self, options: dict[str, Any], wishes: Wishes) -> Call:
        """The `Call` of a request with *options*, aiohttp's arguments, and *wishes*, the caller's for the cache."""
