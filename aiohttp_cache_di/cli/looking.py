"""Commands that change nothing: check, stats, ls, show and explain."""

from __future__ import annotations

import argparse
import math
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import ClientError

from aiohttp_cache_di.admin.preview import head_of
from aiohttp_cache_di.backends.operating.terms import is_key_beginning, named_host, quoted
from aiohttp_cache_di.backends.store.capabilities import Leasing
from aiohttp_cache_di.cli.expecting import request_headers, selectors
from aiohttp_cache_di.cli.ordering import Ordered
from aiohttp_cache_di.cli.running import DONE, FAILED, Cache
from aiohttp_cache_di.cli.tables import age_of, columns, entries_of, left_of, plain, size_of
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.keys import host_of
from aiohttp_cache_di.settings.build import build_session

__all__ = ["check", "explain", "ls", "show", "stats", "tell_ports"]

LEASED_S = 5.0
PORTS_SHOWN = 5
HOSTS_SHOWN = 10
ENTRIES_SHOWN = 100
TAGS_SHOWN = 3  # of an entry in a list; `show` tells all, of which there may be 256


async def check(given: argparse.Namespace, cache: Cache) -> int:
    """Test the store, and report how long that took or what is wrong."""
    begun = time.perf_counter()
    health = await cache.backend.ping()
    reason = health.reason or await _lease(cache)
    took_ms = (time.perf_counter() - begun) * 1000
    told = {
        "ok": not reason,
        "backend": cache.settings.backend,
        "where": cache.where,
        "reason": reason,
        "ms": round(took_ms, 1),
    }
    if reason:
        if cache.as_json:
            cache.tell(told, list)
        else:
            print(f"aiohttp-cache: {reason}", file=sys.stderr)
        return FAILED
    cache.tell(told, lambda: [f"ok: {cache.where}, tried in {took_ms:.0f} ms"])
    return DONE


async def _lease(cache: Cache) -> str:
    """Take and release a lease; return what is wrong, "" for nothing."""
    stack, key = cache.backend.stack, secrets.token_hex(20)
    store = stack.store
    if not isinstance(store, Leasing):
        return ""
    taken = await stack.guard.run("lease", lambda: store.acquire(key, LEASED_S), None, patient=True)
    if not taken:
        return f"{cache.where} gives no leases: each process fetches for itself"
    await stack.guard.run("lease", lambda: store.release(key), None, patient=True)
    return ""


async def stats(given: argparse.Namespace, cache: Cache) -> int:
    """Count what is stored."""
    usage, now = await cache.backend.usage(), time.time()
    fresh = bodies = 0
    oldest, hosts, sizes = math.inf, Counter[str](), Counter[str]()
    async for info in cache.backend.entries():
        host = host_of(info.url)
        hosts[host] += 1
        sizes[host] += info.body_bytes
        bodies += info.body_bytes
        fresh += info.fresh_until > now
        oldest = min(oldest, info.stored_at)
    largest = sizes.most_common(_limit(given, cache, HOSTS_SHOWN) or None)
    told: dict[str, Any] = {
        "backend": cache.settings.backend,
        "where": cache.where,
        "entries": usage.entries,
        "bytes_in_use": usage.bytes_in_use,
        "bytes_on_disk": usage.bytes_on_disk,
        "body_bytes": bodies,
        "fresh": fresh,
        "oldest_stored_at": None if oldest == math.inf else oldest,
        "hosts": [{"host": host, "entries": hosts[host], "body_bytes": size} for host, size in largest],
    }

    def lines() -> list[str]:
        count = sum(hosts.values())
        on_disk = "" if usage.bytes_on_disk is None else f", {size_of(usage.bytes_on_disk)} on disk"
        share = f", {100 * fresh // count}% of them fresh" if count else ""
        table = [("HOST", "ENTRIES", "BODIES")]
        table += [(plain(host), str(hosts[host]), size_of(size)) for host, size in largest]
        head = [cache.where, f"{entries_of(usage.entries)}{share}", f"{size_of(usage.bytes_in_use)} in use{on_disk}"]
        head += [f"the oldest was stored {age_of(oldest)} ago", ""] if count else []
        return head + (columns(table, right=(1, 2)) + _more(len(sizes) - len(largest)) if count else [])

    cache.tell(told, lines)
    return DONE


ORDERS: dict[str, Callable[[EntryInfo], Any]] = {
    "url": lambda info: (info.url, info.method, info.key),
    "size": lambda info: (-info.body_bytes, info.url, info.key),
    "age": lambda info: (info.stored_at, info.url, info.key),
    "expires": lambda info: (info.fresh_until, info.url, info.key),
}


async def ls(given: argparse.Namespace, cache: Cache) -> int:
    """List what is stored."""
    with Ordered(ORDERS[given.sort], _limit(given, cache, ENTRIES_SHOWN)) as ordered:
        async for info in cache.backend.entries(**selectors(given)):
            await ordered.add(info)
        if cache.as_json:
            await cache.tell_each(info.as_dict() async for page in ordered.pages() for info in page)
        else:
            found = [info async for page in ordered.pages() for info in page]
            cache.tell((), lambda: _listed(found, ordered.count, is_part=bool(selectors(given))))
    if not ordered.count:
        await tell_ports(given, cache)
    return DONE


