"""Parsing Cache-Control of requests and responses (RFC 9111 §5.2), and Pragma (§5.4)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from msgspec import Struct
from multidict import istr

from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.rfc9111.fields import MEMOISED_CHARS, combined, is_token, parse_delta_s, split_list, unquote
from aiohttp_cache_di.rfc9111.messages import Headers

__all__ = [
    "NO_DIRECTIVES",
    "RequestDirectives",
    "ResponseDirectives",
    "parse_members",
    "request_directives",
    "response_directives",
]

_CACHE_CONTROL: Final = istr("Cache-Control")
_PRAGMA: Final = istr("Pragma")

_NAME = compiled_later(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

Members = dict[str, tuple[str | None, ...]]
"""The arguments of each directive by its lower-case name: None for none, `_MALFORMED` for an invalid one."""

_MALFORMED = "\x00"


def parse_members(value: str) -> Members:
    """The directives of Cache-Control by lower-case name, each with its arguments unquoted, in order.

    A member that violates the grammar keeps its name, if it begins with one, and its argument counts as invalid: a
    directive that restricts still does, and one that allows does not (RFC 9111 §4.2.1).
    """
    found: dict[str, list[str | None]] = {}
    for member in split_list(value):
        name = _NAME.match(member)
        if name is None:
            continue
        rest = member[name.end() :]
        argument: str | None = None
        if rest:
            parsed = unquote(rest[1:]) if rest[0] == "=" else None
            argument = _MALFORMED if parsed is None else parsed
        found.setdefault(name[0].lower(), []).append(argument)
    return {name: tuple(arguments) for name, arguments in found.items()}


def _strictest_s(members: Members, name: str) -> float | None:
    """The smallest delta-seconds of the directive *name*, an invalid one being 0; None if it is absent."""
    arguments = members.get(name)
    if arguments is None:
        return None
    deltas = [None if argument is None else parse_delta_s(argument) for argument in arguments]
    return min(0.0 if delta is None else float(delta) for delta in deltas)


def _allows(members: Members, name: str) -> bool:
    return any(argument != _MALFORMED for argument in members.get(name, ()))


def _qualified(members: Members, name: str) -> tuple[bool, frozenset[str]]:
    """Whether the directive *name* occurs without field names; and all field names that it has, in lower case."""
    plain, fields = False, set[str]()
    for argument in members.get(name, ()):
        names = () if argument is None else split_list(argument)
        if names and all(is_token(field) for field in names):
            fields.update(field.lower() for field in names)
        else:
            plain = True
    return plain, frozenset(fields)


class ResponseDirectives(Struct, frozen=True):
    """The Cache-Control directives of a response (RFC 9111 §5.2.2, RFC 5861, RFC 8246).

    Lifetimes are in seconds; None if absent, the shortest of several, 0 for one that is not a number.
    """

    max_age_s: float | None = None
    s_maxage_s: float | None = None
    no_store: bool = False
    no_cache: bool = False
    no_cache_fields: frozenset[str] = frozenset()
    private: bool = False
    private_fields: frozenset[str] = frozenset()
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False
    stale_while_revalidate_s: float | None = None
    stale_if_error_s: float | None = None


class RequestDirectives(Struct, frozen=True):
    """The Cache-Control directives of a request (RFC 9111 §5.2.1), or its Pragma if it has no Cache-Control.

    Times are in seconds; None if absent.

    Args:
        max_stale_s: ``inf`` for max-stale without a number.
        min_fresh_s: ``inf`` if it is not a number: no response is fresh enough.
    """

    max_age_s: float | None = None
    max_stale_s: float | None = None
    min_fresh_s: float | None = None
    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    stale_if_error_s: float | None = None


NO_DIRECTIVES = RequestDirectives()
_NONE_IN_RESPONSE = ResponseDirectives()


def response_directives(headers: Headers) -> ResponseDirectives:
    """The directives of a response."""
    value = combined(headers, _CACHE_CONTROL)
    if value is None:
        return _NONE_IN_RESPONSE
    return _response_directives(value) if len(value) <= MEMOISED_CHARS else _response_directives.__wrapped__(value)


@lru_cache(maxsize=2048)
def _response_directives(value: str) -> ResponseDirectives:
    members = parse_members(value)
    no_cache, no_cache_fields = _qualified(members, "no-cache")
    private, private_fields = _qualified(members, "private")
    return ResponseDirectives(
        max_age_s=_strictest_s(members, "max-age"),
        s_maxage_s=_strictest_s(members, "s-maxage"),
        no_store="no-store" in members,
        no_cache=no_cache,
        no_cache_fields=no_cache_fields,
        private=private,
        private_fields=private_fields,
        public=_allows(members, "public"),
        must_revalidate="must-revalidate" in members,
        proxy_revalidate="proxy-revalidate" in members,
        must_understand=_allows(members, "must-understand"),
        immutable=_allows(members, "immutable"),
        stale_while_revalidate_s=_strictest_s(members, "stale-while-revalidate"),
        stale_if_error_s=_strictest_s(members, "stale-if-error"),
    )


def request_directives(headers: Headers) -> RequestDirectives:
    """The directives of a request; ``Pragma: no-cache`` counts only without Cache-Control (RFC 9111 §5.4)."""
    value = combined(headers, _CACHE_CONTROL)
    if value is not None:
        return _request_directives(value) if len(value) <= MEMOISED_CHARS else _request_directives.__wrapped__(value)
    pragma = combined(headers, _PRAGMA)
    if pragma is not None and "no-cache" in parse_members(pragma):
        return _PRAGMA_NO_CACHE
    return NO_DIRECTIVES


_PRAGMA_NO_CACHE = RequestDirectives(no_cache=True)


@lru_cache(maxsize=2048)
def _request_directives(value: str) -> RequestDirectives:
    members = parse_members(value)
    min_fresh = [_delta_or_inf(argument) for argument in members.get("min-fresh", ())]
    max_stale = [
        math.inf if argument is None else parse_delta_s(argument) or 0 for argument in members.get("max-stale", ())
    ]
    return RequestDirectives(
        max_age_s=_strictest_s(members, "max-age"),
        max_stale_s=min(max_stale, default=None),
        min_fresh_s=max(min_fresh, default=None),
        no_cache="no-cache" in members,
        no_store="no-store" in members,
        only_if_cached=_allows(members, "only-if-cached"),
        stale_if_error_s=_strictest_s(members, "stale-if-error"),
    )


def _delta_or_inf(argument: str | None) -> float:
    delta = None if argument is None else parse_delta_s(argument)
    return math.inf if delta is None else delta
