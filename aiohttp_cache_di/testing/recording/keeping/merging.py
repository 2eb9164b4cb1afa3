"""Merge a new recording into an old one: an exchange that has not changed keeps its old text and its place."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from aiohttp_cache_di.testing.recording.bodies import is_json, without
from aiohttp_cache_di.testing.recording.comparing.matching import Key
from aiohttp_cache_di.testing.recording.exchanges import Exchange, Fields, value_of

__all__ = ["merged"]

# These differ between requests, times and servers, so a difference in them alone does not count as a change.
_VOLATILE: Final = frozenset(
    {
        "age",
        "alt-svc",
        "cf-cache-status",
        "cf-ray",
        "date",
        "expires",
        "nel",
        "report-to",
        "server-timing",
        "set-cookie",
        "via",
        "x-amz-cf-id",
        "x-amz-cf-pop",
        "x-amzn-requestid",
        "x-amzn-trace-id",
        "x-cache",
        "x-cache-hits",
        "x-correlation-id",
        "x-github-request-id",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-ratelimit-used",
        "x-request-id",
        "x-response-time",
        "x-runtime",
        "x-served-by",
        "x-timer",
        "x-trace-id",
    }
)


def merged(
    old: Sequence[Exchange],
    new: Sequence[Exchange],
    key_of: Callable[[Exchange], Key],
    *,
    volatile: Collection[str] = (),
    keeps_unasked: bool = False,
) -> list[Exchange]:
    """The exchanges to write: those of *new*, in the places that they have in *old*.

    An exchange that equals the old one but for volatile fields is written as the old one. A new exchange follows the
    one before it in *new*.

    Args:
        new: in the order of the requests.
        volatile: names of further header fields, and of fields in JSON bodies, whose changes do not count.
        keeps_unasked: keep the exchanges that are only in *old*.
    """
    by_key: defaultdict[Key, deque[int]] = defaultdict(deque)
    for place, exchange in enumerate(old):
        by_key[key_of(exchange)].append(place)
    names = _VOLATILE | {name.lower() for name in volatile} | set(volatile)
    placed: list[tuple[int, int, Exchange]] = []
    last = -1
    for number, exchange in enumerate(new):
        places = by_key[key_of(exchange)]
        if places:
            last = places.popleft()
            before = old[last]
            exchange = before if _core(before, names) == _core(exchange, names) else exchange
            placed.append((last, -1, exchange))
        else:
            placed.append((last, number, exchange))
    if keeps_unasked:
        placed += [(place, -1, old[place]) for places in by_key.values() for place in places]
    return [exchange for _, _, exchange in sorted(placed, key=lambda one: one[:2])]


def _core(exchange: Exchange, volatile: Collection[str]) -> Exchange:
    """*exchange* without its volatile fields, for comparison."""
    asked, answered = exchange.asked, exchange.answered
    asked = replace(
        asked, headers=_steady(asked.headers, volatile), body=_steady_body(asked.headers, asked.body, volatile)
    )
    body = _steady_body(answered.headers, answered.body, volatile)
    return Exchange(asked, replace(answered, headers=_steady(answered.headers, volatile), body=body))


def _steady(fields: Fields, volatile: Collection[str]) -> Fields:
    return tuple((name.lower(), value) for name, value in fields if name.lower() not in volatile)


def _steady_body(fields: Fields, body: bytes, volatile: Collection[str]) -> bytes:
    if not is_json(value_of(fields, "content-type")):
        return body
    try:
        return json.dumps(without(json.loads(body), volatile)).encode()
    except (ValueError, RecursionError):
        return body
