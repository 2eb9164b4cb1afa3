"""Reading and writing aiohttp's objects by private names; each function has a fallback if a name is missing."""

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
from aiohttp_cache_di.arguments import named_parameters

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
    "request_parameters",
    "said_by",
    "sets_proxy_or_auth",
    "timer_fired",
    "total_timeout_s",
    "untraced",
]

S = TypeVar("S", bound=ClientSession)

_CAN_COOKIES: Final = can(Needs.COOKIES)
_CAN_TRACES: Final = can(Needs.TRACES)
_MAX_WRAPPERS: Final = 8  # nested around each other
_FILTER: Final = CookieJar.filter_cookies
_DUMMY_FILTER: Final = DummyCookieJar.filter_cookies


def arrived_chunks(stream: StreamReader) -> list[bytes] | None:
    """The chunks of a body that have arrived and have not been read yet; None if they cannot be seen."""
    try:
        return list(stream._buffer)
    except AttributeError:
        return None if stream.total_bytes else []


def decodes(handler: Any, wished: bool | None, session: ClientSession) -> bool | None:
    """Whether the body of the response that *handler* returns will be decoded; None if that cannot be seen.

    In a session without `CacheMixin`, the argument ``auto_decompress`` of a request is found only in the closure of
    aiohttp's innermost handler.

    Args:
        wished: the caller's ``auto_decompress``, if it is known.
    """
    code = getattr(handler, "__code__", None)
    names = () if code is None else code.co_freevars  # made anew each time it is read
    if "auto_decompress" in names:
        return bool(handler.__closure__[names.index("auto_decompress")].cell_contents)
    if wished is not None:
        return wished
    if getattr(handler, "__qualname__", "").startswith("ClientSession."):  # the innermost handler, without that name
        return None
    return session.auto_decompress


def body_read_of(response: ClientResponse) -> bytes | None:
    """The body of *response*, if it has been read completely."""
    body = getattr(response, "_body", None)
    return body if isinstance(body, bytes) else None


def connector_ssl(session: ClientSession) -> Any:
    """The ``ssl`` argument of the connector of *session*, by which TLS is verified unless a request has its own.

    The connector itself if the argument cannot be seen, so that its responses are not shared with other connectors.
    """
    connector = session.connector
    return getattr(connector, "_ssl", connector) if isinstance(connector, TCPConnector) else True


def default_tls_context() -> SSLContext | None:
    """The TLS context that aiohttp uses by default; None if it cannot be seen."""
    context = getattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", None)
    return context if isinstance(context, SSLContext) else None


def parts_of(payload: Payload) -> list[Payload] | None:
    """The payloads of which a multipart body consists; None for a body of another kind."""
    parts = getattr(payload, "_parts", None) if isinstance(payload, MultipartWriter) else None
    return None if parts is None else [part[0] for part in parts]


def build_url(session: ClientSession, url: Any) -> Any:
    """*url*, joined to the base URL of *session*; ValueError if it is not valid."""
    return session._build_url(url)


def middlewares_of(session: ClientSession) -> Iterable[Any]:
    """The middlewares of *session*, which a request may replace; empty if they cannot be seen."""
    return getattr(session, "_middlewares", None) or ()


def digest_login(user: DigestAuthMiddleware) -> tuple[str, bytes | None]:
    """The name with which *user* logs in, as it is sent, and name with password; "" and None if they cannot be seen."""
    name: str = getattr(user, "_login_str", "")
    login: bytes | None = getattr(user, "_login_bytes", None)
    password: bytes | None = getattr(user, "_password_bytes", None)
    shown = name.replace('"', '\\"')
    if login is None or password is None:
        return shown, None
    return shown, b"%d:%b:%b" % (len(login), login, password)


def untraced(session: S) -> S:
    """*session*, or a copy without its trace configs, for a request that is not sent; detach the copy afterwards."""
    if not session.trace_configs:
        return session
    silent = copy.copy(session)
    vars(silent)["_trace_configs"] = []
    return silent


def genuine_request() -> Callable[..., Any]:
    """``ClientSession._request`` as it is now: aiohttp's own, or its replacement by a test or an instrumentation."""
    return ClientSession._request


