"""Checks the hosts, URLs and methods by which people select entries.

An invalid one would select nothing, as if nothing were stored. So it is an error, which names the value and says what
is accepted; the rules are the same for calls, the command and the admin page.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct
from yarl import URL

from aiohttp_cache_di import keys
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.rfc9111.fields import is_token

__all__ = [
    "Host",
    "expect_method",
    "expect_scheme",
    "is_key_beginning",
    "named_host",
    "named_url",
    "parsed_url",
    "quoted",
    "unusable_url",
]

OWN_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
NEVER_REQUESTED: Final = frozenset({"file", "ftp", "mongodb", "redis", "rediss", "valkey", "valkeys"})
"""Schemes that are refused as mistakes: a connector of the user's own may request URLs of any other (``tcp``)."""

_ABSOLUTE: Final = "use an absolute URL, such as https://api.example.org/items"
_KEY_BEGINNING: Final = compiled_later("[0-9a-f]{1,40}", re.ASCII)
_NO_HOST: Final = compiled_later(r"[\s/?#@\\*\[\]]|\Z(?<!.)")
_BRACKETED: Final = compiled_later(r"\[[0-9a-f:.]+\](?::\d+)?", re.ASCII | re.IGNORECASE)
_ADDRESS: Final = compiled_later(r"[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*", re.ASCII | re.IGNORECASE)
_USER: Final = compiled_later(r"([^/@:]*://)?.*@", re.DOTALL)
_PARAMETERS: Final = compiled_later(r"[?#;].*", re.DOTALL)


class Host(Struct, frozen=True):
    """A host in the form that URLs have.

    Args:
        name: in lower case, encoded by IDNA, in brackets if it is an IPv6 address.
        port: "" if none was given.
    """

    name: str
    port: str

    def is_of(self, url: str) -> bool:
        """Whether *url* has this host and port; if no port was given, the URL must have none."""
        scheme, _, rest = url.partition("://")
        end = rest.find("/")
        found = (rest[:end] if end >= 0 else rest.partition("?")[0]).lower()
        if not self.port:
            return found == self.name
        return found == f"{self.name}:{self.port}" or (found == self.name and OWN_PORTS.get(scheme) == self.port)


def named_host(text: object) -> Host:
    """Parse *text*, a host with or without a port.

    Raises:
        ConfigurationError: it is not a host.
    """
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError(
            f"host={quoted(text)}: use a host, such as 'api.example.org' or 'api.example.org:8443'"
        )
    given = text.strip()
    if _ADDRESS.fullmatch(given):
        given = f"[{given}]"
    try:
        url = URL(f"http://{given}/")
        name, port = url.raw_host, url.explicit_port
    except ValueError:
        name, port = None, None
    if not name or (_NO_HOST.search(given) and not _BRACKETED.fullmatch(given)) or given.endswith(":"):
        raise ConfigurationError(f"host={quoted(text)}: {_way_out(given)}")
    shown = f"[{name}]" if ":" in name else name
    return Host(shown.lower(), "" if port is None else str(port))


def _way_out(given: str) -> str:
    if "*" in given:
        return f"that is a pattern; select by match: {quoted(given if '/' in given else f'{given}/*')}"
    if "://" in given:
        try:
            url = URL(given)
            host, port = url.host or "", url.explicit_port
        except ValueError:
            host, port = "", None
        if host:
            return (
                f"that is a URL; use its host alone, {host if port is None else f'{host}:{port}'!r}, or select by url"
            )
    return "that is no host; use one such as 'api.example.org' or 'api.example.org:8443'"


def quoted(given: object) -> str:
    """The repr of *given*, which may be a URL, for a message: without userinfo, and with the values of secrets masked.

    If it cannot be parsed as a URL, it is quoted without all that stands before an @, and without its parameters. A
    fragment is left out.
    """
    if not isinstance(given, str | URL):
        return _unparsed(repr(given))
    text = str(given)
    try:
        URL(text)
        told = keys.redact_url(text) + ("#…" if "#" in text else "")
    except ValueError:
        return repr(_unparsed(text))
    return repr(_unparsed(text) if "@" in told.partition("?")[0] else told)


def _unparsed(text: str) -> str:
    text = _USER.sub(r"\1…@", text, count=1)
    return _PARAMETERS.sub(lambda found: f"{found[0][0]}…", text, count=1)


def expect_scheme(url: URL, given: object) -> None:
    """Raise ConfigurationError unless *url*, which the user has written as *given*, can be requested by aiohttp."""
    if not url.scheme or not url.raw_host or url.scheme in NEVER_REQUESTED:
        raise unusable_url(given)


def unusable_url(given: object, why: object = _ABSOLUTE) -> ConfigurationError:
    """The error for *given*, which cannot be requested; *why* says so without secrets."""
    return ConfigurationError(f"url={quoted(given)}: {why}")


def named_url(url: object) -> tuple[URL, ...]:
    """The URLs that *url* may mean (`keys.spellings`).

    Raises:
        ConfigurationError: it is not an absolute URL that can be requested.
    """
    spellings = parsed_url(url)
    for spelling in spellings:
        expect_scheme(spelling, url)
    return spellings


def parsed_url(url: object) -> tuple[URL, ...]:
    """Like `named_url`, for a URL that may be relative.

    Raises:
        ConfigurationError: it is not a URL.
    """
    if not isinstance(url, str | URL):
        raise unusable_url(url, "use a URL")
    try:
        return keys.spellings(url)
    except ValueError as exc:
        raise unusable_url(url, _ABSOLUTE if "@" in str(url) else exc) from None  # the parser may quote a password


def expect_method(method: object) -> None:
    """Raise ConfigurationError unless *method* can be the method of a request."""
    if not isinstance(method, str) or not is_token(method):
        raise ConfigurationError(f"method={method!r}: use the name of an HTTP method, such as 'GET'")


def is_key_beginning(text: str) -> bool:
    """Whether *text* may be the beginning of a key, or a whole key, of this library."""
    return _KEY_BEGINNING.fullmatch(text) is not None
