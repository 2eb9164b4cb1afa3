"""The options of backends and storages as type checkers and editors see them: names, types, and what each is for.

The names are what is accepted at run time too (`options`): an option is stated here and nowhere else. A docstring under
a key is what an editor shows for it, so each names the unit and the default; a test compares the defaults with what a
backend is made with. `options` says which values are refused.
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
"""Tells whether a response may be cached; may be a coroutine function."""

TagFn: TypeAlias = Callable[[AnyResponse], Tags | Awaitable[Tags | None] | None]
"""Tells the tags of a response that is about to be stored; may be a coroutine function."""


class StorageOptions(TypedDict, total=False):
    """What a storage may hold."""

    max_entries: int | None
    """How many entries are kept at most, where the store has no bound of its own; None for no bound. Default: None."""
    max_bytes: int | None
    """What the entries may weigh together, in bytes; None for no bound. Of no effect on a server, which has its own.

    Default: in memory 64 MiB, in a SQLite file or in files 1 GiB.
    """


class SigningOptions(TypedDict, total=False):
    """How entries become bytes that can be trusted."""

    secret_key: Iterable[str | bytes] | str | bytes | None
    """Signs entries, so that what others put into the store is not believed: at least 16 characters that cannot be
    guessed. Of several keys the first signs, and all verify. Default: None, for no signature."""
    salt: str | bytes
    """Distinguishes uses of one ``secret_key``. Default: b"aiohttp-client-cache"."""
    serializer: Any
    """An object with ``dumps`` and ``loads``, used in place of the built-in format; a signature, if any, still
    surrounds what it makes. Default: None, for the built-in format."""


class NearOptions(TypedDict, total=False):
    """Copies in memory, in front of a store on a server."""

    near_tier_s: float | None
    """Seconds for which a copy of an entry that was read may be used again without asking the server; None for never.
    Default: None."""
    near_tier_bytes: int
    """What the copies may weigh together, in bytes. Default: 33554432 (32 MiB)."""


class RuleOptions(TypedDict, total=False):
    """What is cached, and for how long."""

    expire_after: ExpirationTime
    """Lifetime of a response: seconds, ``"5m"``, a timedelta, a datetime or an HTTP date; -1 for ever, 0 not to cache.
    With ``cache_control`` it applies to responses that state no lifetime (RFC 9111 §4.2.1). Default: -1; with
    ``cache_control`` none is added."""
    urls_expire_after: Mapping[str, UrlLifetime] | None
    """Lifetimes by URL pattern, such as ``{"*.example.com/static/*": "1d"}``: shell globs, the first match wins. An
    `UrlExpiration`, or a mapping such as ``{"expire_after": "1d", "stale_if_error": "1h"}``, says more than a lifetime.
    Default: None."""
    allowed_codes: Collection[int]
    """Statuses that are cached. Default: (200,); with ``cache_control`` the response decides (RFC 9111 §3)."""
    allowed_methods: Collection[str]
    """Methods that are cached. Default: ("GET", "HEAD")."""
    include_headers: bool
    """Make all request headers a part of the key, rather than those named in Vary alone (RFC 9111 §4.1).
    Default: False."""
    ignored_params: Iterable[str] | None
    """Query, form and JSON parameters and headers that do not count, and are not stored. Default: None."""
    cache_control: bool
    """Follow RFC 9111 and the directives of origin and caller, as a private cache does. Default: False."""
    filter_fn: FilterFn
    """Tells whether a response may be cached; may be a coroutine function. Default: every response may."""


class BackendOptions(StorageOptions, SigningOptions, total=False):
    """Options of a backend beside those that `CacheBackend` names one by one."""

    shared: bool
    """Act as a shared cache: store nothing that is ``private``, and prefer ``s-maxage`` (RFC 9111 §3.5, §5.2.2.10).
    Default: False."""
    match_order: bool | None
    """Whether the order of different names in a query, a form and a JSON body makes a difference; None: with
    ``cache_control`` alone. Default: None."""
    post_as_query: Collection[str]
    """Patterns of URLs to which POST is a query: with ``cache_control`` it is then cached as the method QUERY is
    (RFC 10008). Default: ()."""
    credential_headers: Collection[str] | CredentialNames
    """Request headers that set principals apart: names alone, or ``DEFAULT_CREDENTIAL_HEADERS | names``.
    Default: those whose names say so."""
    principal: Principal
    """Whom requests are for, in place of what their credentials say: a name, or a function of the request.
    Default: None, for what the credentials say."""
    principals: Mapping[str, str] | None
    """Names of principals by URL pattern. Default: None."""
    shared_credentials: Collection[str]
    """Patterns of URLs to which all credentials are as good as each other: they set no one apart. Default: ()."""
    partition_cookies: Literal["effective", "explicit"]
    """``"explicit"`` leaves the jar's cookies out of what sets principals apart. Default: "effective"."""
    partition_tls: Literal["authorities", "context"]
    """``"context"`` keeps what a TLS context has brought for that object alone, whatever it trusts and presents.
    Default: "authorities"."""
    stale_if_error: Window
    """How long past its lifetime a response may stand in for an error: seconds, ``"1h"``, a timedelta, or True for as
    long as it is stored (RFC 5861 §4). Default: None, for not at all."""
    stale_while_revalidate: Window
    """How long past its lifetime a response may be used while it is validated: seconds, ``"30s"``, a timedelta, or True
    for as long as it is stored (RFC 5861 §3). Default: None, for not at all."""
    heuristic_fraction: float
    """Lifetime of a response that states none but has a Last-Modified: this part of its age then, from 0 to 1
    (RFC 9111 §4.2.2). Default: 0.1."""
    heuristic_with_query: bool
    """The same for URLs with a query. Default: False."""
    max_variants: int
    """How many variants of one URL are kept at most, where Vary makes several (RFC 9111 §4.1). Default: 16."""
    max_body_bytes: int | None
    """Size in bytes of the largest body that is stored; None for any size in files, and else for what fits into the
    64 MiB that the copies under way share. Default: 8388608 (8 MiB)."""
    coalesce: bool
    """Let equal requests at the same time share one to the origin. Default: True."""
    coalesce_timeout: float
    """Seconds that a request waits for the body of its equal, if that stops arriving or has no known end.
    Default: 2.0."""
    lease: float
    """Seconds that other processes wait for one that has died with its request; 0 for none. Default: 2.0."""
    storage_deadline: float
    """Seconds that one operation of the storage may take, of those that a caller waits for. Default: 0.25."""
    write_behind: bool
    """Answer from what is on its way into the storage; False: wait until it is there. Default: True."""
    fast_lane: bool
    """Answer plain hits by the shortest way. Default: True."""
    store_cookies: bool
    """Store and replay Set-Cookie. Default: False."""
    tag_fn: TagFn | None
    """Tells the tags of a response that is about to be stored: a text, several, or None; may be a coroutine function.
    Default: None."""


class CacheOptions(RuleOptions, BackendOptions, total=False):
    """Options of every backend; beside them each has a ``cache_name`` and an ``autoclose``."""