def own_request() -> Callable[..., Any] | None:
    """aiohttp's own ``_request``, even if it was replaced; None if it cannot be found behind its replacement."""
    return _OWN_REQUEST


def request_parameters() -> frozenset[str] | None:
    """The names of the arguments of a request; None if a replacement hides them."""
    return named_parameters(own_request() or genuine_request())


def _own_request(function: object, depth: int = 0) -> Callable[..., Any] | None:
    """aiohttp's own method, which is *function*, or which *function* refers to."""
    if not isinstance(function, FunctionType):
        return None
    if function.__globals__ is aiohttp.client.__dict__:
        return function
    if depth > _MAX_WRAPPERS:
        return None
    found = (_own_request(inner, depth + 1) for inner in called_by(function).values())
    return next(filter(None, found), None)


def called_by(function: FunctionType) -> dict[str, FunctionType]:
    """The functions in the closure and the module of *function* to which its code refers, by name."""
    code = function.__code__
    found: dict[str, object] = {
        name: function.__globals__[name] for name in code.co_names if name in function.__globals__
    }
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # empty
            found[name] = cell.cell_contents
    return {name: value for name, value in found.items() if isinstance(value, FunctionType)}


_OWN_REQUEST: Final = _own_request(ClientSession._request)


# The following read private names because they run for each hit, where public properties take three times as long.


def said_by(session: ClientSession) -> int | None:
    """A version number of the session's default headers; None if the fast lane must not be used at present.

    That is so if the session has cookies, traces or a patched cookie jar, if its default headers were replaced by a
    mapping that has no version number, or if it is closed. All of that may change at any time.
    """
    jar: Any = session._cookie_jar
    jar_class: Any = jar.__class__
    if jar_class is CookieJar:
        is_empty = jar_class.filter_cookies is _FILTER and not jar._cookies
    else:
        is_empty = jar_class is DummyCookieJar and jar_class.filter_cookies is _DUMMY_FILTER
    # A CachedSession has its trace configs in __dict__, too, and reading its property takes longer.
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
    try:
        return getversion(headers)
    except TypeError:  # a plain mapping, which aiohttp takes as well
        return None


def total_timeout_s(session: ClientSession) -> float | None:
    """The total timeout of *session* in seconds, which a request may replace; None for no limit."""
    return session._timeout.total


raises_for_status: Callable[[ClientSession], Any] = attrgetter("_raise_for_status")
"""The ``raise_for_status`` of a session, which a request may replace."""


def sets_proxy_or_auth(session: ClientSession) -> bool:
    """Whether *session* has a default proxy or default credentials, or takes them from the environment."""
    return session.trust_env or session.auth is not None or session._default_proxy is not None


def request_class_of(session: ClientSession) -> type[ClientRequest]:
    """The class of the requests that *session* makes."""
    return session._request_class


# ---- passing parts of a request or response on to another response


def hand_on_traces(request: ClientRequest, response: ClientResponse) -> None:
    """Give *response* the traces of *request*, so that these report its body."""
    if _CAN_TRACES:
        response._traces = request._traces


class _Continued:
    """Replaces a trace config for a request by which another request is sent, and continues the trace of that one.

    It passes on events about connections only. Events about the request, its body and its response come from the other
    request.
    """

    def __init__(self, trace: Any) -> None:
        self._trace = trace

    def trace_config_ctx(self, trace_request_ctx: object = None) -> Any:
        """The context of the continued trace."""
        return self._trace._trace_config_ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trace._trace_config, name) if name.startswith(("on_connection_", "on_dns_")) else self

    async def send(self, *args: object) -> None:
        """Ignore the event."""


def continued_traces(request: ClientRequest) -> list[Any]:
    """Trace configs to use for a second request that is made only to send *request*; see `engine.bases.through`."""
    return [_Continued(trace) for trace in request._traces] if _CAN_TRACES else []


def hand_on_cookies(response: ClientResponse, cookies: Iterable[str] | ClientResponse) -> None:
    """Give *response* the *cookies* for aiohttp's jar: values of Set-Cookie, or those of another response."""
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
    """Whether the request's total timeout has cancelled the task that sends it."""
    return bool(getattr(getattr(request, "_timer", None), "_cancelled", False))
