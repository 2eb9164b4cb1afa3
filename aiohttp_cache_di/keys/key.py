"""The cache key of a request: a digest of all components that may affect its response.

The engine knows a request as it is sent (final URL, effective headers, body as bytes), users know it by the arguments
of ``session.get(…)``; both get the same key. Each component is preceded by its length, so that different requests never
have the same text.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Collection
from ssl import SSLContext
from typing import Any, Final

from aiohttp import BasicAuth, ClientRequest, Fingerprint
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.typedefs import LooseCookies, LooseHeaders, Query
from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di._aiohttp import request_parameters
from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.keys.bodies import OCTETS, body_digest, body_of
from aiohttp_cache_di.keys.credentials import (
    Fields,
    effective_credentials,
    fields_of,
    hex_digest,
    who_asks,
)
from aiohttp_cache_di.keys.names import DEFAULT_CREDENTIAL_HEADERS, CredentialNames, credential_names, lower_names
from aiohttp_cache_di.keys.targets import is_own_host, target_of
from aiohttp_cache_di.keys.tls import tls_token, without_client
from aiohttp_cache_di.rfc9111.storability import CONDITIONAL_OR_RANGE

__all__ = ["create_key", "plain_key"]

_KEY_BYTES: Final = 20
_KNOWN_ARGUMENTS: Final = request_parameters()

# Fields of the connection, of the body (a component of its own), and for the cache: a condition or Cache-Control in a
# request decides how a stored response is used, not which one.
_NEVER_MATCHED: Final = frozenset(
    {
        "host",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "content-length",
        "content-encoding",
        "cache-control",
        "pragma",
    }
).union(map(str.lower, CONDITIONAL_OR_RANGE))

_NONE: Final[frozenset[str]] = frozenset()

# Fields that aiohttp adds by itself, so that they are missing in a user's arguments.
_AUTOMATIC: Final = {name.lower(): value for name, value in ClientRequest.DEFAULT_HEADERS.items()} | {
    "user-agent": SERVER_SOFTWARE,
    "content-type": OCTETS,
}


def create_key(
    method: str,
    url: str | URL,
    *,
    params: Query = None,
    data: Any = None,
    json: Any = None,
    headers: LooseHeaders | None = None,
    cookies: LooseCookies | None = None,
    auth: BasicAuth | None = None,
    proxy: str | URL | None = None,
    proxy_auth: BasicAuth | None = None,
    proxy_headers: LooseHeaders | None = None,
    compress: str | bool | None = None,
    include_headers: bool = False,
    match_headers: Collection[str] = (),
    ignored_params: Collection[str] = (),
    credential_headers: CredentialNames | Collection[str] = DEFAULT_CREDENTIAL_HEADERS,
    principal: str | None = None,
    credentials_are_shared: bool = False,
    ssl: SSLContext | bool | Fingerprint | None = True,
    server_hostname: str | None = None,
    tls: str = "",
    socket: str = "",
    contexts_apart: bool = False,
    decoded: bool = True,
    ordered: bool = False,
    digest_key: bytes = b"",
    json_serialize: Callable[[Any], str | bytes] = jsonlib.dumps,
    **kwargs: Any,
) -> str:
    """The key under which the response to a request is kept, as hexadecimal digits.

    The order of the values of one name makes a difference, that of different names only with *ordered*.

    Args:
        include_headers: all request headers are part of the key, except those of the connection, those for the cache
            and aiohttp's defaults.
        match_headers: names of headers that are part of the key, in any case.
        ignored_params: names of query parameters, top-level JSON members, form fields and headers (in any case) that
            are not part of the key. This includes credentials, whose responses are then shared.
        credential_headers: headers that identify the user. By default those with telling names;
            ``DEFAULT_CREDENTIAL_HEADERS | names`` adds others, and a collection of names stands for these alone.
        principal: the user whom the request is for, in place of its credentials.
        credentials_are_shared: credentials for the origin are interchangeable.
        proxy, proxy_headers: the proxy, which may answer in place of the origin.
        ssl, server_hostname: how the connection is verified; part of the key for https only.
        tls: the same as a text, from `tls_token`.
        socket: the Unix socket or named pipe that is connected to, whatever host the URL names.
        contexts_apart: each TLS context has keys of its own.
        ordered: the order of different names in a query, a form and a JSON body makes a difference.
        digest_key: the key of the digest if more than method and URL is in it, so that secrets cannot be guessed.
        decoded: whether the client decodes content codings (``auto_decompress``).
        kwargs: the other arguments of `aiohttp.ClientSession.request`, which make no difference.

    Raises:
        TypeError: an argument that `aiohttp.ClientSession.request` does not know, or a body that is a stream.
    """
    if kwargs and _KNOWN_ARGUMENTS is not None:
        refuse_unknown("create_key()", kwargs, _KNOWN_ARGUMENTS | {"expire_after", "refresh"})
    url = URL(url) if isinstance(url, str) else url
    ignored = frozenset(ignored_params) if ignored_params else _NONE
    target = target_of(url.extend_query(params) if params else url, ignored, ordered=ordered)
    if (ssl is not True or server_hostname) and url.scheme in ("https", "wss"):
        tls = tls_token(ssl, server_hostname, contexts_apart=contexts_apart)
    if tls and (principal is not None or credentials_are_shared):
        tls = without_client(tls)
    method, fields, names = method.upper(), fields_of(headers), credential_names(credential_headers, ignored)
    to_proxy = fields_of(proxy_headers)
    credentials = effective_credentials(
        fields, url=url, auth=auth, cookies=cookies, proxy=proxy, proxy_auth=proxy_auth, proxy_fields=to_proxy
    )
    who = ""
    if credentials or principal is not None:
        who = who_asks(credentials, names, principal=principal, credentials_are_shared=credentials_are_shared)
    body = ""
    if data is not None or json is not None:
        body = _body(data, json, json_serialize, fields, compress, ignored, ordered)
    if method == "QUERY" and not body:  # without content, the type still distinguishes requests
        body = "".join(value for name, value in fields if name == "content-type")
    matched = ""
    if include_headers or match_headers:
        only = None if include_headers else lower_names(frozenset(match_headers))
        matched = _matched(fields, only, ignored, names, has_body=bool(body))
    host = _effective_host(fields, url) if fields else ""
    way = socket or (_way_by(proxy, to_proxy, ignored) if proxy else "")  # aiohttp asks no proxy by a socket
    text = (
        f"{_beginning(method, target)}{len(who)}:{who}{len(tls)}:{tls}"
        f"{'1' if decoded else '0'}{len(body)}:{body}{len(matched)}:{matched}"
    )
    if host or way:
        text += f"h{len(host)}:{host}p{len(way)}:{way}"
    return hex_digest(text, _KEY_BYTES, digest_key if who or body or matched else b"")


def plain_key(method: str, url: URL, *, ignored_params: Collection[str] = (), ordered: bool = False) -> str:
    """The key that `create_key` makes for a method (upper case) and a URL without userinfo and nothing else."""
    target = target_of(url, ignored_params, ordered=ordered)
    return hex_digest(f"{_beginning(method, target)}{_NOTHING_ELSE}", _KEY_BYTES)


def _beginning(method: str, target: str) -> str:
    return f"1,{len(method)}:{method}{len(target)}:{target}"


_NOTHING_ELSE: Final = "0:0:10:0:"  # no credentials, default TLS, decoded, no body, no matched header


def _effective_host(fields: Fields, url: URL) -> str:
    """The Host field if it is not the URL's own, since it selects another resource. Of several the last one is sent."""
    hosts = [value for name, value in fields if name == "host"]
    return "" if not hosts or is_own_host(hosts[-1], url) else hosts[-1].strip().lower()


