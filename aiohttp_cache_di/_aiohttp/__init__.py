"""Every private corner of aiohttp that this package touches, in one place; a test guards each of them.

A release of aiohttp may lack any of these names. What needs a missing one is switched off when this package is
imported, with one warning: requests are slower then, or not cached, and answered as without this package.

- `names`: the list of the names, by what needs them.
- `access`: reads and writes by them, each with a way on where the name is gone.
- `decoding`: watches the parser of a response.
- `joining`: puts what is kept of a body before the rest of it.
- `genuine`: whether its classes are as aiohttp made them.
- `options`: the arguments of its session, for type checkers.

The subclasses of aiohttp's classes (`session`, `response`) use the names of their bases in their own code; those are in
the list as well.
"""

from __future__ import annotations

from aiohttp_cache_di._aiohttp.access import (
    arrived_chunks,
    body_read_of,
    build_url,
    called_by,
    connector_ssl,
    continued_traces,
    decodes,
    default_tls_context,
    digest_login,
    genuine_request,
    hand_on_cookies,
    hand_on_traces,
    middlewares_of,
    own_request,
    parts_of,
    raises_for_status,
    request_class_of,
    said_by,
    sets_proxy_or_auth,
    timer_fired,
    total_timeout_s,
    untraced,
)
from aiohttp_cache_di._aiohttp.decoding import (
    DecodingWatch,
    is_decoded,
    is_disconnection,
    watch_decoding,
    will_retry,
)
from aiohttp_cache_di._aiohttp.genuine import is_genuine
from aiohttp_cache_di._aiohttp.joining import can_prepend, prepend
from aiohttp_cache_di._aiohttp.names import (
    FEATURES,
    Needs,
    can,
    has_name,
    missing_names,
)

__all__ = [
    "FEATURES",
    "DecodingWatch",
    "Needs",
    "arrived_chunks",
    "body_read_of",
    "build_url",
    "called_by",
    "can",
    "can_prepend",
    "connector_ssl",
    "continued_traces",
    "decodes",
    "default_tls_context",
    "digest_login",
    "genuine_request",
    "hand_on_cookies",
    "hand_on_traces",
    "has_name",
    "is_decoded",
    "is_disconnection",
    "is_genuine",
    "middlewares_of",
    "missing_names",
    "own_request",
    "parts_of",
    "prepend",
    "raises_for_status",
    "request_class_of",
    "said_by",
    "sets_proxy_or_auth",
    "timer_fired",
    "total_timeout_s",
    "untraced",
    "watch_decoding",
    "will_retry",
]
