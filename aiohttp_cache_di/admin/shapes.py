"""The shapes of the API's JSON: what is asked, and what is answered."""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct, field

from aiohttp_cache_di.admin.preview import HeaderLine, Preview, shown
from aiohttp_cache_di.admin.recent import BusyHost, Sample
from aiohttp_cache_di.entries.info import EntryInfo

__all__ = [
    "Bounds",
    "CacheInfo",
    "CachesAnswer",
    "EntriesAnswer",
    "EntryAnswer",
    "ExplainAnswer",
    "ExplainRequest",
    "HostUsage",
    "NowAnswer",
    "PurgeAnswer",
    "PurgeRequest",
    "Row",
    "StepInfo",
    "StoreAnswer",
    "UpstreamsAnswer",
    "Worker",
    "row_of",
]


class Worker(Struct, frozen=True):
    """The process that answers.

    Args:
        id: tells it from others, and from its predecessors.
        pid: as this machine, or its container, has it.
        since: POSIX time at which its cache began to count: the one that is asked about, or the first of all.
    """

    id: str
    pid: int
    since: float


class CacheInfo(Struct, frozen=True):
    """A cache of the app.

    Args:
        number: by which it is asked for.
        is_open: whether it is, in the worker that answers; of one that is not, no more is known.
        store: the class of its backend.
        where: its path or address, without credentials; "" where it has none.
        mode: by whose rules it goes.
    """

    number: int
    name: str
    is_open: bool
    store: str = ""
    where: str = ""
    mode: str = ""


class Bounds(Struct, frozen=True):
    """What the numbers in samples mean, and what the page may do."""

    step_s: int
    kept_s: int
    durations_s: tuple[float, ...]
    may_change: bool
    shows_bodies: bool


class CachesAnswer(Struct, frozen=True):
    """``GET api/caches``."""

    caches: list[CacheInfo]
    worker: Worker
    token: str
    bounds: Bounds
    now: float


class NowAnswer(Struct, frozen=True):
    """``GET api/caches/{number}/now``: what this worker knows by itself; no store is asked.

    Args:
        counters: since the worker has begun.
        saved: requests, bytes and seconds, since it was measured first.
        circuit: the worst state of any operation's.
        samples: those that have begun after what was asked for.
        is_all: whether *samples* are all that there are.
        busiest: the upstreams that were asked for most in the last minutes.
    """

    worker: Worker
    now: float
    health: Literal["ok", "degraded"]
    reason: str
    circuit: str
    counters: dict[str, int]
    store_errors: dict[str, int]
    saved: dict[str, float]
    samples: list[Sample]
    is_all: bool
    busiest: list[BusyHost]


class StoreAnswer(Struct, frozen=True):
    """``GET …/store`` and ``POST …/check``: what the store says of itself.

    Args:
        took_s: how long it took to answer.
        checked: what `CacheBackend.ping` has found; None where that was not asked for.
    """

    entries: int
    bytes_in_use: int
    bytes_on_disk: int | None
    took_s: float
    now: float
    checked: str | None = None


class HostUsage(Struct, frozen=True):
    """What is stored of one upstream."""

    host: str
    entries: int
    body_bytes: int
    fresh: int


class UpstreamsAnswer(Struct, frozen=True):
    """``GET …/upstreams``.

    Args:
        largest: by the bytes of their bodies, from the store; None where it does not answer, with *reason*.
        hosts: how many there are.
        took_s: how long the walk took.
        at: POSIX time of the walk.
    """

    now: float
    largest: list[HostUsage] | None
    hosts: int
    took_s: float
    at: float
    reason: str = ""


class Row(Struct, frozen=True):
    """An entry, in one row of a table; see `EntryInfo`.

    Args:
        fresh_until: POSIX time; None for ever where it is fresh, and else where each use needs a validation.
        kept_until: POSIX time; None for ever.
    """

    key: str
    method: str
    url: str
    status: int
    content_type: str
    body_bytes: int
    stored_at: float
    validated_at: float
    fresh_until: float | None
    is_fresh: bool
    kept_until: float | None
    tags: tuple[str, ...]
    variant: str
    partition: str


class EntriesAnswer(Struct, frozen=True):
    """``GET …/entries``.

    Args:
        listing: hand it back for further pages of the same moment.
        at: POSIX time of that moment.
        total: how many entries are meant.
        body_bytes: of all of them.
        reachable: how many of them can be paged to, in this order.
    """

    listing: str
    at: float
    now: float
    total: int
    body_bytes: int
    reachable: int
    offset: int
    entries: list[Row]


class EntryAnswer(Struct, frozen=True):
    """``GET …/entry``.

    Args:
        reason: the reason phrase.
        variants: how many others of its URL are kept beside it.
    """

    row: Row
    now: float
    http: str
    reason: str
    headers: list[HeaderLine]
    variants: int
    preview: Preview


class PurgeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST …/purge``: the selectors of `CacheBackend.purge`."""

    url: str | None = None
    host: str | None = None
    match: str | list[str] | None = None
    tags: str | list[str] | None = None
    older_than: str | float | None = None
    larger_than: str | int | None = None
    expired: bool = False
    all: bool = False
    soft: bool = False
    dry_run: bool = False


class PurgeAnswer(Struct, frozen=True):
    """What a purge has dropped, has made stale, or would."""

    entries: int
    bytes: int
    soft: bool
    dry_run: bool


class ExplainRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST …/explain``: a request of the session, which is not made."""

    url: str
    method: str = "GET"
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    principal: str | None = None
    refresh: bool = False
    only_if_cached: bool = False


class StepInfo(Struct, frozen=True):
    """One question on the way to a decision, as docs/caching.md has it."""

    question: str
    answer: bool
    because: str


class ExplainAnswer(Struct, frozen=True):
    """What the cache would do with a request; see `Explanation`."""

    now: float
    method: str
    url: str
    key: str
    partition: str
    decision: str
    cache_status: str
    steps: list[StepInfo]
    settings: list[str]
    stored: list[Row]
    store_error: str = ""


def row_of(info: EntryInfo, now: float) -> Row:
    """The row that shows *info*."""
    return Row(
        info.key,
        shown(info.method),
        shown(info.url),
        info.status,
        shown(info.content_type),
        info.body_bytes,
        info.stored_at,
        info.validated_at,
        _or_none(info.fresh_until),
        info.fresh_until > now,
        _or_none(info.kept_until),
        tuple(map(shown, info.tags)),
        shown(info.variant),
        info.partition,
    )


def _or_none(at: float) -> float | None:
    return at if math.isfinite(at) else None
