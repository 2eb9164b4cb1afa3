"""Reporting each request to the observers of a cache; nothing here runs if there are none."""

from __future__ import annotations

import contextlib
from functools import partial
from time import perf_counter

from aiohttp import ClientRequest, ClientResponse

from aiohttp_cache_di import keys
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import Decision
from aiohttp_cache_di.telemetry.watch import Watch

__all__ = ["tell_hit", "tell_of", "tell_start"]


def tell_hit(watch: Watch, method: str, response: CachedResponse, began_at: float) -> None:
    """Report a plain hit of the fast lane; *began_at* is when it began, by `perf_counter`."""
    stored = response.stored
    watch.decided(
        Decision(
            method,
            stored.url,
            "hit",
            perf_counter() - began_at,
            stored.key,
            response,
            "",
            stored.body_bytes,
            stored.received_at - stored.requested_at,
            True,
        )
    )


def tell_of(
    call: Call,
    request: ClientRequest,
    backend: CacheBackend,
    began_at: float,
    response: ClientResponse | None = None,
    error: BaseException | None = None,
) -> None:
    """Report the latest hop of *call*: its *response*, or the *error* that is about to be raised.

    Args:
        began_at: when it began, by `perf_counter`.
    """
    stored = response.stored if isinstance(response, CachedResponse) else None
    if not isinstance(stored, StoredResponse):  # a test double may pass as a CachedResponse
        stored = None
    backend.stats.watch.decided(
        Decision(
            request.method,
            partial(keys.redact_url, str(request.url), backend.ignored_params),
            "error" if error is not None else call.result or "miss",
            perf_counter() - began_at,
            call.key,
            response,
            "" if error is None else type(error).__name__,
            0 if stored is None else stored.body_bytes,
            0.0 if stored is None else max(stored.received_at - stored.requested_at, 0.0),
        )
    )


def tell_start(backend: CacheBackend) -> None:
    """Log that *backend* is opened by a container or used for the first time, unless it is in use already."""
    place = ""
    with contextlib.suppress(Exception):  # raised by a user's store
        place = backend.guard.outages.place
    if not place:
        place = "in memory" if backend.stack.is_in_memory else "its own place"
    mode = "HTTP's own rules (cache_control)" if backend.cache_control else "your rules"
    shared = ", shared" if backend.shared else ""
    backend.stats.started(backend.name, type(backend).__name__, place, mode + shared)
