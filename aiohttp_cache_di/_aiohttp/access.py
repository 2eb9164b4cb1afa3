"""What is read from aiohttp's objects, and written to them, by private names: each with a way on where one is gone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from operator import attrgetter
from ssl import SSLContext
from types import FunctionType
from typing import Any, Final, TypeVar

import aiohttp.client
import aiohttp.connector
from aiohttp import (
    ClientRequest,
    ClientResponse,
    ClientSession,
    CookieJar,
    DigestAuthMiddleware,
    DummyCookieJar,
    MultipartWriter,
    StreamReader,
    TCPConnector,
)
from aiohttp.payload import Payload
from multidict import getversion

from aiohttp_cache_di._aiohttp.names import Needs, can

__all__ = [
    "arrived_chunks",
    "body_read_of",
    "build_url",
    "called_by",
    "connector_ssl",
    "continued_traces",
    "decodes",
    "default_tls_context",
    "digest_login",
    "genuine_request",
    "hand_on_cookies",
    "hand_on_traces",
    "middlewares_of",
    "own_request",
    "parts_of",
    "raises_for_status",
    "request_class_of",
    "said_by",
    "sets_proxy_or_auth",
    "timer_fired",
    "total_timeout_s",
    "untraced",
]

S = TypeVar("S", bound=ClientSession)

_CAN_COOKIES: Final = can(Needs.COOKIES)
_CAN_TRACES: Final = can(Needs.TRACES)
_MAX_WRAPPERS: Final = 8  # one around the other
_FILTER: Final = CookieJar.filter_cookies
_DUMMY_FILTER: Final = DummyCookieJar.filter_cookies


def arrived_chunks(stream: StreamReader) -> list[bytes] | None:
    """What has arrived of a body that has not been read yet; None where that cannot be seen."""
    try:
        return list(stream._buffer)
    except AttributeError:
        return None if stream.total_bytes else []


def decodes(handler: Any, wished: bool | None, session: ClientSession) -> bool | None:
    """Whether the body of the response that *handler* gives will be decoded; None where that cannot be seen.

    An argument of a request of a plain session that aiohttp keeps in the closure of its innermost handler only.

    Args:
        wished: what the caller is known to have asked for.
    """
    code = getattr(handler, "__code__", None)
    if code is not None and "auto_decompress" in code.co_freevars:
        return bool(handler.__closure__[code.co_freevars.index("auto_decompress")].cell_contents)
    if wished is not None:
        return wished
    if getattr(handler, "__qualname__", "").startswith("ClientSession."):  # the innermost one, which does not tell
        return None
    return session.auto_decompress


def body_read_of(response: ClientResponse) -> bytes | None:
    """The body of *response*, if its reader has read it whole."""
    body = getattr(response, "_body", None)
    return body if isinstance(body, bytes) else None


def connector_ssl(session: ClientSession) -> Any:
    """How the connector of *session* verifies TLS for requests that say nothing: what its ``ssl`` argument was.

    Where that cannot be seen, the connector itself: what it brought is for itself alone.
    """
    connector = session.connector
    return getattr(connector, "_ssl", connector) if isinstance(connector, TCPConnector) else True


def default_tls_context() -> SSLContext | None:
    """The context by which aiohttp verifies unless it is told otherwise; None where that cannot be seen."""
    context = getattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", None)
    return context if isinstance(context, SSLContext) else None


def parts_of(payload: Payload) -> list[Payload] | None:
    """The payloads that a multipart body consists of; None for a body of another kind."""
    parts = getattr(payload, "_parts", None) if isinstance(payload, MultipartWriter) else None
    return None if parts is None else [part[0] for part in parts]


def build_url(session: ClientSession, url: Any) -> Any:
    """The URL that *session* asks when it is asked for *url*; ValueError for one that cannot be asked."""
    return session._build_url(url)


def middlewares_of(session: ClientSession) -> Iterable[Any]:
    """The middlewares of *session*, unless a request says otherwise; none where that cannot be seen."""
    return getattr(session, "_middlewares", None) or ()


def digest_login(user: DigestAuthMiddleware) -> tuple[str, bytes | None]:
    """The name by which *user* logs in, as it is sent, and name and password; "" and None where they cannot be seen."""
    name: str = getattr(user, "_login_str", "")
    login: bytes | None = getattr(user, "_login_bytes", None)
    password: bytes | None = getattr(user, "_password_bytes", None)
    shown = name.replace('"', '\\"')
    if login is None or password is None:
        return shown, None
    return shown, b"%d:%b:%b" % (len(login), login, password)


def untraced(session: S) -> S:
    """*session*, or where it is traced a copy that is not, for a request that is none; to be detached thereafter."""
    if not session.trace_configs:
        return session
    silent = copy.copy(session)
    vars(silent)["_trace_configs"] = []
    return silent


def genuine_request() -> Callable[..., Any]:
    """What sends a request: aiohttp's own method, unless a test or an instrument has put something in its place."""
    return ClientSession._request


