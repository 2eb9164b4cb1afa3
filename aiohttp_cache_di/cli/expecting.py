"""Check the arguments of a command before a store is opened; the exit status for invalid ones is 2."""

from __future__ import annotations

import argparse
import re
from typing import Final, cast

from aiohttp_cache_di.backends.operating.selection import Selectors, selection
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.rfc9111.fields import is_token
from aiohttp_cache_di.units import parse_size

__all__ = ["expect_usable", "most_bytes", "request_headers", "selectors"]

_OPTION: Final = re.compile(r"\A[a-z_]+=")  # the name of an argument in an error of the API


def selectors(given: argparse.Namespace) -> Selectors:
    """The selectors of entries among the arguments that are given."""
    named = {name: getattr(given, name) for name in Selectors.__annotations__}
    return cast("Selectors", {name: value for name, value in named.items() if value is not None})


def expect_usable(given: argparse.Namespace) -> None:
    """Raise ConfigurationError for arguments that are invalid whatever is stored."""
    if hasattr(given, "older_than"):
        _expect(selectors(given))
    if given.command == "show":
        what = given.what.strip()
        if not what:
            raise ConfigurationError("show: give a URL, or the first digits of a key as ls shows them")
        if "://" in what:
            _expect({"url": what})
    if given.command == "explain":
        _expect({"url": given.url}, option="explain ")
        if not is_token(given.method):
            raise ConfigurationError(f"--method {given.method!r}: use a method of HTTP, such as GET")
        request_headers(given)
    if given.command == "prune":
        most_bytes(given)
        if given.max_age is not None:
            _expect({"older_than": given.max_age}, option="--max-age ")


def most_bytes(given: argparse.Namespace) -> int | None:
    """The value of ``--max-size`` in bytes."""
    text = given.max_size
    try:
        return None if text is None else parse_size(text)
    except (ValueError, OverflowError) as exc:
        raise ConfigurationError(f"--max-size {text!r}: use bytes, or a size with a unit, such as 1GiB") from exc


def request_headers(given: argparse.Namespace) -> list[tuple[str, str]]:
    """The values of ``--header``."""
    headers = list[tuple[str, str]]()
    for header in given.headers:
        name, found, value = header.partition(":")
        if not found or not is_token(name.strip()) or not value.replace("\t", " ").isprintable():
            raise ConfigurationError(f"--header {header!r}: use 'Name: value'")
        headers.append((name.strip(), value.strip()))
    return headers


def _expect(wanted: Selectors, option: str = "") -> None:
    try:
        selection(wanted)
    except ConfigurationError as exc:
        said = _OPTION.sub(lambda found: option or _spelt(found[0]), str(exc), count=1)
        raise ConfigurationError(said) from exc


def _spelt(name: str) -> str:
    """The option of the command for a selector of the API."""
    return f"--{name.rstrip('s=').replace('_', '-')} "
