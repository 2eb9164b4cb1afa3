"""The settings of a backend, and how the options that users give become settings."""

from __future__ import annotations

import inspect
import logging
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any, Final, cast

from aiohttp.typedefs import LooseHeaders, StrOrURL
from multidict import CIMultiDict

from aiohttp_cache_di import keys
from aiohttp_cache_di.backends.memory import DEFAULT_MAX_BYTES, DictCache, MemoryStore
from aiohttp_cache_di.backends.options.revision import Setting, hook, setting, settings_of
from aiohttp_cache_di.backends.options.typed import FilterFn, TagFn
from aiohttp_cache_di.backends.options.values import BackendOptions, collected, refuse_unusable
from aiohttp_cache_di.backends.stacked import Stacked
from aiohttp_cache_di.backends.wrap.guarding.guard import DEFAULT_DEADLINE_S, StoreGuard
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.entries.secrets import DEFAULT_SALT, digest_key_of
from aiohttp_cache_di.lazy import derived
from aiohttp_cache_di.policy.rules.book import NO_WISHES, RuleBook, Rules, Wishes
from aiohttp_cache_di.policy.rules.expiration import ExpirationTime, UrlLifetime, UrlRules, lifetime_s
from aiohttp_cache_di.policy.rules.idle import idle_settings
from aiohttp_cache_di.policy.rules.patterns import UrlPatterns
from aiohttp_cache_di.policy.rules.principals import Principal, PrincipalPatterns, named_by
from aiohttp_cache_di.policy.rules.windows import window_s
from aiohttp_cache_di.response import AnyResponse
from aiohttp_cache_di.rfc9111.messages import Request
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["LOOKING_UP", "SETTINGS", "Configured", "FilterFn", "GivenOptions", "TagFn", "accept_all"]

logger: logging.Logger = logging.getLogger(__name__)

LOOKING_UP: Final = frozenset({"request", "get_response"})
"""Methods that look responses up, and that users may override."""
_DEFAULTS: Final = {"secret_key": None, "salt": DEFAULT_SALT, "serializer": None, "max_entries": None}
"""Defaults of options that are not stored as attributes."""


def accept_all(response: AnyResponse) -> bool:
    """Accept every response: the default of ``filter_fn``."""
    return True


class GivenOptions(BackendOptions):
    """All options of a backend: the named arguments of its initialiser, and further ones."""

    cache_name: str
    expire_after: ExpirationTime
    urls_expire_after: Mapping[str, UrlLifetime] | None
    allowed_codes: Collection[int]
    allowed_methods: Collection[str]
    include_headers: bool
    ignored_params: Iterable[str] | None
    autoclose: bool
    cache_control: bool
    filter_fn: FilterFn


def _lifetime(value: ExpirationTime) -> ExpirationTime:
    lifetime_s(value, now=time.time())  # refuses an invalid one
    return value


def _lifetimes_by_url(value: Mapping[str, UrlLifetime] | None) -> Mapping[str, UrlLifetime] | None:
    UrlRules(value or {})  # refuses invalid ones
    return value


def _methods(value: Iterable[str]) -> frozenset[str]:
    return frozenset(method.upper() for method in value)


def _names(value: Iterable[str] | None) -> frozenset[str]:
    return frozenset(value or ())


