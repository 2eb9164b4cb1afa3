"""The contract of a storage: entries by key, as items for its users and as stored responses for the engine."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias, Unpack

from msgspec.structs import replace

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options.near import DEFAULT_NEAR_TIER_BYTES
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, StorageOptions
from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.entries.codec import EntryCodec, Opaque
from aiohttp_cache_di.errors import UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.signatures import OptionsSignature
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["BaseCache", "BaseStorage", "Lease", "ResponseOrKey"]

ResponseOrKey: TypeAlias = CachedResponse | bytes | str | None
"""What a storage holds under a key: a response, the key of another entry (an alias), or raw bytes."""


def _ignore(count: int) -> None:
    """Counts nothing."""


class BaseCache(metaclass=ABCMeta):
    """A storage of cache entries; subclass it to keep them somewhere else.

    A subclass must implement `contains`, `clear`, `delete`, `keys`, `read`, `size`, `values` and `write`; `serialize`
    and `deserialize` turn items into signed, checksummed bytes and back. What a driver raises may be raised: the
    engine bounds each operation in time and answers from the origin when it fails.

    It may also implement `bulk_read` and `bulk_write`, so that what is asked for or stored at a time is one call;
    `acquire_lease` and `release_lease`, so that one process at a time fetches a key, and `renew_lease`, so that others
    wait for as long as that takes; `on_change`, where it hears of what others change; `peek`, if it has copies in
    memory; and `read_entry`, `write_entry` and `delete_expired`, where it has a shorter way than through items. Set
    `near_tier_s` to have copies of what was read kept in memory. docs/custom-backends.md has an example.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.options.typed:StorageOptions")

    bulk_size: int = 100
    """How many items `bulk_read` and `bulk_write` are asked for at most, where a subclass implements them."""
    near_tier_s: float | None = None
    """Seconds for which a copy of a response that was read may be used again without asking; None for never."""
    near_tier_bytes: int = DEFAULT_NEAR_TIER_BYTES
    """What the copies may weigh together."""

    def __init__(
        self,
        secret_key: Iterable[str | bytes] | str | bytes | None = None,
        salt: str | bytes = b"aiohttp-client-cache",
        serializer: Any = None,
        **kwargs: Unpack[StorageOptions],
    ) -> None:
        """Make a storage.

        Args:
            secret_key: signs entries, so that what others put into the store is not believed; several keys for rotation
                (the first one signs, all of them verify).
            salt: distinguishes uses of one key.
            serializer: an object with ``dumps`` and ``loads`` used in place of the built-in format (a signature, if
                any, still surrounds it).
            kwargs: ``max_entries`` and ``max_bytes``, for a subclass to keep; those of a backend that a storage does
                not need are passed over.

        Raises:
            TypeError: an option is not known.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS)
        super().__init__()
        self.codec: EntryCodec = EntryCodec(secret_key=secret_key, salt=salt)
        self.on_unreadable: Callable[[int], None] = _ignore
        """Called with the number of entries that turned out to be unreadable."""
        self.on_evicted: Callable[[int], None] = _ignore
        """Called with the number of entries that had to make room."""
        self._serializer = serializer

    def count_into(self, stats: CacheStats) -> None:
        """Count what is evicted and what is unreadable in *stats*."""
        self.on_unreadable, self.on_evicted = stats.count_unreadable, stats.count_evicted

    # ---- items, as users see them

    @abstractmethod
    async def contains(self, key: str) -> bool:
        """Check whether *key* is stored."""

    @abstractmethod
    async def clear(self) -> None:
        """Delete everything."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Delete an item; a missing one is no error."""

    @abstractmethod
    def keys(self) -> AsyncIterable[str]:
        """Iterate over all keys, without holding them all in memory."""

    @abstractmethod
    async def read(self, key: str) -> ResponseOrKey:
        """Read an item; None when it is missing or unreadable."""

    @abstractmethod
    async def size(self) -> int:
        """Count the items."""

    @abstractmethod
    def values(self) -> AsyncIterable[ResponseOrKey]:
        """Iterate over all items, without holding them all in memory."""

    @abstractmethod
    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store *item* under *key*, replacing what was there."""

    async def bulk_read(self, keys: Collection[str]) -> Mapping[str, ResponseOrKey]:
        """Read several items, as `read` does or as the bytes that are stored; what is missing may be left out."""
        return {key: await self.read(key) for key in keys}

    async def bulk_write(self, items: Mapping[str, ResponseOrKey]) -> None:
        """Store several items under their keys; an error means that none of them counts as stored."""
        for key, item in items.items():
            await self.write(key, item)

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several items; missing ones are no error."""
        for key in keys:
            await self.delete(key)

    async def pop(self, key: str, default: ResponseOrKey = None) -> ResponseOrKey:
        """Delete an item and return it, or *default* when it is missing."""
        item = await self.read(key)
        if item is None:
            return default
        await self.delete(key)
        return item

    async def close(self) -> None:  # noqa: B027  # a storage without connections has nothing to do
        """Release connections, if there are any; may be called twice."""

    def serialize(self, item: ResponseOrKey, key: str | None = None) -> bytes | None:
        """Turn a response or an alias into the bytes that are stored; None stays None.

        Args:
            key: the key to bind the bytes to; that of the response itself when not given.
        """
        if item is None or isinstance(item, bytes):
            return item
        if self._serializer is not None:
            payload: str | bytes = self._serializer.dumps(item)
            bound = key or (item.stored.key if isinstance(item, CachedResponse) else "")
            return self.codec.encode_opaque(payload.encode() if isinstance(payload, str) else payload, bound)
        if isinstance(item, CachedResponse):
            return self.codec.encode(item.stored if key in (None, item.stored.key) else replace(item.stored, key=key))
        return self.codec.encode_alias(item, key or "")

    def deserialize(self, item: ResponseOrKey, key: str | None = None) -> CachedResponse | str | None:
        """Turn stored bytes into a response or an alias; what is neither bytes nor stored by us comes back as it is.

        Args:
            key: when given, bytes that were stored under another key are refused.

        Raises:
            UnreadableEntryError: the bytes are damaged, foreign, wrongly signed or of another version.
        """
        if not isinstance(item, bytes):
            return item
        decoded = self.codec.decode(item, key)
        if isinstance(decoded, Opaque):
            if self._serializer is None:
                raise UnreadableEntryError("the entry was written with a serializer, and none is configured")
            try:
                loaded: CachedResponse | str = self._serializer.loads(decoded.payload)
            except Exception as exc:  # whatever it raises: the entry is of no more use
                raise UnreadableEntryError("the user's serializer cannot read the entry") from exc
            return loaded
        if not isinstance(decoded, StoredResponse):
            return decoded
        try:
            return CachedResponse.from_stored(decoded)
        except Exception as exc:  # whatever lies in the store
            raise UnreadableEntryError("no response can be made of the entry") from exc

    def readable(self, item: ResponseOrKey, key: str | None = None) -> CachedResponse | str | None:
        """As `deserialize`, with None for what is unreadable, which is counted."""
        try:
            return self.deserialize(item, key)
        except UnreadableEntryError:
            self.on_unreadable(1)
            return None

    # ---- entries, as the engine sees them

    def peek(self, key: str) -> StoredResponse | None:
        """Return an entry if it is at hand at once; never blocks. None means "not known"."""
        return None

    async def read_entry(self, key: str) -> StoredResponse | None:
        """Read the response kept under *key*, following one alias; None when missing or unreadable."""
        item = self.readable(await self.read(key), key)
        if isinstance(item, str):
            item = self.readable(await self.read(item), item)
        stored = getattr(item, "stored", None)  # another object of the user's has none, or one of its own
        return stored if isinstance(stored, StoredResponse) else None

    async def write_entry(self, entry: StoredResponse) -> None:
        """Store *entry* under its own key until `StoredResponse.store_until`."""
        await self.write(entry.key, CachedResponse.from_stored(entry))

    async def delete_expired(self, now: float) -> int:
        """Delete what may be dropped at *now* (POSIX time); return how many entries went."""
        expired: set[str] = set()
        async for key in self.keys():
            entry = await self.read_entry(key)
            if entry is not None and entry.store_until <= now:
                expired.add(key)
        await self.bulk_delete(expired)
        return len(expired)

    def on_change(self, listener: Callable[[Collection[str] | None], None]) -> None:  # noqa: B027  # as `close`
        """Call *listener* in the running loop with keys that others have changed; None: any may have been."""

    async def acquire_lease(self, key: str, ttl_s: float) -> Lease | bool:
        """Ask to be the only process that fetches *key* for *ttl_s* seconds; True where no other could be."""
        return Lease.GRANTED

    async def renew_lease(self, key: str, ttl_s: float) -> bool:
        """Hold a lease for *ttl_s* seconds from now; False where that cannot be done, or it is held no more."""
        return False

    async def release_lease(self, key: str) -> None:  # noqa: B027  # as `acquire_lease`
        """Give a lease back before its time."""


BaseStorage = BaseCache
"""The older name of `BaseCache`."""
