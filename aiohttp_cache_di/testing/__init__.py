"""Helpers for the tests of apps that use this package: a fake upstream, recorded responses, seeds, and a clock.

With pytest there is nothing to set up: the package brings a plugin (``aiohttp_cache_di_pytest``), which imports nothing
until a test uses it. Its fixtures and its mark are made of the context managers and functions here, which also work
with unittest and outside of tests:

- ``upstream``: `FakeUpstream`, canned responses from a real server on this machine (``delivery``), in any content
  coding (``codings``), for whatever URLs the app requests.
- ``recording/``: `recorded`, responses of upstreams that are recorded in a file and replayed from it.
- ``under_test``: `CacheUnderTest` puts responses into the app's cache, under the keys that the app's requests have
  (``manners``), and checks what is there, in the app's own event loop (``app_loop``); `assert_hit`.
- ``clock``: `CacheClock`, which lets entries age without waiting.
- ``stores``: `in_memory` and `store_per_worker`, which choose the store that the app's containers open.
- ``network``: `blocked_network`, which refuses connections to other machines.
- ``together``: replacements that several of these share, if they overlap.
- ``calls``: the requests that tests see, and the errors about them.
- ``fixtures``: the fixtures of pytest, for a ``conftest.py`` that imports them itself.

This room may import all rooms below it, and only test suites import it. It intercepts requests to the origin by
`aiohttp_cache_di.engine.taps`, which all of them pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp_cache_di.lazy import imported_later

if TYPE_CHECKING:
    from aiohttp_cache_di.testing.calls import (
        AskedFor,
        NetworkBlockedError,
        UnexpectedRequestError,
        UnrecordedRequestError,
    )
    from aiohttp_cache_di.testing.clock import CacheClock
    from aiohttp_cache_di.testing.fixtures import cache_container, cache_in_memory, cached_session
    from aiohttp_cache_di.testing.network import blocked_network
    from aiohttp_cache_di.testing.recording import Cassette, recorded
    from aiohttp_cache_di.testing.stores import in_memory, store_per_worker
    from aiohttp_cache_di.testing.under_test import CacheUnderTest, assert_hit
    from aiohttp_cache_di.testing.upstream import FakeUpstream, Reply, Route, reply

# Imported when they are first used: fixtures need pytest, and recordings PyYAML.
_MODULES = {
    "AskedFor": "calls",
    "CacheClock": "clock",
    "CacheUnderTest": "under_test",
    "Cassette": "recording",
    "FakeUpstream": "upstream",
    "NetworkBlockedError": "calls",
    "Reply": "upstream",
    "Route": "upstream",
    "UnexpectedRequestError": "calls",
    "UnrecordedRequestError": "calls",
    "assert_hit": "under_test",
    "blocked_network": "network",
    "cache_container": "fixtures",
    "cache_in_memory": "fixtures",
    "cached_session": "fixtures",
    "in_memory": "stores",
    "recorded": "recording",
    "reply": "upstream",
    "store_per_worker": "stores",
}

__all__ = [
    "AskedFor",
    "CacheClock",
    "CacheUnderTest",
    "Cassette",
    "FakeUpstream",
    "NetworkBlockedError",
    "Reply",
    "Route",
    "UnexpectedRequestError",
    "UnrecordedRequestError",
    "assert_hit",
    "blocked_network",
    "cache_container",
    "cache_in_memory",
    "cached_session",
    "in_memory",
    "recorded",
    "reply",
    "store_per_worker",
]

if not TYPE_CHECKING:  # type checkers see the imports above
    __getattr__ = imported_later(globals(), _MODULES)


def __dir__() -> list[str]:
    """All names, including those not imported yet, so that pytest finds the fixtures."""
    return sorted({*globals(), *_MODULES})
