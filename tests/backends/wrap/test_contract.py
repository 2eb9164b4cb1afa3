"""The stack over minimal stores: they fulfil the contract of stores, and the storage over each that of storages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import pytest

from aiohttp_cache_di.backends.memory import DictCache, MemoryStore
from aiohttp_cache_di.backends.store import Found, Lease, Limits, Record, Store, Written
from aiohttp_cache_di.backends.wrap.chunks import ChunkedStore
from aiohttp_cache_di.backends.wrap.foreign import pair_of
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.entries.codec import EntryCodec
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.proof import ProofStore
from tests.backends.store_contract import MakeStore, StoreContract
from tests.storages import CustomStorage


class Place:
    """The state that several stores share, as processes share a file or a server."""

    def __init__(self) -> None:
        self.frames: dict[str, bytes] = {}
        self.versions: Counter[str] = Counter()
        self.clears = 0
        self.leases: dict[str, object] = {}


class CapableStore(ProofStore):
    """The minimal store, with leases and versions."""

    def __init__(self, codec: EntryCodec | None = None, *, place: Place) -> None:
        super().__init__(codec, place.frames)
        self.place = place

    def version(self, key: str) -> int | None:
        return self.place.versions[key] + self.place.clears + 1

    def touch(self, key: str) -> None:
        """Nothing is evicted."""

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        held = self.place.leases.setdefault(key, self) is self
        return Lease.REFUSED if not held else Lease.GRANTED_LATE if key in self.data else Lease.GRANTED

    async def release(self, key: str) -> None:
        if self.place.leases.get(key) is self:
            del self.place.leases[key]

    async def renew(self, key: str, ttl_s: float) -> bool:
        return self.place.leases.get(key) is self

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        versions = [self.version(key) or 0 for key in keys]
        found = await super().get(keys)
        return [one and Found(one.item, version) for one, version in zip(found, versions, strict=True)]

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        await super().put(records)
        self.place.versions.update(record.key for record in records)
        for record in records:
            if record.leased:
                await self.release(record.key)
        return [self.version(record.key) or 0 for record in records]

    async def delete(self, keys: Collection[str]) -> None:
        await super().delete(keys)
        self.place.versions.update(keys)

    async def clear(self) -> None:
        await super().clear()
        self.place.clears += 1_000_000


class ChangingStore(ProofStore):
    """The minimal store, with notifications of changes."""

    def __init__(
        self, codec: EntryCodec | None = None, data: dict[str, bytes] | None = None, *, others: list[ChangingStore]
    ) -> None:
        super().__init__(codec, data)
        self.listeners: list[Callable[[Collection[str] | None], None]] = []
        self.others = others
        others.append(self)

    def on_change(self, listener: Callable[[Collection[str] | None], None]) -> None:
        self.listeners.append(listener)

    def tell(self, keys: Collection[str] | None) -> None:
        for listener in [listener for other in self.others if other is not self for listener in other.listeners]:
            listener(keys)

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        written = await super().put(records)
        self.tell([record.key for record in records])
        return written

    async def delete(self, keys: Collection[str]) -> None:
        await super().delete(keys)
        self.tell(keys)

    async def clear(self) -> None:
        await super().clear()
        self.tell(None)


class SmallStore(ProofStore):
    """The minimal store, with a limit on the size of entries."""

    def __init__(self, codec: EntryCodec | None = None, data: dict[str, bytes] | None = None) -> None:
        super().__init__(codec, data)
        self.limits = Limits(batch=10, value_bytes=1000)

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        written = await super().put(records)
        assert all(len(self.data[record.key]) <= 1000 for record in records)
        return written


class TestProof(StoreContract):
    @pytest.fixture
    def make(self) -> MakeStore:
        return partial(ProofStore, data={})


class TestCapable(StoreContract):
    @pytest.fixture
    def make(self) -> MakeStore:
        return partial(CapableStore, place=Place())


class TestChunked(StoreContract):
    @pytest.fixture
    def make(self) -> MakeStore:
        data: dict[str, bytes] = {}

        def make(codec: EntryCodec | None = None) -> Store:
            return ChunkedStore(SmallStore(codec, data), codec or EntryCodec())

        return make


class TestMemory(StoreContract):
    is_shared = False

    @pytest.fixture
    def make(self) -> MakeStore:
        def make(codec: EntryCodec | None = None) -> Store:
            return MemoryStore()

        return make


class TestPairOfAUsers(StoreContract):
    keeps_opaque = False

    @pytest.fixture
    def make(self) -> MakeStore:
        both: tuple[dict[str, bytes], dict[str, bytes]] = {}, {}

        def make(codec: EntryCodec | None = None) -> Store:
            pair = CustomStorage(), CustomStorage()
            for storage, items in zip(pair, both, strict=True):
                storage.codec, storage.items = codec or EntryCodec(), items
            return pair_of(*pair)

        return make


class TestPairInMemory(StoreContract):
    is_shared = False
    keeps_opaque = False

    @pytest.fixture
    def make(self) -> MakeStore:
        def make(codec: EntryCodec | None = None) -> Store:
            return pair_of(DictCache(), DictCache())

        return make


def face(make_store: Callable[[EntryCodec], Store], near_bytes: int = 0, **options: Any) -> StackCache:
    """A storage over a store of its own, in a place that others may share."""
    serializer = options.pop("serializer", None)
    codec = EntryCodec(**options)
    return StackCache(StoreStack(make_store(codec), codec, serializer, near_bytes=near_bytes))


class TestFaceOfProof(StorageContract):
    @pytest.fixture
    def make(self) -> MakeStorage:
        return partial(face, partial(ProofStore, data={}))


class TestFaceWithVersions(StorageContract):
    @pytest.fixture
    def make(self) -> MakeStorage:
        return partial(face, partial(CapableStore, place=Place()), 1_000_000)


class TestFaceWithChanges(StorageContract):
    @pytest.fixture
    def make(self) -> MakeStorage:
        return partial(face, partial(ChangingStore, data={}, others=[]), 1_000_000)


class TestFaceInChunks(StorageContract):
    @pytest.fixture
    def make(self) -> MakeStorage:
        return partial(face, partial(SmallStore, data={}))