def _listed(found: Sequence[EntryInfo], count: int, *, is_part: bool) -> list[str]:
    """The lines of a table of *found*, of *count* entries in all."""
    if not found:
        return ["nothing is stored that meets this"] if is_part else ["nothing is stored"]
    table: list[tuple[str, ...]] = [("METHOD", "STATUS", "SIZE", "AGE", "FRESH FOR", "KEY", "URL")]
    table += [_row(info) for info in found]
    return columns(table, right=(2, 3, 4)) + _more(count - len(found))


async def tell_ports(given: argparse.Namespace, cache: Cache) -> None:
    """If ``--host`` has no port and selects nothing, name the ports with which URLs of that host are stored."""
    if given.host is None or (host := named_host(given.host)).port:
        return
    found = {host_of(info.url) async for info in cache.backend.entries(match=f"{host.name}:*")}
    if found:
        named = ", ".join(sorted(found)[:PORTS_SHOWN])
        print(
            f"aiohttp-cache: --host {given.host!r} means URLs without a port; there are some of {named}",
            file=sys.stderr,
        )


def _limit(given: argparse.Namespace, cache: Cache, shown: int) -> int:
    """How many to list; by default *shown* for people, and all (0) for a script, which would take a part for all."""
    limit: int | None = given.limit
    return limit if limit is not None else 0 if cache.as_json else shown


def _more(count: int) -> list[str]:
    return [f"… and {count} more; --limit 0 shows all"] if count else []


def _row(info: EntryInfo) -> tuple[str, ...]:
    marks = [f"[{info.variant}]"] if info.variant else []
    marks += [f"[principal {info.partition}]"] if info.partition else []
    marks += [f"[{_tags(info)}]"] if info.tags else []
    url = " ".join([plain(info.url), *map(plain, marks)])
    fresh = left_of(info.fresh_until)
    return info.method, str(info.status), size_of(info.body_bytes), age_of(info.stored_at), fresh, info.key[:12], url


def _tags(info: EntryInfo) -> str:
    more = len(info.tags) - TAGS_SHOWN
    shown = ", ".join(info.tags[:TAGS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{'tag' if len(info.tags) == 1 else 'tags'} {shown}"


async def show(given: argparse.Namespace, cache: Cache) -> int:
    """Show entries with the header fields of their responses."""
    what: str = given.what.strip()
    by_url = "://" in what
    wanted = cache.backend.entries(url=what) if by_url else cache.backend.entries()
    found = [info async for info in wanted if by_url or info.key.startswith(what)]
    if not found and not by_url and not is_key_beginning(what):
        raise ConfigurationError(
            f"{plain(what)!r} is neither a URL, such as https://api.example.org/items, nor the beginning of a key"
        )
    if not found:
        print(f"aiohttp-cache: nothing is stored for {plain(what)}", file=sys.stderr)
        return FAILED
    heads = [(info, await _fields(cache, info.key)) for info in found]
    told = [info.as_dict() | {"headers": fields} for info, fields in heads]
    cache.tell(told, lambda: "\n\n".join("\n".join(_head(info, fields)) for info, fields in heads).split("\n"))
    return DONE


async def _fields(cache: Cache, key: str) -> list[tuple[str, str]]:
    entry = await cache.backend.stack.entry(key)
    lines = [] if entry is None else head_of(entry)
    return [(line.name, "…" if line.value is None else line.value) for line in lines]


def _head(info: EntryInfo, fields: list[tuple[str, str]]) -> list[str]:
    kept = "for ever" if info.kept_until == math.inf else f"for {left_of(info.kept_until)}"
    is_stale = info.fresh_until <= time.time()
    state = (
        f"stale, last validated {age_of(info.validated_at)} ago"
        if is_stale
        else f"fresh for {left_of(info.fresh_until)}"
    )
    lines = [
        f"{info.method} {plain(info.url)}",
        f"  key {info.key}",
        f"  status {info.status}, body of {size_of(info.body_bytes)}, stored {age_of(info.stored_at)} ago",
        f"  {state}, kept {kept}",
    ]
    lines += [f"  varies on {plain(info.variant)}"] if info.variant else []
    lines += [f"  for principal {info.partition}"] if info.partition else []
    lines += [f"  tags: {plain(', '.join(info.tags))}"] if info.tags else []
    return lines + [f"  {plain(name)}: {plain(value)}" for name, value in fields]


async def explain(given: argparse.Namespace, cache: Cache) -> int:
    """Report what the cache would do with a request, and why."""
    headers = request_headers(given)
    options: dict[str, Any] = {"principal": given.principal} if given.principal else {}
    async with build_session(cache.backend, cache.settings) as session:
        try:
            told = await session.explain(given.method, given.url, headers=headers, refresh=given.refresh, **options)
        except ConfigurationError:
            raise
        except (ClientError, ValueError) as exc:
            raise ConfigurationError(f"{quoted(given.url)}: {exc}") from exc
    cache.tell(told.as_dict(), lambda: [plain(line) for line in str(told).split("\n")])
    if not told.store_error and not told.stored and not cache.as_json:
        print("aiohttp-cache: `warm` requests it, and says why a response is not stored", file=sys.stderr)
    if told.store_error:
        print(f"aiohttp-cache: {plain(told.store_error)}", file=sys.stderr)
        return FAILED
    return DONE
