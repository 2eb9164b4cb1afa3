"""`CacheContainer`: settings → back-end → session, and the one helper that opens and closes a container.

``parts`` has the container, and how its parts are made; ``opening`` starts and stops them, with `open_container`. They
may import all that stands below them, and nothing else in the package imports dependency-injector, which takes half a
second to load. What its resources do that one would not expect, and that `open_container` takes care of:

- Once started, an asynchronous resource hands out futures, never the object: what is yielded here is the object.
- ``init_resources()`` returns None when everything is synchronous, starts resources at the same time, starts those
  that an override has made superfluous, and leaves running what had started when another fails.
- ``shutdown_resources()`` stops at the first error.
- A start that is cancelled midway leaves a callback that raises InvalidStateError.
- A provider takes for good after the first thing that it gives: one whose override gave a plain object does not wait
  for what it depends on when the override is gone.
"""

from __future__ import annotations

from aiohttp_cache_di.containers.opening import (
    AnyContainer,
    container_of,
    open_container,
    session_already_open,
    session_not_open,
)
from aiohttp_cache_di.containers.parts import CacheContainer

__all__ = [
    "AnyContainer",
    "CacheContainer",
    "container_of",
    "open_container",
    "session_already_open",
    "session_not_open",
]
