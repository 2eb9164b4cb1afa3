"""The API of the admin page: where it is mounted, its endpoints, and the dispatch of requests to them."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from aiohttp_cache_di.admin.access import AccessControl
from aiohttp_cache_di.admin.messages import AdminError, AdminRequest, Reply, as_json
from aiohttp_cache_di.admin.page import Page
from aiohttp_cache_di.admin.preview import shown
from aiohttp_cache_di.admin.questions import QUESTIONS, CacheRequest, Session, Watched
from aiohttp_cache_di.admin.reading import parameters
from aiohttp_cache_di.admin.recent import KEPT_S, STEP_S
from aiohttp_cache_di.admin.shapes import Bounds, CacheInfo, CachesAnswer, Worker
from aiohttp_cache_di.arguments import expect_flag
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.telemetry.measures import BOUNDS_S
from aiohttp_cache_di.telemetry.names import distinct

__all__ = ["DEFAULT_PATH", "ENDPOINTS", "Admin", "Endpoint", "Name", "expect_callable", "mount_path"]

logger: logging.Logger = logging.getLogger(__name__)

Name: TypeAlias = Literal[
    "page", "caches", "now", "store", "upstreams", "entries", "entry", "check", "purge", "explain"
]


class Endpoint(NamedTuple):
    """A route of the page.

    Args:
        path: below the path of the page, with the cache's number as ``{number}``.
    """

    name: Name
    method: Literal["GET", "POST"]
    path: str


DEFAULT_PATH: Final = "/cache-admin"
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
"""The routes that an adapter adds to the app."""

CHANGING: Final = frozenset({"purge"})


def mount_path(path: str, *, option: str) -> str:
    """*path* without a slash at its end; "" for the root.

    Raises:
        ConfigurationError: *path* is not the path of a URL.
    """
    if not isinstance(path, str) or (path and not path.startswith("/")) or any(char in path for char in "{}?#"):
        raise ConfigurationError(f"{option}={path!r}: use a path, such as {DEFAULT_PATH!r}")
    return path.rstrip("/")


def expect_callable(authorize: object, *, what: str) -> None:
    """Raise ConfigurationError unless *authorize* is callable or None; *what* describes it in the message."""
    if authorize is not None and not callable(authorize):
        raise ConfigurationError(
            f"authorize={authorize!r}: give {what}, or None for clients on this machine and no others"
        )


class Admin:
    """The page and its API, of some caches of an app, for any framework.

    Args:
        is_local: admit only clients on this machine; otherwise the adapter has called the app's ``authorize=``.
        read_only: refuse purges.
        previews: show the beginnings of bodies.
    """

    def __init__(self, *, is_local: bool, read_only: bool = False, previews: bool = True) -> None:
        expect_flag("read_only", read_only)
        expect_flag("previews", previews)
        self._access = AccessControl(is_local=is_local)
        self._read_only = read_only
        self._previews = previews
        self._page = Page()
        self._watched: WeakKeyDictionary[CacheBackend, Watched] = WeakKeyDictionary()
        self._worker = ("", 0)

    def watch(self, session: Session | None) -> None:
        """Start to count what the cache of *session* does, for the plots of the page."""
        if session is not None and not session.closed:
            self._watched_of(session.cache)

    def leave(self, session: Session | None) -> None:
        """Stop counting, and cancel what the page does in this event loop."""
        watched = None if session is None else self._watched.pop(session.cache, None)
        if watched is not None:
            watched.end()
            watched.listings.close()
            watched.surveys.close()

    async def answer(
        self, name: Name, request: AdminRequest, sessions: Sequence[tuple[str, Session | None]], number: str = ""
    ) -> Reply:
        """Answer a request to the endpoint *name*; raises nothing.

        Args:
            sessions: the app's sessions, each with a label; None for one that is not open.
            number: the index of the session that the URL names.
        """
        try:
            self._access.admit(request, is_page=name == "page")
            if name == "page":
                return await self._page.reply()
            if request.method == "POST":
                self._access.admit_change(request)
            if name in CHANGING and self._read_only:
                raise AdminError(403, "read-only", "the page was mounted with read_only=True")
            if name == "caches":
                return self._caches(request, sessions)
            session = _chosen(sessions, number)
            watched = self._watched_of(session.cache)
            worker = self._this_worker(session.cache.stats.since)
            return await QUESTIONS[name](CacheRequest(request, session, watched, worker, self._previews))
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

    def _this_worker(self, since: float) -> Worker:
        pid = os.getpid()
        if self._worker[1] != pid:  # a forked child counts separately, so it needs an id of its own
            self._worker = secrets.token_hex(4), pid
        return Worker(*self._worker, since)

    def _caches(self, request: AdminRequest, sessions: Sequence[tuple[str, Session | None]]) -> Reply:
        parameters(request, frozenset())
        token, given = self._access.token_of(request)
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
        return as_json(CachesAnswer(list(found.values()), self._this_worker(since), token, bounds, now), headers=given)


def _chosen(sessions: Sequence[tuple[str, Session | None]], number: str) -> Session:
    if not number.isdecimal() or not number.isascii() or len(number) > 4 or int(number) >= len(sessions):
        raise AdminError(404, "not-found", f"there is no cache number {number[:20]}; GET api/caches has them")
    label, session = sessions[int(number)]
    if session is None or session.closed:
        raise AdminError(503, "closed", f"the cache {label!r} is not open in this worker")
    return session


def _info_of(number: int, name: str, backend: CacheBackend) -> CacheInfo:
    mode = "HTTP's own rules (cache_control)" if backend.cache_control else "your rules"
    shared = ", shared" if backend.shared else ""
    return CacheInfo(
        number=number,
        name=shown(name),
        is_open=True,
        store=type(backend).__name__,
        where=shown(backend.guard.outages.place),
        mode=mode + shared,
    )
