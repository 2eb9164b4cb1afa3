"""The random secret of the digests in keys, if users configure none: one for each store, kept in the store itself.

Processes that share a store must compute the same digests. So the first that opens the store generates a secret, and
the others read it from there. Until a process knows the stored secret it uses the one that it would propose: then its
keys with digests differ from those of other processes, so that it does not find what they have stored under such keys.

A server may lose the secret while its processes run: it is emptied, restarted without its data, or evicts the secret.
The next process would generate another one, and those that know the lost one would not share with it. So each process
looks for the secret again at intervals: it stores its own if there is none, and adopts another one that it finds.

A `Keeping` store keeps the secret apart from the records. In other stores it is a record under a key that no request
has, written by the process that holds the lease on that key. Two storages of a user's own keep no secret: their digests
are made without a key.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from functools import partial
from typing import Any, Final

from aiohttp_cache_di.backends.calls import SharedTask
from aiohttp_cache_di.backends.store import SECRET_BYTES, Found, Record, Store
from aiohttp_cache_di.backends.store.capabilities import Immediate, Keeping, Leasing
from aiohttp_cache_di.backends.wrap.foreign import ForeignPair
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.stack import SECRET_KEY
from aiohttp_cache_di.entries.secrets import DigestKey
from aiohttp_cache_di.errors import StorageError

__all__ = ["StoreSecret"]

LEASE_S: Final = 5.0
ATTEMPTS: Final = 20
PAUSE_S: Final = 0.01
WRITES: Final = 3  # each may be undone at once by another process that clears the store
CHECK_AFTER_S: Final = 10.0  # one read each: next to nothing for a server, and it keeps the secret from being evicted

_OF_PROCESS: Final = DigestKey(secrets.token_bytes(SECRET_BYTES))


class StoreSecret:
    """The secret of one store, as far as this process knows it.

    Args:
        store: the store that keeps the secret.
    """

    def __init__(self, store: Store) -> None:
        self._store = _keeper_of(store)
        self._asking: SharedTask[bool] = SharedTask("the secret of the store")
        self._check_at = math.inf  # monotonic time
        self.is_known: bool = True
        """Whether `key` is the secret that the store keeps, or kept when it was last asked."""
        self.key: DigestKey = DigestKey()
        """The key of digests: the stored secret, or until that is known, the proposed one."""
        if isinstance(self._store, Immediate):
            self.key = _OF_PROCESS
        elif self._store is not None:
            self.key, self.is_known = DigestKey(secrets.token_bytes(SECRET_BYTES)), False

    def forget(self) -> None:
        """The store may have lost the secret: ask again, and propose the same secret."""
        if self._store is not None and not isinstance(self._store, Immediate):
            self.is_known = False

    def propose(self, key: bytes) -> None:
        """Propose *key* to the store, unless the stored secret is known already."""
        if not self.is_known:
            self.key = DigestKey(key)

    @property
    def is_due(self) -> bool:
        """Whether `check` should be called: the secret is known, and the store has not been asked for a while."""
        return time.monotonic() >= self._check_at

    async def learn(self, guard: StoreGuard) -> bool:
        """Read the secret unless it is known; return whether the store answers."""
        return self.is_known or await self.check(guard)

    async def check(self, guard: StoreGuard) -> bool:
        """Read the secret, once for all callers in this loop, within a deadline; return whether the store answers."""
        return await self._asking.run(partial(self._ask, guard))

    async def _ask(self, guard: StoreGuard) -> bool:
        self._check_at = math.inf
        try:
            return await self._agree(guard)
        finally:
            if self.is_known:
                self._check_at = time.monotonic() + CHECK_AFTER_S

    async def _agree(self, guard: StoreGuard) -> bool:
        failed = object()
        found = await guard.run("read", self._look, failed)
        if found is failed:
            return False
        if found is None:  # a second operation, since a store that refuses writes may answer reads
            found = await guard.run("write", self._keep, None)
        if isinstance(found, bytes):
            self.key, self.is_known = DigestKey(found), True
        return True

    async def _look(self) -> bytes | None:
        store: Any = self._store
        if isinstance(store, Keeping):
            return await store.kept_secret()
        (found,) = await store.get((SECRET_KEY,))
        return _secret_in(found)

    async def _keep(self) -> bytes:
        store: Any = self._store
        found = await (store.keep_secret(self.key) if isinstance(store, Keeping) else _agreed_secret(store, self.key))
        if len(found) != SECRET_BYTES:
            raise StorageError("the stored secret is invalid")
        return found


def _keeper_of(store: Store) -> Store | None:
    """The store that keeps the secret of *store*; None if none does."""
    if isinstance(store, ForeignPair) and not isinstance(store, Immediate):
        return store.responses.stack.store if isinstance(store.responses, StackCache) else None
    return store


async def _agreed_secret(store: Store, proposed: bytes) -> bytes:
    """The secret among the records of *store*; if there is none, the process with the lease writes *proposed*."""
    for _ in range(WRITES):
        if (kept := await _awaited_secret(store)) is not None:
            return kept
        (written,) = await store.put((Record(SECRET_KEY, proposed.hex(), math.inf, leased=True),))
        if isinstance(written, StorageError):
            raise written
        # Without leases, another process may have written its own since.
        (found,) = await store.get((SECRET_KEY,))
        if (kept := _secret_in(found)) is not None:
            return kept
    return b""


async def _awaited_secret(store: Store) -> bytes | None:
    """The secret among the records of *store*; None if this process is to write it."""
    for _ in range(ATTEMPTS):
        (found,) = await store.get((SECRET_KEY,))
        if (kept := _secret_in(found)) is not None:
            return kept
        if not isinstance(store, Leasing) or await store.acquire(SECRET_KEY, LEASE_S):
            break
        await asyncio.sleep(PAUSE_S)
    return None


def _secret_in(found: Found | None) -> bytes | None:
    if found is None or not isinstance(found.item, str) or len(found.item) != 2 * SECRET_BYTES:
        return None
    try:
        return bytes.fromhex(found.item)
    except ValueError:
        return None
