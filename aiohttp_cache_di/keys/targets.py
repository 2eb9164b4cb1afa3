"""The part of a cache key that comes from the URL: the same text for all spellings of one URL."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from yarl import URL

from aiohttp_cache_di.keys.bodies import canonical_pairs

__all__ = ["host_of", "is_own_host", "spellings", "target_of"]

_REMEMBERED_CHARS: Final = 1024  # times the size of the memo, this bounds its memory


def spellings(url: str | URL) -> tuple[URL, ...]:
    """The URLs that a text may mean: requoted by `URL`, and unchanged as with ``encoded=True``.

    They differ only for texts such as ``?a=b%2Fc``, which aiohttp requests as ``?a=b/c``.
    """
    if isinstance(url, URL):
        return (url,)
    quoted = URL(url)
    try:
        as_it_is = URL(url, encoded=True)
        same = str(as_it_is) == str(quoted) or not as_it_is.is_absolute()
    except ValueError:
        return (quoted,)
    return (quoted,) if same else (quoted, as_it_is)


def target_of(url: URL, ignored_params: Collection[str] = (), *, ordered: bool = False) -> str:
    """The text of *url* in a key: scheme, host, port, path and query.

    Userinfo is part of the credentials, and the fragment makes no difference.

    Args:
        ignored_params: names of query parameters that make no difference.
        ordered: the order of different names makes a difference.
    """
    target = f"{url.scheme}://{(url.raw_host or '').lower()}:{url.port}{url.raw_path}"
    query = url.raw_query_string
    if query:
        pairs = _remembered_pairs if len(query) <= _REMEMBERED_CHARS else canonical_pairs
        query = pairs(query, frozenset(ignored_params), ordered=ordered)
    return f"{target}?{query}" if query else target


_remembered_pairs = lru_cache(maxsize=1024)(canonical_pairs)


def host_of(url: str) -> str:
    """The host of *url*, with its port if the URL has one; "" if *url* has no host."""
    parts = url.split("/", 3)
    return parts[2].partition("?")[0] if len(parts) > 2 else ""


def is_own_host(host: str, url: URL) -> bool:
    """Whether *host*, a Host field, is the one that *url* implies."""
    own = url.host_port_subcomponent
    if host == own:
        return True
    host = host.strip().lower()
    return host == own or host == f"{url.host_subcomponent}:{url.port}"
