"""URL patterns: shell globs over host and path.

Patterns and URLs are compared in their readable form: hosts without IDNA, paths without percent-encoding except for
characters with a special meaning (``%2F`` is not a slash). So a pattern may be written in either form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

from yarl import URL

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.lazy import compiled_later

__all__ = [
    "Matcher",
    "UrlPatterns",
    "UrlTable",
    "as_read",
    "compiled",
    "shown",
    "why_matchless",
]

V = TypeVar("V")

Matcher: TypeAlias = Callable[[str], re.Match[str] | None]
"""Matches a URL, in the form that `as_read` returns, against a pattern."""

_MEMOISED_URLS: Final = 1024
_MEMOISED_URL_CHARS: Final = 1024  # in a longer URL, patterns are searched each time, which bounds the memory

_IPV6: Final = compiled_later(r"^\[([0-9a-fA-F.]*:[0-9a-fA-F:.]*)\]")  # An address, not a set of characters.
_ENCODED: Final = compiled_later(r"(?:%[0-9A-Fa-f]{2})+")
_KEPT: Final = frozenset("%&+/:;=?@#")  # They have a meaning of their own where they are not encoded.
_SETS: Final = compiled_later(r"\[.[^\]]*\]", re.DOTALL)
_MAGIC: Final = frozenset("*?[]")
_IN_HOST: Final = "[^/?#]"
_OWN_PORTS: Final = {"http": ":80", "ws": ":80", "https": ":443", "wss": ":443"}  # URLs are compared without them
_IN_NO_HOST: Final = r"\s\\^$(){}|<>\"'`#"
_SCHEME: Final = compiled_later(rf"(?!(?:http|ws)s\?\Z)[a-z*?\[][^{_IN_NO_HOST}]*")  # "https?" is not a glob for http
_BEGINNING: Final = compiled_later(rf"[*?\[]|[^{_IN_NO_HOST}.:/][^{_IN_NO_HOST}:/*?\[]*(?::\d*)?(?=[/*?\[]|\Z)")
_BEFORE_USER: Final = compiled_later(r"[^/@:]*://")
_USER: Final = compiled_later(r"[^/*?\[@]*@")
# What is read as it is, but for what is percent-encoded: no port, no userinfo, a host in the one form it has.
_PLAIN: Final = compiled_later(
    r"https?://(?!xn--)(?:[a-z0-9-]+\.(?!xn--))*[a-z0-9-]*[a-z][a-z0-9-]*/[!$-~]*(?<!\?)", re.ASCII
)
_NO_PORT: Final = r"(?![^/]*://[^/?]*:\d+(?:[/?]|\Z))"


class UrlTable(Generic[V]):
    """Values by URL pattern; the first pattern that matches a URL decides.

    Args:
        rows: the patterns and their values.
        option: the option that has the patterns, for messages.
        by_host: as in `compiled`.

    Raises:
        ConfigurationError: a pattern is invalid.
    """

    __slots__ = ("_match", "_rows")

    def __init__(self, rows: Iterable[tuple[str, V]], *, option: str, by_host: bool = False) -> None:
        self._rows = tuple(
            (compiled(pattern, named=f"{option}: {shown(pattern)}", by_host=by_host), value, pattern)
            for pattern, value in rows
        )
        self._match = lru_cache(_MEMOISED_URLS)(self._first_match)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def by_pattern(self) -> dict[str, V]:
        """The values by pattern, in the order in which they are tried."""
        return {pattern: value for _, value, pattern in self._rows}

    def match(self, url: str | URL) -> V | None:
        """The value of the first pattern that matches *url*; None if none does."""
        if not self._rows:
            return None
        text = url if isinstance(url, str) else str(url)
        return self._match(text)[0] if len(text) <= _MEMOISED_URL_CHARS else self._first_match(text)[0]

    def pattern_of(self, url: str | URL) -> str | None:
        """The first pattern that matches *url*, as it was written; None if none does."""
        return self._first_match(str(url))[1]

    def _first_match(self, url: str) -> tuple[V, str] | tuple[None, None]:
        target = as_read(url)
        found = ((value, pattern) for matches, value, pattern in self._rows if matches(target) is not None)
        return next(found, (None, None))


class UrlPatterns(UrlTable[bool]):
    """URL patterns, of which any may match: the value of each is True."""

    __slots__ = ()

    def __init__(self, patterns: Iterable[str], *, option: str, by_host: bool = False) -> None:
        super().__init__(((pattern, True) for pattern in patterns), option=option, by_host=by_host)


def as_read(url: str) -> str:
    """The readable form of *url*: scheme and host in lower case, without userinfo, fragment and default port."""
    return _decoded(url) if _PLAIN.fullmatch(url) else _parsed(url)


def _parsed(url: str) -> str:
    try:
        parsed = URL(url, encoded=True) if url.isascii() else URL(url)
        host, port = parsed.host, parsed.port
    except ValueError:
        return url  # Not a URL that could be requested; a pattern may match it all the same.
    if not host:
        return url
    host = f"[{host}]" if ":" in host else host.lower()
    address = host if parsed.is_default_port() or port is None else f"{host}:{port}"
    text = f"{parsed.scheme}://{address}{_decoded(parsed.raw_path) or '/'}"
    return f"{text}?{_decoded(parsed.raw_query_string)}" if parsed.raw_query_string else text


def compiled(pattern: object, *, named: str, by_host: bool = False) -> Matcher:
    """Compile *pattern*, whose syntax `UrlRules` describes.

    Args:
        named: the option that has the pattern, and the pattern without secrets, for messages.
        by_host: the part before the first slash matches hosts only: ``*.example.com`` must not match within a path or
            a query, which others may control.

    Raises:
        ConfigurationError: *pattern* is not text, can match no URL, or has an invalid set (``[z-a]``).
    """
    if not isinstance(pattern, str):
        raise ConfigurationError(f"{named} is not a URL pattern; use text with shell globs")
    if why := why_matchless(pattern):
        raise ConfigurationError(f"{named} would match no URL: {why}")
    scheme, rest = _parts(pattern)
    host, tail = _split(rest)
    ways = [_expression(scheme, host, tail, by_host=by_host)]
    for own, port in _OWN_PORTS.items():
        if host.endswith(port) and (not scheme or fnmatchcase(own, scheme)):
            ways.append(_NO_PORT + _expression(own, host.removesuffix(port), tail, by_host=by_host))
    try:
        return re.compile("|".join(ways), re.DOTALL).match
    except re.error as exc:
        raise ConfigurationError(f"{named} is not a URL pattern: {exc.msg}") from exc


def why_matchless(pattern: str) -> str:
    """The way out, without *pattern*, which may have a secret, if it cannot match a URL; or "".

    A pattern begins with a host or a wildcard, not with a query, and has a # in sets only, since URLs are compared
    without the fragment. One that keeps this may match no URL either: that is not examined.
    """
    scheme, rest = _parts(pattern)
    begins_well = (not scheme or _SCHEME.fullmatch(scheme)) and _BEGINNING.match(rest) and _split(rest)[0]
    if begins_well and "#" not in _SETS.sub("", rest):
        return ""
    return (
        "begin it with a host, or with * for any, and leave out a fragment (#…); patterns are shell globs, not regular "
        "expressions: such as *.example.org/v1/*"
    )


def shown(pattern: object) -> str:
    """The repr of *pattern* for a message, without what is, or may be, a user and a password."""
    if not isinstance(pattern, str):
        return _without_user(repr(pattern))  # that of a URL has its password
    return repr(_without_user(pattern))


def _without_user(text: str) -> str:
    scheme = _BEFORE_USER.match(text)
    start = scheme.end() if scheme else 0
    end = text.rfind("@", start)
    # A password may have any character, so with a colon before the path, all before the last @ may be of it.
    authority = re.split("[/?#]", text[start:], maxsplit=1)[0]
    return f"{text[:start]}…{text[end:]}" if end >= 0 and (":" in authority or "@" in authority) else text


def _parts(pattern: str) -> tuple[str, str]:
    """The scheme of *pattern* in lower case, "" if it has none, and the rest without a user and a password."""
    scheme, separator, rest = pattern.strip().partition("://")
    if not separator or "/" in scheme:
        scheme, rest = "", pattern.strip()
    user = _USER.match(rest)
    return scheme.lower(), rest[user.end() :] if user else rest


def _split(rest: str) -> tuple[str, str]:
    """The host of a pattern, and the rest, which begins with a slash or with the question mark of a query."""
    host, slash, path = rest.partition("/")
    # A host has no equals sign: what stands before the first is the name of a parameter, and the path is left out.
    query_at = host.rfind("?", 0, max(host.find("="), 0))
    return (host, slash + path) if query_at < 0 else (rest[:query_at], rest[query_at:])


def _expression(scheme: str, host: str, tail: str, *, by_host: bool) -> str:
    """The regular expression of a pattern; without *scheme* it matches any scheme."""
    has_path = tail.startswith("/")
    host = _IPV6.sub(r"[[]\1[]]", host) if host.startswith("[") else _readable_host(host)
    # Without a slash, what follows a star may be of the path too, which tells capitals from small letters.
    host = host.lower() if has_path else host
    head = f"{scheme}://{host}" if scheme else host
    chunks = _chunks(head, host_end=len(head) if by_host else 0, either_case=not has_path)
    stars_of_host = len(chunks) - 1 if by_host else 0
    if not tail and chunks[-1]:
        chunks[-1] += r"(?=[:/?]|\Z)"
    if tail and not has_path:
        chunks[-1] += r"(?:/(?=\?))?"  # URLs are compared with the path that is left out
        if by_host or "*" not in host:  # else the star may be of the path, and what follows of the query
            chunks[-1] += r"(?=\?)"
    following = _chunks(tail)
    chunks = [*chunks[:-1], chunks[-1] + following[0], *following[1:]]
    # What follows a match makes no difference, so the first place where a chunk fits is the best: an atomic group
    # never tries another, and a hostile URL cannot make a pattern slow.
    stars = [_IN_HOST] * stars_of_host + ["."] * (len(chunks) - 1 - stars_of_host)
    rest = "".join(f"(?>{any_of}*?{chunk})" for any_of, chunk in zip(stars, chunks[1:], strict=True))
    return f"{'' if scheme else '[a-z][a-z0-9+.-]*://'}{chunks[0]}{rest}"


def _readable_host(host: str) -> str:
    """The host of a pattern with its labels, except those with wildcards, in readable form."""
    return ".".join(label if not label or _MAGIC & set(label) else _readable_label(label) for label in host.split("."))


def _readable_label(label: str) -> str:
    name, colon, port = label.partition(":")
    try:
        readable = URL(f"http://{name}/").host or name
    except ValueError:
        return label
    return label if readable == name.lower() else f"{readable}{colon}{port}"


def _decoded(text: str) -> str:
    """*text* without percent-encoding, except for characters with a special meaning."""
    return _ENCODED.sub(lambda encoded: _read(encoded[0]), text) if "%" in text else text


@lru_cache(maxsize=1024)
def _read(encoded: str) -> str:
    data = unquote_to_bytes(encoded)
    return "".join(
        character if character.isprintable() and character not in _KEPT else _encoded(character)
        for character in data.decode("utf-8", "surrogateescape")
    )


def _encoded(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def _chunks(glob: str, *, host_end: int = 0, either_case: bool = False) -> list[str]:
    """The regular expressions for the parts of a shell glob between its stars.

    Args:
        host_end: before this position, wildcards match only characters of a host.
        either_case: a capital letter also matches the small one.
    """
    chunks = [""]
    position = 0
    while position < len(glob):
        character = glob[position]
        encoded = _ENCODED.match(glob, position) if character == "%" else None
        position += 1
        if character == "*":
            chunks.append("")
        elif character == "?":
            chunks[-1] += _IN_HOST if position <= host_end else "."
        elif character == "[" and (end := glob.find("]", position + 1)) != -1:
            chunks[-1] += (f"(?={_IN_HOST})" if position <= host_end else "") + _set(glob[position:end])
            position = end + 1
        elif encoded is not None:
            chunks[-1] += _literal(_read(encoded[0]))
            position = encoded.end()
        elif either_case and character.isupper():
            chunks[-1] += f"(?:{_literal(character)}|{_literal(character.lower())})"
        else:
            chunks[-1] += _literal(character)
    return chunks


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\ ", "[ +]")  # In a query a space is sent as either.


def _set(members: str) -> str:
    """The regular expression for a set of characters, in which only a hyphen between two has a special meaning."""
    negation = "^" if members[0] in "!^" and len(members) > 1 else ""
    members = members[len(negation) :]
    written = ""
    position = 0
    while position < len(members):
        written += re.escape(members[position])
        if members[position + 1 : position + 2] == "-" and position + 2 < len(members):
            written += f"-{re.escape(members[position + 2])}"
            position += 2
        position += 1
    return f"[{negation}{written}]"