def own_request() -> Callable[..., Any] | None:
    """aiohttp's own method that sends a request, whatever is in its place; None where it was replaced out of sight."""
    return _OWN_REQUEST


def _own_request(function: object, depth: int = 0) -> Callable[..., Any] | None:
    """aiohttp's own method, which is *function* or in the hands of it."""
    if not isinstance(function, FunctionType):
        return None
    if function.__globals__ is aiohttp.client.__dict__:
        return function
    if depth > _MAX_WRAPPERS:
        return None
    found = (_own_request(inner, depth + 1) for inner in called_by(function).values())
    return next(filter(None, found), None)


def called_by(function: FunctionType) -> dict[str, FunctionType]:
    """The functions that the code of *function* has a name for: of its closure, and of its module."""
    code = function.__code__
    found: dict[str, object] = {
        name: function.__globals__[name] for name in code.co_names if name in function.__globals__
    }
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # empty
            found[name] = cell.cell_contents
    return {name: value for name, value in found.items() if isinstance(value, FunctionType)}


_OWN_REQUEST: Final = _own_request(ClientSession._request)


# What a session has to say about a hit: looked at on each of them, so by the private names, which cost a third.


def said_by(session: ClientSession) -> int | None:
    """All that the session says about a hit: a number that differs whenever its default headers were changed.

    None while it has cookies to send, or anything to tell or to ask, or when it is closed; all of that may change at
    any time.
    """
    jar: Any = session._cookie_jar
    jar_class: Any = jar.__class__
    if jar_class is CookieJar:
        is_empty = jar_class.filter_cookies is _FILTER and not jar._cookies
    else:
        is_empty = jar_class is DummyCookieJar and jar_class.filter_cookies is _DUMMY_FILTER
    # A session of ours keeps its trace configs there, too: its property takes longer.
    own = session.__dict__
    connector = own["_connector"]
    if (
        not is_empty
        or "filter_cookies" in jar.__dict__
        or own["_trace_configs"]
        or connector is None
        or connector.closed
    ):
        return None
    headers: Any = session._default_headers
    return getversion(headers)


def total_timeout_s(session: ClientSession) -> float | None:
    """How long a request of *session* may take, unless it says otherwise itself."""
    return session._timeout.total


raises_for_status: Callable[[ClientSession], Any] = attrgetter("_raise_for_status")
"""What a session does about a status that is an error, unless a request says otherwise."""


def sets_proxy_or_auth(session: ClientSession) -> bool:
    """Whether *session* sends its requests another way, or in another's name, by default."""
    return session.trust_env or session.auth is not None or session._default_proxy is not None


def request_class_of(session: ClientSession) -> type[ClientRequest]:
    """The class of the requests that *session* makes."""
    return session._request_class


# ---- what a response is given of its request


def hand_on_traces(request: ClientRequest, response: ClientResponse) -> None:
    """Let those who trace *request* hear of the body of *response*."""
    if _CAN_TRACES:
        response._traces = request._traces


class _Continued:
    """Stands in for a trace config: what goes on is the trace of another request, of whose sending this one is a part.

    It hears of connections. Of the request, its body and its response the other one tells.
    """

    def __init__(self, trace: Any) -> None:
        self._trace = trace

    def trace_config_ctx(self, trace_request_ctx: object = None) -> Any:
        """The context of the trace that goes on."""
        return self._trace._trace_config_ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trace._trace_config, name) if name.startswith(("on_connection_", "on_dns_")) else self

    async def send(self, *args: object) -> None:
        """Tell nothing."""


def continued_traces(request: ClientRequest) -> list[Any]:
    """What stands in for the trace configs of a session while another request sends *request*, and is not sent."""
    return [_Continued(trace) for trace in request._traces] if _CAN_TRACES else []


def hand_on_cookies(response: ClientResponse, cookies: Iterable[str] | ClientResponse) -> None:
    """Let aiohttp find *cookies* in *response*: values of Set-Cookie, or those of another response."""
    if _CAN_COOKIES:
        found = cookies._raw_cookie_headers if isinstance(cookies, ClientResponse) else tuple(cookies)
        if found:
            response._raw_cookie_headers = found
    elif isinstance(cookies, ClientResponse):
        response.cookies = cookies.cookies
    else:
        parsed: SimpleCookie = SimpleCookie()
        for value in cookies:
            with suppress(CookieError):
                parsed.load(value)
        response.cookies = parsed


def timer_fired(request: ClientRequest) -> bool:
    """Whether the request's total timeout is what cancels the task that sends it."""
    return bool(getattr(getattr(request, "_timer", None), "_cancelled", False))