def _way_by(proxy: str | URL, proxy_fields: Fields, ignored: frozenset[str]) -> str:
    """The proxy and the header fields for it; its responses may differ, such as those of a proxy in another country.

    Proxy-Authorization is left out: it is part of the credentials.
    """
    address = URL(proxy)
    without = lower_names(ignored) | {"proxy-authorization"}
    fields = sorted((field for field in proxy_fields if field[0] not in without), key=lambda field: field[0])
    host = f"{address.scheme}://{(address.raw_host or '').lower()}:{address.port}"
    return "".join((f"{len(host)}:{host}", *(f"{len(name)}:{name}{len(value)}:{value}" for name, value in fields)))


def _body(
    data: Any,
    json: Any,
    json_serialize: Callable[[Any], str | bytes],
    fields: Fields,
    compress: str | bool | None,
    ignored: frozenset[str],
    ordered: bool,
) -> str:
    body = body_of(data, json, json_serialize=json_serialize)
    if body is None or not body.content:
        return ""  # aiohttp sends no body for b"" either
    content_encoding = compress if isinstance(compress, str) else "deflate" if compress else ""
    for name, value in fields:
        if name == "content-type":
            body = replace(body, content_type=value)
        elif name == "content-encoding":
            content_encoding = value
    return body_digest(body, ignored, content_encoding, ordered=ordered).hex()


def _matched(
    fields: Fields,
    only: frozenset[str] | None,
    ignored: frozenset[str],
    credentials: CredentialNames,
    *,
    has_body: bool,
) -> str:
    unmatched = _NEVER_MATCHED | lower_names(ignored)
    if has_body:
        unmatched |= {"content-type"}
    found = [
        (name, value)
        for name, value in fields
        if name not in unmatched
        and name not in credentials
        and (only is None or name in only)
        and _AUTOMATIC.get(name) != value
    ]
    found.sort(key=lambda field: field[0])  # a stable sort: the values of one name keep their order
    return "".join(f"{len(name)}:{name}{len(value)}:{value}" for name, value in found)
