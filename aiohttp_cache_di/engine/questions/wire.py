"""The parts of a request that its key is made of: what will be sent, and how the connection is verified."""

from __future__ import annotations

from ssl import SSLContext
from typing import Any

from aiohttp import ClientRequest, ClientSession, NamedPipeConnector, UnixConnector, hdrs
from aiohttp.payload import BytesPayload, IOBasePayload, Payload
from multidict import CIMultiDict

from aiohttp_cache_di import keys
from aiohttp_cache_di._aiohttp import connector_ssl, parts_of
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.questions.digest import log_in
from aiohttp_cache_di.policy.rules.principals import named_by
from aiohttp_cache_di.rfc9111.messages import Request

__all__ = ["MAX_KEYED_BODY_BYTES", "key_arguments", "passes_by", "request_body", "socket_of"]

MAX_KEYED_BODY_BYTES = 1024 * 1024  # a larger upload is not worth holding in memory for its key


async def request_body(request: ClientRequest) -> bytes | None:
    """The body as it will be sent; b"" for none, None if it cannot be read twice or is large."""
    payload = request.body
    if isinstance(payload, bytes):
        return payload
    if not _is_repeatable(payload):
        return None
    size = payload.size
    if size is None or size > MAX_KEYED_BODY_BYTES:
        return None
    try:
        return await payload.as_bytes()
    except Exception:  # aiohttp raises it again when it sends the body
        return None


def _is_repeatable(payload: Payload) -> bool:
    parts = parts_of(payload)
    if parts is not None:
        return all(map(_is_repeatable, parts))
    return isinstance(payload, BytesPayload | IOBasePayload)


def key_arguments(request: ClientRequest, body: bytes, call: Call, backend: CacheBackend) -> dict[str, Any]:
    """The keyword arguments of `CacheBackend.create_key` for a request.

    Args:
        body: see `request_body`; b"" for none.

    Raises:
        Exception: whatever a function given as ``principal`` raises.
    """
    headers = request.headers
    arguments: dict[str, Any] = {"headers": headers}
    if body:
        arguments["data"] = body
    if call.decoded is False:
        arguments["decoded"] = False
    if request.proxy is not None:
        arguments["proxy"] = request.proxy
        arguments["proxy_auth"] = request.proxy_auth
        arguments["proxy_headers"] = request.proxy_headers
    socket = socket_of(request.session)
    if socket:
        arguments["socket"] = socket
    if request.is_ssl():
        apart = backend.partition_tls == "context"
        demand = _demand(request, contexts_apart=apart)
        tls = keys.tls_token(demand, request.server_hostname, contexts_apart=apart)
        if tls:
            arguments["tls"] = tls
    if backend.partition_cookies == "explicit" and hdrs.COOKIE in headers:
        arguments["headers"] = _without_jar(request, call)
        arguments["cookies"] = call.cookies
    if call.digest_user is not None:
        arguments["headers"] = log_in(arguments["headers"], call.digest_user)
    if call.wishes.principal is not None:
        arguments["principal"] = named_by(call.wishes.principal, Request(request.method, str(request.url), headers))
    return arguments


def socket_of(session: ClientSession) -> str:
    """The Unix socket or named pipe that *session* connects to, whatever host a URL names; empty if it is none."""
    connector = session.connector
    return str(connector.path) if isinstance(connector, UnixConnector | NamedPipeConnector) else ""


def passes_by(request: ClientRequest, backend: CacheBackend) -> bool:
    """Whether the cache ignores the request: it asks for a tunnel, another protocol or a stream of events."""
    headers = request.headers
    return (
        request.method == hdrs.METH_CONNECT
        or hdrs.UPGRADE in headers
        or (
            headers.get(hdrs.ACCEPT, "").startswith("text/event-stream")
            and (request.method in backend.allowed_methods or backend.may_allow(request.method))
        )
    )


def _without_jar(request: ClientRequest, call: Call) -> CIMultiDict[str]:
    """The header fields of *request*, without cookies of the jar: with those of the caller's headers alone."""
    fields = CIMultiDict(request.headers)
    if call.headers is None:  # a session without CacheMixin: the caller's headers are not known
        return fields
    del fields[hdrs.COOKIE]
    own = CIMultiDict(request.session.headers)
    own.update(call.headers)
    fields.extend((hdrs.COOKIE, value) for value in own.getall(hdrs.COOKIE, ()))
    return fields


def _demand(request: ClientRequest, *, contexts_apart: bool = False) -> Any:
    """How the connection is to be verified: the request's ``ssl`` argument, or else the connector's.

    A connector's context that does not verify counts as ``ssl=False``, so that keys are the same in other processes,
    unless it presents a client certificate or *contexts_apart* is true.

    Args:
        contexts_apart: each context object has keys of its own (``partition_tls="context"``).
    """
    demand: Any = request.ssl if request.ssl is not True else connector_ssl(request.session)
    if not isinstance(demand, SSLContext) or demand is request.ssl or contexts_apart:
        return demand
    return demand if keys.is_verifying(demand) or keys.client_certificate(demand) != "" else False
