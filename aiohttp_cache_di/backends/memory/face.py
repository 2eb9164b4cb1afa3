"""`DictCache`, the storage in memory: items by key, and also a dict."""

from __future__ import annotations

from collections import UserDict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any, Self, Unpack, cast

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.memory.store import DEFAULT_MAX_BYTES, MemoryStore
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, StorageOptions
from aiohttp_cache_di.backends.storage import ResponseOrKey, refuse_other_keys
from aiohttp_cache_di.backends.store import Item
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.filed import in_memory
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["DictCache"]


class DictCache(StackCache, UserDict[str, Any]):  # type: ignore[misc]  # the seeds' API has it both
    """Entries in a dict of this process; all users of the object share them, and they are lost when the process ends.

    Entries are stored in a packed form; those that were used lately are kept unpacked, too.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.options.typed:StorageOptions")

    def __init__(
        self,
        secret_key: Iterable[str | bytes] | str | bytes | None = None,
        salt: str | bytes = b"aiohttp-client-cache",
        serializer: Any = None,
        **kwargs: Unpack[StorageOptions],
    ) -> None:
        """Make an empty storage.

        Args:
            secret_key: signs the output of `serialize`; entries never leave the process, so they are not signed.
            salt: separates different uses of one key.
            serializer: used only by `serialize` and `deserialize`.
            kwargs: ``max_entries``, by default None for no bound; ``max_bytes``, by default 64 MiB; options of a
                backend that do not concern a storage are ignored.

        Raises:
            TypeError: an option is unknown.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS)
        store = MemoryStore(kwargs.get("max_entries"), kwargs.get("max_bytes", DEFAULT_MAX_BYTES))
        super().__init__(StoreStack(store, EntryCodec(secret_key, salt)))
        self._serializer = serializer  # for `serialize`; items in memory are not serialized

    @property
    def _store(self) -> MemoryStore:
        return cast("MemoryStore", self.stack.store)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} entries, {self.total_bytes} bytes>"

    @property
    def total_bytes(self) -> int:
        """The size of all entries, as it is compared with ``max_bytes``."""
        return self._store.total_bytes

    def peek(self, key: str) -> StoredResponse | None:
        """Return the response under *key*."""
        return self._store.peek(key)

    def put(self, entry: StoredResponse) -> None:
        """Store *entry*, and evict others if a bound is exceeded."""
        self[entry.key] = entry

    async def read_entry(self, key: str) -> StoredResponse | None:
        """Return the response under *key*, following one alias."""
        item = self._store.data.get(key)
        return self._store.peek(item if type(item) is str else key)

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store any *item* under *key*; None deletes that. A body that is in a file is read into memory."""
        refuse_other_keys(key)
        if item is None:
            await self.delete(key)
            return
        if isinstance(item, CachedResponse):
            stored = await in_memory(item.stored)
            item = item if stored is item.stored else CachedResponse.from_stored(stored)
        self[key] = item

    async def pop(self, key: str, default: ResponseOrKey = None) -> ResponseOrKey:  # type: ignore[override]
        """Delete an item and return it, or *default* when it is missing."""
        refuse_other_keys(key)
        try:
            return self._seen(self._store.take(key)) if key in self else default
        except KeyError:  # another thread has deleted it since
            return default

    async def values(self) -> AsyncIterator[ResponseOrKey]:  # type: ignore[override]  # asynchronous by the API
        """Iterate over the items, yielding to the event loop at intervals."""
        async with aclosing(self.keys()) as keys:
            async for key in keys:
                try:
                    found = self._store.item(key) if key in self else None
                except KeyError:  # another thread has deleted it since
                    continue
                if found is not None and (item := await self._usable(key, found)) is not None:
                    yield item

    async def size(self) -> int:
        """Count the items."""
        await self.stack.settle(None)
        return len(self)

    # ---- the mapping

    @property  # type: ignore[override]  # a view, since storages share the store
    def data(self) -> MutableMapping[str, Any]:
        """The items that are shown, as a dict, on which `UserDict` works."""
        return _Shown(self._store, self._leads_on)

    @data.setter
    def data(  # pyright: ignore[reportIncompatibleVariableOverride]  # as above
        self, items: MutableMapping[str, Any]
    ) -> None:
        if not items:  # UserDict's initialiser sets an empty dict, which must not clear the store
            return
        items = {key: items[key] for key in items}  # they may be the view itself
        for key in list(self.data):
            del self[key]
        for key, item in items.items():
            self[key] = item

    def copy(self) -> Self:
        """Another storage with the same items, bounds and keys; a change of one does not change the other."""
        made = type(self).__new__(type(self))
        vars(made).update(vars(self))
        StackCache.__init__(made, StoreStack(MemoryStore(self._store.max_entries, self._store.max_bytes), self.codec))
        made._serializer = self._serializer
        made.update(self.data)
        return made

    __copy__ = copy

    def __or__(self, items: Mapping[str, Any]) -> Self:  # type: ignore[override]  # as a dict has it, with any mapping
        """A copy with *items*, too."""
        if not isinstance(items, Mapping):
            return NotImplemented
        both = self.copy()
        both.update(items)
        return both

    def __ror__(self, items: Mapping[str, Any]) -> Self:  # type: ignore[override]  # as above
        """A copy with those of *items* that it lacks."""
        if not isinstance(items, Mapping):
            return NotImplemented
        return self | {key: items[key] for key in items if key not in self}

    def __ior__(self, items: Any) -> Self:  # type: ignore[override, misc]  # as above
        """Store *items*, too."""
        self.update(items)
        return self

    def _shows(self, key: str, item: Item) -> bool:
        return key in self


class _Shown(MutableMapping[str, Any]):
    """A dict of the items of a store that a storage shows.

    Args:
        leads_on: see `StackCache`.
    """

    def __init__(self, store: MemoryStore, leads_on: bool | None) -> None:
        self._store = store
        self._leads_on = leads_on

    def __contains__(self, key: object) -> bool:
        return key in self._store.data and self._leads_on in (None, key in self._store.leading_on)

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        item = self._store.item(key)
        return CachedResponse.from_stored(item) if isinstance(item, StoredResponse) else item

    def __setitem__(self, key: str, item: Any) -> None:
        self._store.set(key, item, leads_on=self._leads_on)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._store.drop(key)

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in self._store.all_keys() if key in self])

    def __len__(self) -> int:
        leading_on, of_all = len(self._store.leading_on), len(self._store.data)
        return of_all if self._leads_on is None else leading_on if self._leads_on else of_all - leading_on
