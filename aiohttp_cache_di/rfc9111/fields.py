"""Parsing header fields: lists, tokens, quoted strings and delta-seconds (RFC 9110 §5, RFC 9111 §1.2.2)."""

from __future__ import annotations

import re
from functools import lru_cache

from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.rfc9111.messages import Headers

__all__ = ["MAX_DELTA_S", "MEMOISED_CHARS", "combined", "is_token", "parse_delta_s", "single", "split_list", "unquote"]

MAX_DELTA_S = 2**31  # RFC 9111 §1.2.2: greater values count as this one

# Possessive quantifiers only, so that matching takes linear time for every value.
_TOKEN = compiled_later(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_QUOTED = compiled_later(r'"((?:[^"\\]|\\.)*+)"', re.S)
_BALANCED = compiled_later(r'(?:[^"]|"(?:[^"\\]|\\.)*+")*+', re.S)
_MEMBER = compiled_later(r'(?:\A|(?<=,))(?:[^",]|"(?:[^"\\]|\\.)*+")*+(?=,|\Z)', re.S)
_ESCAPE = compiled_later(r"\\(.)", re.S)
_DIGITS = compiled_later(r"[0-9]++", re.A)
_OWS = " \t"

MEMOISED_CHARS = 256
"""Results for longer field values are not memoised, to bound the memory; few values are longer."""


def combined(headers: Headers, name: str) -> str | None:
    """The lines of a field joined into one value (RFC 9110 §5.3); None if there is no such field."""
    lines = headers.getall(name, ())
    if not lines:
        return None
    return lines[0] if len(lines) == 1 else ", ".join(lines)


def single(headers: Headers, name: str) -> str | None:
    """The value of a field that must occur once, without surrounding whitespace; None if it is absent or repeated."""
    lines = headers.getall(name, ())
    return lines[0].strip(_OWS) if len(lines) == 1 else None


def is_token(value: str) -> bool:
    """Whether *value* is a token (RFC 9110 §5.6.2)."""
    return _TOKEN.fullmatch(value) is not None


def split_list(value: str, *, empty: bool = False) -> tuple[str, ...]:
    """The members of a comma-separated list; commas in quoted strings do not separate.

    If a quote has no counterpart, every comma separates, so that a stray quote does not hide what follows it.

    Args:
        empty: include empty members.
    """
    members = _split_list(value) if len(value) <= MEMOISED_CHARS else _split_list.__wrapped__(value)
    return members if empty else tuple(filter(None, members))


@lru_cache(maxsize=2048)
def _split_list(value: str) -> tuple[str, ...]:
    if '"' not in value or _BALANCED.fullmatch(value) is None:
        return tuple(member.strip(_OWS) for member in value.split(","))
    return tuple(member.strip(_OWS) for member in _MEMBER.findall(value))


def unquote(value: str) -> str | None:
    """The content of a token or quoted string; None if *value* is neither."""
    if is_token(value):
        return value
    quoted = _QUOTED.fullmatch(value)
    return None if quoted is None else _ESCAPE.sub(r"\1", quoted[1])


def parse_delta_s(value: str) -> int | None:
    """Delta-seconds, at most `MAX_DELTA_S`; None if *value* is not 1*DIGIT."""
    if _DIGITS.fullmatch(value) is None:
        return None
    # Long numbers exceed the limit in any case, and int() does not accept very long strings.
    digits = value.lstrip("0")
    return MAX_DELTA_S if len(digits) > 10 else min(int(digits or "0"), MAX_DELTA_S)
