"""Keys of requests, under the name and with the positional arguments that aiohttp-client-cache has for them.

A backend makes keys by its own options, with a secret of its own for what says who asks: `CacheBackend.create_key`.
Only those find what it keeps; the ones that are made here tell requests apart.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp.typedefs import StrOrURL
from yarl import Query

from aiohttp_cache_di import keys

__all__ = ["create_key"]


def create_key(
    method: str,
    url: StrOrURL,
    params: Query = None,
    data: Any = None,
    json: Any = None,
    headers: Any = None,
    include_headers: bool = False,
    ignored_params: Iterable[str] | None = None,
    json_serialize: Callable[[Any], str | bytes] = jsonlib.dumps,
    **kwargs: Any,
) -> str:
    """The key of a request, as hexadecimal digits: the same for equal requests, different for all others.

    Args:
        method: the HTTP method, in any case.
        url: the URL; *params* are added to its query.
        params: query parameters. The order of different names makes no difference, that of one name's values does.
        data: the body, as a request takes it.
        json: the body, as a request takes it.
        headers: of them those count that say who asks, and all with *include_headers*.
        include_headers: make all request headers a part of the key.
        ignored_params: names of parameters and headers that do not count.
        json_serialize: makes the body of *json*.
        kwargs: the other arguments of the request; those that say nothing of who asks, or for what, do not count.
    """
    return keys.create_key(
        method,
        url,
        params=params,
        data=data,
        json=json,
        headers=headers,
        include_headers=include_headers,
        ignored_params=frozenset(ignored_params or ()),
        json_serialize=json_serialize,
        **kwargs,
    )
