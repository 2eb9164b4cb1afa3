"""The JSON of the API, as structs: the bodies of requests and of answers."""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct, field

from aiohttp_cache_di.admin.preview import HeaderLine, Preview, shown
from aiohttp_cache_di.admin.recent import BusyHost, Sample
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.policy.tracing import Step

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
    "StoreAnswer",
    "UpstreamsAnswer",
    "Worker",
    "row_of",
]


class Worker(Struct, frozen=True):
    """The process that answers.

    Args:
        id: distinguishes it from other processes, and from earlier ones with the same *pid*.
        pid: its number on this machine or in its container.
        since: POSIX time since which the cache that was asked about counts; for all caches, the earliest.
    """

    id: str
    pid: int
    since: float


class CacheInfo(Struct, frozen=True):
    """A cache of the app.

    Args:
        number: identifies it in the paths of the API.
        is_open: whether it is open in the worker that answers; the fields below are empty if not.
        store: the class of its backend.
        where: its path or address, without credentials; "" for a store without one.
        mode: whose rules it follows.
    """

    number: int
    name: str
    is_open: bool
    store: str = ""
    where: str = ""
    mode: str = ""


class Bounds(Struct, frozen=True):
    """How to read samples, and which functions of the page are turned on."""

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
    """``GET api/caches/{number}/now``: what this worker has counted; the store is not asked.

    Args:
        counters: counted since the cache was created.
        saved: requests, bytes and seconds that answers from the cache have saved since measuring began.
        circuit: the worst state of all circuits.
        samples: the steps that began after the time that was asked for.
        is_all: whether *samples* are all steps that are kept.
        busiest: the upstreams with the most requests in the last minutes.
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
    """``GET …/store`` and ``POST …/check``: how much is stored.

    Args:
        entries: None if there are too many to be counted in time, though the store works; *bytes_in_use* likewise.
        took_s: seconds that the store took to answer.
        checked: "" after a check that found nothing wrong; None without a check.
    """

    entries: int | None
    bytes_in_use: int | None
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
        largest: the upstreams whose bodies take most bytes; None if the store does not answer, see *reason*.
        hosts: the number of all upstreams.
        took_s: seconds that the walk over the store took.
        at: POSIX time of the walk.
        is_all: whether the walk has come to the end of the store, or else ended when it had taken too long.
    """

    now: float
    largest: list[HostUsage] | None
    hosts: int
    took_s: float
    at: float
    reason: str = ""
    is_all: bool = True


class Row(Struct, frozen=True):
    """An entry as a row of the table; see `EntryInfo`.

    Args:
        fresh_until: POSIX time; None means for ever if *is_fresh*, and otherwise that each use needs a validation.
        kept_until: POSIX time; None means for ever.
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
        listing: identifies the listing; pass it on to get further pages of the same listing.
        at: POSIX time at which the listing was made.
        total: the number of entries that the query selects.
        body_bytes: the size of their bodies together.
        reachable: the number of rows in the listing, which is bounded.
        is_all: whether the whole store was read, or else the part that could be read in time.
    """

    listing: str
    at: float
    now: float
    total: int
    body_bytes: int
    reachable: int
    offset: int
    entries: list[Row]
    is_all: bool = True


class EntryAnswer(Struct, frozen=True):
    """``GET …/entry``.

    Args:
        reason: the reason phrase.
        variants: the number of other variants (Vary) stored for its URL.
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
    partition: str | None = None
    older_than: str | float | None = None
    larger_than: str | int | None = None
    expired: bool = False
    all: bool = False
    soft: bool = False
    dry_run: bool = False


class PurgeAnswer(Struct, frozen=True):
    """The number and size of the entries that a purge has dropped or made stale, or would in a dry run."""

    entries: int
    bytes: int
    soft: bool
    dry_run: bool


class ExplainRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST …/explain``: a request to explain; it is not sent."""

    url: str
    method: str = "GET"
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    principal: str | None = None
    refresh: bool = False
    only_if_cached: bool = False


class ExplainAnswer(Struct, frozen=True):
    """What the cache would do with a request; see `Explanation`."""

    now: float
    method: str
    url: str
    key: str
    partition: str
    decision: str
    cache_status: str
    steps: list[Step]
    settings: list[str]
    stored: list[Row]
    store_error: str = ""
    is_all: bool = True


def row_of(info: EntryInfo, now: float) -> Row:
    """Make the row for *info*."""
    return Row(
        key=info.key,
        method=shown(info.method),
        url=shown(info.url),
        status=info.status,
        content_type=shown(info.content_type),
        body_bytes=info.body_bytes,
        stored_at=info.stored_at,
        validated_at=info.validated_at,
        fresh_until=_or_none(info.fresh_until),
        is_fresh=info.fresh_until > now,
        kept_until=_or_none(info.kept_until),
        tags=tuple(map(shown, info.tags)),
        variant=shown(info.variant),
        partition=info.partition,
    )


def _or_none(at: float) -> float | None:
    return at if math.isfinite(at) else None
