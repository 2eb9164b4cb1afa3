"""The API of the page: what is asked of it, by name, and what it tells."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from aiohttp_cache_di.admin.door import Door
from aiohttp_cache_di.admin.messages import AdminError, Ask, Reply, as_json
from aiohttp_cache_di.admin.page import Page
from aiohttp_cache_di.admin.preview import shown
from aiohttp_cache_di.admin.questions import QUESTIONS, AdminRequest, Session, Watched
from aiohttp_cache_di.admin.reading import parameters
from aiohttp_cache_di.admin.recent import KEPT_S, STEP_S
from aiohttp_cache_di.admin.shapes import Bounds, CacheInfo, CachesAnswer, Worker
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.telemetry.measures import BOUNDS_S
from aiohttp_cache_di.telemetry.names import distinct

__all__ = ["ENDPOINTS", "Admin", "Endpoint", "Name"]

logger: logging.Logger = logging.getLogger(__name__)

Name: TypeAlias = Literal[
    "page", "caches", "now", "store", "upstreams", "entries", "entry", "check", "purge", "explain"
]


class Endpoint(NamedTuple):
    """Where something is asked for.

    Args:
        path: below the page's, with the cache's number as ``{number}``.
    """

    name: Name
    method: Literal["GET", "POST"]
    path: str


_OF_CACHE: Final = "/api/caches/{number}"
ENDPOINTS: Final = (
    Endpoint("page", "GET", "/"),
    Endpoint("caches", "GET", "/api/caches"),
    Endpoint("now", "GET", f"{_OF_CACHE}/now"),
    Endpoint("store", "GET", f"{_OF_CACHE}/store"),
    Endpoint("upstreams", "GET", f"{_OF_CACHE}/upstreams"),
    Endpoint("entries", "GET", f"{_OF_CACHE}/entries"),
    Endpoint("entry", "GET", f"{_OF_CACHE}/entry"),
    Endpoint("check", "POST", f"{_OF_CACHE}/check"),
    Endpoint("purge", "POST", f"{_OF_CACHE}/purge"),
    Endpoint("explain", "POST", f"{_OF_CACHE}/explain"),
)
"""All that an adapter has routes for."""

CHANGING: Final = frozenset({"purge"})


class Admin:
    """The page and its API, of some caches of an app, for any framework.

    Args:
        is_local: only clients on this machine are let in; else the adapter has asked the app who may come in.
        read_only: nothing can be purged.
        previews: the beginnings of bodies are shown.
    """

    def __init__(self, *, is_local: bool, read_only: bool = False, previews: bool = True) -> None:
        self._door = Door(is_local=is_local)
        self._read_only = read_only
        self._previews = previews
        self._page = Page()
        self._watched: WeakKeyDictionary[CacheBackend, Watched] = WeakKeyDictionary()
        self._worker = ("", 0)

    def watch(self, session: Session | None) -> None:
        """Count what the cache of *session* does from now on, so that the page has a past to show."""
        if session is not None and not session.closed:
            self._watched_of(session.cache)

    def leave(self, session: Session | None) -> None:
        """Count no more, and end what is under way for the page in this loop."""
        watched = None if session is None else self._watched.pop(session.cache, None)
        if watched is not None:
            watched.end()
            watched.listings.close()
            watched.surveys.close()

    async def answer(
        self, name: Name, ask: Ask, sessions: Sequence[tuple[str, Session | None]], number: str = ""
    ) -> Reply:
        """Answer what is asked for under *name*; raises nothing.

        Args:
            sessions: of the app's caches, with what to call them that are not open.
            number: which of them is meant, as the URL has it.
        """
        try:
            self._door.admit(ask, is_page=name == "page")
            if name == "page":
                return await self._page.reply()
            if ask.method == "POST":
                self._door.admit_change(ask)
            if name in CHANGING and self._read_only:
                raise AdminError(403, "read-only", "the page was mounted with read_only=True")
            if name == "caches":
                return self._caches(ask, sessions)
            label, session = _chosen(sessions, number)
            watched = self._watched_of(session.cache)
            worker = self._me(session.cache.stats.since)
            return await QUESTIONS[name](AdminRequest(ask, label, session, watched, worker, self._previews))
        except AdminError as refusal:
            return refusal.reply()
        except Exception:
            logger.exception("The admin page failed on %s", name)
            return AdminError(500, "error", "the page failed; the log of the service says why").reply()

    def _watched_of(self, backend: CacheBackend) -> Watched:
        watched = self._watched.get(backend)
        if watched is None:
            watched = self._watched[backend] = Watched(backend)
        return watched

    def _me(self, since: float) -> Worker:
        pid = os.getpid()
        if self._worker[1] != pid:  # else a child, which counts on by itself, would be taken for its parent
            self._worker = secrets.token_hex(4), pid
        return Worker(*self._worker, since)

    def _caches(self, ask: Ask, sessions: Sequence[tuple[str, Session | None]]) -> Reply:
        parameters(ask, frozenset())
        token, given = self._door.token_of(ask)
        found: dict[str, CacheInfo] = {}
        since = now = time.time()
        for number, (label, session) in enumerate(sessions):
            if session is None or session.closed:
                name = distinct(label, found)
                found[name] = CacheInfo(number, shown(name), is_open=False)
                continue
            self._watched_of(session.cache)
            name = distinct(session.cache.name, found)
            found[name] = _info_of(number, name, session.cache)
            since = min(since, session.cache.stats.since)
        bounds = Bounds(STEP_S, KEPT_S, BOUNDS_S, not self._read_only, self._previews)
        return as_json(CachesAnswer(list(found.values()), self._me(since), token, bounds, now), headers=given)


def _chosen(sessions: Sequence[tuple[str, Session | None]], number: str) -> tuple[str, Session]:
    if not number.isdecimal() or not number.isascii() or len(number) > 4 or int(number) >= len(sessions):
        raise AdminError(404, "not-found", f"there is no cache number {number[:20]}; GET api/caches has them")
    label, session = sessions[int(number)]
    if session is None or session.closed:
        raise AdminError(503, "closed", f"the cache {label!r} is not open in this worker")
    return label, session


def _info_of(number: int, name: str, backend: CacheBackend) -> CacheInfo:
    where = ""
    with suppress(Exception):  # of a store of the user's
        where = backend.guard.outages.place
    mode = "HTTP's own rules (cache_control)" if backend.cache_control else "your rules"
    shared = ", shared" if backend.shared else ""
    return CacheInfo(number, shown(name), True, type(backend).__name__, shown(where), mode + shared)
