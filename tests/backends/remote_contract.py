"""The contract of a store on a server: that of every store, and about damage, limits, expiry and leases."""

from __future__ import annotations

import asyncio
import math
import random
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.store import UNREADABLE, Found, Lease, Record, Row, Store, Written
from aiohttp_cache_di.backends.store.capabilities import Leasing, LookingOrLeasing, Sorting, kinds_of
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.store_contract import MakeStore as MakeAnyStore
from tests.backends.store_contract import StoreContract, make_redirect

__all__ = ["LeasingStore", "MakeStore", "RemoteContract", "entry", "looked", "read", "write"]


class LeasingStore(Store, Leasing, LookingOrLeasing, Sorting, Protocol):
    """The protocols that a store under this suite implements."""


MakeStore = Callable[..., LeasingStore]
"""Makes a store with this codec; all stores of one test share their records."""


def entry(key: str, body: bytes = b"body", until: float = math.inf) -> Record:
    """A record of a response."""
    return Record(key, replace(make_entry("url", body, until), key=key), until)


async def looked(store: LookingOrLeasing, key: str) -> object:
    """The body that `get_or_acquire` finds under *key*, or what it returns in place of a response."""
    found = await store.get_or_acquire(key, 5)
    return found.item.body if isinstance(found, Found) and isinstance(found.item, StoredResponse) else found


async def write(store: Store, *records: Record) -> None:
    """Put *records*, and assert that all are written."""
    for result in await store.put(records):
        assert not isinstance(result, StorageError), result


async def read(store: Store, key: str) -> Any:
    """The item under *key*."""
    (found,) = await store.get([key])
    return None if found is None else found.item


async def walk(store: Store, *, items: bool = False) -> list[Row]:
    """All rows, one for each key."""
    rows = {row.key: row for page in [page async for page in store.pages(items=items)] for row in page}
    return list(rows.values())


