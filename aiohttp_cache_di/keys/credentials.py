"""The partition of a request: a digest of everything that identifies its user.

Requests with different credentials have different partitions, so that no user gets the response of another. The
credentials themselves are not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from http.cookies import BaseCookie, Morsel, SimpleCookie
from typing import Any, Final, TypeAlias

from aiohttp import BasicAuth
from aiohttp.typedefs import LooseCookies, LooseHeaders
from yarl import URL

from aiohttp_cache_di.keys.names import CredentialNames, says_which_resource

__all__ = [
    "Fields",
    "digest_of",
    "effective_credentials",
    "fields_of",
    "hex_digest",
    "pairs_of",
    "partition_of",
    "who_asks",
]

_PRINCIPAL: Final = ":principal"  # with a colon, which names of header fields do not have
_SHARED: Final = ":shared"
_CLIENTS: Final = frozenset({"for", "by"})
"""The parameters of Forwarded that differ by client, as X-Forwarded-For does, and choose no resource."""

Fields: TypeAlias = list[tuple[str, str]]
"""Header fields with lower-case names, in the order in which they are sent."""


def digest_of(credentials: Fields, key: bytes = b"") -> str:
    """The digest of *credentials*, "" for none; the order of different names, and of cookies, makes no difference.

    Without a *key*, short credentials can be guessed from the digest.
    """
    if not credentials:
        return ""
    text = "".join(
        f"{len(name)}:{name}{len(value)}:{value}"
        for name, value in sorted(
            ((name, _sorted_cookies(value) if name == "cookie" else value) for name, value in credentials),
            key=_first,  # a stable sort: the values of one name keep their order
        )
    )
    return hex_digest(text, 16, key)


def who_asks(
    fields: Fields,
    names: CredentialNames,
    *,
    principal: str | None = None,
    credentials_are_shared: bool = False,
    key: bytes = b"",
) -> str:
    """The digest of the *fields* that identify the user or the resource, "" if there are none.

    Args:
        fields: all effective header fields, including credentials.
        names: the names of the fields that identify the user or the resource.
        principal: the user, if known by name: then credentials make no difference.
        credentials_are_shared: credentials for the origin are interchangeable; only whether there are any makes a
            difference, so that requests without credentials do not get responses to requests with them.
        key: the key of the digest.
    """
    found = [(name, told) for name, value in fields if name in names and (told := _counting(name, value, names))]
    if principal is not None:
        found = [field for field in found if says_which_resource(field[0])]
        found.append((_PRINCIPAL, principal))
    elif credentials_are_shared and found:
        kept = [field for field in found if field[0] == "proxy-authorization" or says_which_resource(field[0])]
        if len(kept) < len(found):
            kept.append((_SHARED, ""))
        found = kept
    return digest_of(found, key)


def effective_credentials(
    fields: Fields,
    *,
    url: URL,
    auth: BasicAuth | None = None,
    cookies: LooseCookies | None = None,
    proxy: str | URL | None = None,
    proxy_auth: BasicAuth | None = None,
    proxy_fields: Fields | None = None,
) -> Fields:
    """*fields*, with the credentials that aiohttp adds from the other arguments of a request."""
    has_userinfo = url.raw_user is not None or url.raw_password is not None
    if not (auth or cookies or proxy or proxy_auth or proxy_fields or has_userinfo):
        return fields
    user = auth or (BasicAuth.from_url(url) if has_userinfo else None)
    if user is not None:
        fields = [field for field in fields if field[0] != "authorization"]
        fields.append(("authorization", user.encode()))
    if cookies:
        sent = "; ".join(value for name, value in fields if name == "cookie")
        fields = [field for field in fields if field[0] != "cookie"]
        fields.append(("cookie", _with_cookies(sent, cookies)))
    fields = fields + [(name, value) for name, value in proxy_fields or () if name == "proxy-authorization"]
    proxy_user = proxy_auth or (BasicAuth.from_url(URL(proxy)) if proxy else None)
    if proxy_user is not None:
        fields = [field for field in fields if field[0] != "proxy-authorization"]
        fields.append(("proxy-authorization", proxy_user.encode()))
    return fields


def partition_of(
    url: URL,
    arguments: Mapping[str, Any],
    names: CredentialNames,
    *,
    principal: str | None = None,
    credentials_are_shared: bool = False,
    key: bytes = b"",
) -> str:
    """The partition of a request to *url*, in which the response is stored; "" if it is the same for all.

    Args:
        arguments: those of its key: ``headers``, ``cookies``, ``proxy_auth`` …
        names, principal, credentials_are_shared, key: as in `who_asks`.
    """
    fields = effective_credentials(
        fields_of(arguments.get("headers")),
        url=url,
        auth=arguments.get("auth"),
        cookies=arguments.get("cookies"),
        proxy=arguments.get("proxy"),
        proxy_auth=arguments.get("proxy_auth"),
        proxy_fields=fields_of(arguments.get("proxy_headers")),
    )
    return who_asks(fields, names, principal=principal, credentials_are_shared=credentials_are_shared, key=key)


def fields_of(headers: LooseHeaders | None) -> Fields:
    """*headers* as they are given, with lower-case names."""
    return [(name.lower(), value) for name, value in pairs_of(headers)] if headers else []


def pairs_of(fields: Any) -> Iterable[tuple[str, Any]]:
    """The pairs of a mapping, a multidict or an iterable of pairs, which aiohttp all accepts."""
    pairs: Iterable[tuple[str, Any]] = fields.items() if hasattr(fields, "items") else fields
    return pairs


def hex_digest(text: str, size: int, key: bytes = b"") -> str:
    """The BLAKE2b digest of *text* with *key*, *size* bytes long, in hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size, key=key).hexdigest()


def _first(pair: tuple[str, str]) -> str:
    return pair[0]


def _cookie_pairs(header: str) -> list[tuple[str, str]]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [(name.strip(), equals + value.strip()) for name, equals, value in pairs if name or equals]


def _sorted_cookies(header: str) -> str:
    # Servers disagree on whether a semicolon within quotes separates cookies; with one, the order counts.
    if '"' in header and (r"\"" in header or any(part.count('"') % 2 for part in header.split(";"))):
        return header
    return "; ".join(name + value for name, value in sorted(_cookie_pairs(header), key=_first))


def _counting(name: str, value: str, names: CredentialNames) -> str:
    """What counts of the *value* of a field: of Forwarded (RFC 7239) host and scheme, unless the user has named it."""
    if name != "forwarded" or names.is_named(name):
        return value
    elements = [[pair.strip() for pair in element.split(";")] for element in value.split(",")]
    if "\\" in value or any(pair.count('"') % 2 for pairs in elements for pair in pairs):  # a separator within quotes
        return value
    counting = [";".join(filter(_is_of_resource, pairs)) for pairs in elements]
    return ",".join(counting) if any(counting) else ""


def _is_of_resource(pair: str) -> bool:
    """Whether *pair*, of a Forwarded field, may choose the resource."""
    return bool(pair) and pair.partition("=")[0].strip().lower() not in _CLIENTS


def _with_cookies(header: str, cookies: LooseCookies) -> str:
    """The Cookie field that aiohttp makes from a header field and ``cookies=``, which takes precedence by name."""
    merged = dict(_cookie_pairs(header))
    jar: BaseCookie[str] = SimpleCookie()
    for name, value in pairs_of(cookies):
        jar[name] = value
        morsel: Morsel[str] = jar[name]
        merged[name] = f"={morsel.coded_value}"
    return "; ".join(name + value for name, value in merged.items())
