"""The arguments of `aiohttp.ClientSession` as type checkers and editors see them; nothing here is needed at run time.

They are those of the newest supported aiohttp, and a test compares the two. An older aiohttp that is installed may not
accept all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypedDict

from aiohttp import (
    BaseConnector,
    BasicAuth,
    ClientMiddlewareType,
    ClientRequest,
    ClientResponse,
    ClientTimeout,
    ClientWebSocketResponse,
    HttpVersion,
    TraceConfig,
)
from aiohttp.abc import AbstractCookieJar
from aiohttp.typedefs import JSONBytesEncoder, JSONEncoder, LooseCookies, LooseHeaders, StrOrURL

__all__ = ["ClientOptions"]


class ClientOptions(TypedDict, total=False):
    """Arguments of `aiohttp.ClientSession` besides ``base_url``."""

    connector: BaseConnector | None
    """The connection pool. Default: None, for a ``TCPConnector`` of the session's own with 100 connections."""
    connector_owner: bool
    """Close the connector with the session. Default: True."""
    loop: asyncio.AbstractEventLoop | None
    """The event loop; deprecated. Default: None, for the running one."""
    cookies: LooseCookies | None
    """Cookies that are put into the jar at the start. Default: None."""
    cookie_jar: AbstractCookieJar | None
    """Stores cookies; ``aiohttp.DummyCookieJar()`` stores none. Default: None, for a jar of the session's own."""
    headers: LooseHeaders | None
    """Header fields of every request. Default: None."""
    skip_auto_headers: Iterable[str] | None
    """Names of header fields that aiohttp does not add by itself. Default: None."""
    auth: BasicAuth | None
    """Basic authentication for every request; deprecated: set it in ``headers``. Default: None."""
    proxy: StrOrURL | None
    """URL of the proxy for every request. Default: None."""
    proxy_auth: BasicAuth | None
    """Basic authentication at the proxy; deprecated: set it in ``proxy_headers`` of a request. Default: None."""
    trust_env: bool
    """Use proxies from HTTP_PROXY, HTTPS_PROXY … and credentials from ``~/.netrc``. Default: False."""
    timeout: ClientTimeout | None
    """Time limits in seconds. Default: 300 in total, 30 for opening a connection."""
    read_timeout: float
    """Seconds for a whole request; deprecated: use ``timeout``. Default: 300."""
    conn_timeout: float | None
    """Seconds for a connection; deprecated: use ``timeout``. Default: None."""
    ssl_shutdown_timeout: float | None
    """Seconds for the end of a TLS connection; deprecated. Default: 0."""
    raise_for_status: bool | Callable[[ClientResponse], Awaitable[None]]
    """Raise ``ClientResponseError`` for a status from 400, or call this with each response. Default: False."""
    json_serialize: JSONEncoder
    """Serializes ``json=`` to a string. Default: ``json.dumps``."""
    json_serialize_bytes: JSONBytesEncoder | None
    """Serializes ``json=`` to bytes, instead of ``json_serialize``. Default: None."""
    request_class: type[ClientRequest]
    """The class of requests. Default: ``aiohttp.ClientRequest``."""
    response_class: type[ClientResponse]
    """The class of responses from the origin. Default: ``aiohttp.ClientResponse``."""
    ws_response_class: type[ClientWebSocketResponse]
    """The class of web sockets. Default: ``aiohttp.ClientWebSocketResponse``."""
    version: HttpVersion
    """The version of HTTP. Default: ``aiohttp.HttpVersion11``."""
    auto_decompress: bool
    """Decode bodies by their Content-Encoding. Default: True."""
    requote_redirect_url: bool
    """Quote the URL of a redirect again. Default: True."""
    trace_configs: list[TraceConfig] | None
    """Called with the events of each request; a hit has no events of a connection. Default: None."""
    read_bufsize: int
    """Size of the buffer for reading, in bytes. Default: 262144 (256 KiB)."""
    max_line_size: int
    """Greatest length of the status line, in bytes. Default: 8190."""
    max_field_size: int
    """Greatest length of a header field, in bytes. Default: 8190."""
    max_headers: int
    """Greatest number of header fields of a response. Default: 128."""
    fallback_charset_resolver: Callable[[ClientResponse, bytes], str]
    """Returns the charset of a body whose headers do not name one. Default: UTF-8 for all."""
    middlewares: Sequence[ClientMiddlewareType]
    """Called around each request; the cache is the innermost. Default: ()."""
