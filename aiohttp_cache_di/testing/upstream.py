"""Routes with canned responses, which a real server on this machine sends to sessions with a cache."""

from __future__ import annotations

import asyncio
import difflib
import json as json_module
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeAlias, TypedDict, Unpack

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di.engine.taps import TAPS, through_tap
from aiohttp_cache_di.testing.calls import AskedFor, UnexpectedRequestError, asked_for
from aiohttp_cache_di.testing.delivery import Breaks, Canned, Delivery, is_answered

__all__ = ["FakeUpstream", "Reply", "ReplyOptions", "Route", "is_of_this_machine", "reply"]

Fails: TypeAlias = Literal["disconnects", "cuts-body"]
_BREAKS: Final[Mapping[str, Breaks]] = {"disconnects": "before-head", "cuts-body": "in-body"}
_TYPES: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    "status": (int, "a number, such as 200"),
    "text": (str, "a text"),
    "body": ((bytes, bytearray, memoryview), "bytes, or text= for a text"),
    "delay_s": ((int, float), "seconds"),
    "error": ((BaseException, type(None)), "an exception that is made: ClientConnectionError('refused')"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """The response of a route; see `reply`."""

    canned: Canned
    error: BaseException | None = None


Answer: TypeAlias = Reply | Callable[[AskedFor], Reply]


class ReplyOptions(TypedDict, total=False):
    """The parts of a response: a status, at most one body, and a failure.

    Args:
        status, reason: the status line; 200 by default.
        headers: header fields; Content-Type is derived from the body, Date from the clock of the cache.
        json, text, body: the body; bytes are sent unchanged.
        chunks: a body that is sent in chunks.
        delay_s: seconds that the server waits before it answers.
        fails: ``"disconnects"`` before the head, or ``"cuts-body"`` after the given body.
        error: an exception that the request raises instead of a response: ``ClientConnectionError("refused")``.
    """

    status: int
    reason: str
    headers: Mapping[str, str] | Iterable[tuple[str, str]]
    json: Any
    text: str
    body: bytes
    chunks: Iterable[bytes]
    delay_s: float
    fails: Fails
    error: BaseException


def reply(**options: Unpack[ReplyOptions]) -> Reply:
    """Make a response for `FakeUpstream.add`; see `ReplyOptions`.

    Raises:
        TypeError: an option is unknown or has the wrong type, or there are several bodies.
        ValueError: an option has an invalid value.
    """
    unknown = options.keys() - ReplyOptions.__optional_keys__
    bodies = [name for name in ("json", "text", "body", "chunks") if name in options]
    if unknown or len(bodies) > 1:
        what = f"no option {', '.join(sorted(unknown))}" if unknown else f"one body, not {' and '.join(bodies)}"
        raise TypeError(f"a response takes {what}")
    _expect_types(options)
    fails = options.get("fails")
    if fails is not None and fails not in _BREAKS:  # a test may be untyped
        raise ValueError(f"fails={fails!r}: use {' or '.join(map(repr, _BREAKS))}")
    content_type, chunks = _body(options)
    headers = [(str(name), str(value)) for name, value in CIMultiDict(options.get("headers", ())).items()]
    if content_type and not any(name.lower() == "content-type" for name, _ in headers):
        headers.insert(0, ("Content-Type", content_type))
    canned = Canned(
        options.get("status", 200),
        options.get("reason"),
        tuple(headers),
        chunks,
        is_coded="body" in options or "chunks" in options,
        delay_s=options.get("delay_s", 0.0),
        breaks="" if fails is None else _BREAKS[fails],
    )
    return Reply(canned, options.get("error"))


def _expect_types(options: Mapping[str, Any]) -> None:
    """Refuse options of wrong types here, where the test is at fault, rather than at the app's request."""
    for name, (kinds, use) in _TYPES.items():
        if name in options and not isinstance(options[name], kinds):
            raise TypeError(f"{name}={options[name]!r}: use {use}")


def _body(options: ReplyOptions) -> tuple[str, tuple[bytes, ...]]:
    if "json" in options:
        return "application/json", (json_module.dumps(options["json"], ensure_ascii=False).encode(),)
    if "text" in options:
        return "text/plain; charset=utf-8", (options["text"].encode(),)
    if "chunks" in options:
        return "", tuple(options["chunks"])
    return "", (options["body"],) if "body" in options else ()


@dataclass(slots=True)
class Route:
    """Answers the requests for a URL: with each of its answers in turn, and from then on with the last."""

    method: str
    url: str
    answers: list[Answer]
    calls: list[AskedFor] = field(default_factory=list[AskedFor])
    """The requests received, in order."""

    @property
    def count(self) -> int:
        """The number of requests received."""
        return len(self.calls)

    def then(self, answer: Callable[[AskedFor], Reply] | None = None, **options: Unpack[ReplyOptions]) -> Self:
        """Add an answer for the request after the previous answers, and for all later ones unless more are added."""
        self.answers.append(reply(**options) if answer is None else answer)
        return self

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


class FakeUpstream:
    """Replaces all upstreams of the app, for all its sessions with a cache.

    A context manager. It needs no network and no change of the app, which requests its usual URLs. A request that no
    route answers raises `UnexpectedRequestError`, unless it is for this machine, or a recording answers it::

        with FakeUpstream() as upstream:
            upstream.get("https://api.example.com/rates", json={"EUR": 1.1}, headers={"Cache-Control": "max-age=60"})
    """

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.unexpected: list[AskedFor] = []
        """The requests that no route answered."""
        self._delivery = Delivery()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(self._delivery.close)
        self._stack.enter_context(through_tap(self._answer))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self._stack.close)

    # ---- routes

    def add(
        self,
        method: str,
        url: str | URL,
        answer: Callable[[AskedFor], Reply] | None = None,
        **options: Unpack[ReplyOptions],
    ) -> Route:
        """Answer requests for *url*.

        Args:
            method: the method of the requests; ``"*"`` for any.
            url: a whole URL, or a path for any host; ``*`` stands for any text. Its query has to equal the request's,
                in any order; without a query, any matches.
            answer: a function that makes the response from the request, by `reply`.
            options: the response, instead of *answer*; see `ReplyOptions`.

        Later routes are tried before earlier ones. A second call with the same method and URL replaces the answers.
        """
        wanted = str(url)
        if not wanted.startswith(("http://", "https://", "/", "*")) or wanted in ("http://", "https://"):
            raise ValueError(f"{wanted!r}: a route is a URL such as https://api.example.com/rates, or a path")
        route = next((one for one in self.routes if (one.method, one.url) == (method.upper(), wanted)), None)
        if route is None:
            route = Route(method.upper(), wanted, [])
            self.routes.insert(0, route)
        route.answers.clear()
        return route.then(answer, **options)

    def get(
        self, url: str | URL, answer: Callable[[AskedFor], Reply] | None = None, **options: Unpack[ReplyOptions]
    ) -> Route:
        """As `add`, for GET."""
        return self.add("GET", url, answer, **options)

    def post(
        self, url: str | URL, answer: Callable[[AskedFor], Reply] | None = None, **options: Unpack[ReplyOptions]
    ) -> Route:
        """As `add`, for POST."""
        return self.add("POST", url, answer, **options)

    def put(
        self, url: str | URL, answer: Callable[[AskedFor], Reply] | None = None, **options: Unpack[ReplyOptions]
    ) -> Route:
        """As `add`, for PUT."""
        return self.add("PUT", url, answer, **options)

    def patch(
        self, url: str | URL, answer: Callable[[AskedFor], Reply] | None = None, **options: Unpack[ReplyOptions]
    ) -> Route:
        """As `add`, for PATCH."""
        return self.add("PATCH", url, answer, **options)

    def delete(
        self, url: str | URL, answer: Callable[[AskedFor], Reply] | None = None, **options: Unpack[ReplyOptions]
    ) -> Route:
        """As `add`, for DELETE."""
        return self.add("DELETE", url, answer, **options)

    # ---- requests received

    @property
    def calls(self) -> list[AskedFor]:
        """All requests that routes have answered, route by route; those of one route are in order."""
        return [call for route in reversed(self.routes) for call in route.calls]

    def count(self, url: str | URL = "*", method: str = "*") -> int:
        """The number of requests for *url*, which may have ``*`` as in `add`."""
        return sum(_fits(method, str(url), call.method, call.url) for call in self.calls)

    # ---- inside

    async def _answer(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        if is_answered(request):
            return await handler(request)
        route = self._route(request.method, request.url)
        if route is None and (is_of_this_machine(request.url) or TAPS[:1] != [self._answer]):
            return await handler(request)  # a recording or another FakeUpstream may answer it
        call = await asked_for(request)
        if route is None:
            self.unexpected.append(call)
            raise UnexpectedRequestError(self._nearest(call))
        answer = route.answers[min(route.count, len(route.answers) - 1)]
        route.calls.append(call)
        found = answer if isinstance(answer, Reply) else answer(call)
        if found.error is not None:
            raise found.error
        return await self._delivery.answer(request, handler, found.canned)

    def _route(self, method: str, url: URL) -> Route | None:
        return next((route for route in self.routes if _fits(route.method, route.url, method, url)), None)

    def _nearest(self, call: AskedFor) -> str:
        said = f"{call}: no route of the fake upstream answers it"
        near = difflib.get_close_matches(str(call), [str(route) for route in self.routes], n=1, cutoff=0.0)
        return f"{said}; the nearest is {near[0]}" if near else f"{said}, and there are none"


def is_of_this_machine(url: URL) -> bool:
    """Whether *url* is on the loopback interface of this machine."""
    host = url.host or ""
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")


def _fits(wanted_method: str, wanted: str, method: str, url: URL) -> bool:
    if wanted_method.upper() not in ("*", method):
        return False
    base, has_query, query = wanted.partition("?")
    if has_query and sorted(URL(f"?{query}").query.items()) != sorted(url.query.items()):
        return False
    is_path = base.startswith("/")
    asked = url.path if is_path else str(url.with_query(None).with_fragment(None))
    if "*" in base:
        return re.fullmatch(".*".join(map(re.escape, base.split("*"))), asked) is not None
    return asked == (base if is_path else str(URL(base).with_fragment(None)))
