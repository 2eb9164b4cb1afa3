"""The endpoints about one cache: a function for each, which returns its answer as JSON."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, NamedTuple, Protocol

from aiohttp import ClientError
from msgspec.structs import replace

from aiohttp_cache_di.admin.hosts import Surveys
from aiohttp_cache_di.admin.listing import Listings
from aiohttp_cache_di.admin.messages import AdminError, AdminRequest, Reply, as_json
from aiohttp_cache_di.admin.preview import Preview, head_of, preview_of, shown
from aiohttp_cache_di.admin.reading import body_as, number_of, page_of, parameters, purge_of, query_of, selectors_of
from aiohttp_cache_di.admin.recent import Recent
from aiohttp_cache_di.admin.shapes import (
    EntriesAnswer,
    EntryAnswer,
    ExplainAnswer,
    ExplainRequest,
    NowAnswer,
    PurgeAnswer,
    PurgeRequest,
    StoreAnswer,
    UpstreamsAnswer,
    Worker,
    row_of,
)
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.operating.explanation import Explanation
from aiohttp_cache_di.backends.operating.selection import Selectors
from aiohttp_cache_di.backends.operating.terms import is_key_beginning
from aiohttp_cache_di.backends.store.inspecting import Usage
from aiohttp_cache_di.backends.wrap.guarding.outages import cause_of, kind_of
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.errors import ConfigurationError, UnreadableEntryError
from aiohttp_cache_di.keys import redact_url
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import Measures

__all__ = ["QUESTIONS", "CacheRequest", "Session", "Watched"]

logger: logging.Logger = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 10.0
PURGE_WITHIN_S: Final = 300.0
UNCOUNTED_FOR_S: Final = 300.0  # a count that takes too long is tried again after this time
BUSIEST: Final = 30

COUNTERS: Final = (
    "hits",
    "misses",
    "stale",
    "revalidated",
    "coalesced",
    "stored",
    "evicted",
    "invalidated",
    "purged",
    "bypassed",
    "unreadable",
    "skipped",
)


class Session(Protocol):
    """What the page uses of a session."""

    @property
    def cache(self) -> CacheBackend:
        """Its backend."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        ...

    async def explain(self, method: str, url: Any, **kwargs: Any) -> Explanation:
        """See `CachedSession`."""
        ...


class Watched:
    """What the page keeps for one cache: its counts, listings and surveys.

    Args:
        backend: the cache; no reference to it is kept.
    """

    def __init__(self, backend: CacheBackend) -> None:
        self.recent: Recent = Recent()
        self.listings: Listings = Listings()
        self.surveys: Surveys = Surveys()
        self.uncounted_until: float = 0.0
        """Monotonic time until which the store is not counted, as the last count took too long."""
        self.measures: Measures = backend.stats.measure()
        self.end: Callable[[], None] = backend.stats.observe(self.recent)

    def forget(self) -> None:
        """Discard what was read from the store, as after a purge."""
        self.listings.forget()
        self.surveys.forget()


class CacheRequest(NamedTuple):
    """A request about one open cache.

    Args:
        http: the request as the adapter passed it on.
        previews: whether the beginnings of bodies are shown.
    """

    http: AdminRequest
    session: Session
    watched: Watched
    worker: Worker
    previews: bool

    @property
    def backend(self) -> CacheBackend:
        """The backend of the session."""
        return self.session.cache

    async def of_store(self, call: Callable[[], Awaitable[Any]], within_s: float | None = None) -> Any:
        """The result of *call*, which uses the store.

        Raises:
            AdminError: the store fails or takes longer than *within_s*, or the request makes no sense.
        """
        place = shown(self.backend.guard.outages.where)
        try:
            async with asyncio.timeout(within_s):
                return await call()
        except AdminError:
            raise
        except ConfigurationError as exc:
            raise AdminError(400, "bad-request", shown(str(exc))) from exc
        except TimeoutError as exc:
            raise AdminError(503, "store-failed", f"{place} did not answer in time") from exc
        except UnreadableEntryError as exc:
            raise AdminError(404, "not-found", "what is stored there cannot be read") from exc
        except Exception as exc:  # of a driver
            words = cause_of(kind_of(exc), exc, self.backend.stack.store)
            raise AdminError(503, "store-failed", f"{place} fails: {shown(words)}") from exc


