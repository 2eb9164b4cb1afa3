"""All private names of aiohttp that this package uses, in one place; a test checks each of them.

A release of aiohttp may lack any of these names. The features that need a missing one are switched off, with one
warning, when this package is imported: then requests are slower, or not cached and answered as without this package.

- `names`: the names, by the feature that needs them.
- `access`: functions that read and write by these names, each with a fallback if the name is missing.
- `decoding`: watches the parser of a response.
- `joining`: puts a stored part of a body before the rest that a response brings.
- `genuine`: whether aiohttp's classes are unpatched.
- `options`: the arguments of `aiohttp.ClientSession`, for type checkers.

`session` and `response` derive from aiohttp's classes, and use private names of these in their own code; such names are
listed in `names`, too.
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
    request_parameters,
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
from aiohttp_cache_di._aiohttp.names import FEATURES, Needs, can

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
    "is_decoded",
    "is_disconnection",
    "is_genuine",
    "middlewares_of",
    "own_request",
    "parts_of",
    "prepend",
    "raises_for_status",
    "request_class_of",
    "request_parameters",
    "said_by",
    "sets_proxy_or_auth",
    "timer_fired",
    "total_timeout_s",
    "untraced",
    "watch_decoding",
    "will_retry",
]
