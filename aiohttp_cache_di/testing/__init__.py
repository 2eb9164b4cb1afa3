"""For the tests of apps that use this package: fixtures, a recorder, a fake upstream, and a clock.

With pytest there is nothing to set up: an installed package brings its plugin along (``aiohttp_cache_di_pytest``),
which imports nothing until a test uses it. What its fixtures and its mark are made of is here as context managers and
plain functions, for unittest and for code that is no test:

- ``upstream``: `FakeUpstream`, canned responses from a real server on this machine (``delivery``), in any content
  coding (``codings``), whatever URL the app asks for.
- ``recording/``: `recorded`, what upstreams have answered, from a file, or recorded into it.
- ``under_test``: `CacheUnderTest` seeds a response into the app's cache, as the app would ask for it (``manners``), and
  tells what is there, in the app's own event loop (``app_loop``); `assert_hit`.
- ``clock``: `CacheClock`, by which entries grow old without waiting.
- ``stores``: `in_memory` and `store_per_worker`, which store the app's containers open.
- ``network``: `blocked_network`, by which connections to other machines are refused.
- ``calls``: the requests that tests see, and the errors about them.
- ``fixtures``: those of pytest, for a ``conftest.py`` that names them itself.

The room is a thin consumer: it may import all that stands below it, and nothing imports it but a test-suite. It reaches
requests by the engine's door (`aiohttp_cache_di.engine.door`), which no shortcut of the cache passes by.
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

# Imported when it is asked for: fixtures need pytest, and recordings PyYAML.
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

if not TYPE_CHECKING:  # for them the names are imported above, and another one is none
    __getattr__ = imported_later(globals(), _MODULES)


def __dir__() -> list[str]:
    """Names among them that are imported when they are asked for, so that pytest finds its fixtures."""
    return sorted({*globals(), *_MODULES})
