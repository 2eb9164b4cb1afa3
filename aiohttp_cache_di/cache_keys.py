"""The function ``create_key`` of aiohttp-client-cache, with its module, name and positional parameters.

Its keys distinguish requests but are not those of a backend, which depend on the backend's options and secret: to find
a stored entry use `CacheBackend.create_key`.
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
    """The key of a request, in hexadecimal digits: the same for equal requests, and different for others.

    Args:
        method: the HTTP method, in any case.
        url: the URL; *params* are added to its query.
        params: query parameters; the order of different names makes no difference, that of one name's values does.
        data: the body, as for a request.
        json: the body as JSON, as for a request.
        headers: those that carry credentials are part of the key, and all of them with *include_headers*.
        include_headers: make all request headers part of the key.
        ignored_params: names of parameters and headers that are not part of the key.
        json_serialize: turns *json* into the body.
        kwargs: the other arguments of the request; those that do not affect the response are ignored.
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
