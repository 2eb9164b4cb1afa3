"""What a response that the origin gave says of the cache, kept true while it turns out whether it is stored."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary, ref

from aiohttp import ClientResponse

from aiohttp_cache_di.entries.fields import as_datetime
from aiohttp_cache_di.keys import redact_url
from aiohttp_cache_di.policy.telling import length_of, origin_of_answer, shown
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111 import cache_status as status
from aiohttp_cache_di.rfc9111.freshness import age_value_s
from aiohttp_cache_di.telemetry.reasons import DETAILS, CacheDecision

__all__ = ["DETAILS", "FetchedResponse", "Report", "describe_miss", "dress"]


class FetchedResponse(ClientResponse):
    """A response of aiohttp's that the cache has looked at; it differs in nothing but what a debugger shows of it.

    aiohttp's own shows the header fields, which may hold secrets.
    """

    _hidden: Collection[str] = ()
    _shown_as: ClassVar[str] = "ClientResponse"

    def __repr__(self) -> str:
        own = vars(self)
        if "_url" not in own:  # of one that is still being made
            return f"<{type(self).__name__}>"
        told = _told(self) if own.keys() >= _TOLD else ()  # a class of the user's may have one of them for itself
        return shown(self._shown_as, self.method, redact_url(self.url, self._hidden), self.status, self.reason, told)


_TOLD: Final = frozenset({"cache_decision", "created_at", "expires"})


def _told(response: ClientResponse) -> Collection[str]:
    described = vars(response)
    decision: CacheDecision = described["cache_decision"]
    since_s = max(time.time() - described["created_at"].timestamp(), 0.0)
    left = described["expires"]
    return (
        origin_of_answer(decision.cache_status),
        f"age {length_of(age_value_s(response.headers) + since_s)}",
        "stored" if decision.is_stored else _why_not(decision),
        f"fresh until {left:%Y-%m-%d %H:%M:%S}Z" if decision.is_stored and left is not None else "",
    )


def dress(response: ClientResponse, hidden: Collection[str]) -> None:
    """Let a described *response* of the origin's show no secret; one whose class has a ``__repr__`` stays as it is.

    Args:
        hidden: names of parameters whose values are not shown, beside those of secrets.
    """
    made = type(response)
    if made is CachedResponse:
        return
    fetched = FetchedResponse if made is ClientResponse else _fetched_class_for(made)
    if fetched is not None:
        with contextlib.suppress(TypeError):  # of a release of aiohttp whose responses have another layout
            response.__class__ = fetched
            response.__dict__["_hidden"] = hidden


_fetched_classes: WeakKeyDictionary[type[ClientResponse], type[ClientResponse] | None] = WeakKeyDictionary()


def _fetched_class_for(made: type[ClientResponse]) -> type[ClientResponse] | None:
    """The class of a user's own responses that differs as `FetchedResponse` does; None where there is none."""
    try:
        return _fetched_classes[made]
    except KeyError:
        pass
    found: type[ClientResponse] | None = None
    if not issubclass(made, FetchedResponse) and getattr(made, "__repr__", None) is ClientResponse.__repr__:
        bases: Any = (made, FetchedResponse)
        described = {"__module__": made.__module__, "__qualname__": made.__qualname__, "_shown_as": made.__name__}
        with contextlib.suppress(Exception):  # of what the class says to one that is derived from it
            found = type(made.__name__, bases, described)
    _fetched_classes[made] = found
    return found


def _why_not(decision: CacheDecision) -> str:
    detail = decision.parameters.get("detail", "")
    return f"not stored ({detail})" if detail else ""


def describe_miss(
    response: ClientResponse,
    cache_status: str,
    *,
    received_at: float | None = None,
    fresh_until: float = math.inf,
    values: str = "",
) -> None:
    """Give a response of aiohttp's the attributes that a hit has; those that a user's class has itself are the user's.

    Args:
        received_at: POSIX time at which its head arrived; now when not given.
        fresh_until: POSIX time until which it is fresh, if it is stored.
        values: those that decided that the origin was asked, in words.
    """
    made = type(response)
    if not issubclass(made, ClientResponse):  # a double of a test
        return
    if received_at is None:
        received_at = time.time()
    described = {
        "from_cache": False,
        "cache_status": cache_status,
        "cache_decision": CacheDecision(cache_status, values),
        "created_at": datetime.fromtimestamp(received_at, UTC),
        "expires": as_datetime(fresh_until, earliest=received_at),
        "is_expired": fresh_until <= received_at,
        "body_path": None,
    }
    if made is not ClientResponse and made is not FetchedResponse:
        described = {name: value for name, value in described.items() if not hasattr(made, name)}
    response.__dict__.update(described)


class Report:
    """What one response says of having been stored.

    It says so when its entry is accepted: it is in memory, or waits to be written to a store that is not known to
    fail. When writing fails it says that the entry is pending, and that it is stored if it is written later.

    Args:
        response: aiohttp's own for a miss, ours for what a 304 has confirmed.
        cache_status: what is known at the head.
        received_at: POSIX time at which the head arrived.
        values: those that decided that the origin was asked, in words.
    """

    __slots__ = (
        "_is_accepted",
        "_is_told",
        "_received_at",
        "_response",
        "_said",
        "_status",
        "_values",
        "fresh_until",
        "is_read_early",
    )

    def __init__(self, response: ClientResponse, cache_status: str, *, received_at: float, values: str = "") -> None:
        self._response = ref(response)
        self._status = cache_status
        self._received_at = received_at
        self._values = values
        self.fresh_until: float = math.inf
        """Until when the entry is fresh that is handed to the store (POSIX time)."""
        self.is_read_early: bool = False
        """Whether requests are answered with the entry while it waits to be written."""
        self._is_accepted = False
        self._is_told = False
        self._said: tuple[str, float] | None = None

    def begin(self) -> None:
        """Say what is known at the head, if no more is known yet."""
        if self._said is None:
            self._say(self._status, math.inf)

    def not_stored(self, detail: status.Detail) -> None:
        """It is not stored, for a reason of `DETAILS`."""
        self._say(status.with_detail(self._status, detail), math.inf)

    def written(self, is_written: bool, *, is_waiting: bool = True) -> None:
        """The store says that the entry is written; or that it is not, as far as it has been tried.

        Args:
            is_waiting: it may still be written.
        """
        self._is_told = True
        if is_written:
            self._say(status.stored(self._status), self.fresh_until)
        elif not self._is_accepted:
            self.not_stored("no-room")
        else:
            self._unwritten() if is_waiting else self.not_stored("given-up")

    def accepted(self, is_failing: Callable[[], bool]) -> None:
        """The entry waits to be written, unless the store has said more of it already.

        Args:
            is_failing: tells whether the store is known to fail, so that nothing can be promised.
        """
        self._is_accepted = True
        if self._is_told:
            return
        if is_failing():
            self._unwritten()
        else:
            self._say(status.stored(self._status), self.fresh_until)

    def _unwritten(self) -> None:
        """The store fails, and the entry waits to be written."""
        if self.is_read_early:
            self._say(status.with_detail(self._status, "pending"), self.fresh_until)
        else:
            self.not_stored("store-failed")

    def _say(self, cache_status: str, fresh_until: float) -> None:
        if self._said == (cache_status, fresh_until):
            return
        self._said = cache_status, fresh_until
        response = self._response()
        if response is None:
            return
        if isinstance(response, CachedResponse):
            response.restate(cache_status)
        else:
            times = {"received_at": self._received_at, "fresh_until": fresh_until}
            describe_miss(response, cache_status, **times, values=self._values)
