"""The options of backends and storages: names, types and meanings.

The names that are accepted at run time are taken from here, so an option is declared only once. Editors show the
docstring under a key, so each states the unit and the default; a test compares the defaults with those of a backend.
`values` has the accepted values.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict

from aiohttp_cache_di.keys import CredentialNames
from aiohttp_cache_di.policy.rules.expiration import ExpirationTime, UrlLifetime
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.policy.rules.tags import Tags
from aiohttp_cache_di.policy.rules.windows import Window
from aiohttp_cache_di.response import AnyResponse

__all__ = [
    "BackendOptions",
    "CacheOptions",
    "FilterFn",
    "NearOptions",
    "RuleOptions",
    "SigningOptions",
    "StorageOptions",
    "TagFn",
]

FilterFn: TypeAlias = Callable[[AnyResponse], bool | Awaitable[bool]]
"""Returns whether a response may be cached; may be a coroutine function."""

TagFn: TypeAlias = Callable[[AnyResponse], Tags | Awaitable[Tags | None] | None]
"""Returns the tags of a response that is about to be stored; may be a coroutine function."""


class StorageOptions(TypedDict, total=False):
    """The bounds of a storage."""

    max_entries: int | None
    """Most entries that are stored, unless the store has its own bound; None for no bound. Default: None."""
    max_bytes: int | None
    """Most bytes of all entries together; None for no bound. No effect on a server, which has its own limit.

    Default: in memory 64 MiB, in a SQLite file or in files 1 GiB.
    """


class SigningOptions(TypedDict, total=False):
    """How entries are serialized and signed."""

    secret_key: Iterable[str | bytes] | str | bytes | None
    """Signs entries, so that entries written by others are rejected: at least 16 characters that cannot be guessed. Of
    several keys the first signs, and all verify. Default: None, for no signature."""
    salt: str | bytes
    """Separates different uses of one ``secret_key``. Default: b"aiohttp-client-cache"."""
    serializer: Any
    """An object with ``dumps`` and ``loads``, used instead of the built-in format; its output is still signed, if there
    is a key. Default: None, for the built-in format."""


class NearOptions(TypedDict, total=False):
    """Copies in memory, in front of a store on a server."""

    near_tier_s: float | None
    """Seconds for which a copy in memory of an entry may be used without asking the server; None keeps no copies.
    Default: None."""
    near_tier_bytes: int
    """Total size of these copies, in bytes. Default: 33554432 (32 MiB)."""


class RuleOptions(TypedDict, total=False):
    """What is cached, and for how long."""

    expire_after: ExpirationTime
    """Lifetime of responses: seconds, ``"5m"``, a timedelta, a datetime or an HTTP date; -1 never expires, 0 does not
    cache. With ``cache_control`` it applies only to responses that state no lifetime (RFC 9111 §4.2.1). Default: -1;
    with ``cache_control`` none is added."""
    urls_expire_after: Mapping[str, UrlLifetime] | None
    """Lifetimes by URL pattern, such as ``{"*.example.com/static/*": "1d"}``: shell globs, the first match decides. A
    value may be an `UrlExpiration`, or a mapping such as ``{"expire_after": "1d", "stale_if_error": "1h"}``.
    Default: None."""
    allowed_codes: Collection[int]
    """Statuses of responses that are cached. Default: (200,); with ``cache_control`` the response decides (RFC 9111
    §3)."""
    allowed_methods: Collection[str]
    """Methods of requests whose responses are cached. Default: ("GET", "HEAD")."""
    include_headers: bool
    """Make all request headers part of the key, not only those named in Vary (RFC 9111 §4.1). Default: False."""
    ignored_params: Iterable[str] | None
    """Query, form and JSON parameters and headers that are neither part of the key nor stored. Default: None."""
    cache_control: bool
    """Follow RFC 9111 and the directives of origin and caller, as a private cache does. Default: False."""
    filter_fn: FilterFn
    """Returns whether a response may be cached; may be a coroutine function. Default: every response may."""


class BackendOptions(StorageOptions, SigningOptions, total=False):
    """Options of a backend besides the named arguments of `CacheBackend`."""

    shared: bool
    """Act as a shared cache: store nothing that is ``private``, and prefer ``s-maxage`` (RFC 9111 §3.5, §5.2.2.10).
    Default: False."""
    match_order: bool | None
    """Whether the order of different names in a query, a form or a JSON body is part of the key; None: only with
    ``cache_control``. Default: None."""
    post_as_query: Collection[str]
    """Patterns of URLs for which POST is a query: with ``cache_control`` it is cached like the method QUERY
    (RFC 10008). Default: ()."""
    credential_headers: Collection[str] | CredentialNames
    """Request headers that identify the user: only the given names, or ``DEFAULT_CREDENTIAL_HEADERS | names``.
    Default: headers whose names indicate credentials."""
    principal: Principal
    """The user for whom requests are made, instead of the one that their credentials identify: a name, or a function of
    the request. Default: None, for the credentials."""
    principals: Mapping[str, str] | None
    """Names of principals by URL pattern. Default: None."""
    shared_credentials: Collection[str]
    """Patterns of URLs for which all credentials are equivalent, so that responses are shared. Default: ()."""
    partition_cookies: Literal["effective", "explicit"]
    """Cookies that identify the user: ``"effective"`` for all that are sent, ``"explicit"`` for those given to the
    request, without the jar's. Default: "effective"."""
    partition_tls: Literal["authorities", "context"]
    """What of a TLS context is part of the key: ``"authorities"`` for what it trusts and presents, ``"context"`` for
    the object itself. Default: "authorities"."""
    stale_if_error: Window
    """How long after its lifetime a response may be used instead of an error: seconds, ``"1h"``, a timedelta, or True
    for as long as it is stored (RFC 5861 §4). Default: None, for not at all."""
    stale_while_revalidate: Window
    """How long after its lifetime a response may be used while it is validated: seconds, ``"30s"``, a timedelta, or
    True for as long as it is stored (RFC 5861 §3). Default: None, for not at all."""
    heuristic_fraction: float
    """Lifetime of a response that states none but has a Last-Modified, as a fraction, from 0 to 1, of the time since
    that (RFC 9111 §4.2.2). Default: 0.1."""
    heuristic_with_query: bool
    """Apply ``heuristic_fraction`` to URLs with a query, too. Default: False."""
    max_variants: int
    """Most variants that are stored for one URL whose responses have Vary (RFC 9111 §4.1). Default: 16."""
    max_body_bytes: int | None
    """Size in bytes of the largest body that is stored; None for no limit in files, and in other stores for what fits
    into the 64 MiB that all bodies being copied share. Default: 8388608 (8 MiB)."""
    coalesce: bool
    """Send only one of equal concurrent requests to the origin. Default: True."""
    coalesce_timeout: float
    """Seconds for which a request waits for the body of an equal one that has stalled or has no known end.
    Default: 2.0."""
    lease: float
    """Seconds for which other processes wait for one that died during a request; 0: wait for none. Default: 2.0."""
    storage_deadline: float
    """Time limit in seconds of one operation on the store that a request waits for. Default: 0.25."""
    write_behind: bool
    """Store responses in the background, and answer from them meanwhile; False: wait until they are stored.
    Default: True."""
    fast_lane: bool
    """Answer simple hits without aiohttp's request machinery. Default: True."""
    store_cookies: bool
    """Store Set-Cookie, and send it with hits. Default: False."""
    tag_fn: TagFn | None
    """Returns the tags of a response that is about to be stored: a string, several, or None; may be a coroutine
    function. Default: None."""


class CacheOptions(RuleOptions, BackendOptions, total=False):
    """Options of every backend, besides ``cache_name`` and ``autoclose``."""
