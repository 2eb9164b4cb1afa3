"""The contract of every store (`aiohttp_cache_di.backends.store`): one suite, to be subclassed for each store."""

from __future__ import annotations

import asyncio
import math
import random
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar

import msgspec
import pytest

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.store import MARK_PREFIX, Found, Item, Record, Store, Unreadable
from aiohttp_cache_di.backends.store.capabilities import Expiring, Immediate, Leasing, Versioned, kinds_of
from aiohttp_cache_di.backends.store.inspecting import Measuring, Selecting, Softening
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.entries.items import Opaque
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.contract import AWKWARD_KEYS
from tests.backends.entries import make_entry
from tests.times import in_time

__all__ = ["MakeStore", "StoreContract", "keep", "look", "make_redirect", "walk"]

MakeStore = Callable[..., Store]
"""Makes a store with a codec; all stores of one test share their records, if stores of that kind can share them."""

MANY = 130
SEVERAL_PAGES = 600
"""Records that no store deletes in one step, if there are twice as many."""


def make_redirect(key: str, to: str = "http://origin.test/elsewhere") -> StoredResponse:
    """Make a stored redirect."""
    return msgspec.structs.replace(make_entry(key), status=301, raw_headers=((b"Location", to.encode()),))


async def keep(store: Store, key: str, item: Item | None = None, *, until: float = math.inf) -> None:
    """Put one record."""
    (written,) = await store.put([Record(key, make_entry(key) if item is None else item, until)])
    assert not isinstance(written, StorageError)


async def look(store: Store, key: str) -> Item | Unreadable | None:
    """Get one item."""
    (found,) = await store.get([key])
    return None if found is None else found.item


async def walk(store: Store, *, items: bool = False) -> dict[str, tuple[bool, Any]]:
    """All rows by key; asserts that each is listed once."""
    rows: dict[str, tuple[bool, Any]] = {}
    async for page in store.pages(items=items):
        for row in page:
            assert row.key not in rows
            rows[row.key] = row.leads_on, row.item
    return rows


