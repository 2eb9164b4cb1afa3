"""The options that every backend takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Literal, TypedDict

from aiohttp_cache_di.keys import CredentialNames
from aiohttp_cache_di.policy.rules import Window

__all__ = ["BACKEND_OPTIONS", "STORAGE_OPTIONS", "BackendOptions", "StorageOptions"]


class StorageOptions(TypedDict, total=False):
    """Options of a single storage (`BaseCache`) beside those that it names."""

    max_entries: int | None
    max_bytes: int | None


class BackendOptions(StorageOptions, total=False):
    """Options of a backend beside those that the base class names: see `CacheBackend` for their meaning."""

    secret_key: Iterable[str | bytes] | str | bytes | None
    salt: str | bytes
    serializer: Any
    shared: bool
    match_order: bool | None
    credential_headers: Collection[str] | CredentialNames
    partition_cookies: Literal["effective", "explicit"]
    stale_if_error: Window
    stale_while_revalidate: Window
    heuristic_fraction: float
    heuristic_with_query: bool
    max_variants: int
    max_body_bytes: int
    coalesce: bool
    coalesce_timeout: float
    lease: float
    storage_deadline: float
    write_behind: bool
    fast_lane: bool
    store_cookies: bool


STORAGE_OPTIONS = frozenset(StorageOptions.__annotations__) | {"secret_key", "salt", "serializer"}
BACKEND_OPTIONS = frozenset(BackendOptions.__annotations__) | {
    "cache_name",
    "expire_after",
    "urls_expire_after",
    "allowed_codes",
    "allowed_methods",
    "include_headers",
    "ignored_params",
    "autoclose",
    "cache_control",
    "filter_fn",
}
