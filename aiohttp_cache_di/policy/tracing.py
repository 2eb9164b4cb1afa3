"""A trace of a decision: each question of docs/caching.md that was asked, its answer, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeAlias

from msgspec import Struct, field

from aiohttp_cache_di.policy.lifetimes import lifetime
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.rfc9111.directives import response_directives
from aiohttp_cache_di.rfc9111.freshness import current_age_s, remaining_s
from aiohttp_cache_di.rfc9111.messages import Request, Response, StoredResponse
from aiohttp_cache_di.units import format_duration

__all__ = [
    "Because",
    "Step",
    "Trace",
    "age_and_rest",
    "freshness",
    "length_of",
    "note",
    "shown",
    "told_of",
]

Because: TypeAlias = str | Callable[[], str]
"""The reason for an answer, or a function that returns it, called only if there is a trace."""

NOTICEABLE_S = 1.0  # a difference of lifetimes that is mentioned


class Step(Struct, frozen=True):
    """One question, named as in the diagrams of docs/caching.md.

    Args:
        because: the values that decided; "" for none.
    """

    question: str
    answer: bool
    because: str = ""


class Trace(Struct):
    """The questions that led to a decision, in order.

    Args:
        hints: reasons that are known beforehand, by question; they replace those of the policy.
    """

    steps: list[Step] = field(default_factory=list[Step])
    hints: dict[str, str] = field(default_factory=dict[str, str])


def note(trace: Trace | None, question: str, answer: bool, because: Because = "") -> None:
    """Add the answer to *question* to *trace*, if there is one."""
    if trace is not None:
        text = trace.hints.get(question) or (because if isinstance(because, str) else because())
        trace.steps.append(Step(question, answer, text))


def freshness(stored: StoredResponse, rules: Rules, now: float) -> str:
    """Where the lifetime of *stored* comes from, its age, and how long it is still fresh."""
    told: list[str] = []
    request = Request(stored.method, stored.url, stored.headers)
    response = Response(stored.status, stored.headers, stored.requested_at, stored.received_at)
    found = lifetime(request, response, response_directives(stored.headers), rules, told)
    source = told[0] if told else "no lifetime"
    if found is None or not _is_near(found.fresh_until, stored.fresh_until):
        source += ", but it was made stale, or stored by other settings"
    age, rest = _age_and_rest(stored, now)
    return f"{source}, {age}: {rest}"


def age_and_rest(stored: StoredResponse, *, now: float) -> str:
    """The age of *stored*, and how long it is still fresh, in words."""
    return ", ".join(_age_and_rest(stored, now))


def _age_and_rest(stored: StoredResponse, now: float) -> tuple[str, str]:
    left_s, age = remaining_s(stored, now=now), f"age {length_of(current_age_s(stored, now=now))}"
    if left_s == math.inf:
        return age, "fresh for ever"
    if left_s == -math.inf:
        if stored.fresh_until != -math.inf:
            return age, "it was received later than now, while a clock was wrong"
        return age, "each use needs a validation"
    return age, f"fresh for {length_of(left_s)}" if left_s > 0 else f"stale by {length_of(-left_s)}"


def length_of(seconds: float) -> str:
    """*seconds* for people: whole seconds below two minutes, otherwise with units."""
    if math.isinf(seconds):
        return "ever"
    return f"{seconds:.0f} s" if abs(seconds) < 120 else format_duration(round(seconds))


def told_of(stored: StoredResponse, *, now: float) -> Iterator[str]:
    """The facts about *stored*, for the repr of a response that is made from it; see `shown`."""
    left_s = stored.fresh_until - now
    yield f"age {length_of(current_age_s(stored, now=now))}"
    yield f"fresh for {length_of(left_s)}" if left_s > 0 else f"stale for {length_of(-left_s)}"
    yield f"{stored.body_bytes} bytes"
    yield f"stored {datetime.fromtimestamp(stored.created_at, UTC):%Y-%m-%d %H:%M:%S}Z"


def shown(kind: str, method: str, url: str, status: int, reason: str | None, told: Iterable[str]) -> str:
    """The repr of a response: one line of printable characters, without header fields.

    Args:
        url: the URL without secrets.
        told: further facts.
    """
    why = "None" if reason is None else reason.encode("unicode_escape").decode("ascii")
    more = ", ".join(filter(None, told))
    return f"<{kind} {method} {url} [{status} {why}]{more and f' {more}'}>"


def _is_near(one: float, other: float) -> bool:
    return one == other or abs(one - other) < NOTICEABLE_S
