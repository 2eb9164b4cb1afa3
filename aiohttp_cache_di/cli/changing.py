"""Commands that change what is stored: purge, warm and prune."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientError, ClientResponseError, InvalidURL
from yarl import URL

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.operating.terms import quoted
from aiohttp_cache_di.cli.drawing import Advance, progress
from aiohttp_cache_di.cli.expecting import most_bytes, selectors
from aiohttp_cache_di.cli.looking import tell_ports
from aiohttp_cache_di.cli.running import DONE, FAILED, Cache
from aiohttp_cache_di.cli.tables import columns, entries_of, plain, size_of
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.keys import redact_url
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.build import build_session
from aiohttp_cache_di.telemetry.reasons import CacheDecision

__all__ = ["confirmed", "prune", "purge", "urls_of", "warm"]

READ_AT_A_TIME: Final = 64 * 1024
STORED, THERE, LEFT, BROKEN = "stored", "was there", "not stored", "failed"  # the results of `warm`
DROPPED_AT_A_TIME: Final = 512


def confirmed(given: argparse.Namespace, where: str) -> bool:
    """Whether the purge may go on; for ``--all`` the user is asked, before an event loop runs.

    Raises:
        ConfigurationError: nothing is selected, or there is no terminal to ask at.
    """
    if not given.all and not selectors(given):
        raise ConfigurationError("purge: say what is to go (--url, --host, --match …), or --all")
    if not given.all or given.yes or given.dry_run:
        return True
    if sys.stdin is None or not sys.stdin.isatty():  # a daemon may have none
        raise ConfigurationError("purge --all: add --yes, as there is no terminal to ask at")
    verb = "Make all entries stale" if given.soft else "Drop all entries"
    print(f"{verb} of {where}? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def purge(given: argparse.Namespace, cache: Cache) -> int:
    """Delete the selected entries, or make them stale."""
    with progress("purging", quiet=cache.as_json):
        purged = await cache.backend.purge(
            all=given.all, soft=given.soft, dry_run=given.dry_run, count_within_s=math.inf, **selectors(given)
        )
    verb = "made stale" if given.soft else "dropped"
    told = {"entries": purged.entries, "bytes": purged.bytes, "soft": given.soft, "dry_run": given.dry_run}
    what = f"{entries_of(purged.entries)}, {size_of(purged.bytes)}"
    what += "" if purged.is_whole else ", and those that cannot be counted"
    cache.tell(told, lambda: [f"{what}: would be {verb}" if given.dry_run else f"{what}: {verb}"])
    if not purged.entries:
        await tell_ports(given, cache)
    return DONE


async def prune(given: argparse.Namespace, cache: Cache) -> int:
    """Delete expired entries, then those that are too old, then the oldest until the rest is small enough."""
    backend = cache.backend
    most = most_bytes(given)
    with progress("pruning", quiet=cache.as_json):
        expired = await backend.delete_expired_responses()
        old = (await backend.purge(older_than=given.max_age)).entries if given.max_age is not None else 0
        oldest = await _drop_oldest(cache, most) if most is not None else 0
    usage = await backend.usage()
    told = {"expired": expired, "old": old, "too_much": oldest, "left": usage.entries}
    lines = f"dropped {expired} expired, {old} old and {oldest} of the oldest entries; {usage.entries} are left"
    cache.tell(told, lambda: [lines])
    return DONE


async def _drop_oldest(cache: Cache, most: int) -> int:
    """Delete the oldest entries until the bodies of the others take *most* bytes at most."""
    found = [(info.stored_at, info.body_bytes, info.key) async for info in cache.backend.entries()]
    excess = sum(size for _, size, _ in found) - most
    oldest: list[str] = []
    for _, size, key in sorted(found):
        if excess <= 0:
            break
        excess -= size
        oldest.append(key)
    for part in in_batches(oldest, DROPPED_AT_A_TIME):
        await cache.backend.stack.delete(part)
    return len(oldest)


def urls_of(given: argparse.Namespace) -> list[str]:
    """The URLs to request, without duplicates; called before an event loop runs.

    Raises:
        ConfigurationError: there are no URLs, one is invalid, or the file cannot be read.
    """
    lines: list[str] = list(given.urls)
    if given.file is not None:
        try:
            lines += _text_of(given.file).splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"--file {given.file}: it cannot be read ({exc})") from exc
    urls = list(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")))
    if not urls:
        raise ConfigurationError("warm: give URLs, or a --file of them")
    for url in urls:
        try:
            parsed = URL(url)
        except ValueError as exc:
            raise ConfigurationError(f"{quoted(url)} is not a URL") from exc
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError(f"{quoted(url)}: use a whole URL, such as https://api.example.org/items")
    return urls


def _text_of(file: str) -> str:
    if file != "-":
        return Path(file).read_text(encoding="utf-8")
    if sys.stdin is None:
        raise OSError("there is no standard input")
    return sys.stdin.read()


async def warm(given: argparse.Namespace, cache: Cache, urls: list[str]) -> int:
    """Request *urls*, several at a time, and report the results."""
    told: list[dict[str, Any]] = []
    waiting = iter(urls)
    async with build_session(cache.backend, cache.settings) as session:
        workers = range(min(given.concurrency, len(urls)))
        with progress("warming", len(urls), quiet=cache.as_json, counts=True) as advance:
            async with asyncio.TaskGroup() as group:
                for _ in workers:
                    group.create_task(_request_all(session, waiting, told, advance))
    results = Counter(each["result"] for each in told)
    missing = [each for each in told if each["result"] in (LEFT, BROKEN)]
    lines: list[str] = []
    if missing:
        table = [("RESULT", "REASON", "URL", "WHY")]
        table += [(each["result"], each["reason"] or "-", plain(each["url"]), plain(each["why"])) for each in missing]
        lines = [*columns(table), ""]
    left = f", {results[LEFT]} not stored" if results[LEFT] else ""
    lines.append(
        f"{len(urls)} requested: {results[STORED]} stored, {results[THERE]} were there{left}, {results[BROKEN]} failed"
    )
    cache.tell(told, lambda: lines)
    return FAILED if missing else DONE


async def _request_all(
    session: CachedSession, urls: Iterator[str], told: list[dict[str, Any]], advance: Advance
) -> None:
    for url in urls:
        told.append(await _request(session, url))
        advance(1)


def _words_of(error: Exception) -> str:
    """The message of *error*, in which the URL, if aiohttp quotes one, has no secrets."""
    url = error.url if isinstance(error, InvalidURL) else None
    url = error.request_info.real_url if isinstance(error, ClientResponseError) else url
    return str(error) if url is None else str(error).replace(str(url), quoted(url)[1:-1])


async def _request(session: CachedSession, url: str) -> dict[str, Any]:
    begun = time.perf_counter()
    status, error, size = 0, "", 0
    decision = CacheDecision("")
    try:
        async with session.get(url) as response:
            async for piece in response.content.iter_chunked(READ_AT_A_TIME):
                size += len(piece)
        status = response.status
        await session.cache.settle()
        decision = response.cache_decision
        error = f"status {status}" if status >= 400 else ""
    except (ClientError, TimeoutError, OSError) as exc:
        error = f"{type(exc).__name__}: {_words_of(exc)}" if str(exc) else type(exc).__name__
    ms = round((time.perf_counter() - begun) * 1000, 1)
    found = BROKEN if error else STORED if decision.is_stored else THERE if decision.is_hit else LEFT
    return {
        "url": redact_url(url),
        "status": status,
        "bytes": size,
        "result": found,
        "reason": decision.reason,
        "why": error or decision.because,
        "cache_status": decision.cache_status,
        "error": error,
        "ms": ms,
    }
