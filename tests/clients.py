"""Every kind of aiohttp client that caches: a test that uses them runs once for each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse, ClientSession

from aiohttp_cache_di import CachedSession, CacheMiddleware
from aiohttp_cache_di.backends import CacheBackend
from tests.storages import CustomBackend, ProofBackend

__all__ = ["WAYS", "Client", "Clients", "is_hit"]


@dataclass(frozen=True, slots=True)
class Way:
    """One kind of client.

    Args:
        plain: whether it is a plain ClientSession with the middleware rather than a CachedSession.
        backend: makes the backend.
        options: options of the backend.
    """

    plain: bool = False
    backend: Callable[..., CacheBackend] = CacheBackend
    options: dict[str, Any] = field(default_factory=dict[str, Any])


WAYS = {
    "session": Way(),
    "middleware": Way(plain=True),
    "session, asynchronous storage": Way(backend=CustomBackend),
    "session, asynchronous storage, no write-behind": Way(backend=CustomBackend, options={"write_behind": False}),
    "session, asynchronous storage, no fast lane": Way(backend=CustomBackend, options={"fast_lane": False}),
    "session, store of the least size": Way(backend=ProofBackend),
}
"""A session without its fast lane and a middleware run the same code: each is tried over one kind of storage."""


@dataclass(frozen=True, slots=True)
class Client:
    """A session, and the backend that it caches in."""

    session: ClientSession
    backend: CacheBackend

    async def fetch(self, url: str, method: str = "GET", **options: Any) -> tuple[bool, str]:
        """Whether the response was a hit, and its text."""
        async with self.session.request(method, url, **options) as response:
            return is_hit(response), await response.text()


class Clients:
    """Makes clients of one kind, and closes them at the end of the test."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self._sessions: list[ClientSession] = []
        self._backends: list[CacheBackend] = []

    def __call__(
        self, *, backend: CacheBackend | None = None, session: dict[str, Any] | None = None, **options: Any
    ) -> Client:
        """Make a client.

        Args:
            backend: the backend to use; without it, one is made with *options*.
            session: arguments of the session.
        """
        if backend is None:
            backend = self.way.backend(**{**self.way.options, **options})
        arguments = dict(session or {})
        if self.way.plain:
            own = tuple(arguments.pop("middlewares", ()))
            made = ClientSession(middlewares=(*own, CacheMiddleware(backend)), **arguments)
        else:
            made = CachedSession(cache=backend, **arguments)
        self._sessions.append(made)
        self._backends.append(backend)
        return Client(made, backend)

    async def close(self) -> None:
        """Close all sessions and backends."""
        for session in self._sessions:
            await session.close()
        for backend in self._backends:
            await backend.settle()
            await backend.close()


def is_hit(response: ClientResponse) -> bool:
    """Whether the response came from the cache."""
    return bool(getattr(response, "from_cache", False))