async def now(request: CacheRequest) -> Reply:
    """Counters, health and samples of this worker; the store is not asked."""
    given = parameters(request.http, frozenset({"after", "worker"}))
    stats, me = request.backend.stats, request.worker
    after = number_of(given, "after", 0, 10**12) if given.get("worker") == me.id else 0
    snapshot, health, saved = stats.snapshot(), stats.health(), request.watched.measures.saved
    counters = {name: getattr(snapshot, name) for name in COUNTERS}
    answer = NowAnswer(
        worker=me,
        now=time.time(),
        health=health.status,
        reason=shown(health.reason),
        circuit=snapshot.circuit,
        counters=counters | {"requests": snapshot.requests},
        store_errors={shown(kind): count for kind, count in snapshot.store_errors.items()},
        saved={"requests": saved.requests, "bytes": saved.bytes, "seconds": saved.seconds},
        samples=request.watched.recent.samples(after),
        is_all=not after,
        busiest=[replace(one, host=shown(one.host)) for one in request.watched.recent.busiest(limit=BUSIEST)],
    )
    # A new connection may reach another worker, so that the page sees them all.
    return as_json(answer, headers={"Connection": "close"} if request.http.version == "1.1" else None)


async def store(request: CacheRequest) -> Reply:
    """How much is stored."""
    parameters(request.http, frozenset())
    return await _usage(request, None)


async def check(request: CacheRequest) -> Reply:
    """Test the store, and tell how much is stored."""
    parameters(request.http, frozenset())
    health = await request.of_store(request.backend.ping, ANSWER_WITHIN_S)
    if not health.is_ok:
        raise AdminError(503, "store-failed", shown(health.reason))
    return await _usage(request, "")


async def _usage(request: CacheRequest, checked: str | None) -> Reply:
    begun, watched = time.perf_counter(), request.watched
    used: Usage | None = None
    if time.monotonic() >= watched.uncounted_until:
        used = await request.of_store(lambda: _counted(request))
        watched.uncounted_until = time.monotonic() + UNCOUNTED_FOR_S if used is None else 0.0
    took_s, now = time.perf_counter() - begun, time.time()
    if used is None:
        return as_json(StoreAnswer(None, None, None, took_s, now, checked=checked))
    return as_json(StoreAnswer(used.entries, used.bytes_in_use, used.bytes_on_disk, took_s, now, checked=checked))


