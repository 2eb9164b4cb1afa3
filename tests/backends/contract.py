"""The contract of every storage, wherever it stores entries: one suite, to be subclassed for each storage."""

from __future__ import annotations

import asyncio
import math
import random
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import nullcontext
from typing import Any

import pytest
from yarl import URL

from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.errors import UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from tests.backends.entries import make_entry

__all__ = ["MakeStorage", "StorageContract"]

MakeStorage = Callable[..., BaseCache]
"""Makes a storage with the options given; each one that a test makes has the same store behind it, if there is any."""

MANY = 300
AWKWARD_KEYS = (
    "plain",
    "with space",
    "GET https://host/path?q=1&r=%20#x",
    "käse/☕",
    "quote'\"`;--",
    "ab" * 20,
    "AB" * 20,
    "ab" * 20 + ".variant",
    "%",
    "_",
    "*",
    "x" * 2000,
)
ITERABLES: tuple[Callable[[list[str]], Any], ...] = (list, tuple, dict.fromkeys, iter, lambda keys: map(str, keys))


class StorageContract:
    """Subclass it as ``TestX`` and override `make`."""

    @pytest.fixture
    @abstractmethod
    def make(self) -> MakeStorage:
        """A function that makes a storage."""

    @pytest.fixture
    async def storage(self, make: MakeStorage) -> AsyncIterator[BaseCache]:
        storage = make()
        yield storage
        await storage.close()

    # ---- items

    async def test_a_missing_item_is_none_and_not_contained(self, storage: BaseCache) -> None:
        assert await storage.read("k") is None
        assert await storage.read_entry("k") is None
        assert storage.peek("k") is None
        assert not await storage.contains("k")
        assert await storage.size() == 0

    async def test_a_response_that_was_written_is_read_again(self, storage: BaseCache) -> None:
        entry = make_entry("k", b"the body")
        await storage.write("k", CachedResponse.from_stored(entry))
        item = await storage.read("k")
        assert isinstance(item, CachedResponse)
        assert item.stored == entry
        assert await storage.contains("k")
        assert await storage.size() == 1

    async def test_each_read_gives_a_response_of_its_own(self, storage: BaseCache) -> None:
        await storage.write("k", CachedResponse.from_stored(make_entry("k")))
        assert await storage.read("k") is not await storage.read("k")

    async def test_a_response_may_be_written_under_another_key_than_its_own(self, storage: BaseCache) -> None:
        await storage.write("other", CachedResponse.from_stored(make_entry("k")))
        item = await storage.read("other")
        assert isinstance(item, CachedResponse)
        assert item.key == "other"
        assert await storage.read("k") is None

    async def test_an_alias_is_read_as_the_key_that_it_leads_to(self, storage: BaseCache) -> None:
        await storage.write("alias", "target")
        assert await storage.read("alias") == "target"
        assert await storage.contains("alias")

    async def test_what_is_neither_a_response_nor_a_key_is_refused(self, storage: BaseCache) -> None:
        wrong: tuple[Any, ...] = (1, {"a": 1}, object())
        for item in wrong:
            told = f"takes a CachedResponse or the key of another item, not {type(item).__name__}"
            with pytest.raises(TypeError, match=told):
                storage.serialize(item, "k")
            if isinstance(storage, DictCache):  # a dict of anything
                continue
            with pytest.raises(TypeError, match=told):
                await storage.write("k", item)
            assert not await storage.contains("k")

    async def test_an_entry_is_found_through_one_alias(self, storage: BaseCache) -> None:
        await storage.write_entry(make_entry("target"))
        await storage.write("alias", "target")
        entry = await storage.read_entry("alias")
        assert entry is not None
        assert entry.key == "target"

    async def test_an_alias_to_itself_or_to_nothing_is_no_entry(self, storage: BaseCache) -> None:
        await storage.write("loop", "loop")
        await storage.write("nowhere", "missing")
        assert await storage.read_entry("loop") is None
        assert await storage.read_entry("nowhere") is None

    async def test_writing_again_replaces(self, storage: BaseCache) -> None:
        await storage.write_entry(make_entry("k", b"old"))
        await storage.write_entry(make_entry("k", b"new and longer"))
        entry = await storage.read_entry("k")
        assert entry is not None
        assert entry.body == b"new and longer"
        assert await storage.size() == 1

    async def test_deleting_forgets_and_a_missing_key_is_no_error(self, storage: BaseCache) -> None:
        await storage.write_entry(make_entry("k"))
        await storage.delete("k")
        await storage.delete("k")
        assert await storage.read_entry("k") is None
        assert storage.peek("k") is None
        assert not await storage.contains("k")

    async def test_several_are_deleted_at_once_and_the_others_stay(self, storage: BaseCache) -> None:
        for n in range(10):
            await storage.write_entry(make_entry(f"k{n}"))
        await storage.bulk_delete({f"k{n}" for n in range(0, 10, 2)} | {"missing"})
        await storage.bulk_delete(set())
        assert await all_keys(storage) == {f"k{n}" for n in range(1, 10, 2)}

    async def test_several_are_deleted_by_any_collection_and_by_what_can_be_iterated_over_once(
        self, storage: BaseCache
    ) -> None:
        for kind in ITERABLES:
            await storage.write("k1", "target")
            await storage.write("k2", "target")
            await storage.bulk_delete(kind(["k1", "k2"]))
            assert await storage.size() == 0, kind

    async def test_one_key_is_not_taken_for_several(self, storage: BaseCache) -> None:
        await storage.write("k", "target")
        key: Any = "k"
        with pytest.raises(TypeError, match=r"bulk_delete\('k'\): use a set of keys, or delete\(\) for one"):
            await storage.bulk_delete(key)
        assert await storage.contains("k")

    async def test_what_is_no_text_is_refused_as_a_key_and_its_secrets_are_not_told(self, storage: BaseCache) -> None:
        if not isinstance(storage, StackCache):  # a user's own may take others
            return
        wrong: tuple[Any, ...] = (1, None, b"k", URL("https://user:password@host/"))
        for key in wrong:
            for asked in (storage.read, storage.contains, storage.delete, storage.pop):
                with pytest.raises(TypeError, match=f"^a key is a str, .*, not {type(key).__name__}$"):
                    await asked(key)
            with pytest.raises(TypeError, match=f"^a key is a str, .*, not {type(key).__name__}$"):
                await storage.write(key, "target")

    async def test_pop_returns_the_item_and_deletes_it(self, storage: BaseCache) -> None:
        await storage.write("alias", "target")
        assert await storage.pop("alias") == "target"
        assert not await storage.contains("alias")
        assert await storage.pop("alias") is None
        assert await storage.pop("alias", "default") == "default"

    async def test_clear_leaves_nothing_and_what_is_written_after_it_stays(self, storage: BaseCache) -> None:
        for n in range(10):
            await storage.write_entry(make_entry(f"k{n}"))
        await storage.clear()
        assert await storage.size() == 0
        assert storage.peek("k1") is None
        assert await storage.read_entry("k1") is None
        await storage.write_entry(make_entry("k1"))
        assert await storage.read_entry("k1") is not None

    async def test_any_text_is_a_key(self, storage: BaseCache) -> None:
        bodies = {key + end: b"%d%s" % (n, end.encode()) for n, key in enumerate(AWKWARD_KEYS) for end in ("", "!")}
        for key, body in bodies.items():
            await storage.write_entry(make_entry(key, body))
        for key, body in bodies.items():
            entry = await storage.read_entry(key)
            assert entry is not None, key
            assert (entry.key, entry.body) == (key, body)
        assert await all_keys(storage) == set(bodies)
        for key in AWKWARD_KEYS:
            await storage.delete(key)
            assert not await storage.contains(key), key
            assert await storage.contains(key + "!"), key
        assert await all_keys(storage) == {key + "!" for key in AWKWARD_KEYS}

    async def test_bodies_of_all_sizes_come_back_as_they_were(self, storage: BaseCache) -> None:
        for size in (0, 1, 4096, 1_000_000):
            body = random.Random(size).randbytes(size)
            await storage.write_entry(make_entry("k", body))
            entry = await storage.read_entry("k")
            assert entry is not None, size
            assert entry.body == body, size

    # ---- many

    async def test_keys_and_values_give_each_item_once(self, storage: BaseCache) -> None:
        await asyncio.gather(*(storage.write_entry(make_entry(f"k{n}", b"%d" % n)) for n in range(MANY)))
        keys = await all_keys(storage)
        values = [item async for item in storage.values()]
        assert sorted(keys) == sorted(f"k{n}" for n in range(MANY))
        assert sorted(item.key for item in values if isinstance(item, CachedResponse)) == sorted(keys)
        assert await storage.size() == MANY

    async def test_an_iteration_may_be_left_early_and_others_may_write_meanwhile(self, storage: BaseCache) -> None:
        for n in range(20):
            await storage.write_entry(make_entry(f"k{n}"))
        seen = 0
        values = storage.values()
        assert isinstance(values, AsyncGenerator)
        async for _ in values:
            seen += 1
            await storage.write_entry(make_entry(f"new{seen}"))
            if seen == 5:
                break
        await values.aclose()
        async for key in storage.keys():
            await storage.delete(key)
        assert await storage.size() == 0

    async def test_many_at_once_read_each_what_is_theirs(self, storage: BaseCache) -> None:
        await asyncio.gather(*(storage.write_entry(make_entry(f"k{n}", b"%d" % n)) for n in range(MANY)))
        wanted = [n % (MANY + 5) for n in range(3 * MANY)]
        entries = await asyncio.gather(*(storage.read_entry(f"k{n}") for n in wanted))
        for n, entry in zip(wanted, entries, strict=True):
            assert (entry and entry.body) == (b"%d" % n if n < MANY else None)

    async def test_of_concurrent_writes_of_a_key_one_wins_whole(self, storage: BaseCache) -> None:
        await asyncio.gather(*(storage.write_entry(make_entry("k", b"%d" % n * 1000)) for n in range(50)))
        entry = await storage.read_entry("k")
        assert entry is not None
        assert entry.body in {b"%d" % n * 1000 for n in range(50)}
        assert await storage.size() == 1

    async def test_deleting_after_writing_deletes_even_if_no_caller_has_waited(self, storage: BaseCache) -> None:
        writing = asyncio.ensure_future(storage.write_entry(make_entry("k")))
        await asyncio.sleep(0)
        await storage.delete("k")
        await writing
        assert await storage.read_entry("k") is None
        assert storage.peek("k") is None

    async def test_a_cancelled_reader_takes_no_other_with_it(self, storage: BaseCache) -> None:
        for n in range(30):
            await storage.write_entry(make_entry(f"k{n}", b"%d" % n))
        tasks = [asyncio.ensure_future(storage.read_entry(f"k{n % 30}")) for n in range(90)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for n, result in enumerate(results):
            if n % 3 == 0 and isinstance(result, asyncio.CancelledError):
                continue
            assert not isinstance(result, BaseException)
            assert result is not None
            assert result.body == b"%d" % (n % 30)

    async def test_a_cancelled_writer_takes_no_other_with_it(self, storage: BaseCache) -> None:
        tasks = [asyncio.ensure_future(storage.write_entry(make_entry(f"k{n}"))) for n in range(60)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for n in range(1, 60, 2):
            assert await storage.read_entry(f"k{n}") is not None

    # ---- expiry

    async def test_what_may_be_dropped_is_dropped_when_asked_for(self, storage: BaseCache) -> None:
        now = time.time()
        await storage.write_entry(make_entry("soon", store_until=now + 100))
        await storage.write_entry(make_entry("late", store_until=now + 10_000))
        await storage.write_entry(make_entry("never", store_until=math.inf))
        await storage.write("alias", "never")
        await storage.delete_expired(now + 1000)
        if await storage.contains("soon"):
            pytest.skip("the store itself expires entries, by its own clock")
        assert await all_keys(storage) == {"late", "never", "alias"}
        assert storage.peek("soon") is None
        assert await storage.delete_expired(now + 1000) == 0

    async def test_what_has_just_expired_is_dropped_when_asked_for(self, storage: BaseCache) -> None:
        await storage.write_entry(make_entry("k", store_until=time.time() + 0.02))
        await asyncio.sleep(0.03)
        await storage.delete_expired(time.time())
        assert not await storage.contains("k")
        assert await storage.size() == 0

    # ---- foreign bytes

    async def test_bytes_that_are_no_entry_are_refused_or_else_a_miss(self, storage: BaseCache) -> None:
        await storage.write_entry(make_entry("k"))
        for data in (b"", b"garbage", b"\x80\x04N.", b"\xacDI\n" + bytes(40)):
            if refuses_bytes(storage):
                told = rf"the {len(data)} bytes are not what serialize\(item, 'k'\)"
                with pytest.raises(UnreadableEntryError, match=told):
                    await storage.write("k", data)
            else:
                await storage.write("k", data)
                assert await storage.read_entry("k") is None, data
                assert storage.peek("k") is None, data
                await storage.write_entry(make_entry("k"))
            assert await storage.read_entry("k") is not None

    async def test_the_bytes_of_another_key_are_refused_or_else_a_miss(self, storage: BaseCache) -> None:
        frame = storage.codec.encode(make_entry("one"), "one")
        if refuses_bytes(storage):
            with pytest.raises(UnreadableEntryError, match=r"are not what serialize\(item, 'other'\)"):
                await storage.write("other", frame)
        else:
            await storage.write("other", frame)
        assert await storage.read_entry("other") is None

    # ---- leases

    async def test_a_lease_is_given_back_and_can_then_be_had_again(self, storage: BaseCache) -> None:
        assert await storage.acquire_lease("k", 5)
        await storage.release_lease("k")
        assert await storage.acquire_lease("k", 5)
        assert await storage.acquire_lease("another", 5)
        await storage.release_lease("another")
        await storage.release_lease("k")
        await storage.release_lease("k")

    # ---- closing

    async def test_closing_twice_is_once(self, storage: BaseCache) -> None:
        await storage.write_entry(make_entry("k"))
        await storage.close()
        await storage.close()

    async def test_a_storage_that_was_never_used_can_be_closed(self, make: MakeStorage) -> None:
        await make().close()

    # ---- secrets

    async def test_a_signed_entry_is_read_with_its_key_alone(self, make: MakeStorage) -> None:
        signing, other, unsigned = make(secret_key="one"), make(secret_key="two"), make()
        rotated = make(secret_key=["two", "one"])
        await signing.write_entry(make_entry("k"))
        frame = signing.serialize(CachedResponse.from_stored(make_entry("k")), "k")
        for storage in (signing, rotated, other, unsigned):
            may_read = storage in (signing, rotated)
            if isinstance(storage, DictCache):
                continue  # such a storage never reads bytes
            await signing.write("k", frame)
            with nullcontext() if may_read or not refuses_bytes(storage) else pytest.raises(UnreadableEntryError):
                await storage.write("k", frame)
            assert (await storage.read_entry("k") is not None) == may_read
        for storage in (signing, other, unsigned, rotated):
            await storage.close()


def refuses_bytes(storage: BaseCache) -> bool:
    """Whether *storage* looks at the bytes that it is to store; one of the user's own need not."""
    return isinstance(storage, StackCache) and not isinstance(storage, DictCache)


async def all_keys(storage: BaseCache) -> set[str]:
    """All keys; asserts that each is listed once."""
    keys: list[str] = []
    async for key in storage.keys():
        keys.append(key)  # noqa: PERF401  # ruff would take a comprehension for one over a dict
    assert len(keys) == len(set(keys))
    return set(keys)
