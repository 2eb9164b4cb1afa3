"""The parameters and the body of a request to the API: checked, or refused with what would be accepted."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar, cast, get_args

import msgspec

from aiohttp_cache_di.admin.listing import MAX_ROWS, Order, Query, Sort
from aiohttp_cache_di.admin.messages import MAX_QUESTION_BYTES, AdminError, AdminRequest
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


def parameters(request: AdminRequest, taken: frozenset[str]) -> dict[str, str]:
    """The parameters of the URL, whose names must be among *taken*.

    Raises:
        AdminError: a name is unknown or repeated, or a value is too long.
    """
    found: dict[str, str] = {}
    for name, value in request.query:
        if name not in taken:
            raise _bad(f"there is no parameter {name[:40]!r}; use {', '.join(sorted(taken)) or 'none'}")
        if name in found:
            raise _bad(f"the parameter {name!r} comes twice")
        if len(value) > MAX_VALUE_CHARS:
            raise _bad(f"the parameter {name!r} is longer than {MAX_VALUE_CHARS} characters")
        found[name] = value
    return found


def query_of(request: AdminRequest) -> tuple[Query, dict[str, str]]:
    """The query for entries; and all parameters, of which the page's are still to be read."""
    given = parameters(request, _TAKEN)
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
    """The selectors of *query*, as arguments of `CacheBackend.entries`."""
    found = {("tags" if name == "tag" else name): value for name, value in query.selectors}
    return cast("Selectors", found)


def page_of(given: dict[str, str]) -> tuple[int, int]:
    """The parameters ``offset`` and ``limit``."""
    return number_of(given, "offset", 0, MAX_ROWS), number_of(given, "limit", 100, MAX_PAGE)


def number_of(given: dict[str, str], name: str, default: int, most: int) -> int:
    """The parameter *name*, a whole number from 0 to *most*."""
    text = given.get(name, "")
    if not text:
        return default
    if not _WHOLE.fullmatch(text) or int(text) > most:
        raise _bad(f"{name}={text[:40]!r}: use a whole number from 0 to {most}")
    return int(text)


async def body_as(request: AdminRequest, shape: type[Shape]) -> Shape:
    """The body of a request, decoded from JSON as a *shape*.

    Raises:
        AdminError: the body is too long, is not JSON, or has another shape.
    """
    data = await request.read(MAX_QUESTION_BYTES)
    if len(data) > MAX_QUESTION_BYTES:
        raise AdminError(413, "too-large", f"the body of a request is {MAX_QUESTION_BYTES} bytes at most")
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise _bad(f"the body: {exc}") from exc


def purge_of(asked: PurgeRequest) -> Selectors:
    """The selectors of a purge, as arguments of `CacheBackend.purge`."""
    names = ("url", "host", "match", "tags", "partition", "older_than", "larger_than")
    found = {name: value for name in names if (value := getattr(asked, name)) is not None}
    return cast("Selectors", {**found, "expired": True} if asked.expired else found)


def _one_of(given: dict[str, str], name: str, values: tuple[str, ...], default: str = "") -> Any:
    value = given.get(name) or default
    if value not in values:
        raise _bad(f"{name}={value[:40]!r}: use {', '.join(filter(None, values))}")
    return value


def _bad(message: str) -> AdminError:
    return AdminError(400, "bad-request", message)
