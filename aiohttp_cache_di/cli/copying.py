"""The command ``copy``: copy entries from one cache to another, such as from a file to a server."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.operating.selection import selection
from aiohttp_cache_di.backends.store.capabilities import Restrained
from aiohttp_cache_di.backends.store.sizes import DEFAULT_MAX_BYTES
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.cli.drawing import Advance, progress
from aiohttp_cache_di.cli.expecting import selectors
from aiohttp_cache_di.cli.running import DONE, Cache, expect_reached, expect_secret, is_all_default, refuse_memory
from aiohttp_cache_di.cli.tables import columns, entries_of
from aiohttp_cache_di.errors import ConfigurationError, StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.settings.build import build_backend
from aiohttp_cache_di.settings.model import CacheSettings

__all__ = ["copy", "target_of"]

COPIED_AT_A_TIME: Final = 32  # whose bodies are in memory together
OF_KEYS: Final = ("cache_control", "match_order", "include_headers", "ignored_params", "credential_headers")
"""The settings that the keys of responses depend on."""
KEYED, PURGED, EVICTED, UNREAD = "secret", "purged", "evicted", "unread"
REASONS: Final = {
    KEYED: "its key is made with another secret",
    PURGED: "a tag of it was purged there",
    EVICTED: "it had to make room there again",
    UNREAD: "it cannot be read, or has gone meanwhile",
}
RECOUNT_AFTER_S: Final = 0.1  # while the target evicts entries
COUNTS: Final = 20


def target_of(given: argparse.Namespace) -> CacheSettings:
    """The settings of the target cache; called before an event loop runs.

    Raises:
        ConfigurationError: they are invalid, all of them are defaults, or they are those of the source.
    """
    prefix = given.to_prefix
    if prefix.lower() == given.prefix.lower():  # case makes no difference in variables
        raise ConfigurationError(f"--to-prefix {prefix!r}: that is the cache itself")
    settings = CacheSettings.load(prefix, given.env_file)
    if is_all_default(settings):
        # A misspelt prefix would silently create a new file, and the command would report success.
        raise ConfigurationError(f"--to-prefix {prefix!r}: no variable begins with it; set {prefix}BACKEND at least")
    refuse_memory(settings, "it would be gone when the command ends")
    return settings


async def copy(given: argparse.Namespace, cache: Cache, settings: CacheSettings) -> int:
    """Copy the selected entries to the cache of *settings*; they replace entries with the same keys."""
    place = await asyncio.to_thread(lambda: settings.place)
    if place is not None and place.is_out_of_reach:
        raise StorageError(place.warning)
    target = await asyncio.to_thread(build_backend, settings)
    try:
        _refuse_other_keys(cache.backend, target)
        await expect_reached(target)
        is_alike = await _share_secret(cache.backend, target)
        total = None if selectors(given) else (await cache.backend.usage()).entries
        with progress("copying", total, quiet=cache.as_json) as advance:
            copied, left = await _copy_all(given, cache.backend, target, advance, is_alike=is_alike)
        kept = await _kept(target, settings, copied)
        left[EVICTED] = len(copied) - kept
    finally:
        await target.close()
    left = +left
    told = {"copied": kept, "left": left.total(), "reasons": dict(left.most_common())}
    cache.tell(told, lambda: _lines(kept, left))
    return DONE


def _lines(copied: int, left: Counter[str]) -> list[str]:
    if not left:
        return [f"{entries_of(copied)} copied"]
    rows = [(str(count), REASONS[why]) for why, count in left.most_common()]
    return [f"{entries_of(copied)} copied, {left.total()} left", "", *columns([("LEFT", "WHY"), *rows], right=(0,))]


def _refuse_other_keys(source: CacheBackend, target: CacheBackend) -> None:
    for name in OF_KEYS:
        if getattr(source, name) != getattr(target, name):
            raise ConfigurationError(f"{name} differs between the two caches, so that nothing that is copied is found")


async def _share_secret(source: CacheBackend, target: CacheBackend) -> bool:
    """Whether both caches make keys with the same secret; a target without one gets the secret of the source."""
    if not isinstance(source.stack.store, Restrained) or not await source.learn_secret():
        await expect_secret(source)
    elif source.is_secret_open:  # a file without a secret, which is opened read-only
        await expect_secret(target)
        return False
    if source.is_secret_kept:  # one derived from SECRET_KEY is not stored
        target.propose_secret(source.digest_key)
    await expect_secret(target)
    return source.digest_key == target.digest_key


async def _copy_all(
    given: argparse.Namespace, source: CacheBackend, target: CacheBackend, advance: Advance, *, is_alike: bool
) -> tuple[list[str], Counter[str]]:
    """Copy the selected entries; return the keys of those copied, and the number of others by reason."""
    purges = target.stack.here().purges
    wanted = selection(selectors(given), ignored_params=source.ignored_params, ordered=source.is_ordered)
    copied, left = list[str](), Counter[str]()
    async with aclosing(upkeep.infos(source.stack, wanted)) as pages:
        async for page in pages:
            for part in in_batches(page, COPIED_AT_A_TIME):
                keys = [info.key for info in part]
                entries = await _entries(source, keys)
                known = [entry for entry in entries if is_alike or not _needs_secret(entry)]
                fitting = [entry for entry in known if await purges.judge_or_fail(entry) is not None]
                await asyncio.gather(*map(target.write, fitting))
                advance(len(keys))
                copied += [entry.key for entry in fitting]
                left[UNREAD] += len(keys) - len(entries)
                left[KEYED] += len(entries) - len(known)
                left[PURGED] += len(known) - len(fitting)
    return copied, left


async def _kept(target: CacheBackend, settings: CacheSettings, keys: Sequence[str]) -> int:
    """How many of *keys* remain in *target* after it has written all entries and evicted what exceeds its bounds."""
    await target.settle()
    count = len(keys)
    for _ in range(COUNTS):
        has_room = await _is_within_bounds(
            target, settings
        )  # checked before counting, so that an eviction in between is noticed
        before, count = count, len(await target.stack.kinds(keys))
        if has_room and count == before:
            break
        await asyncio.sleep(RECOUNT_AFTER_S)
    return count


async def _is_within_bounds(target: CacheBackend, settings: CacheSettings) -> bool:
    if settings.backend not in ("sqlite", "filesystem"):  # only these evict in the background, after a write
        return True
    usage, most = await target.usage(), settings.max_entries
    most_bytes = DEFAULT_MAX_BYTES if settings.max_bytes == "auto" else settings.max_bytes
    return (most is None or usage.entries <= most) and (most_bytes is None or usage.bytes_in_use <= most_bytes)


async def _entries(source: CacheBackend, keys: Sequence[str]) -> list[StoredResponse]:
    found = [await source.stack.entry(key) for key in keys]
    return [entry for entry in found if entry is not None]


def _needs_secret(entry: StoredResponse) -> bool:
    """Whether its key, or the digest by which it is selected, depends on the secret."""
    return bool(entry.partition or entry.vary_fields or entry.variants) or entry.method not in ("GET", "HEAD")
