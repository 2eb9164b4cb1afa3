"""Selects entries by URL, host, pattern, tag, partition, age, size or state."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from typing import Final, TypeAlias, TypedDict, cast

from yarl import URL

from aiohttp_cache_di import keys
from aiohttp_cache_di.arguments import expect_flag
from aiohttp_cache_di.backends.operating.terms import named_host, named_url, quoted
from aiohttp_cache_di.backends.store.inspecting import Clue, Selection, Wanted
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.entries.tags import as_shown
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.policy.rules.patterns import as_read, compiled
from aiohttp_cache_di.units import parse_duration, parse_size

__all__ = ["Age", "Selectors", "Size", "of_urls", "selection", "tags_in"]

Age: TypeAlias = float | str | timedelta
"""Seconds, a string such as ``"1h30m"``, or a timedelta."""

Size: TypeAlias = int | str
"""Bytes, or a string such as ``"64KiB"``."""

# A pattern with a literal host and a path, without anything that has several spellings: a port, IDNA, escapes.
_WHOLE_HOST: Final = compiled_later(
    r"(?:[a-z]+://)?(?P<host>(?!xn--)(?:[a-z0-9-]+\.(?!xn--))*[a-z0-9-]+)/", re.ASCII | re.IGNORECASE
)
_SHORT_ID: Final = compiled_later("[0-9a-f]{8}", re.ASCII)


class Selectors(TypedDict, total=False):
    """Criteria for entries; an entry has to meet all that are given.

    Args:
        url: the URL of the response, of any method, principal and variant.
        host: the host of the URL, in upper or lower case, with the port unless that is the scheme's default.
        match: a URL pattern as in ``urls_expire_after``, or several, one of which has to match.
        tags: a tag, or several, one of which the entry has to have.
        partition: the short id of a principal or of credentials, as in `EntryInfo.partition`; ``"-"`` for everyone.
        older_than: least time since the body was stored.
        larger_than: the body is larger than this.
        expired: the lifetime is over; the entry may still be stored to be validated.
    """

    url: str | URL
    host: str
    match: str | Collection[str]
    tags: str | Collection[str]
    partition: str
    older_than: Age
    larger_than: Size
    expired: bool


def selection(selectors: Selectors, *, ignored_params: Collection[str] = (), ordered: bool = False) -> Selection:
    """The selection of the entries that meet all *selectors*.

    Args:
        ignored_params: parameters that are not part of the key.
        ordered: whether the order of parameters is part of the key.

    Raises:
        TypeError: a selector is unknown.
        ConfigurationError: a selector has an invalid value.
    """
    unknown = selectors.keys() - Selectors.__annotations__.keys()
    if unknown:
        known = ", ".join(sorted(Selectors.__annotations__))
        raise TypeError(f"unknown selectors: {', '.join(sorted(unknown))}; use {known}")
    now = time.time()
    tests: list[Wanted] = []
    clues: list[Clue] = []
    if (host := selectors.get("host")) is not None:
        wanted_host = named_host(host)
        tests.append(lambda info: wanted_host.is_of(info.url))
        clues += _clue([wanted_host.name], any_case=True)
    if (url := selectors.get("url")) is not None:
        of_url = _of_url(url, ignored_params, ordered)
        tests.append(of_url)
        clues += of_url.clues
    if (expired := selectors.get("expired")) is not None:
        expect_flag("expired", expired)
    if expired:
        tests.append(lambda info: info.fresh_until <= now)
    if (age := selectors.get("older_than")) is not None:
        stored_before = now - _seconds(age)
        tests.append(lambda info: info.stored_at <= stored_before)
    if (size := selectors.get("larger_than")) is not None:
        bound = _bytes(size)
        tests.append(lambda info: info.body_bytes > bound)
    if selectors.get("tags") is not None:
        named = frozenset(tags_in(selectors))
        tests.append(lambda info: not named.isdisjoint(info.tags))
        clues += _clue(named)
    if (partition := selectors.get("partition")) is not None:
        wanted_partition = _partition(partition)
        # No clue for the store: some have the digest, not the id.
        tests.append(lambda info: info.partition == wanted_partition)
    if (match := selectors.get("match")) is not None:
        patterns = _strings("match", match)
        tests.append(_matching(patterns))
        clues += _clue([_host_in(pattern) for pattern in patterns], any_case=True)
    return Selection(_all_of(tests), tuple(clues))


def _clue(texts: Collection[str], *, any_case: bool = False) -> list[Clue]:
    """A clue for entries whose packed info contains one of *texts*; none if the texts may be spelt otherwise there."""
    if not all(texts) or (any_case and not all(map(str.isascii, texts))):
        return []
    try:
        return [Clue(tuple(text.encode() for text in texts), any_case)]
    except UnicodeEncodeError:
        return []


def tags_in(selectors: Selectors) -> list[str]:
    """The tags in *selectors*, as they are stored."""
    return [as_shown(tag) for tag in _strings("tags", selectors.get("tags"))]


def _all_of(tests: list[Wanted]) -> Wanted:
    if len(tests) == 1:
        return tests[0]
    return lambda info: all(test(info) for test in tests)


def _of_url(url: str | URL, ignored_params: Collection[str], ordered: bool) -> Selection:
    spellings = named_url(url)
    try:
        return of_urls(spellings, ignored_params, ordered=ordered)
    except ValueError as exc:
        raise ConfigurationError(f"url={quoted(url)}: {exc}") from exc


def of_urls(spellings: Iterable[URL], ignored_params: Collection[str], *, ordered: bool) -> Selection:
    """The selection of the responses to a URL with several *spellings*, of any method, principal and variant."""

    def shown(of: str | URL) -> URL:
        return URL(keys.redact_url(of, ignored_params), encoded=True)

    def target(of: URL) -> str:
        return keys.target_of(of, ignored_params, ordered=ordered)

    named = [shown(spelling) for spelling in spellings]
    targets = {target(each) for each in named}
    paths = {"" if each.raw_path == "/" else each.raw_path for each in named}

    def test(info: EntryInfo) -> bool:
        try:
            return any(path in info.url for path in paths) and target(shown(info.url)) in targets
        except ValueError:  # not a valid URL
            return False

    return Selection(test, tuple(_clue(paths)))


def _matching(patterns: Iterable[str]) -> Wanted:
    matchers = [compiled(pattern, named=f"match={quoted(pattern)}") for pattern in patterns]

    def test(info: EntryInfo) -> bool:
        text = as_read(info.url)
        return any(matches(text) is not None for matches in matchers)

    return test


def _host_in(pattern: str) -> str:
    """The host of all URLs that match *pattern*, in lower case; "" if it is not certain."""
    found = _WHOLE_HOST.match(pattern.strip())
    return found["host"].lower() if found else ""


def _partition(given: object) -> str:
    """*given* as in `EntryInfo.partition`. Everyone is "-" here, not "", so that an empty variable selects nothing."""
    if isinstance(given, str) and (given == "-" or _SHORT_ID.fullmatch(given)):
        return given.removeprefix("-")
    raise ConfigurationError(
        f"partition={given!r}: use the short id of a principal, which ls, explain and the admin page show, or '-' for "
        "everyone; explain with principal= or header fields shows the id of whom a request is for"
    )


def _string(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name}={quoted(value)}: use text that is not blank")
    return value


def _strings(name: str, value: object) -> list[str]:
    if isinstance(value, str | bytes):
        return [_string(name, value)]
    refused = ConfigurationError(f"{name}={quoted(value)}: use a text, or a collection of at least one")
    if not isinstance(value, Iterable):
        raise refused
    found = [_string(name, each) for each in cast("Iterable[object]", value)]
    if not found:
        raise refused
    return found


def _seconds(age: Age) -> float:
    return _parsed("older_than", age, _as_seconds, "a number of seconds from 0, or a text such as '1h30m'")


def _as_seconds(age: Age) -> float:
    return age.total_seconds() if isinstance(age, timedelta) else parse_duration(age) if isinstance(age, str) else +age


def _bytes(size: Size) -> float:
    return _parsed("larger_than", size, _as_bytes, "a number of bytes from 0, or a text such as '64KiB'")


def _as_bytes(size: Size) -> float:
    return parse_size(size) if isinstance(size, str) else +size


def _parsed(name: str, value: object, parse: Callable[..., float], accepted: str) -> float:
    try:
        found = parse(value)
        if 0 <= found < math.inf and not isinstance(value, bool):
            return found
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"{name}={value!r}: use {accepted}") from exc
    raise ConfigurationError(f"{name}={value!r}: use {accepted}")