class Configured(Stacked, RuleBook):
    """Base of backends: the settings, which `CacheBackend` explains."""

    name: str = setting(option="cache_name")
    expire_after: ExpirationTime = setting(_lifetime)
    urls_expire_after: Mapping[str, UrlLifetime] | None = setting(_lifetimes_by_url)
    allowed_codes: Collection[int] = setting()
    allowed_methods: frozenset[str] = setting(_methods)
    include_headers: bool = setting()
    ignored_params: frozenset[str] = setting(_names)
    autoclose: bool = setting()
    cache_control: bool = setting()
    filter_fn: FilterFn = setting()
    tag_fn: TagFn | None = setting()
    shared: bool = setting(default=False)
    match_order: bool | None = setting()
    credential_headers: keys.CredentialNames = setting(keys.credential_names, default=keys.DEFAULT_CREDENTIAL_HEADERS)
    digest_key: bytes = setting(default=b"")
    post_as_query: Collection[str] = setting(default=())
    partition_cookies: str = setting(default="effective")
    partition_tls: str = setting(default="authorities")
    principal: Principal = setting()
    principals: Mapping[str, str] | None = setting()
    shared_credentials: Collection[str] = setting(default=())
    stale_if_error_s: float | None = setting(window_s, option="stale_if_error")
    stale_while_revalidate_s: float | None = setting(
        partial(window_s, option="stale_while_revalidate"), option="stale_while_revalidate"
    )
    heuristic_fraction: float = setting(default=0.1)
    heuristic_with_query: bool = setting(default=False)
    max_variants: int = setting(default=16)
    max_body_bytes: int | None = setting(default=8 * 1024 * 1024)
    coalesce: bool = setting(default=True)
    coalesce_timeout_s: float = setting(option="coalesce_timeout", default=2.0)
    lease_s: float = setting(option="lease", default=2.0)
    write_behind: bool = setting(default=True)
    fast_lane: bool = setting(default=True)
    disabled: bool = setting(default=False)
    store_cookies: bool = setting(default=False)

    def __init__(self, given: GivenOptions) -> None:
        """Apply the options *given*, and store responses in memory."""
        super().__init__()
        given = cast("GivenOptions", collected(given))
        refuse_unusable(given)  # those that are no settings, too
        self._options_given: Mapping[str, Any] = given
        for option, each in SETTINGS.items():
            setattr(self, each.name, given.get(option, each.default))
        _ = self.query_patterns, self.names_principals, self.shared_patterns  # refuses invalid patterns
        _warn_of_idle(self)
        self._has_secret_key = given.get("secret_key") is not None
        self.digest_key = digest_key_of(given.get("secret_key"), given.get("salt", DEFAULT_SALT))
        self.stats: CacheStats = CacheStats()
        self.guard: StoreGuard = StoreGuard(self.stats, deadline_s=given.get("storage_deadline", DEFAULT_DEADLINE_S))
        memory = MemoryStore(given.get("max_entries"), given.get("max_bytes", DEFAULT_MAX_BYTES))
        self.use(DictCache.on(StoreStack(memory, guard=self.guard)))

    @derived
    def url_rules(self) -> UrlRules:  # type: ignore[override]  # derived from `urls_expire_after`
        """The lifetimes by URL pattern."""
        return UrlRules(self.urls_expire_after or {})

    @derived
    def principal_patterns(self) -> PrincipalPatterns:
        """The names of principals by URL pattern."""
        return PrincipalPatterns(self.principals or {})

    @derived
    def shared_patterns(self) -> UrlPatterns:
        """Patterns of the URLs for which all credentials are equivalent."""
        return UrlPatterns(self.shared_credentials, option="shared_credentials", by_host=True)

    @derived
    def names_principals(self) -> bool:
        """Whether the settings may name a principal for a request."""
        return self.principal is not None or bool(self.principal_patterns)

    @derived
    def names_of_credentials(self) -> keys.CredentialNames:
        """The request headers that identify the user or the resource, without those in `ignored_params`."""
        return keys.credential_names(self.credential_headers, self.ignored_params)

    @property
    def is_ordered(self) -> bool:
        """Whether the order of different names in a query, a form or a JSON body is part of the key."""
        return self.cache_control if self.match_order is None else self.match_order

    @property
    def leaves_credentials_out(self) -> bool:
        """Whether a setting lets requests with different credentials, or with none, share responses."""
        return (
            self.partition_cookies == "explicit"
            or self.names_of_credentials.leaves_some_out
            or any(map(keys.is_secret_param, self.ignored_params))
        )

    @property
    def reads_pending(self) -> bool:
        """Whether pending writes count as stored; not if the user has overridden a method of look-up."""
        return self.write_behind and self.overridden.isdisjoint(LOOKING_UP)

    def rules_for(self, url: StrOrURL, wishes: Wishes = NO_WISHES) -> Rules:
        """Resolve the settings for one request: its own, those of the first matching pattern, or the backend's."""
        return self.resolve(url, wishes, now=time.time())

    def principal_of(self, request: Request) -> str | None:
        """The name of the principal of *request*; None if its credentials identify it.

        Raises:
            ConfigurationError: the user's function returns something other than a name.
            Exception: whatever the user's function raises.
        """
        name = self.principal_patterns.match(request.url)
        return named_by(self.principal, request) if name is None else name

    def whose(self, method: str, url: StrOrURL, headers: LooseHeaders | None, principal: Principal) -> dict[str, Any]:
        """The arguments of `keys.create_key` for the principal of a request.

        Args:
            principal: the principal that is given with the request or its session, which takes precedence.
        """
        if principal is not None or self.names_principals:
            request = Request(method.upper(), str(url), CIMultiDict(headers or ()))
            try:
                name = named_by(principal, request)
                if name is None:
                    name = self.principal_of(request)
            except Exception:  # without a name, the request must not share a response: a random name has none
                name = f"unknown {secrets.token_hex(16)}"
            if name is not None:
                return {"principal": name}
        return {"credentials_are_shared": True} if self.shared_patterns.match(url) else {}

    @hook
    def create_key(self, method: str, url: StrOrURL, **kwargs: Any) -> str:
        """Create the cache key of a request: the same for equal requests, different for all others.

        Args:
            method: the HTTP method.
            url: the URL; ``params`` in *kwargs* are added to its query.
            kwargs: the other arguments of the request: ``params``, ``data``, ``json``, ``headers``, ``cookies``,
                ``auth``, ``principal`` …; the engine passes the URL, headers and body as they are sent.
        """
        return keys.create_key(
            method,
            url,
            include_headers=self.include_headers,
            ignored_params=self.ignored_params,
            digest_key=self.digest_key,
            ordered=self.is_ordered,
            credential_headers=self.credential_headers,
            contexts_apart=self.partition_tls == "context",
            **self.whose(method, url, kwargs.get("headers"), kwargs.pop("principal", None)),
            **kwargs,
        )

    async def passes_filter(self, response: AnyResponse) -> bool:
        """Return whether ``filter_fn``, which may be a coroutine function, accepts *response*."""
        verdict = self.filter_fn(response)
        return bool(await verdict if inspect.isawaitable(verdict) else verdict)

    def value_of(self, option: str, default: object) -> object:
        """The current value of *option*: as it was given, or as it has been set since.

        Args:
            option: a name of `CacheOptions`, or ``cache_name`` or ``autoclose``.
            default: returned if the option was not given and its default depends on the store.
        """
        if option == "storage_deadline":
            return self.guard.deadline_s
        if option in SETTINGS:
            return getattr(self, SETTINGS[option].name)
        return self._options_given.get(option, _DEFAULTS.get(option, default))


SETTINGS: Final[Mapping[str, Setting]] = settings_of(Configured)
"""The settings of a backend, by the names of their options."""


def _warn_of_idle(backend: Configured) -> None:
    """Warn of options without effect. `CacheSettings` refuses them; here that would break existing programs."""
    for sentence in idle_settings(
        cache_control=backend.cache_control,
        allowed_methods=sorted(backend.allowed_methods),
        urls_expire_after=backend.url_rules.by_pattern,
        post_as_query=backend.post_as_query,
    ):
        logger.warning("Cache %s: %s", backend.name, sentence)
