"""Finding one request's response: what is being written, what is at hand, what the storages have."""

from __future__ import annotations

import enum
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias, cast

from aiohttp import hdrs
from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di import policy
from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.backends.base import CacheBackend, accept_all
from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.policy import Rules
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import Request, StoredResponse, VariantRef

__all__ = ["FAILED", "Failed", "Lookup"]

_LOOKUPS: Final = frozenset({"request", "get_response"})


class Failed(enum.Enum):
    """What a storage operation gives when the storage does not."""

    FAILED = enum.auto()


FAILED: Final = Failed.FAILED

Found: TypeAlias = tuple[StoredResponse | None, BaseCache]
"""What a storage has, and which one."""


class Lookup:
    """Where the response to one request is looked for.

    Args:
        message: the request.
        key: the request's own key; "" for one whose response is never stored.
        partition: the digest of the credentials that it carries.
        key_arguments: what `CacheBackend.create_key` is given beside method and URL.
    """

    def __init__(
        self,
        message: Request,
        backend: CacheBackend,
        runtime: Runtime,
        rules: Rules,
        key: str,
        partition: str,
        key_arguments: dict[str, Any],
    ) -> None:
        self.message = message
        self.backend = backend
        self.runtime = runtime
        self.rules = rules
        self.key = key
        self.partition = partition
        self.key_arguments = key_arguments
        self.primary: StoredResponse | None = None
        self.head_of: StoredResponse | None = None
        """For a HEAD request: the stored response to GET that it speaks of."""
        self.looked_up: tuple[str, object] | None = None
        """A key, and what has just been found under it (None: no response); good for one read."""
        self.stand_in: Any = None
        """What a method of the user's has found, if that is nothing that the policy could judge."""
        self._found_in: BaseCache | None = None
        self._store_failed = False

    @property
    def candidates(self) -> tuple[StoredResponse | VariantRef, ...]:
        """All that is known to be stored for the URL."""
        return () if self.primary is None else (self.primary, *self.primary.variants)

    @property
    def actions(self) -> CacheActions:
        """What the methods of the user's are told of the request."""
        return CacheActions(self.key, self.message.url, self.rules, self.key_arguments)

    # ---- finding

    async def find(self) -> StoredResponse | None:
        """The stored response that the request selects, fresh or not."""
        if self.message.method == hdrs.METH_HEAD and self.backend.cache_control:
            get_key = self.backend.create_key(hdrs.METH_GET, URL(self.message.url, encoded=True), **self.key_arguments)
            self.head_of = await self._select(get_key)
            if self.head_of is not None:
                return self.head_of
        return await self._select(self.key)

    async def _select(self, key: str) -> StoredResponse | None:
        self.primary = primary = await self.read(key)
        if primary is None:
            return None
        entry: StoredResponse | None = primary
        if primary.vary_fields or primary.variants:
            chosen = policy.select_variant(self.message, primary, self.rules.digest_key)
            if chosen is None:
                return None
            if chosen != primary.key:
                entry = await self.read(chosen)
        if entry is None or self.backend.filter_fn is accept_all:
            return entry
        return entry if await self.backend.passes_filter(CachedResponse.from_stored(entry)) else None

    async def read(self, key: str) -> StoredResponse | None:
        """The entry under *key*: what is being written counts as written, what has expired as gone."""
        if key in self.runtime.doomed and self.runtime.pending(key) is None:
            await self.drop({key})
            return None
        asks_user = bool(self.backend.overridden & _LOOKUPS)
        if (asks_user or not self.backend.write_behind) and self.runtime.pending(key) is not None:
            await self.runtime.settle({key})
        self._found_in = None
        entry = None if asks_user else self._at_hand(key)
        if entry is None and (asks_user or not self._tells_all):
            entry = await self._read_storages(key)
        if entry is None or entry.partition != self.partition or time.time() >= entry.store_until:
            return None
        return entry

    def _at_hand(self, key: str) -> StoredResponse | None:
        """The entry if it can be had without waiting."""
        entry = self.runtime.pending(key)
        if entry is not None:
            return entry if entry.key == key else None
        for storage in (self.backend.responses, self.backend.redirects):
            entry = storage.peek(key)
            if entry is not None and entry.key == key:
                self._found_in = storage
                return entry
            if not storage.authoritative_peek:
                break
        return None

    @property
    def _tells_all(self) -> bool:
        """Whether what is not at hand is not there."""
        return self.backend.responses.authoritative_peek and self.backend.redirects.authoritative_peek

    async def _read_storages(self, key: str) -> StoredResponse | None:
        backend, responses = self.backend, self.backend.responses
        looked_up, self.looked_up = self.looked_up, None
        if backend.overridden & _LOOKUPS:
            response = await backend.guard.run("read", lambda: self._ask_the_user(key), None)
            stored = getattr(response, "stored", None)
            if isinstance(stored, StoredResponse) and stored.key == key:
                return stored
            found = await self._read_redirect(key)
            if response is not None and not isinstance(found, Failed) and found[0] is None:
                return self._adopted(response, key)
        elif looked_up is not None and looked_up[0] == key:
            found = cast("Found | Failed | None", looked_up[1]) or await self._read_redirect(key)
        elif responses.authoritative_peek:
            found = await self._read_redirect(key)
        else:
            read: Callable[[], Awaitable[Found]] = partial(responses.read_either, key, backend.redirects)
            found = await backend.guard.run("read", read, FAILED)
        if isinstance(found, Failed):  # one deadline per request is enough
            self._store_failed = True
            return None
        entry, storage = found
        if entry is None or entry.key != key:
            return None
        self._found_in = storage
        return entry

    async def _ask_the_user(self, key: str) -> CachedResponse | None:
        backend = self.backend
        if "request" in backend.overridden and key == self.key:
            return await backend.request(self.actions)
        return await backend.get_response(key)

    def _adopted(self, response: Any, key: str) -> StoredResponse | None:
        """The entry of a response that the user keeps elsewhere, as if it had been kept here."""
        stored = getattr(response, "stored", None)
        if isinstance(stored, StoredResponse):
            return replace(stored, key=key, partition=self.partition, vary_fields=(), vary_digest=b"", variants=())
        self.stand_in = response
        return None

    async def _read_redirect(self, key: str) -> Found | Failed:
        storage = self.backend.redirects
        entry = storage.peek(key)
        if entry is not None or storage.authoritative_peek:
            return entry, storage

        async def read() -> Found:
            return await storage.read_entry(key), storage

        return await self.backend.guard.run("read", read, FAILED)

    async def drop(self, doomed: set[str]) -> None:
        """Delete what is stored under the keys *doomed*; where that fails, see to it that it is not used."""
        backend = self.backend
        self.runtime.forget(doomed)
        await self.runtime.settle(doomed)
        deleted = await backend.guard.run("delete", lambda: self._delete(doomed), FAILED)
        if deleted is FAILED:
            self.runtime.doom(doomed)
        else:
            for key in doomed:
                self.runtime.doomed.pop(key, None)

    async def _delete(self, doomed: set[str]) -> None:
        if "delete" not in self.backend.overridden:
            await self.backend.bulk_delete(doomed)
            return
        for key in doomed:
            await self.backend.delete(key)
