"""The private names of aiohttp that this package uses, the features that need them, and whether they exist."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from types import CodeType
from typing import Final

import aiohttp
from aiohttp import (
    ClientRequest,
    ClientResponse,
    ClientSession,
    CookieJar,
    DigestAuthMiddleware,
    MultipartWriter,
    StreamReader,
    TCPConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.compression_utils import BrotliDecompressor, ZLibDecompressor
from aiohttp.helpers import TimerContext
from aiohttp.http_parser import DeflateBuffer, HttpResponseParserPy
from aiohttp.tracing import Trace

__all__ = ["FEATURES", "Needs", "can"]

logger = logging.getLogger(__name__)


class Needs(Enum):
    """Features that need private names of aiohttp; the value says, for a warning, what happens without them."""

    HITS = "nothing is cached"
    COPIES = "no response is stored"
    DECODING = "compressed responses are not stored"
    PURE_PARSER = "compressed responses are not stored where aiohttp runs without its C extensions"
    BROTLI = "responses in brotli are not stored"
    FAST_LANE = "hits are slower"
    COOKIES = "cookies are parsed once more"
    INSTALLING = "middlewares that a session is given later are not called"
    TIMEOUTS = "a stale response is not used instead of a timeout of the whole request"
    PARTS = "parts of responses are not completed"
    TRACES = "hits are not traced"
    TLS = "responses over TLS are not shared between connectors"
    FORMS = "requests with multipart bodies are not cached"
    DIGEST = "sessions that log in by digest do not share responses"
    DEBUG = "in debug mode, the warning about a session that was not closed shows a line of this package"


FEATURES: Final[Mapping[Needs, Mapping[type, tuple[str, ...]]]] = {
    Needs.HITS: {
        ClientSession: ("_loop", "_resolve_charset"),
        ClientResponse: (
            "_body",
            "_cache",
            "_closed",
            "_headers",
            "_history",
            "_in_context",
            "_loop",
            "_raw_headers",
            "_real_url",
            "_released",
            "_resolve_charset",
            "_session",
            "_traces",
            "_url",
        ),
    },
    Needs.COPIES: {StreamReader: ("_buffer", "feed_data", "feed_eof", "on_eof", "set_exception", "total_bytes")},
    Needs.DECODING: {
        ResponseHandler: ("_parser", "_payload"),
        DeflateBuffer: ("decompressor", "feed_eof", "size"),
        ZLibDecompressor: ("_decompressor",),
    },
    Needs.PURE_PARSER: {HttpResponseParserPy: ("_payload_parser",)},
    Needs.BROTLI: {BrotliDecompressor: ("_obj",)},
    Needs.FAST_LANE: {
        ClientSession: (
            "_build_url",
            "_connector",
            "_cookie_jar",
            "_default_headers",
            "_default_proxy",
            "_raise_for_status",
            "_request_class",
            "_timeout",
            "_trace_configs",
        ),
        CookieJar: ("_cookies",),
    },
    Needs.COOKIES: {ClientResponse: ("_raw_cookie_headers",)},
    Needs.INSTALLING: {ClientSession: ("_middlewares",)},
    Needs.TIMEOUTS: {ClientRequest: ("_timer",), TimerContext: ("_cancelled",)},
    Needs.PARTS: {
        StreamReader: ("_buffer", "_cursor", "_size"),
        ClientResponse: ("_cache", "_headers", "_raw_headers"),
    },
    Needs.TRACES: {
        ClientRequest: ("_traces",),
        ClientSession: ("_trace_configs",),
        Trace: ("_trace_config", "_trace_config_ctx"),
    },
    Needs.TLS: {TCPConnector: ("_ssl",)},
    Needs.FORMS: {MultipartWriter: ("_parts",)},
    Needs.DIGEST: {DigestAuthMiddleware: ("_login_bytes", "_login_str", "_password_bytes")},
    Needs.DEBUG: {ClientSession: ("_base_url", "_source_traceback")},
}
"""For each feature, the attributes that it needs, by the class that must have them."""


def _has_name(owner: type, name: str) -> bool:
    """Whether objects of *owner* have an attribute *name*: one of the class, or one that its methods use."""
    return hasattr(owner, name) or name in getattr(owner, "ATTRS", ()) or name in _names_in(owner)


@cache
def _names_in(owner: type) -> frozenset[str]:
    functions: Iterable[object] = (value for base in owner.__mro__ for value in vars(base).values())
    codes: Iterable[CodeType | None] = (getattr(function, "__code__", None) for function in functions)
    return frozenset(name for code in codes if code is not None for name in code.co_names)


def _missing_names(names: Mapping[type, tuple[str, ...]]) -> list[str]:
    """Those of *names* that this release of aiohttp does not have, with their classes."""
    return [
        f"{owner.__name__}.{name}" for owner, wanted in names.items() for name in wanted if not _has_name(owner, name)
    ]


def _looked_over() -> dict[Needs, bool]:
    """Which features are available; logs one warning for each that is not."""
    found: dict[Needs, bool] = {}
    for needs, names in FEATURES.items():
        missing = _missing_names(names)
        found[needs] = not missing
        if missing:
            logger.warning("aiohttp %s has no %s: %s", aiohttp.__version__, ", ".join(missing), needs.value)
    return found


_CAN: Final = _looked_over()

if not hasattr(ClientSession, "_request"):
    # Nothing works without it: better an error at import than one for each request.
    raise ImportError(
        f"aiohttp_cache_di cannot work with aiohttp {aiohttp.__version__}, which has no ClientSession._request; "
        "install a release of aiohttp that the requirements of aiohttp-cache-di name"
    )


def can(needs: Needs) -> bool:
    """Whether this release of aiohttp has all private names that the feature *needs*."""
    return _CAN[needs]
