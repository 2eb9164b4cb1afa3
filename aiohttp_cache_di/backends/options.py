"""The options that every backend takes, and the refusal of misspelt ones."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TypedDict

__all__ = ["BACKEND_OPTIONS", "STORAGE_OPTIONS", "BackendOptions", "StorageOptions", "refuse_unknown"]


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
    credential_headers: Collection[str]
    partition_cookies: Literal["effective", "explicit"]
    stale_if_error: float | bool | None
    stale_while_revalidate: float | None
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


def refuse_unknown(owner: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise TypeError for the first option of *given* that is not *known*, naming it and its nearest neighbour."""
    names = sorted(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(names)}"
            raise TypeError(f"{owner} got an unexpected option {name!r}{hint}")
