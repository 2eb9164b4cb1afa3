"""For operators: list the entries of a stack, measure it, and delete entries or make them stale.

Each function uses the store's capability for its task, or else reads all items.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Final, cast

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.store import Item, Unreadable, is_mark
from aiohttp_cache_di.backends.store.capabilities import Expiring
from aiohttp_cache_di.backends.store.inspecting import InfoRow, Measuring, Selecting, Softening, Usage, Wanted
from aiohttp_cache_di.backends.wrap.chunks import ChunkedStore
from aiohttp_cache_di.backends.wrap.marks import LAST_PURGE_KEY, LONG_LIVED_KEY, purge_records
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.entries.info import EntryInfo, info_of

__all__ = ["delete_expired", "infos", "knows_purges", "purge_tags", "soften", "usage"]

UNKNOWN_AT_A_TIME: Final = 32  # records without info, whose items are read
DESCRIBED_AT_A_TIME: Final = 100  # entries that are described in one turn of the loop
DELETED_AT_A_TIME: Final = 500  # expired entries
WRITTEN_AT_A_TIME: Final = 200  # concurrent writes, which the store's batches may divide further


async def infos(stack: StoreStack, wanted: Wanted, *, purged: bool = False) -> AsyncGenerator[Sequence[EntryInfo]]:
    """Iterate over the infos of responses that are *wanted*, a page at a time; bodies are not read if the store can.

    Args:
        purged: include responses that were purged by tag and are not deleted yet.
    """
    purges = stack.here().purges
    async with aclosing(_all_infos(stack, wanted)) as pages:
        async for page in pages:
            yield page if purged else await purges.unpurged(page, wanted)


async def usage(stack: StoreStack) -> Usage:
    """How many entries are stored, and how large they are."""
    await stack.settle(None)
    if isinstance(stack.store, Measuring):
        return await stack.store.usage()
    entries = total = 0
    async with aclosing(infos(stack, _all)) as pages:
        async for page in pages:
            entries += len(page)
            total += sum(info.body_bytes for info in page)
    return Usage(entries, total)


async def knows_purges(stack: StoreStack) -> bool:
    """Whether there may be records of purges."""
    return await stack.get(LAST_PURGE_KEY) is not None or await stack.get(LONG_LIVED_KEY) is not None


async def delete_expired(stack: StoreStack, now: float) -> int:
    """Delete records that have expired at *now* (POSIX time); return how many."""
    if isinstance(stack.store, Expiring):
        count = await stack.store.delete_expired(now)
        if count:
            stack.here().drop_copies(None)
        return count
    count, expired = 0, list[str]()
    async for page in stack.whole.pages(items=True):
        for row in page:
            entry = stack.packing.entry_of(row.item, row.key)
            if entry is not None and entry.store_until <= now:
                expired.append(row.key)
        if len(expired) >= DELETED_AT_A_TIME:
            count += len(expired)
            await stack.delete(expired)
            expired = []
    await stack.delete(expired)
    return count + len(expired)


async def soften(stack: StoreStack, keys: Collection[str], at: float) -> Collection[str]:
    """Make the responses under *keys* stale from *at* (POSIX time) on, as far as the store can do that in place.

    Returns:
        The keys whose responses the caller has to read, change and write.
    """
    store = stack.store
    if not isinstance(store, Softening) or stack.packing.serializer is not None:
        return keys
    await stack.settle(keys)
    left: list[str] = []
    for batch in in_batches(list(keys), stack.store.limits.batch):
        with stack.deleting(batch):  # an older copy must not be written again
            left += await store.soften(batch, at)
    return left


async def purge_tags(stack: StoreStack, tags: Collection[str], *, soft: bool = False) -> int:
    """Purge all responses with one of *tags* that are stored, or whose requests have been sent, by now.

    Args:
        soft: make them stale, rather than unusable.

    Returns:
        The number of the purge; it does not apply to responses requested later (`Tagging.purges`).
    """
    purges = stack.here().purges
    number, until = await purges.begin(tags)
    marks, last = purge_records(tags, number, until, soft=soft)
    stack.purge_count.add(marks, number)
    for part in in_batches(marks, WRITTEN_AT_A_TIME):
        await asyncio.gather(*map(stack.write, part))
    await stack.write(last)
    return number


async def _all_infos(stack: StoreStack, wanted: Wanted) -> AsyncGenerator[Sequence[EntryInfo]]:
    store = stack.store
    if not isinstance(store, Selecting):
        async with aclosing(stack.pages(items=True)) as pages:
            async for page in pages:
                for rows in in_batches(page, DESCRIBED_AT_A_TIME):
                    yield _infos_of(stack, [(row.key, row.item) for row in rows], wanted)
        return
    await stack.settle(None)
    info_rows = cast("AsyncGenerator[Sequence[InfoRow]]", store.infos(wanted))
    async with aclosing(info_rows):
        async for found in info_rows:
            yield [row.info for row in found if row.info is not None and not is_mark(row.key)]
            unknown = [key for key, info in found if info is None and _is_record(stack, key)]
            for part in in_batches(unknown, UNKNOWN_AT_A_TIME):
                yield _infos_of(stack, [(key, await stack.get(key)) for key in part], wanted)


def _infos_of(
    stack: StoreStack, items: Sequence[tuple[str, Item | Unreadable | None]], wanted: Wanted
) -> list[EntryInfo]:
    entries = [stack.packing.entry_of(item, key) for key, item in items]
    return [info for entry in entries if entry is not None and wanted(info := info_of(entry))]


def _is_record(stack: StoreStack, key: str) -> bool:
    return ChunkedStore.is_record(key) and stack.shows(key)


def _all(info: EntryInfo) -> bool:
    return True
