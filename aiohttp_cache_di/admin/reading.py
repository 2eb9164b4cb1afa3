"""What a request to the API asks for: its parameters and its body, checked, or a refusal that says what is taken."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar, cast, get_args

import msgspec

from aiohttp_cache_di.admin.listing import MAX_ROWS, Order, Query, Sort
from aiohttp_cache_di.admin.messages import MAX_QUESTION_BYTES, AdminError, Ask
from aiohttp_cache_di.admin.shapes import PurgeRequest
from aiohttp_cache_di.backends.operating.selection import Selectors

__all__ = ["body_as", "number_of", "page_of", "parameters", "purge_of", "query_of", "selectors_of"]

MAX_PAGE: Final = 200
MAX_WORDS: Final = 16
MAX_VALUE_CHARS: Final = 4096
SELECTORS: Final = ("host", "match", "tag", "older_than", "larger_than")
_WHOLE: Final = re.compile(r"\d{1,15}", re.ASCII)
_TAKEN: Final = frozenset(("q", "state", "partition", "sort", "order", "offset", "limit", "listing", *SELECTORS))

Shape = TypeVar("Shape")


def parameters(ask: Ask, taken: frozenset[str]) -> dict[str, str]:
    """The parameters of the URL.

    Raises:
        AdminError: one is unknown, comes twice, or is too long.
    """
    found: dict[str, str] = {}
    for name, value in ask.query:
        if name not in taken:
            raise _bad(f"there is no parameter {name[:40]!r}; use {', '.join(sorted(taken)) or 'none'}")
        if name in found:
            raise _bad(f"the parameter {name!r} comes twice")
        if len(value) > MAX_VALUE_CHARS:
            raise _bad(f"the parameter {name!r} is longer than {MAX_VALUE_CHARS} characters")
        found[name] = value
    return found


def query_of(ask: Ask) -> tuple[Query, dict[str, str]]:
    """Which entries are asked for; and the parameters, for what else they say."""
    given = parameters(ask, _TAKEN)
    words = tuple(given.get("q", "").lower().split())
    if len(words) > MAX_WORDS:
        raise _bad(f"q: use {MAX_WORDS} words at most")
    query = Query(
        words=words,
        state=_one_of(given, "state", ("", "fresh", "stale")),
        partition=given.get("partition", ""),
        sort=_one_of(given, "sort", get_args(Sort), "stored"),
        order=_one_of(given, "order", get_args(Order), "desc"),
        selectors=tuple((name, given[name]) for name in SELECTORS if given.get(name, "").strip()),
    )
    return query, given


def selectors_of(query: Query) -> Selectors:
    """The selectors of *query*, as `CacheBackend.entries` takes them."""
    found = {("tags" if name == "tag" else name): value for name, value in query.selectors}
    return cast("Selectors", found)


def page_of(given: dict[str, str]) -> tuple[int, int]:
    """Offset and limit."""
    return number_of(given, "offset", 0, MAX_ROWS), number_of(given, "limit", 100, MAX_PAGE)


def number_of(given: dict[str, str], name: str, default: int, most: int) -> int:
    """The parameter *name*, a whole number of *most* at most."""
    text = given.get(name, "")
    if not text:
        return default
    if not _WHOLE.fullmatch(text) or int(text) > most:
        raise _bad(f"{name}={text[:40]!r}: use a whole number from 0 to {most}")
    return int(text)


async def body_as(ask: Ask, shape: type[Shape]) -> Shape:
    """The body of a request, which is JSON of that *shape*.

    Raises:
        AdminError: it is not.
    """
    data = await ask.read(MAX_QUESTION_BYTES)
    if len(data) > MAX_QUESTION_BYTES:
        raise AdminError(413, "too-large", f"the body of a request is {MAX_QUESTION_BYTES} bytes at most")
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise _bad(f"the body: {exc}") from exc


def purge_of(asked: PurgeRequest) -> Selectors:
    """What is to go, as `CacheBackend.purge` takes it."""
    names = ("url", "host", "match", "tags", "older_than", "larger_than")
    found = {name: value for name in names if (value := getattr(asked, name)) is not None}
    return cast("Selectors", {**found, "expired": True} if asked.expired else found)


def _one_of(given: dict[str, str], name: str, values: tuple[str, ...], default: str = "") -> Any:
    value = given.get(name) or default
    if value not in values:
        raise _bad(f"{name}={value[:40]!r}: use {', '.join(filter(None, values))}")
    return value


def _bad(message: str) -> AdminError:
    return AdminError(400, "bad-request", message)
