"""What a response that the origin gave says of the cache, kept true while it turns out whether it is stored."""

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
from aiohttp_cache_di.policy.tracing import length_of, origin_of_answer, shown
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111 import cache_status as status
from aiohttp_cache_di.rfc9111.freshness import age_value_s
from aiohttp_cache_di.telemetry.reasons import DETAILS, CacheDecision

__all__ = ["DETAILS", "FetchedResponse", "Report", "describe_miss"]

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
    """A response of aiohttp's that the cache has looked at: it has the attributes that a hit has, and shows no secret.

    aiohttp's own shows the header fields in a debugger. In all else the two are alike.
    """

    from_cache: bool = False
    body_path: Path | None = None
    _report: Report | None = None
    _shown_as: ClassVar[str] = "ClientResponse"

    if not TYPE_CHECKING:  # they are told of where responses are typed
        cache_status, cache_decision, created_at, expires, is_expired = (
            property(attrgetter(f"_report.{name}")) for name in _DESCRIBED[1:-1]
        )

    def __repr__(self) -> str:
        report = self._report
        if report is None:  # of one that is still being made
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
def _asking_class_for(made: type[ClientResponse]) -> type[ClientResponse] | None:
    """The class that differs from *made* as `FetchedResponse` does from aiohttp's own; None where there is none.

    One that shows itself in its own way stays as it is.
    """
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
    except Exception:  # of what the class says to one that is derived from it
        return None


def _why_not(decision: CacheDecision) -> str:
    detail = decision.parameters.get("detail", "")
    return f"not stored ({detail})" if detail else ""


def describe_miss(
    response: ClientResponse, cache_status: str, *, values: str = "", hidden: Collection[str] | None = None
) -> None:
    """Give a response of aiohttp's that has just come the attributes that a hit has.

    Args:
        values: those that decided that the origin was asked, in words.
        hidden: see `Report`.
    """
    if issubclass(type(response), ClientResponse):  # else it is a double of a test
        Report(response, cache_status, received_at=time.time(), values=values, hidden=hidden)


class Report:
    """What one response says of the cache and of having been stored.

    It says so when its entry is accepted: it is in memory, or waits to be written to a store that is not known to
    fail. When writing fails it says that the entry is pending, and that it is stored if it is written later.

    A response asks the report when it is asked itself. One that is shown in a way of its own is given attributes.
    Attributes that a user's class has itself are the user's.

    Args:
        response: aiohttp's own for a miss, ours for what a 304 has confirmed.
        cache_status: what is known at the head.
        received_at: POSIX time at which the head arrived.
        values: those that decided that the origin was asked, in words.
        hidden: names of parameters whose values are not shown of the response, beside those of secrets; None for a
            response that is shown as aiohttp shows it.
    """

    from_cache: bool = False
    body_path: Path | None = None
    fresh_until: float = math.inf
    """Until when the entry is fresh that is handed to the store (POSIX time)."""
    is_told: bool = False
    """Whether the store has said what became of the entry."""
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
        """What the response says by now."""
        self._status = cache_status
        self._values = values
        self.received_at = received_at
        self.hidden = hidden
        if hidden is None or not _ask(response, self):
            self._listener = ref(response)
            self._tell(response)

    @property
    def cache_decision(self) -> CacheDecision:
        """What the cache has done for the request, and why."""
        return CacheDecision(self.cache_status, self._values)

    @property
    def created_at(self) -> datetime:
        """When the head arrived, in UTC."""
        return datetime.fromtimestamp(self.received_at, UTC)

    @property
    def expires(self) -> datetime | None:
        """When what is stored stops being fresh, in UTC; None for never."""
        return as_datetime(self._until, earliest=self.received_at)

    @property
    def is_expired(self) -> bool:
        """Whether the response was not fresh when it came."""
        return self._until <= self.received_at

    def not_stored(self, detail: status.Detail) -> None:
        """It is not stored, for a reason of `DETAILS`."""
        self._say(status.with_detail(self._status, detail), math.inf)

    def written(self, is_written: bool, *, is_waiting: bool = True) -> None:
        """The store says that the entry is written; or that it is not, as far as it has been tried.

        Args:
            is_waiting: it may still be written.
        """
        self.is_told = True
        if is_written:
            self._say(status.stored(self._status), self.fresh_until)
        elif not self._is_accepted:
            self.not_stored("no-room")
        else:
            self._unwritten() if is_waiting else self.not_stored("given-up")

    def accepted(self, *, is_failing: bool, is_read_early: bool = False) -> None:
        """The entry waits to be written.

        Args:
            is_failing: the store is known to fail, so that nothing can be promised.
            is_read_early: requests are answered with the entry meanwhile.
        """
        self._is_accepted, self._is_read_early = True, is_read_early
        if is_failing:
            self._unwritten()
        else:
            self._say(status.stored(self._status), self.fresh_until)

    def _unwritten(self) -> None:
        """The store fails, and the entry waits to be written."""
        if self._is_read_early:
            self._say(status.with_detail(self._status, "pending"), self.fresh_until)
        else:
            self.not_stored("store-failed")

    def _say(self, cache_status: str, fresh_until: float) -> None:
        if self.cache_status == cache_status and self._until == fresh_until:
            return
        self.cache_status, self._until = cache_status, fresh_until
        if self._listener is not None:
            self._tell(self._listener())

    def _tell(self, response: ClientResponse | None) -> None:
        """Have a *response* say it that does not ask."""
        if isinstance(response, CachedResponse):
            response.restate(self.cache_status)
        elif response is not None:
            made = type(response)
            own = () if made is ClientResponse else [name for name in _DESCRIBED if hasattr(made, name)]
            vars(response).update({name: getattr(self, name) for name in _DESCRIBED if name not in own})


def _ask(response: ClientResponse, report: Report) -> bool:
    """Let *response* say what *report* has to say whenever it is asked; whether it can."""
    asking = _asking_class_for(type(response))  # type: ignore[arg-type]  # mypy takes this class for unhashable
    if asking is None:
        return False
    changed: Any = response
    try:
        changed.__class__ = asking
    except TypeError:  # of a release of aiohttp whose responses have another layout
        return False
    changed._report = report
    return True
