"""The attributes by which a response from the origin tells about the cache, updated when its entry is written."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import ref

from aiohttp import ClientResponse

from aiohttp_cache_di.entries.fields import as_datetime
from aiohttp_cache_di.keys import redact_url
from aiohttp_cache_di.policy.tracing import length_of, shown
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111 import cache_status as status
from aiohttp_cache_di.rfc9111.freshness import age_value_s
from aiohttp_cache_di.telemetry.reasons import CacheDecision, origin_of_answer

__all__ = ["FetchedResponse", "Report", "describe_miss"]

_DESCRIBED: Final = (
    "from_cache",
    "cache_status",
    "cache_decision",
    "created_at",
    "expires",
    "is_expired",
    "body_path",
)


class FetchedResponse(ClientResponse):
    """A response from the origin, with the attributes of a hit and a ``repr`` without secrets.

    The ``repr`` of aiohttp's own class shows the header fields. Otherwise, the two are alike.
    """

    from_cache: bool = False
    body_path: Path | None = None
    _report: Report | None = None
    _shown_as: ClassVar[str] = "ClientResponse"

    if not TYPE_CHECKING:  # for type checkers, see sessions.typed.DescribedResponse
        cache_status, cache_decision, created_at, expires, is_expired = (
            property(attrgetter(f"_report.{name}")) for name in _DESCRIBED[1:-1]
        )

    def __repr__(self) -> str:
        report = self._report
        if report is None:  # it is still being made
            return f"<{type(self).__name__}>"
        decision, left = report.cache_decision, report.expires
        since_s = max(time.time() - report.received_at, 0.0)
        told = (
            origin_of_answer(decision.cache_status),
            f"age {length_of(age_value_s(self.headers) + since_s)}",
            "stored" if decision.is_stored else _why_not(decision),
            f"fresh until {left:%Y-%m-%d %H:%M:%S}Z" if decision.is_stored and left is not None else "",
        )
        url = redact_url(self.url, report.hidden or ())
        return shown(self._shown_as, self.method, url, self.status, self.reason, told)


@lru_cache(64)
def _fetched_class_for(made: type[ClientResponse]) -> type[ClientResponse] | None:
    """The class that adds the attributes of `FetchedResponse` to *made*; None if *made* has a ``repr`` of its own."""
    if made is ClientResponse:
        return FetchedResponse
    if issubclass(made, FetchedResponse):
        return made
    if getattr(made, "__repr__", None) is not ClientResponse.__repr__:
        return None
    bases: Any = (made, FetchedResponse)
    described = {"__module__": made.__module__, "__qualname__": made.__qualname__, "_shown_as": made.__name__}
    try:
        return type(made.__name__, bases, described)
    except Exception:  # the user's class does not allow a subclass
        return None


def _why_not(decision: CacheDecision) -> str:
    """Why the response is not stored, for its ``repr``; "" if that is not known."""
    detail = decision.parameters.get("detail", "")
    return f"not stored ({detail})" if detail else ""


def describe_miss(
    response: ClientResponse, cache_status: str, *, values: str = "", hidden: Collection[str] | None = None
) -> None:
    """Give a response that has just come from the origin the attributes of a hit.

    Args:
        values: see `Report`.
        hidden: see `Report`.
    """
    if issubclass(type(response), ClientResponse):  # otherwise it is a test double
        Report(response, cache_status, received_at=time.time(), values=values, hidden=hidden)


class Report:
    """What one response tells about the cache, and about being stored.

    It tells that it is stored as soon as its entry is accepted: in memory, or waiting to be written to a store that is
    not known to fail. If the write fails, it tells that the entry is pending, and again that it is stored once that is
    written.

    The attributes of a `FetchedResponse` are read from the report each time. Other responses, whose class has its own
    ``repr``, get attributes that the report updates; those that a user's class defines itself are left alone.

    Args:
        response: aiohttp's for a miss, a `CachedResponse` for an entry that a 304 has confirmed.
        cache_status: the Cache-Status as known when the head has arrived.
        received_at: POSIX time at which the head arrived.
        values: the values that led to asking the origin, in words, for `cache_decision`.
        hidden: names of parameters whose values the ``repr`` of the response hides, besides those of secrets; None to
            leave its ``repr`` as it is.
    """

    from_cache: bool = False
    body_path: Path | None = None
    fresh_until: float = math.inf
    """Until when the entry that is being written is fresh (POSIX time)."""
    is_told: bool = False
    """Whether the outcome of the write is known."""
    _until: float = math.inf
    _is_accepted: bool = False
    _is_read_early: bool = False
    _listener: ref[ClientResponse] | None = None

    def __init__(
        self,
        response: ClientResponse,
        cache_status: str,
        *,
        received_at: float,
        values: str = "",
        hidden: Collection[str] | None = None,
    ) -> None:
        self.cache_status: str = cache_status
        """The response's Cache-Status at present."""
        self._status = cache_status
        self._values = values
        self.received_at = received_at
        self.hidden = hidden
        if hidden is None or not _attach(response, self):
            self._listener = ref(response)
            self._copy_to(response)

    @property
    def cache_decision(self) -> CacheDecision:
        """What the cache did for the request, and why."""
        return CacheDecision(self.cache_status, self._values)

    @property
    def created_at(self) -> datetime:
        """When the head arrived, in UTC."""
        return datetime.fromtimestamp(self.received_at, UTC)

    @property
    def expires(self) -> datetime | None:
        """When the entry stops being fresh, or has done so, in UTC; None for never, or if it is not stored."""
        return as_datetime(self._until, arrived_at=self.received_at)

    @property
    def is_expired(self) -> bool:
        """Whether the response was stale already when it arrived."""
        return self._until <= self.received_at

    def not_stored(self, detail: status.Detail) -> None:
        """Tell that the response is not stored, for a reason of `reasons.DETAILS`."""
        self._update(status.with_detail(self._status, detail), math.inf)

    def written(self, is_written: bool, *, is_waiting: bool = True) -> None:
        """Note the outcome of an attempt to write the entry.

        Args:
            is_waiting: whether the entry may still be written after a failed attempt.
        """
        self.is_told = True
        if is_written:
            self._update(status.stored(self._status), self.fresh_until)
        elif not self._is_accepted:
            self.not_stored("no-room")
        else:
            self._unwritten() if is_waiting else self.not_stored("given-up")

    def accepted(self, *, is_failing: bool, is_read_early: bool = False) -> None:
        """Note that the entry waits to be written.

        Args:
            is_failing: whether the store is known to fail, so that a write cannot be expected.
            is_read_early: whether requests are answered with the entry already.
        """
        self._is_accepted, self._is_read_early = True, is_read_early
        if is_failing:
            self._unwritten()
        else:
            self._update(status.stored(self._status), self.fresh_until)

    def _unwritten(self) -> None:
        """Tell that the entry waits to be written to a store that fails."""
        if self._is_read_early:
            self._update(status.with_detail(self._status, "pending"), self.fresh_until)
        else:
            self.not_stored("store-failed")

    def _update(self, cache_status: str, fresh_until: float) -> None:
        if self.cache_status == cache_status and self._until == fresh_until:
            return
        self.cache_status, self._until = cache_status, fresh_until
        if self._listener is not None:
            self._copy_to(self._listener())

    def _copy_to(self, response: ClientResponse | None) -> None:
        """Update the attributes of a *response* that does not read them from this report."""
        if isinstance(response, CachedResponse):
            response.restate(self.cache_status)
        elif response is not None:
            made = type(response)
            own = () if made is ClientResponse else [name for name in _DESCRIBED if hasattr(made, name)]
            vars(response).update({name: getattr(self, name) for name in _DESCRIBED if name not in own})


def _attach(response: ClientResponse, report: Report) -> bool:
    """Let *response* read its attributes from *report*, by changing its class; return whether that is possible."""
    fetched = _fetched_class_for(type(response))  # type: ignore[arg-type]  # mypy takes this class for unhashable
    if fetched is None:
        return False
    changed: Any = response
    try:
        changed.__class__ = fetched
    except TypeError:  # a release of aiohttp whose responses have another layout
        return False
    changed._report = report
    return True
