"""`BaseCache`, the API of a storage: items by key for its users, stored responses for the engine."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from aiohttp import ClientResponse

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, DEFAULT_NEAR_TIER_BYTES, StorageOptions
from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import Opaque
from aiohttp_cache_di.errors import UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.signatures import OptionsSignature
from aiohttp_cache_di.telemetry import CacheStats

__all__ = [
    "BaseCache",
    "BaseStorage",
    "Lease",
    "ResponseOrKey",
    "item_of",
    "keys_of",
    "refuse_other_items",
    "refuse_other_keys",
]

ResponseOrKey: TypeAlias = CachedResponse | bytes | str | None
"""An item of a storage: a response, the key of another item (an alias), or either as bytes; None for no item."""


def _ignore(count: int) -> None:
    """Do nothing: the default of both callbacks."""


class BaseCache(metaclass=ABCMeta):
    """A storage of cache entries; subclass it to store them somewhere else.

    A subclass must implement `contains`, `clear`, `delete`, `keys`, `read`, `size`, `values` and `write`; `serialize`
    and `deserialize` turn items into signed, checksummed bytes and back. Errors of a driver may be raised as they are:
    the engine limits the time of each operation, and asks the origin if it fails.

    A subclass may also implement:

    - `bulk_read` and `bulk_write`, to handle concurrent requests with one call;
    - `acquire_lease` and `release_lease`, so that only one process at a time fetches a key, and `renew_lease`, so that
      a lease lasts for as long as that takes;
    - `on_change`, if it learns of changes made by others;
    - `peek`, if it has copies in memory;
    - `read_entry`, `write_entry` and `delete_expired`, if it has a more direct way than by items.

    Set `near_tier_s` to keep copies of responses that were read in memory. docs/custom-backends.md has an example.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.options.typed:StorageOptions")

    bulk_size: int = 100
    """Most items in one call of `bulk_read` or `bulk_write`, if a subclass implements them."""
    near_tier_s: float | None = None
    """Seconds for which a copy in memory of a response may be used without asking the storage; None keeps no copies."""
    near_tier_bytes: int = DEFAULT_NEAR_TIER_BYTES
    """Total size of these copies, in bytes."""

    def __init__(
        self,
        secret_key: Iterable[str | bytes] | str | bytes | None = None,
        salt: str | bytes = b"aiohttp-client-cache",
        serializer: Any = None,
        **kwargs: Unpack[StorageOptions],
    ) -> None:
        """Make a storage.

        Args:
            secret_key: signs entries, so that entries written by others are rejected; several keys for rotation (the
                first one signs, all of them verify).
            salt: separates different uses of one key.
            serializer: an object with ``dumps`` and ``loads``, used instead of the built-in format; its output is still
                signed, if there is a key.
            kwargs: ``max_entries`` and ``max_bytes``, for a subclass to enforce; options of a backend that do not
                concern a storage are ignored.

        Raises:
            TypeError: an option is unknown.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS)
        super().__init__()
        self.codec: EntryCodec = EntryCodec(secret_key=secret_key, salt=salt)
        self.on_unreadable: Callable[[int], None] = _ignore
        """Called with the number of entries that could not be read."""
        self.on_evicted: Callable[[int], None] = _ignore
        """Called with the number of entries that were evicted."""
        self._serializer = serializer

    if not TYPE_CHECKING:  # type checkers report it by themselves

        def __new__(cls, *args: Any, **kwargs: Any) -> BaseCache:
            """Refuse a class that lacks methods of a storage; early documents of the API call backends so, too."""
            missing = getattr(cls, "__abstractmethods__", None)
            if missing:
                instead = "; a class that has two storages, `responses` and `redirects`, is a CacheBackend"
                raise TypeError(f"{cls.__name__} is abstract: a storage needs {', '.join(sorted(missing))}{instead}")
            return super().__new__(cls)

    def count_into(self, stats: CacheStats) -> None:
        """Count evicted and unreadable entries in *stats*."""
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
        """Iterate over all keys in bounded memory."""

    @abstractmethod
    async def read(self, key: str) -> ResponseOrKey:
        """Read an item; None when it is missing or unreadable."""

    @abstractmethod
    async def size(self) -> int:
        """Count the items."""

    @abstractmethod
    def values(self) -> AsyncIterable[ResponseOrKey]:
        """Iterate over all items in bounded memory."""

    @abstractmethod
    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store *item* under *key*, replacing an earlier one."""

    async def bulk_read(self, keys: Collection[str]) -> Mapping[str, ResponseOrKey]:
        """Read several items, each as `read` returns it or as stored bytes; missing ones may be left out."""
        return {key: await self.read(key) for key in keys}

    async def bulk_write(self, items: Mapping[str, ResponseOrKey]) -> None:
        """Store several items; after an error, none of them is taken to be stored."""
        for key, item in items.items():
            await self.write(key, item)

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several items; missing ones are no error."""
        for key in keys_of(keys):
            await self.delete(key)

    async def pop(self, key: str, default: ResponseOrKey = None) -> ResponseOrKey:
        """Delete an item and return it, or *default* when it is missing."""
        item = await self.read(key)
        if item is None:
            return default
        await self.delete(key)
        return item

    async def close(self) -> None:  # noqa: B027  # a storage without connections does nothing
        """Release connections; may be called twice."""

    def serialize(self, item: ResponseOrKey, key: str | None = None) -> bytes | None:
        """Turn a response or an alias into the bytes to store; return None and bytes as they are.

        Args:
            key: the key to bind the bytes to; by default the response's own.

        Raises:
            TypeError: *item* is neither of these.
        """
        if item is None or isinstance(item, bytes):
            return item
        bound = (item.stored.key if isinstance(item, CachedResponse) else "") if key is None else key
        if self._serializer is not None:
            payload: str | bytes = self._serializer.dumps(item)
            return self.codec.encode(Opaque(bound, payload.encode() if isinstance(payload, str) else payload), bound)
        refuse_other_items(item)
        return self.codec.encode(item.stored if isinstance(item, CachedResponse) else item, bound)

    def deserialize(self, item: ResponseOrKey, key: str | None = None) -> CachedResponse | str | None:
        """Turn stored bytes into a response or an alias; return anything other than bytes as it is.

        Args:
            key: if given, bytes that were stored under another key are an error.

        Raises:
            UnreadableEntryError: the bytes are damaged, not written by this library, wrongly signed or of another
                version.
        """
        if not isinstance(item, bytes):
            return item
        decoded = self.codec.decode(item, key)
        if isinstance(decoded, Opaque):
            if self._serializer is None:
                raise UnreadableEntryError("the entry was written with a serializer, and none is configured")
            try:
                loaded: CachedResponse | str = self._serializer.loads(decoded.payload)
            except Exception as exc:  # any error of the user's code: the entry is unusable
                raise UnreadableEntryError("the user's serializer cannot read the entry") from exc
            return loaded
        if not isinstance(decoded, StoredResponse):
            return decoded
        try:
            return CachedResponse.from_stored(decoded)
        except Exception as exc:  # the store may contain anything
            raise UnreadableEntryError("the entry contains no valid response") from exc

    def readable(self, item: ResponseOrKey, key: str | None = None) -> CachedResponse | str | None:
        """Like `deserialize`, but count an unreadable item and return None for it."""
        try:
            return self.deserialize(item, key)
        except UnreadableEntryError:
            self.on_unreadable(1)
            return None

    # ---- entries, for the engine

    def peek(self, key: str) -> StoredResponse | None:
        """Return an entry from memory, without waiting; None if it is not in memory."""
        return None

    async def read_entry(self, key: str) -> StoredResponse | None:
        """Read the response stored under *key*, following one alias; None when missing or unreadable."""
        item = self.readable(await self.read(key), key)
        if isinstance(item, str):
            item = self.readable(await self.read(item), item)
        stored = getattr(item, "stored", None)  # an object of the user's may have none, or something else
        return stored if isinstance(stored, StoredResponse) else None

    async def write_entry(self, entry: StoredResponse) -> None:
        """Store *entry* under its own key until `StoredResponse.store_until`."""
        await self.write(entry.key, CachedResponse.from_stored(entry))

    async def delete_expired(self, now: float) -> int:
        """Delete entries whose ``store_until`` has passed at *now* (POSIX time); return how many."""
        expired: set[str] = set()
        async for key in self.keys():
            entry = await self.read_entry(key)
            if entry is not None and entry.store_until <= now:
                expired.add(key)
        await self.bulk_delete(expired)
        return len(expired)

    def on_change(self, listener: Callable[[Collection[str] | None], None]) -> None:  # noqa: B027  # as `close`
        """Call *listener* in the running loop with keys that others have changed; None if any key may have changed."""

    async def acquire_lease(self, key: str, ttl_s: float) -> Lease | bool:
        """Try to become the only process that fetches *key* for *ttl_s* seconds; granted if there are no leases."""
        return Lease.GRANTED

    async def renew_lease(self, key: str, ttl_s: float) -> bool:
        """Extend a lease to *ttl_s* seconds from now; False if that is not supported or the lease is lost."""
        return False

    async def release_lease(self, key: str) -> None:  # noqa: B027  # as `acquire_lease`
        """Release a lease before it expires."""


async def item_of(storage: BaseCache, key: str) -> CachedResponse | str | None:
    """The item of *storage* under *key*; None if it is missing or unreadable."""
    try:
        return storage.readable(await storage.read(key), key)
    except UnreadableEntryError:  # raised by a user's own storage
        storage.on_unreadable(1)
        return None


def keys_of(keys: Iterable[str]) -> set[str]:
    """The argument of ``bulk_delete``, which may be any collection or iterator of keys, as a set.

    Raises:
        TypeError: it is a text, whose characters would be taken for keys, or something else than a key is among them.
    """
    if isinstance(keys, str | bytes):
        raise TypeError(f"bulk_delete({keys!r}): use a set of keys, or delete() for one")
    found = set(keys)
    for key in found:
        refuse_other_keys(key)
    return found


def refuse_other_keys(key: object) -> None:
    """Raise TypeError if *key* is no text; its value is not told, as a URL may contain secrets."""
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, as create_key() returns it, not {type(key).__name__}")


def refuse_other_items(item: object) -> None:
    """Raise TypeError if *item* is neither a response from the cache nor an alias: nothing else can be encoded."""
    if isinstance(item, CachedResponse | str):
        return
    instead = ""
    if isinstance(item, ClientResponse):
        instead = "; backend.save_response() stores it, and CachedResponse.from_client_response() converts it"
    raise TypeError(f"a storage takes a CachedResponse or the key of another item, not {type(item).__name__}{instead}")


BaseStorage = BaseCache
"""Older name of `BaseCache`."""
