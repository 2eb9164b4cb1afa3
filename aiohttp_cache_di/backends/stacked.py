"""Where a backend stores responses and redirects: one stack, and the two storages through which users see it."""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Collection
from typing import Any, NoReturn, Protocol, Self
from weakref import WeakMethod

from aiohttp_cache_di.backends.loops import ByLoop
from aiohttp_cache_di.backends.options.revision import Revised
from aiohttp_cache_di.backends.options.values import MAX_IN_MEMORY_BYTES, NEAR_OPTIONS, near_arguments
from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.backends.wrap.foreign import pair_of
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.ping import ping
from aiohttp_cache_di.backends.wrap.secret import StoreSecret
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import CacheStats, Health

__all__ = ["Stacked"]


class StackUser(Protocol):
    """The user of a backend in one event loop."""

    def use(self, stack: StoreStack) -> None:
        """Use *stack* from now on."""


class _Storage:
    """Attribute for one of the two storages of a backend: setting it builds a new stack on both."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, backend: Stacked, storage: BaseCache) -> None:
        if not isinstance(storage, BaseCache):
            raise TypeError(f"{self._name} takes a storage (a BaseCache), not {storage!r}")
        both = {"responses": backend.responses, "redirects": backend.redirects, self._name: storage}
        storage.count_into(backend.stats)
        kept = both["responses"]
        near = near_arguments({name: getattr(kept, name) for name in NEAR_OPTIONS})
        stack = StoreStack(pair_of(**both), guard=backend.guard, **near)
        backend._set_stack(stack, **both)


def _storage() -> Any:
    return _Storage()


class Stacked(Revised):
    """Base of backends: the storages, which users may replace, and the stack that is built on them."""

    stack: StoreStack
    """The store with pending writes, near tier, guard and batching around it; called by the engine."""
    stats: CacheStats
    guard: StoreGuard
    max_body_bytes: int | None
    digest_key: bytes
    """The key of the digests that replace secrets in keys."""
    responses: BaseCache = _storage()
    redirects: BaseCache = _storage()

    def __init__(self) -> None:
        super().__init__()
        self._stack_users: ByLoop[StackUser] = ByLoop()
        self._has_secret_key = False
        self._digest_secret: StoreSecret | None = None

    def __getstate__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be pickled: make one in each process, with the same arguments")

    def __copy__(self) -> Self:  # which would use `__getstate__` otherwise
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._allow_bodies()
        return copied

    @property
    def response_aliases(self) -> BaseCache:
        """Older name of `redirects`."""
        return self.redirects

    @response_aliases.setter
    def response_aliases(self, storage: BaseCache) -> None:
        self.redirects = storage

    @property
    def largest_in_memory_bytes(self) -> int:
        """Size of the largest body that is stored if it has to be in memory first."""
        return MAX_IN_MEMORY_BYTES if self.max_body_bytes is None else self.max_body_bytes

    def use(self, storage: StackCache) -> None:
        """Use the stack of *storage* from now on, and show its responses and redirects by two storages of its class.

        The stack's guard becomes the backend's, with the backend's counters and deadline.
        """
        stack, face = storage.stack, type(storage)
        stack.guard.serve(self.stats, self.guard.deadline_s)
        stack.count_into(self.stats)
        self.guard = stack.guard
        self._set_stack(stack, face.on(stack, leads_on=False), face.on(stack, leads_on=True))

    def revise(self) -> None:
        """As `Revised.revise`; the largest body that is stored may have changed, too."""
        super().revise()
        self._allow_bodies()

    def _allow_bodies(self) -> None:
        if "stack" in vars(self):  # not while the backend is being made
            self.stack.limit.allow(self, self.largest_in_memory_bytes)

    def attached(self, loop: AbstractEventLoop) -> StackUser | None:
        """What was attached in *loop*."""
        return self._stack_users.get(loop)

    def attach(self, user: StackUser) -> None:
        """Keep *user* for as long as this backend and the running loop exist, and pass the stack to it.

        It is passed now, and whenever it is replaced. The backend itself keeps it: a table of all backends would keep
        each of them for ever, since a user leads back to its backend.
        """
        self._stack_users.put(get_running_loop(), user)
        user.use(self.stack)

    def _set_stack(self, stack: StoreStack, responses: BaseCache, redirects: BaseCache) -> None:
        self.stack = stack
        self._digest_secret = None if self._has_secret_key else self._digest_secret_of(stack)
        self.__dict__.update(responses=responses, redirects=redirects)
        for user in self._stack_users.values():
            user.use(stack)
        self.revise()

    # ---- the secret of the digests

    def _digest_secret_of(self, stack: StoreStack) -> StoreSecret:
        secret = StoreSecret(stack.store)
        self.digest_key = secret.key
        note_loss = WeakMethod(self._forget_secret)  # a stack may outlive its backend
        stack.events.when_lost(lambda: (method := note_loss()) and method())
        return secret

    def _forget_secret(self) -> None:
        if self._digest_secret is not None:
            self._digest_secret.forget()

    @property
    def is_secret_kept(self) -> bool:
        """Whether the digest secret is kept by the store, rather than derived from a secret key."""
        return self._digest_secret is not None

    @property
    def is_secret_open(self) -> bool:
        """Whether the digest secret has not been read from the store yet; see `learn_secret`."""
        return self._digest_secret is not None and not self._digest_secret.is_known

    async def learn_secret(self) -> bool:
        """Read the digest secret from the store, within a deadline; return whether the store answers at all.

        Until the secret is known, a request with credentials, a body or ``include_headers`` has a different key.
        """
        secret = self._digest_secret
        if secret is None or secret.is_known:
            return True
        answers = await secret.learn(self.guard)
        self._use_secret(secret)
        return answers

    @property
    def is_secret_due(self) -> bool:
        """Whether `check_secret` should be called: the store has not been asked for the digest secret for a while."""
        return self._digest_secret is not None and self._digest_secret.is_due

    async def check_secret(self) -> None:
        """Look whether the store still keeps the digest secret; restore it, or adopt another one that is there now."""
        secret = self._digest_secret
        if secret is not None:
            await secret.check(self.guard)
            self._use_secret(secret)

    def _use_secret(self, secret: StoreSecret) -> None:
        if secret.is_known and secret is self._digest_secret and self.digest_key != secret.key:
            self.digest_key = secret.key

    def propose_secret(self, key: bytes) -> None:
        """Have the store keep *key* as the digest secret, if it has none yet and was not asked before."""
        if self._digest_secret is not None:
            self._digest_secret.propose(key)

    async def ping(self) -> Health:
        """Test the store: open it, then write, read and delete a record; report a fault with the store's place.

        Raises nothing: a fault is logged, and ``stats.health()`` reports it until it is mended.
        """
        health = await ping(self.stack.store, self.guard)
        if health.is_ok:
            await self.learn_secret()
        return health

    async def write(self, entry: StoredResponse) -> None:
        """Store *entry*, and wait until that is done."""
        await self.stack.write(entry)

    async def settle(self, keys: Collection[str] | None = None) -> None:
        """Wait until the pending writes of the running loop, all or those of *keys*, are written or have failed once.

        It also waits briefly for bodies that are still arriving.
        """
        await self.stack.settle(keys)

    async def clear(self) -> None:
        """Delete everything."""
        await self.stack.clear()
        self._forget_secret()