async def _counted(request: CacheRequest) -> Usage | None:
    """How much is stored; None if counting takes too long, though the store works.

    Raises:
        TimeoutError: the store does not answer.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await request.backend.usage()
    except TimeoutError:
        await _expect_answer(request)
        return None


async def _expect_answer(request: CacheRequest) -> None:
    """Tell a store that does not answer from one that is too large for a task.

    Raises:
        TimeoutError: the store does not answer.
    """
    async with asyncio.timeout(ANSWER_WITHIN_S):
        health = await request.backend.ping()
    if not health.is_ok:
        raise TimeoutError


async def upstreams(request: CacheRequest) -> Reply:
    """The largest upstreams of the store."""
    parameters(request.http, frozenset())
    reason, found = "", None
    try:
        found = await request.of_store(lambda: request.watched.surveys.get(request.backend.entries))
    except AdminError as failure:
        reason = failure.message
    answer = UpstreamsAnswer(
        now=time.time(),
        largest=None if found is None else found.largest,
        hosts=0 if found is None else found.hosts,
        took_s=0.0 if found is None else found.took_s,
        at=time.time() if found is None else found.at,
        reason=reason,
        is_all=found is None or found.is_all,
    )
    return as_json(answer)


async def entries(request: CacheRequest) -> Reply:
    """A page of the table of entries."""
    query, given = query_of(request.http)
    offset, limit = page_of(given)
    listing = await request.of_store(
        lambda: request.watched.listings.get(
            query, lambda: request.backend.entries(**selectors_of(query)), given.get("listing", "")
        ),
    )
    if not (listing.is_all or listing.total):
        await request.of_store(lambda: _expect_answer(request))
    now = time.time()
    answer = EntriesAnswer(
        listing=listing.id,
        at=listing.at,
        now=now,
        total=listing.total,
        body_bytes=listing.body_bytes,
        reachable=len(listing),
        offset=offset,
        is_all=listing.is_all,
        entries=[row_of(info, now) for info in listing.page(offset, limit)],
    )
    return as_json(answer)


async def entry(request: CacheRequest) -> Reply:
    """One entry: its head, and the beginning of its body."""
    key = parameters(request.http, frozenset({"key"})).get("key", "")
    entry: StoredResponse | None = None
    if key:
        entry = await request.of_store(lambda: request.backend.stack.entry(key), ANSWER_WITHIN_S)
    if entry is None and not is_key_beginning(key):
        raise AdminError(400, "bad-request", shown(f"key={key[:200]!r}: use a key, as api/caches/…/entries tells it"))
    if entry is None:
        raise AdminError(404, "not-found", "nothing is stored under this key any more")
    info, now = info_of(entry), time.time()
    preview = Preview("off")
    if request.previews:
        preview = await request.of_store(lambda: preview_of(entry, info.content_type), ANSWER_WITHIN_S)
    reason = (entry.reason or b"").decode("utf-8", "replace")
    http = ".".join(map(str, entry.version))
    return as_json(
        EntryAnswer(
            row=row_of(info, now),
            now=now,
            http=http,
            reason=shown(reason),
            headers=head_of(entry),
            variants=len(entry.variants),
            preview=preview,
        )
    )


async def purge(request: CacheRequest) -> Reply:
    """Delete entries or make them stale; with ``dry_run`` only count them."""
    parameters(request.http, frozenset())
    wish = await body_as(request.http, PurgeRequest)
    selectors = purge_of(wish)
    backend = request.backend
    purged = await request.of_store(
        lambda: backend.purge(all=wish.all, soft=wish.soft, dry_run=wish.dry_run, **selectors),
        PURGE_WITHIN_S,
    )
    if not wish.dry_run:
        request.watched.forget()
        logger.info(
            "The admin page has %s %d entries of the cache %r, %d bytes: %s",
            "made stale" if wish.soft else "dropped",
            purged.entries,
            shown(backend.name),
            purged.bytes,
            _said(selectors, backend.ignored_params) or "all",
        )
    return as_json(PurgeAnswer(purged.entries, purged.bytes, wish.soft, wish.dry_run))


def _said(selectors: Selectors, ignored_params: Collection[str]) -> str:
    """*selectors* for the log: a URL without its secrets, and of patterns, whose queries may hold some, the names."""
    told: dict[str, object] = {**selectors}
    if "url" in selectors:
        told["url"] = redact_url(selectors["url"], ignored_params)
    return ", ".join(name if name == "match" else f"{name}={value!r}" for name, value in told.items())


async def explain(request: CacheRequest) -> Reply:
    """What the cache would do with a request, and why."""
    parameters(request.http, frozenset())
    wish = await body_as(request.http, ExplainRequest)
    options: dict[str, Any] = {"principal": wish.principal} if wish.principal else {}
    if not wish.url.strip():
        raise AdminError(400, "bad-request", "url: use a URL, as the service requests it")

    async def explain() -> Explanation:
        try:
            return await request.session.explain(
                wish.method.strip().upper() or "GET",
                wish.url.strip(),
                headers=wish.headers,
                refresh=wish.refresh,
                only_if_cached=wish.only_if_cached,
                **options,
            )
        except (ClientError, ValueError, TypeError) as exc:
            raise AdminError(400, "bad-request", shown(f"the request cannot be made: {exc or 'no such URL'}")) from exc

    found: Explanation = await request.of_store(explain, ANSWER_WITHIN_S)
    now = time.time()
    answer = ExplainAnswer(
        now=now,
        method=shown(found.method),
        url=shown(found.url),
        key=found.key,
        partition=found.partition,
        decision=found.decision,
        cache_status=shown(found.cache_status),
        steps=[replace(step, because=shown(step.because)) for step in found.steps],
        settings=list(map(shown, found.settings)),
        stored=[row_of(info, now) for info in found.stored],
        store_error=shown(found.store_error),
        is_all=found.is_all,
    )
    return as_json(answer)


QUESTIONS: Final[dict[str, Callable[[CacheRequest], Awaitable[Reply]]]] = {
    "now": now,
    "store": store,
    "check": check,
    "upstreams": upstreams,
    "entries": entries,
    "entry": entry,
    "purge": purge,
    "explain": explain,
}
"""The functions by the name of their endpoint."""
