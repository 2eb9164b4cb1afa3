"""Looking up the response to one request: among pending writes, in copies in memory, in the store."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import time
from collections.abc import Coroutine
from typing import Any, Self

from aiohttp import ClientResponse, hdrs
from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, Failed
from aiohttp_cache_di.backends.wrap.marks import softened_by
from aiohttp_cache_di.engine.calls.call import EarlyRead
from aiohttp_cache_di.engine.flights import changed_before_now
from aiohttp_cache_di.engine.notes import UnusableResultError, note_users_failure, users_function
from aiohttp_cache_di.engine.questions.hooks import Hooks
from aiohttp_cache_di.engine.questions.question import key_of_another
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.entries.items import item_leads_on
from aiohttp_cache_di.policy import FullQuestion
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import purged
from aiohttp_cache_di.rfc9111.messages import StoredResponse, VariantRef

__all__ = ["Lookup"]

logger: logging.Logger = logging.getLogger(__name__)

MAX_HOPS = 10  # aiohttp's default for max_redirects


class Lookup:
    """The look-up of the response to one request, and what it has found.

    Args:
        question: that of the request; its key is "" if the response is never stored.
        key_arguments: the arguments of `CacheBackend.create_key` besides method and URL.
    """

    primary: StoredResponse | None = None
    """The entry under the key itself, which lists the other variants of the URL."""
    head_of: StoredResponse | None = None
    """For a HEAD request: the stored response to GET for the same URL."""
    early_read: EarlyRead | None = None
    """What the fast lane has just read; the next read uses it up."""
    lease_s: float = 0.0
    """How long to lease the key, in seconds, if the next read finds nothing; 0 not to lease it."""
    foreign: Any = None
    """What a user's method has found, if it is not a response that the policy can judge."""
    is_known_absent: bool = False
    """Whether it was known without asking the store that nothing is stored; see `rule_out`."""
    store_failed: bool = False
    """Whether the store was asked, and has failed or not answered in time."""
    is_refused: bool = False
    """Whether the user's filter refuses the stored response."""
    why_asked: str = ""
    """Why the origin is asked although a response is or may be stored, in words for the caller."""
    purged: str = ""
    """The tag whose purge keeps the stored response from being used as it is; "" for none."""
    _deletions: int = 0

    def __init__(
        self,
        question: FullQuestion,
        backend: CacheBackend,
        runtime: Runtime,
        key_arguments: dict[str, Any],
    ) -> None:
        self.question = question
        self.backend = backend
        self.hooks: Hooks = Hooks.of(backend)
        self.runtime = runtime
        self.key_arguments = key_arguments

    @property
    def candidates(self) -> tuple[StoredResponse | VariantRef, ...]:
        """The stored responses for the URL, as far as known: the primary entry and the other variants that it lists."""
        return () if self.primary is None else (self.primary, *self.primary.variants)

    @property
    def told(self) -> str:
        """The request's method and URL for logs, without secrets."""
        request = self.question.request
        return f"{request.method} {keys.redact_url(request.url, self.backend.ignored_params)}"

    def status_of(self, cache_status: str) -> str:
        """*cache_status*, in which the tag is added whose purge keeps the stored response from being used as it is."""
        return purged(cache_status, self.purged)

    @property
    def actions(self) -> CacheActions:
        """The description of the request that user's methods are given."""
        question = self.question
        return CacheActions(question.key, question.request.url, question.rules, self.key_arguments)

    def for_another(self, question: FullQuestion) -> Self:
        """A copy for *question*, that of another request for the same response, with what the look-up has found."""
        other = copy.copy(self)
        other.question = question
        other.early_read, other.lease_s = None, 0.0
        other.store_failed = other.is_refused = other.is_known_absent = False
        return other

    # ---- finding

    def rule_out(self) -> bool:
        """Note that nothing is stored, if that is known without asking the store; return whether it is.

        It is known if all that is stored is at hand, or if the fast lane has just found nothing (`early_read`).
        """
        here, early_read, key = self.runtime.here, self.early_read, self.question.key
        is_known = here.is_in_memory or (early_read is not None and early_read.found is None and early_read.key == key)
        if (
            not is_known
            or self.hooks.looks_up
            or self.question.request.method == hdrs.METH_HEAD
            or here.peek(key) is not None
            or key in here.tombstones
        ):
            return False
        self.early_read, self.lease_s = None, 0.0
        self.is_known_absent = True
        if here.purges.reasons:
            self.purged = here.purges.reasons.get(key, "")
        return True

    def find(self) -> Coroutine[Any, Any, StoredResponse | None]:
        """The stored response that the request selects, fresh or stale; for HEAD, also one to GET."""
        question = self.question
        is_head = question.request.method == hdrs.METH_HEAD and self.backend.cache_control
        return self._find_for_head() if is_head else self.select(question.key)

    async def _find_for_head(self) -> StoredResponse | None:
        question = self.question
        url = URL(question.request.url, encoded=True)
        key = key_of_another(self.backend, hdrs.METH_GET, url, self.key_arguments)
        self.head_of = None if key is None else await self.select(key)
        return await self.select(question.key) if self.head_of is None else self.head_of

    async def select(self, key: str, *, of_any: bool = False) -> StoredResponse | None:
        """Read the entry under *key*, and then the variant that the request selects (RFC 9111 §4.1)."""
        self._deletions = self.runtime.here.deletions.count  # before the read, during which the entry may be deleted
        self.primary = primary = await self.read(key, of_any=of_any)
        if primary is None:
            return None
        entry: StoredResponse | None = primary
        if primary.vary_fields or primary.variants:
            chosen = policy.select_variant(self.question.request, primary, self.question.rules.digest_key)
            if chosen is None:
                return None
            if chosen != primary.key:
                entry = await self.read(chosen, of_any=of_any)
                listed_until = next((ref.store_until for ref in primary.variants if ref.key == chosen), 0.0)
                if entry is not None and entry.store_until < listed_until:
                    entry = None  # an older one, whose deletion, or the writing of the listed one, is under way
        if entry is None or not self.hooks.filters or await self._passes(entry):
            return entry
        self.primary, self.is_refused = None, True
        return None

    async def _passes(self, entry: StoredResponse) -> bool:
        """Whether the user's filter accepts *entry*; an entry for which the filter raises is dropped."""
        try:
            return await self.backend.passes_filter(CachedResponse.from_stored(entry))
        except Exception as error:
            function = users_function("filter_fn", self.backend.filter_fn)
            note_users_failure(error, function, "what is stored is dropped", of=self.told)
            await self.drop({entry.key})
            return False

    def is_outdated(self) -> bool:
        """Whether the primary entry was deleted by this process since it was read; perhaps also if many others were."""
        primary, deletions = self.primary, self.runtime.here.deletions
        return primary is not None and deletions.has(primary.key, after=self._deletions)

    async def is_ahead(self, redirect: StoredResponse) -> bool:
        """Whether the response that *redirect* leads to, maybe by further redirects, is stored and fresh."""
        primary, deletions = self.primary, self._deletions
        try:
            for _ in range(MAX_HOPS):
                if not redirect.history:
                    return False
                self.foreign = None
                entry = await self.select(redirect.history[0], of_any=True)
                if self.foreign is not None:  # a user's method has it, and decides by itself whether it is usable
                    return True
                now = time.time()
                if entry is None or now >= entry.fresh_until:
                    return False
                if policy.may_be_used_alone(entry, self.question.rules, now=now):
                    return True
                redirect = entry
            return False
        finally:
            self.primary, self._deletions, self.foreign = primary, deletions, None

    async def read(self, key: str, *, of_any: bool = False) -> StoredResponse | None:
        """The entry under *key*, if its ``store_until`` is not over; a pending write counts as written.

        Args:
            of_any: also return an entry of another partition: the request after a redirect may have other credentials.
        """
        runtime, backend = self.runtime, self.backend
        if key in runtime.here.tombstones and runtime.pending(key) is None:
            await self.drop({key})
            return None
        asks_user = self.hooks.looks_up
        if (asks_user or not backend.write_behind) and runtime.pending(key) is not None:
            await runtime.settle({key}, backend.guard.deadline_s)
            if runtime.pending(key) is not None:  # writes fail at present
                return None
        if asks_user:
            entry = await self._read_by_user(key)
            entry = None if entry is None else await runtime.here.purges.judge(entry)
        else:
            early_read, self.early_read = self.early_read, None
            lease_s, self.lease_s = self.lease_s, 0.0
            entry = runtime.peek(key)
            if entry is None and early_read is not None and early_read.key == key:
                entry, self._deletions = self._unless_failed(early_read.found), early_read.deletions
            elif entry is None and not runtime.here.is_in_memory:
                entry = self._unless_failed(await runtime.here.fetch(key, lease_s=lease_s))
        if entry is None:
            self.purged = runtime.here.purges.reasons.get(key) or self.purged
        elif entry.tagging is not None:
            self.purged = softened_by(entry)
        if entry is None or entry.key != key or time.time() >= entry.store_until:
            return None
        if entry.partition != self.question.partition and not of_any:
            return None
        if entry.status == 200:
            return entry
        opened = self.opened(entry)
        if opened is None:
            await self.drop({key})
        return opened

    def opened(self, entry: StoredResponse) -> StoredResponse | None:
        """*entry* with its Location decrypted; None if that is not possible any more."""
        return keys.unsealed(entry, self.backend.digest_key)

    def _unless_failed(self, found: StoredResponse | Failed | None) -> StoredResponse | None:
        """*found* in the store; None if that has failed, which `store_failed` notes."""
        if isinstance(found, Failed):  # a request waits for one deadline of the store at most
            self.store_failed = True
            return None
        return found

    async def _read_by_user(self, key: str) -> StoredResponse | None:
        """The entry that the user's methods return; else a redirect in the store; else their response, `_adopted`."""
        response: Any = await self.backend.guard.run("read", lambda: self._call_user(key), None)
        if not isinstance(response, ClientResponse | None):
            name = self._name_of_users(key)
            error = UnusableResultError(name, response, "it has to return a response or None")
            note_users_failure(error, name, "it is taken for None", of=self.told)
            response = None
        stored = getattr(response, "stored", None)
        if isinstance(stored, StoredResponse) and stored.key == key:
            return stored
        found = self._unless_failed(await self.runtime.here.fetch(key))
        if found is not None and found.key == key and item_leads_on(found):
            return found
        return None if response is None else self._adopted(response, key)

    async def _call_user(self, key: str) -> Any:
        """Call the user's ``request``, if it is overridden, or else ``get_response``; it may be a plain function."""
        backend = self.backend
        answers = self._name_of_users(key) == "request()"
        found: Any = backend.request(self.actions) if answers else backend.get_response(key)
        return await found if inspect.isawaitable(found) else found

    def _name_of_users(self, key: str) -> str:
        """The name of the user's method that finds the response under *key*."""
        return "request()" if self.hooks.answers and key == self.question.key else "get_response()"

    def _adopted(self, response: Any, key: str) -> StoredResponse | None:
        """The entry of a response that a user's method has found elsewhere, as if it were stored under *key*.

        A response that has no entry goes to `foreign`.
        """
        stored = getattr(response, "stored", None)
        if isinstance(stored, StoredResponse):
            return replace(
                stored, key=key, partition=self.question.partition, vary_fields=(), vary_digest=b"", variants=()
            )
        self.foreign = response
        return None

    def drop_early_lease(self) -> None:
        """Give back the lease that came with the look-up, if it was not used."""
        self.runtime.here.drop_early_lease(self.question.key, owner=self.backend)

    async def discard(self, error: Exception, entry: StoredResponse | None = None) -> None:
        """Delete the stored entries of the request, and *entry*, because using one has raised *error*."""
        logger.warning("A stored response could not be used, and is deleted: %s", type(error).__name__)
        found = [each for each in (self.primary, self.head_of, entry) if each is not None]
        self.primary = self.head_of = self.foreign = None
        self.early_read = None
        self.is_known_absent = False
        if found:
            self.backend.stack.events.unreadable()
            await self.drop({key for each in found for key in (each.key, *(ref.key for ref in each.variants))})

    async def forget(self) -> None:
        """Delete the stored response to the request."""
        await self.drop({self.question.key if self.head_of is None else self.head_of.key})

    async def drop(self, keys: set[str], *, is_change: bool = False) -> None:
        """Delete the entries under *keys*.

        If that fails, the keys get tombstones, so that the entries are not used any more. So they do if the caller is
        cancelled; then the deletion is done in the background.

        Args:
            is_change: because the request may have changed what they show, which is counted.
        """
        try:
            await self._drop(keys, is_change=is_change)
        except asyncio.CancelledError:
            self.drop_later(keys, is_change=is_change)
            raise

    def drop_later(self, keys: set[str], *, is_change: bool = False) -> None:
        """Do as `drop`, in the background; the entries are not used from now on."""
        self.runtime.here.withdraw(keys)
        with changed_before_now(self.runtime.flights):
            self.runtime.spawn(self._drop(keys, is_change=is_change), owner=self.backend)

    async def _drop(self, keys: set[str], *, is_change: bool) -> None:
        here, backend = self.runtime.here, self.backend
        here.invalidate(keys)
        deleted = await backend.guard.run("delete", lambda: backend.invalidate(keys), FAILED)
        if deleted is FAILED:
            here.withdraw(keys)
            return
        for key in keys:
            here.tombstones.pop(key, None)
        if is_change:
            backend.stats.counts.here().invalidated += deleted