class RemoteContract(StoreContract):
    """Subclass it as ``TestX`` and override `make`, and `meddle` to change the bytes under a key."""

    awkward_keys = (
        *StoreContract.awkward_keys,
        "$where",
        "a.b.c",
        "nul\0inside",
        "#",
        ":",
        "",
        "lone \udc80 surrogate",
        "x" * 2047,
        "x" * 3000,
    )
    codec = EntryCodec()

    @pytest.fixture
    @abstractmethod
    def make(self) -> MakeStore:
        """A function that makes a store."""

    @abstractmethod
    async def meddle(self, key: str, change: Callable[[bytes], Any]) -> None:
        """Replace the bytes under *key* with *change* of them, as another program might."""

    @pytest.fixture
    async def store(self, make: MakeStore) -> AsyncIterator[LeasingStore]:
        store = make(self.codec)
        yield store
        await store.close()

    # ---- items

    async def test_an_entry_is_kept_under_the_key_that_the_record_names(self, store: LeasingStore) -> None:
        await write(store, Record("other", make_entry("k"), math.inf))
        assert (await read(store, "other")).key == "other"
        assert await read(store, "k") is None

    async def test_what_is_deleted_is_gone_and_missing_keys_are_no_error(self, store: Store) -> None:
        await write(store, *(entry(f"k{n}") for n in range(60)))
        for _ in range(2):
            await store.delete([f"k{n}" for n in range(0, 60, 2)] + ["missing"])
        await store.delete([])
        assert {row.key for row in await walk(store)} == {f"k{n}" for n in range(1, 60, 2)}
        assert await read(store, "k0") is None

    async def test_clear_leaves_nothing_and_what_is_put_after_it_stays(self, store: Store) -> None:
        await write(store, *(entry(f"k{n}") for n in range(60)), Record("r", make_redirect("r"), math.inf))
        await store.clear()
        assert await walk(store) == []
        await write(store, entry("k1"))
        assert await read(store, "k1") is not None

    async def test_an_item_as_large_as_the_limit_comes_back(self, store: LeasingStore) -> None:
        limit = store.limits.value_bytes or 16_000_000
        head = len(self.codec.pack(make_entry("k"), "k")) + 8
        body = random.Random(7).randbytes(limit - head)
        await write(store, entry("k", body))
        assert (await read(store, "k")).body == body

    async def test_an_item_beyond_the_limit_is_refused_and_takes_no_other_with_it(self, store: LeasingStore) -> None:
        if store.limits.value_bytes is None:
            pytest.skip("this store has no limit")
        large = bytes(store.limits.value_bytes + 32 * 1024)
        results: Sequence[Written] = await store.put([entry("a"), entry("large", large), entry("b")])
        assert [isinstance(result, StorageError) for result in results] == [False, True, False]
        assert [found is not None for found in await store.get(["a", "large", "b"])] == [True, False, True]

    async def test_what_cannot_be_encoded_is_refused_and_takes_no_other_with_it(self, store: LeasingStore) -> None:
        broken = Record("k", replace(make_entry("k"), url="http://\udc80/"), math.inf)
        results = await store.put([broken, entry("b")])
        assert isinstance(results[0], StorageError)
        assert await read(store, "b") is not None

    # ---- untrusted bytes

    @pytest.mark.parametrize("data", [b"", b"garbage", "text", 7, None])
    async def test_what_is_no_frame_is_unreadable_and_is_overwritten(self, store: LeasingStore, data: Any) -> None:
        await write(store, entry("k"))
        await self.meddle("k", lambda frame: data)
        assert await read(store, "k") is UNREADABLE
        assert [row.item for row in await walk(store, items=True)] == [UNREADABLE]
        await write(store, entry("k", b"again"))
        assert (await read(store, "k")).body == b"again"

    async def test_a_flipped_bit_makes_an_entry_unreadable(self, store: LeasingStore) -> None:
        await write(store, entry("k"))
        await self.meddle("k", lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]))
        assert await read(store, "k") is UNREADABLE

    async def test_a_frame_of_another_key_is_unreadable(self, store: LeasingStore) -> None:
        await write(store, entry("k"), entry("j"))
        await self.meddle("k", lambda frame: self.codec.pack(make_entry("j"), "j"))
        assert await read(store, "k") is UNREADABLE

    # ---- walks

    async def test_kinds_are_told_without_the_items(self, store: Store) -> None:
        kinds = partial(kinds_of, store)
        await write(store, Record("r", make_redirect("r"), math.inf), Record("a", "r", math.inf), entry("k"))
        await write(store, Record("over", make_entry("over"), time.time() - 1))
        assert isinstance(store, Leasing)
        await store.acquire("leased and empty", 5)
        asked = ["k", "missing", "r", "over", "a", "leased and empty", "k"]
        assert list(await kinds(asked)) == [False, None, True, None, True, None, False]

    async def test_a_walk_goes_by_pages_and_may_be_left(self, store: LeasingStore) -> None:
        for first in range(0, 1000, 100):
            await write(store, *(entry(f"k{n}", bytes(2000)) for n in range(first, first + 100)))
        pages = store.pages(items=True)
        first_page = await anext(pages)
        assert 0 < len(first_page) < 1000
        await write(store, entry("meanwhile"))
        await pages.aclose()  # type: ignore[attr-defined]  # an async generator, as stores make them
        assert {f"k{n}" for n in range(1000)} <= {row.key for row in await walk(store)}

    # ---- expiry

    async def test_what_has_expired_is_not_found_and_not_met(self, store: LeasingStore) -> None:
        soon = time.time() + 0.05
        await write(store, entry("soon", until=soon), entry("late", until=soon + 1000), entry("never"))
        assert await read(store, "late") is not None
        await asyncio.sleep(max(0.0, soon - time.time()) + 0.005)
        assert [found is not None for found in await store.get(["soon", "late", "never"])] == [False, True, True]
        assert {row.key for row in await walk(store)} == {"late", "never"}

    async def test_a_lifetime_may_be_of_any_length(self, store: LeasingStore) -> None:
        await write(store, *(entry(f"{until}", until=until) for until in (4e9, 1e15, math.inf)))
        assert [found is not None for found in await store.get(["4000000000.0", "1000000000000000.0", "inf"])] == [
            True
        ] * 3
        await write(store, entry("k", until=5.0))
        assert await read(store, "k") is None
        await write(store, entry("k"))
        assert await read(store, "k") is not None

    # ---- leases

    async def test_any_text_is_a_key_of_a_lease(self, store: LeasingStore) -> None:
        for key in self.awkward_keys:
            assert await store.acquire(key, 5) == Lease.GRANTED, key
            await store.release(key)
        await write(store, *map(entry, self.awkward_keys))
        for key in self.awkward_keys:
            assert await store.acquire(key, 5) == Lease.GRANTED_LATE, key
            await store.release(key)

    async def test_a_lease_is_had_by_one_and_given_back_by_its_owner_alone(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(self.codec)
        assert await one.acquire("k", 5) == Lease.GRANTED
        assert await two.acquire("k", 5) == Lease.REFUSED
        assert await one.acquire("k", 5) == Lease.REFUSED
        await two.release("k")
        assert await two.acquire("k", 5) == Lease.REFUSED
        await one.release("k")
        assert await two.acquire("k", 5) == Lease.GRANTED
        assert await read(one, "k") is None
        await two.release("k")
        await two.release("k")
        await one.close()
        await two.close()

    async def test_a_lease_ends_by_itself_and_then_its_first_owner_gives_nothing_back(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(self.codec)
        assert await one.acquire("k", 0.05)
        await asyncio.sleep(0.06)
        assert await two.acquire("k", 5)
        await one.release("k")
        assert not await one.acquire("k", 5)
        await one.close()
        await two.close()

    async def test_a_lease_is_given_back_with_the_write(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(self.codec)
        assert await one.acquire("k", 5) == Lease.GRANTED
        await write(one, replace(entry("k"), leased=True))
        assert await two.acquire("k", 5) == Lease.GRANTED_LATE
        await two.release("k")
        assert (await read(one, "k")).body == b"body"
        await write(one, replace(entry("k", b"without a lease"), leased=True))
        assert (await read(two, "k")).body == b"without a lease"
        await one.close()
        await two.close()

    async def test_a_lease_can_be_given_back_when_the_write_that_was_to_end_it_fails(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(self.codec)
        assert await one.acquire("k", 30) == Lease.GRANTED
        broken = Record("k", replace(make_entry("k"), url="http://\udc80/"), math.inf, leased=True)
        results = await one.put([broken, entry("b")])
        assert [isinstance(result, StorageError) for result in results] == [True, False]
        await one.release("k")
        assert await two.acquire("k", 30) == Lease.GRANTED
        await one.close()
        await two.close()

    async def test_of_many_that_ask_at_once_one_has_the_lease(self, make: MakeStore) -> None:
        stores = [make(self.codec) for _ in range(4)]
        asked = await asyncio.gather(*(store.acquire("k", 5) for store in stores * 5))
        assert sorted(asked) == [Lease.REFUSED] * 19 + [Lease.GRANTED]
        for store in stores:
            await store.close()

    async def test_a_lease_that_was_asked_for_in_vain_is_not_held(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(self.codec)
        assert await two.get(["k"]) == [None]
        await one.get(["k"])  # opened
        asking = asyncio.ensure_future(one.acquire("k", 30))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await one.close()
        assert await two.acquire("k", 5) == Lease.GRANTED
        await two.close()

    async def test_a_look_brings_what_is_there_or_else_the_lease(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(self.codec)
        assert await one.get_or_acquire("k", 5) is Lease.GRANTED
        assert await two.get_or_acquire("k", 5) is Lease.REFUSED
        assert await two.acquire("k", 5) is Lease.REFUSED
        await write(one, replace(entry("k"), leased=True))
        assert await looked(two, "k") == b"body"
        assert await one.acquire("k", 5) is Lease.GRANTED_LATE, "a look that finds something takes none"
        assert await looked(two, "k") == b"body"
        await one.release("k")
        assert await one.get_or_acquire("j", 5) is Lease.GRANTED
        await one.release("j")
        assert await two.get_or_acquire("j", 5) is Lease.GRANTED
        assert await one.get(["j"]) == [None]
        await one.close()
        await two.close()

    async def test_a_look_takes_a_lease_that_has_ended_and_the_place_of_what_has_expired(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(self.codec)
        assert await one.get_or_acquire("ended", 0.05) is Lease.GRANTED
        await write(one, entry("over", until=time.time() + 0.05))
        await asyncio.sleep(0.15)
        for key in ("ended", "over"):
            assert await two.get_or_acquire(key, 5) is Lease.GRANTED
            await one.release(key)
            assert await one.get_or_acquire(key, 5) is Lease.REFUSED
            assert await one.acquire(key, 5) is Lease.REFUSED
            assert await one.get([key]) == [None]
            await write(two, replace(entry(key), leased=True))
            assert await looked(one, key) == b"body"
        await one.close()
        await two.close()

    async def test_of_many_that_look_at_once_one_has_the_lease(self, make: MakeStore) -> None:
        stores = [make(self.codec) for _ in range(4)]
        asked = await asyncio.gather(*(store.get_or_acquire("k", 5) for store in stores * 5))
        assert asked.count(Lease.GRANTED) == 1
        assert {Lease.GRANTED, Lease.REFUSED} >= set(asked)
        for store in stores:
            await store.close()

    async def test_a_lease_that_a_look_has_brought_in_vain_is_not_held(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(self.codec)
        assert await two.get(["k"]) == [None]
        await one.get_or_acquire("opened", 5)
        for pause_s in (0, 0.002):
            asking = asyncio.ensure_future(one.get_or_acquire("k", 30))
            await asyncio.sleep(pause_s)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                if await asking:
                    await one.release("k")
        await one.close()
        assert await two.get_or_acquire("k", 5) is Lease.GRANTED
        await two.close()

    async def test_a_look_finds_what_is_unreadable(self, make: MakeStore) -> None:
        one, two = make(self.codec), make(EntryCodec("another secret"))
        await write(two, entry("k"))
        assert await one.get_or_acquire("k", 5) == Found(UNREADABLE)
        await one.close()
        await two.close()

    # ---- loops

    def test_another_loop_finds_what_one_has_put(self, make: MakeAnyStore) -> None:
        """Also while the first runs: each loop has connections of its own."""
        store = make(self.codec)

        async def use() -> Any:
            await write(store, entry("k"))
            found = await asyncio.to_thread(asyncio.run, look())
            assert found.body == b"body"
            assert await read(store, "k") is not None
            await store.close()

        async def look() -> Any:
            try:
                return await read(store, "k")
            finally:
                await store.close()

        asyncio.run(use())
        assert asyncio.run(look()).body == b"body"
