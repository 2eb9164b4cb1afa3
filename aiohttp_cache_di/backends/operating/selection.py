"""Which entries are meant: by URL, host, pattern, tag, age, size or state, as operators say it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from typing import Final, TypeAlias, TypedDict, cast

from yarl import URL

from aiohttp_cache_di import keys
from aiohttp_cache_di.backends.operating.terms import expect_pattern, expect_scheme, named_host
from aiohttp_cache_di.backends.store.inspecting import Clue, Selection, Wanted
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.entries.tags import as_shown
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.policy.rules.patterns import as_read, compiled
from aiohttp_cache_di.units import parse_duration, parse_size

__all__ = ["Age", "Selectors", "Size", "of_urls", "selection", "tags_in"]

Age: TypeAlias = float | str | timedelta
"""Seconds, a text such as ``"1h30m"``, or a timedelta."""

Size: TypeAlias = int | str
"""Bytes, or a text such as ``"64KiB"``."""

# A pattern whose host is no pattern, with a path, and without what is written in several ways: a port, IDNA, escapes.
_WHOLE_HOST: Final = compiled_later(
    r"(?:[a-z]+://)?(?P<host>(?!xn--)(?:[a-z0-9-]+\.(?!xn--))*[a-z0-9-]+)/", re.ASCII | re.IGNORECASE
)


class Selectors(TypedDict, total=False):
    """What entries are selected by; of several, an entry has to meet each.

    Args:
        url: that it is the response to, by any method, for anyone, in any variant.
        host: of its URL, in any case; with a port where it has one of its own.
        match: a pattern of URLs, or several of which one is enough, as ``urls_expire_after`` has them.
        tags: one tag, or several of which one is enough.
        older_than: how long ago its body was stored, at least.
        larger_than: the size of its body is more than this.
        expired: its lifetime is over, though it may be kept to be validated.
    """

    url: str | URL
    host: str
    match: str | Collection[str]
    tags: str | Collection[str]
    older_than: Age
    larger_than: Size
    expired: bool


def selection(selectors: Selectors, *, ignored_params: Collection[str] = (), ordered: bool = False) -> Selection:
    """What tells whether an entry meets all of *selectors*.

    Raises:
        TypeError: there is a selector of another name.
        ConfigurationError: one has a value that cannot be used.
    """
    unknown = selectors.keys() - Selectors.__annotations__.keys()
    if unknown:
        known = ", ".join(sorted(Selectors.__annotations__))
        raise TypeError(f"entries are not selected by {', '.join(sorted(unknown))}; use {known}")
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
    if selectors.get("expired"):
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
    if (match := selectors.get("match")) is not None:
        patterns = _texts("match", match)
        tests.append(_matching(patterns))
        clues += _clue([_host_in(pattern) for pattern in patterns], any_case=True)
    return Selection(_all_of(tests), tuple(clues))


def _clue(texts: Collection[str], *, any_case: bool = False) -> list[Clue]:
    """What the packed info of an entry has that has one of *texts*; none where that cannot be said."""
    if not all(texts) or (any_case and not all(map(str.isascii, texts))):
        return []
    try:
        return [Clue(tuple(text.encode() for text in texts), any_case)]
    except UnicodeEncodeError:
        return []


def tags_in(selectors: Selectors) -> list[str]:
    """The tags that are selected by, as they are kept."""
    return [as_shown(tag) for tag in _texts("tags", selectors.get("tags"))]


def _all_of(tests: list[Wanted]) -> Wanted:
    if len(tests) == 1:
        return tests[0]
    return lambda info: all(test(info) for test in tests)


def _of_url(url: str | URL, ignored_params: Collection[str], ordered: bool) -> Selection:
    if not isinstance(url, str | URL):
        raise ConfigurationError(f"url={url!r}: use a URL")
    try:
        spellings = keys.spellings(url)
        found = of_urls(spellings, ignored_params, ordered=ordered)
    except ValueError as exc:
        raise ConfigurationError(f"url={str(url)!r}: {exc}") from exc
    for spelling in spellings:
        expect_scheme(spelling, url)
    return found


def of_urls(spellings: Iterable[URL], ignored_params: Collection[str], *, ordered: bool) -> Selection:
    """What tells a response to one of *spellings*, as it is shown: by any method, for anyone, in any variant."""

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
        except ValueError:  # a URL that is none
            return False

    return Selection(test, tuple(_clue(paths)))


def _matching(patterns: Iterable[str]) -> Wanted:
    patterns = list(patterns)
    for pattern in patterns:
        expect_pattern(pattern)
    matchers = [compiled(pattern, option="match") for pattern in patterns]

    def test(info: EntryInfo) -> bool:
        text = as_read(info.url)
        return any(matches(text) is not None for matches in matchers)

    return test


def _host_in(pattern: str) -> str:
    """The host of *pattern*, which the URLs have that match it; "" where that cannot be said for certain."""
    found = _WHOLE_HOST.match(pattern.strip())
    return found["host"].lower() if found else ""


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name}={value!r}: use text that is not blank")
    return value


def _texts(name: str, value: object) -> list[str]:
    if isinstance(value, str):
        return [_text(name, value)]
    found = [_text(name, each) for each in cast("Iterable[object]", value)] if isinstance(value, Iterable) else []
    if not found:
        raise ConfigurationError(f"{name}={value!r}: use a text, or a collection of at least one")
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