class StoreContract:
    """Subclass it as ``TestX`` and override `make`."""

    awkward_keys: ClassVar[tuple[str, ...]] = AWKWARD_KEYS
    keeps_opaque = True
    """Whether it accepts values that a user's serializer made."""
    is_shared = True
    """Whether a store sees what another store in the same place has put."""
    outlives_loops = True
    """Whether records outlive the event loop in which they were put."""

    @pytest.fixture
    @abstractmethod
    def make(self) -> MakeStore:
        """A function that makes a store."""

    @pytest.fixture
    async def store(self, make: MakeStore) -> AsyncIterator[Store]:
        store = make()
        yield store
        await store.close()

    # ---- items are read as they were put

    async def test_what_was_put_is_what_is_got(self, store: Store) -> None:
        items: dict[str, Item] = {
            "end": make_entry("end", b"body"),
            "redirect": make_redirect("redirect"),
            "alias": "end",
        }
        if self.keeps_opaque:
            items |= {"opaque": Opaque("opaque", b"\x00any"), "leads": Opaque("leads", b"bytes", leads_on=True)}
        assert {key: await look(store, key) for key in items} == dict.fromkeys(items)
        assert await walk(store) == {}
        records = [Record(key, item, math.inf) for key, item in items.items()]
        for first in range(0, len(records), store.limits.batch):
            written = await store.put(records[first : first + store.limits.batch])
            assert not any(isinstance(one, StorageError) for one in written)
        assert {key: await look(store, key) for key in items} == items

    async def test_bodies_of_all_sizes_come_back_as_they_were(self, store: Store) -> None:
        for size in (0, 1, 4096, 1_000_000):
            if size < (store.limits.value_bytes or math.inf):  # larger ones come in chunks
                entry = make_entry("k", random.Random(size).randbytes(size))
                await keep(store, "k", entry)
                assert await look(store, "k") == entry, size

    async def test_any_text_is_a_key(self, store: Store) -> None:
        bodies = {
            key + end: b"%d%s" % (n, end.encode()) for n, key in enumerate(self.awkward_keys) for end in ("", "!")
        }
        for key, body in bodies.items():
            await keep(store, key, msgspec.structs.replace(make_entry("k", body), key=key))
        for key, body in bodies.items():
            found = await look(store, key)
            assert isinstance(found, StoredResponse), key
            assert (found.key, found.body) == (key, body)
        assert set(await walk(store)) == set(bodies)
        for key in self.awkward_keys:
            await store.delete([key])
            assert await look(store, key) is None, key
            assert await look(store, key + "!") is not None, key
        assert set(await walk(store)) == {key + "!" for key in self.awkward_keys}

    async def test_answers_are_in_the_order_of_the_keys(self, store: Store) -> None:
        batch = store.limits.batch
        keys = [f"k{number}" for number in range(min(batch, 20))]
        kept = keys[::2]
        assert len(await store.put([Record(key, make_entry(key), math.inf) for key in kept])) == len(kept)
        asked = random.Random(1).sample(keys, len(keys))
        stored = [one.item if isinstance(one, Found) else None for one in await store.get(asked)]
        assert [item.key if isinstance(item, StoredResponse) else None for item in stored] == [
            key if key in kept else None for key in asked
        ]

    async def test_a_later_record_of_a_key_replaces_an_earlier_one(self, store: Store) -> None:
        records = [Record("k", make_entry("k", b"%d" % number), math.inf) for number in range(3)]
        for first in range(0, 3, store.limits.batch):
            await store.put(records[first : first + store.limits.batch])
        found = await look(store, "k")
        assert isinstance(found, StoredResponse)
        assert found.body == b"2"
        assert len(await walk(store)) == 1

    async def test_a_redirect_may_take_the_place_of_a_response_and_the_other_way_round(self, store: Store) -> None:
        for item in (make_entry("k"), make_redirect("k"), make_entry("k")):
            await keep(store, "k", item)
            assert await look(store, "k") == item
            assert {key: leads_on for key, (leads_on, _) in (await walk(store)).items()} == {"k": item.status == 301}

    async def test_an_entry_that_cannot_be_encoded_harms_no_other(self, store: Store) -> None:
        await keep(store, "other")
        bad = msgspec.structs.replace(make_entry("k"), partition="\udcff")
        try:
            (written,) = await store.put([Record("k", bad, math.inf)])
        except (StorageError, UnicodeError):
            written = StorageError("refused")
        if isinstance(written, StorageError):
            assert await look(store, "k") is None
        assert await look(store, "other") is not None

    async def test_kinds_are_told_without_the_items(self, store: Store) -> None:
        expected = {"end": False, "redirect": True, "alias": True, "missing": None}
        await keep(store, "end")
        await keep(store, "redirect", make_redirect("redirect"))
        await keep(store, "alias", "end")
        kinds = partial(kinds_of, store)
        assert {key: (await kinds([key]))[0] for key in expected} == expected
        if store.limits.batch >= len(expected):
            assert list(await kinds(list(expected))) == list(expected.values())

    # ---- effects are visible at once, also to other stores

    async def test_what_is_deleted_is_gone_and_missing_keys_are_no_error(self, store: Store) -> None:
        await keep(store, "k")
        for _ in range(2):
            await store.delete(["k"])
        await store.delete([])
        assert await look(store, "k") is None
        assert await walk(store) == {}

    async def test_clear_leaves_nothing_and_what_is_put_after_it_stays(self, store: Store) -> None:
        for number in range(10):
            await keep(store, f"k{number}", make_redirect(f"k{number}") if number % 2 else None)
        await store.clear()
        assert await walk(store) == {}
        assert await look(store, "k1") is None
        await keep(store, "k1")
        assert await look(store, "k1") is not None

    async def test_clear_deletes_the_records_of_purges_after_all_others(self, make: MakeStore, store: Store) -> None:
        """Without them, entries that were purged would be used again by those who read meanwhile, or if it fails."""
        if not self.is_shared:
            pytest.skip("what it keeps is its own")
        marks, keys = [[f"{first}{n}" for n in range(SEVERAL_PAGES)] for first in (f"{MARK_PREFIX}m", "k")]
        records = [Record(key, make_entry(key), math.inf) for pair in zip(marks, keys, strict=True) for key in pair]
        for batch in in_batches(records, store.limits.batch):
            await store.put(batch)
        other, some = make(), min(50, store.limits.reads or store.limits.batch)
        clearing, rng = asyncio.ensure_future(store.clear()), random.Random(1)
        while not clearing.done():
            are_left = [found is not None for found in await other.get(rng.sample(marks, some))]
            entries = await other.get(rng.sample(keys, some))
            assert all(are_left) or entries == [None] * some
        await clearing
        assert await walk(store) == {}
        await other.close()

    async def test_another_store_sees_each_change(self, make: MakeStore, store: Store) -> None:
        if not self.is_shared:
            pytest.skip("what it keeps is its own")
        other = make()
        await keep(other, "k", make_entry("k", b"old"))
        assert await look(store, "k") is not None
        await keep(other, "k", new := make_entry("k", b"new"))
        assert await look(store, "k") == new
        await other.delete(["k"])
        assert await look(store, "k") is None
        await keep(store, "k")
        await other.clear()
        assert await look(store, "k") is None
        await other.close()

    # ---- many keys, and concurrent calls

    async def test_a_walk_lists_each_record_and_tells_which_lead_on(self, store: Store) -> None:
        expected = {f"end{number}": False for number in range(MANY)} | {
            f"redirect{number}": True for number in range(20)
        }
        for key, leads_on in expected.items():
            await keep(store, key, make_redirect(key) if leads_on else make_entry(key))
        if isinstance(store, Leasing):
            assert await store.acquire("leased and empty", 60)
        assert {key: leads_on for key, (leads_on, _) in (await walk(store)).items()} == expected
        with_items = await walk(store, items=True)
        assert {key: item.key for key, (_, item) in with_items.items()} == {key: key for key in expected}

    async def test_what_is_told_without_bodies_is_what_is_told_of_the_entries(self, store: Store) -> None:
        if not isinstance(store, Selecting):
            pytest.skip("its items are read")
        tags = (b"Surrogate-Key", b"one two"), (b"X-Long", b"x" * 3000)
        entries = [
            make_entry("plain"),
            msgspec.structs.replace(make_entry("other", b"x" * 100_000), method="HEAD", partition="tenant"),
            msgspec.structs.replace(make_entry("varies"), vary_fields=("accept",), vary_digest=b"digest"),
            msgspec.structs.replace(make_entry("tagged"), raw_headers=tags),
            make_redirect("redirect"),
        ]
        for entry in entries:
            await keep(store, entry.key, entry)
        await keep(store, "alias", "plain")
        told = [row async for page in store.infos(lambda info: info.key != "other") for row in page]
        expected = {entry.key: info_of(entry) for entry in entries if entry.key != "other"}
        assert {key: info for key, info in told if info is not None}.items() <= expected.items()
        assert sorted(key for key, _ in told) == sorted([*expected, "alias"])
        assert {key for key, info in told if info is None} <= {"alias", "tagged"}

    async def test_what_is_told_of_many_is_told_once(self, store: Store) -> None:
        if not isinstance(store, Selecting):
            pytest.skip("its items are read")
        for first in range(0, MANY, store.limits.batch):
            numbers = range(first, min(first + store.limits.batch, MANY))
            await store.put([Record(f"k{n}", make_entry(f"k{n}"), math.inf) for n in numbers])
        told = [key async for page in store.infos(lambda info: True) for key, _ in page]
        assert sorted(told) == sorted(f"k{n}" for n in range(MANY))

    async def test_what_is_made_stale_keeps_all_but_its_lifetime(self, store: Store) -> None:
        if not isinstance(store, Softening):
            pytest.skip("its items are read and written")
        entries = [
            make_entry("fresh", b"x" * 50_000),
            make_redirect("redirect"),
            msgspec.structs.replace(make_entry("stale"), fresh_until=5.0),
            make_entry("other"),
            *(make_entry(key) for key in AWKWARD_KEYS),
        ]
        for entry in entries:
            await keep(store, entry.key, entry)
        await keep(store, "alias", "fresh")
        await keep(store, "a user's", Opaque("a user's", b"payload"))
        asked = ["fresh", "redirect", "stale", "alias", "missing", "a user's", *AWKWARD_KEYS]
        assert list(await store.soften(asked, 10.0)) == ["a user's"]
        for entry in entries:
            until = entry.fresh_until if entry.key == "other" else min(entry.fresh_until, 10.0)
            expected = msgspec.structs.replace(entry, fresh_until=until)
            assert await look(store, entry.key) == expected
            if isinstance(store, Selecting):
                told = [each async for page in store.infos(lambda info: True) for each in page if each.key == entry.key]
                assert [row.info for row in told] in ([info_of(expected)], [None])
        assert await look(store, "alias") == "fresh"
        assert await look(store, "a user's") == Opaque("a user's", b"payload")
        assert await look(store, "missing") is None

    async def test_it_tells_how_much_it_holds(self, store: Store) -> None:
        if not isinstance(store, Measuring):
            pytest.skip("what it holds is added up")
        before = await store.usage()
        for n in range(3):
            await keep(store, f"k{n}", make_entry(f"k{n}", b"x" * 50_000))
        usage = await store.usage()
        assert (before.entries, usage.entries) == (0, 3)
        assert usage.bytes_in_use - before.bytes_in_use >= 150_000

    async def test_a_walk_may_be_left_early_and_others_may_write_meanwhile(self, store: Store) -> None:
        for number in range(MANY):
            await keep(store, f"k{number}")
        pages: Any = store.pages(items=True)
        async with aclosing(pages):
            async for page in pages:
                assert page
                await keep(store, "new")
                break
        async for page in store.pages(items=False):
            await store.delete([row.key for row in page][: store.limits.batch])
        assert await look(store, "k0") is None or len(await walk(store)) < MANY + 1

    async def test_many_at_once_get_each_what_is_theirs(self, store: Store) -> None:
        await asyncio.gather(
            *(keep(store, f"k{number}", make_entry(f"k{number}", b"%d" % number)) for number in range(60))
        )
        found = await asyncio.gather(*(look(store, f"k{number % 65}") for number in range(200)))
        bodies = [item.body if isinstance(item, StoredResponse) else None for item in found]
        assert bodies == [b"%d" % (number % 65) if number % 65 < 60 else None for number in range(200)]

    async def test_a_call_that_is_cancelled_takes_no_other_with_it(self, store: Store) -> None:
        puts = [asyncio.ensure_future(keep(store, f"k{number}")) for number in range(40)]
        await asyncio.sleep(0)
        for task in puts[::2]:
            task.cancel()
        await asyncio.gather(*puts, return_exceptions=True)
        gets = [asyncio.ensure_future(look(store, f"k{number}")) for number in range(40)]
        await asyncio.sleep(0)
        for get in gets[::3]:
            get.cancel()
        await asyncio.gather(*gets, return_exceptions=True)
        for number in range(1, 40, 2):
            if number % 3:
                assert gets[number].result() is not None
            assert await look(store, f"k{number}") is not None

    # ---- bytes are verified

    async def test_what_was_signed_with_another_secret_is_no_item(self, make: MakeStore) -> None:
        signing = make(codec=EntryCodec("one"))
        if not self.is_shared or isinstance(signing, Immediate):
            pytest.skip("its bytes are read nowhere else")
        await keep(signing, "k", entry := make_entry("k"))
        others = {secrets: make(codec=EntryCodec(secrets)) for secrets in (("two",), ("two", "one"), None)}
        for secrets, other in others.items():
            found = await look(other, "k")
            assert (
                (found == entry) if secrets and "one" in secrets else (found is None or isinstance(found, Unreadable))
            )
            await other.close()
        await signing.close()

    # ---- closing, and other loops

    async def test_it_can_be_closed_twice_and_used_again(self, make: MakeStore) -> None:
        store = make()
        await store.close()
        await keep(store, "k")
        await store.close()
        await store.close()
        await keep(store, "k2")
        assert await look(store, "k2") is not None
        await store.close()

    def test_another_loop_finds_what_one_has_put(self, make: MakeStore) -> None:
        store = make()

        async def use(key: str) -> bool:
            await keep(store, key)
            found = await look(store, "first")
            await store.close()
            return found is not None

        found_again = [asyncio.run(use(key)) for key in ("first", "second")]
        assert found_again == [True, self.outlives_loops]

    # ---- optional protocols

    async def test_what_it_has_at_once_is_what_it_has(self, store: Store) -> None:
        if not isinstance(store, Immediate):
            pytest.skip("it takes time to answer")
        assert store.peek("k") is None
        store.keep(Record("k", entry := make_entry("k"), math.inf))
        assert store.peek("k") == await look(store, "k") == entry
        store.drop("k")
        store.drop("k")
        assert store.peek("k") is None

    async def test_a_lease_is_had_by_one_and_goes_back_with_a_put(self, make: MakeStore, store: Store) -> None:
        other = make()
        if not self.is_shared or not isinstance(store, Leasing) or not isinstance(other, Leasing):
            pytest.skip("it has no leases, or no other store that asks for them")
        assert await store.acquire("k", 5)
        assert not await other.acquire("k", 5)
        assert await other.acquire("another", 5)
        await store.put([Record("k", make_entry("k"), math.inf, leased=True)])
        assert await other.acquire("k", 5)
        await other.release("k")
        await other.release("k")
        assert await store.acquire("k", 5)
        await store.release("k")
        await other.release("another")
        await other.close()

    async def test_a_lease_is_held_for_longer_by_who_has_it_alone(self, make: MakeStore, store: Store) -> None:
        other = make()
        if not self.is_shared or not isinstance(store, Leasing) or not isinstance(other, Leasing):
            pytest.skip("it has no leases, or no other store that asks for them")
        assert not await store.renew("k", 60)

        async def acquire_and_renew(ttl_s: float) -> tuple[bool, bool]:
            return bool(await store.acquire(f"k{ttl_s}", ttl_s)), await store.renew(f"k{ttl_s}", 60)

        ttl_s, answers = await in_time(0.3, acquire_and_renew)
        assert answers == (True, True)
        key = f"k{ttl_s}"
        assert not await other.renew(key, 60)
        await asyncio.sleep(ttl_s + 0.1)
        assert not await other.acquire(key, 60)
        await store.release(key)
        assert not await store.renew(key, 60)
        assert await other.acquire(key, 60)
        await other.release(key)
        await other.close()

    async def test_a_version_tells_of_each_change(self, make: MakeStore, store: Store) -> None:
        other = make()
        if not self.is_shared or not isinstance(store, Versioned) or not isinstance(other, Versioned):
            pytest.skip("it has no versions, or no other store that changes them")
        await keep(store, "k")
        (found,) = await store.get(["k"])
        version = store.version("k")
        assert found is not None
        assert version is not None
        assert version <= found.version
        await keep(other, "k", make_entry("k", b"new"))
        version = store.version("k")
        assert version is None or version > found.version
        (written,) = await store.put([Record("k", make_entry("k"), math.inf)])
        version = store.version("k")
        assert isinstance(written, int)
        assert version is not None
        assert version <= written
        await other.delete(["k"])
        version = store.version("k")
        assert version is None or version > written
        await other.close()

    async def test_what_may_be_dropped_is_dropped_when_asked_for(self, store: Store) -> None:
        if not isinstance(store, Expiring):
            pytest.skip("a walk has to find it")
        now = time.time()
        for key, until in (("soon", now + 100), ("late", now + 10_000), ("never", math.inf)):
            await keep(store, key, make_entry(key, store_until=until), until=until)
        await keep(store, "alias", "never")
        await store.delete_expired(now + 1000)
        assert set(await walk(store)) >= {"late", "never", "alias"}
        assert "soon" not in await walk(store)

    async def test_a_use_may_be_noted_of_any_key(self, store: Store) -> None:
        if not isinstance(store, Versioned):
            pytest.skip("it learns of no uses of copies")
        await keep(store, "k")
        for key in ("k", "missing"):
            store.touch(key)
        assert await look(store, "k") is not None
