"""`CacheContainer`: settings → backend → session, and `open_container`, which opens and closes a container.

``parts`` has the container and the functions that make its parts; ``opening`` starts and stops them. They may import
everything below them, and nothing else in the package imports dependency-injector, which takes half a second to load.
`open_container` takes care of the following behaviour of dependency-injector's resources:

- A started asynchronous resource returns futures; `open_container` yields the object itself.
- ``init_resources()`` returns None if everything is synchronous. It starts resources concurrently, also those that an
  override replaces, and leaves the others running when one fails.
- ``shutdown_resources()`` stops at the first error.
- A start that is cancelled midway leaves a callback that raises InvalidStateError.
- A provider decides at its first call whether it is asynchronous, and never again: after an override by a plain object
  it does not await its dependencies, even when the override is gone.
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
