"""Turn responses that aiohttp-client-cache has stored into entries of ours, under our keys and by our rules.

An old response is treated like one that comes from its origin at the time at which it did: its request gets a key and a
partition, the policy decides whether it is stored, and it is placed beside the other variants of its URL. If something
that matters is not known, such as the body of a POST request, the response is not adopted.

The lifetime that it was stored with counts as ``expire_after``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from aiohttp import hdrs
from msgspec.structs import replace
from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.copies.framing import known_size, why_not_kept
from aiohttp_cache_di.engine.questions.hooks import Hooks
from aiohttp_cache_di.engine.questions.question import Questions
from aiohttp_cache_di.engine.storing import making
from aiohttp_cache_di.engine.storing.locations import history_of, why_not_led
from aiohttp_cache_di.entries.build import names_in
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.older import OlderResponse
from aiohttp_cache_di.errors import StorageError, UnreadableEntryError
from aiohttp_cache_di.policy import Bypass, Fetch, FullQuestion, Rules, Store
from aiohttp_cache_di.policy.requests.request import is_off
from aiohttp_cache_di.policy.rules.book import NO_WISHES
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, RawHeaders, Request, Response, StoredResponse

__all__ = ["Adopted", "Adopter", "NotAdopted"]

_BODILESS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


class NotAdopted(Exception):  # noqa: N818  # a result, not an error
    """An old response is not adopted; the message is the reason, with the words of `cache_status` where they fit.

    Args:
        key: the key of the entry that is stored in its place.
    """

    def __init__(self, why: str, *, key: str = "") -> None:
        super().__init__(why)
        self.key = key


class _PastRequest(NamedTuple):
    method: str
    url: URL
    headers: CIMultiDict[str]


class Adopted(NamedTuple):
    """An old response as an entry of ours.

    Attributes:
        entry: the entry, under the key of its URL.
        rules: the rules that apply to it.
    """

    entry: StoredResponse
    rules: Rules

    @property
    def identity(self) -> int:
        """Equal for entries of which one replaces the other in the store."""
        return hash((self.entry.key, self.entry.vary_fields, self.entry.vary_digest))


class Adopter:
    """Turns old responses into entries, and stores them.

    Args:
        backend: the backend that they are stored in, after `CacheBackend.learn_secret`.
    """

    def __init__(self, backend: CacheBackend) -> None:
        self._backend = backend
        self._questions = Questions(backend)
        self._codec = EntryCodec()

    def adopted(self, old: OlderResponse, links: Sequence[str] = ()) -> Adopted:
        """Turn *old* into an entry.

        Args:
            links: the keys of the redirects that led to it.

        Raises:
            NotAdopted: our rules do not allow it, or *old* is damaged.
        """
        try:
            question, arguments = self._question(old)
            decision = _decide(old, question)
            headers = _fields(old.headers)
            history = history_of(question.request, old.status, headers, arguments, self._backend, links)
            entry = self._entry(old, question, decision, history)
        except (ValueError, OverflowError) as exc:  # an invalid URL or number
            raise NotAdopted("impossible") from exc
        self._check(old, question.request, entry)
        return Adopted(entry, question.rules)

    async def put(self, adopted: Adopted) -> StoredResponse:
        """Store an adopted response, and return the entry as it is stored.

        Raises:
            NotAdopted: a newer response is stored, or the user's filter refuses this one.
        """
        backend, (entry, rules) = self._backend, adopted
        if Hooks.of(backend).judges_entries and not await backend.is_cacheable(CachedResponse.from_stored(entry)):
            raise NotAdopted("filtered")
        primary = await backend.stack.entry(entry.key)
        same = await self._same_variant(primary, entry)
        if same is not None and same.received_at >= entry.received_at:
            raise NotAdopted("newer", key=same.key)
        placement = policy.place_variant(primary, entry, max_variants=rules.max_variants, now=time.time())
        for write in placement.writes:
            await backend.write(write)
        if placement.deletes:
            await backend.stack.delete(set(placement.deletes))
        return placement.writes[-1]

    def _question(self, old: OlderResponse) -> tuple[FullQuestion, dict[str, Any]]:
        """The question that the engine would ask for the old request, and the arguments of its key."""
        headers = CIMultiDict((_text(name), _text(value)) for name, value in old.request_headers)
        asked = _PastRequest(old.method, URL(old.url, encoded=True), headers)
        has_body = headers.get(hdrs.CONTENT_LENGTH, "0") != "0" or hdrs.TRANSFER_ENCODING in headers
        if old.method not in _BODILESS or has_body:
            raise NotAdopted("request-body")
        arguments: dict[str, Any] = {"headers": headers}
        try:
            place = self._questions.place_of(asked, arguments, old.url)
        except (ValueError, OverflowError):
            raise
        except Exception as exc:  # raised by the user's function ``principal``
            raise NotAdopted("principal") from exc
        # The options of the old request are contained in the time at which its response expires.
        return self._questions.full(asked, NO_WISHES, arguments, url=old.url, place=place), arguments

    def _entry(
        self, old: OlderResponse, question: FullQuestion, decision: Store, history: tuple[str, ...]
    ) -> StoredResponse:
        backend = self._backend
        reason = None if old.reason is None else old.reason.encode("utf-8", "surrogateescape")
        times = old.created_at, old.created_at
        head = making.ReceivedHead(old.status, reason, old.version, old.headers, *times, names_in(old.headers))
        entry = making.entry_by(decision, question, head, backend, history=history, tagging=None, body=old.body)
        entry = replace(entry, fresh_until=min(decision.fresh_until, old.expires))
        return keys.redacted(entry, backend.ignored_params, backend.digest_key)

    def _check(self, old: OlderResponse, request: Request, entry: StoredResponse) -> None:
        """Raise NotAdopted unless the engine would have stored *entry*, and can read it back."""
        whole = CachedResponse.from_stored(replace(entry, raw_headers=old.headers))
        largest = self._backend.largest_in_memory_bytes
        unkept = why_not_kept(whole, largest)
        if unkept is not None:
            raise NotAdopted(unkept.value)
        if len(entry.body) > largest:
            raise NotAdopted("too-large")
        is_coded = hdrs.CONTENT_ENCODING in whole.headers
        size = known_size(whole, decoded=False)
        if old.status in REDIRECTS and size != len(old.body):
            raise NotAdopted("cut")  # aiohttp did not read the body of a redirect that it followed
        if old.body and is_coded and size == len(old.body):
            raise NotAdopted("undecoded")  # stored by a session with auto_decompress=False
        if not is_coded and size is not None and size != len(old.body):
            raise NotAdopted("damaged")
        not_led = why_not_led(request, old.status, whole.headers, self._backend.ignored_params)
        if not_led is not None:
            raise NotAdopted(not_led)
        if entry.store_until <= time.time():
            raise NotAdopted("expired")
        try:
            self._codec.decode(self._codec.pack(entry, entry.key), entry.key)
        except (StorageError, UnreadableEntryError) as exc:
            raise NotAdopted("impossible") from exc

    async def _same_variant(self, primary: StoredResponse | None, entry: StoredResponse) -> StoredResponse | None:
        """The stored response with the same Vary fields and values as *entry*."""
        wanted = entry.vary_fields, entry.vary_digest
        if primary is None or (primary.vary_fields, primary.vary_digest) == wanted:
            return primary
        for variant in primary.variants:
            if (variant.fields, variant.digest) == wanted:
                return await self._backend.stack.entry(variant.key)
        return None


def _decide(old: OlderResponse, question: FullQuestion) -> Store:
    request, rules = question.request, question.rules
    if not 0 <= old.created_at <= time.time() + 1:
        raise NotAdopted("impossible")
    if is_off(rules):
        raise NotAdopted("bypass")
    lifetime_s, ends_at = (math.inf, None) if old.expires == math.inf else (old.expires - old.created_at, old.expires)
    rules = replace(rules, lifetime_s=lifetime_s, ends_at=ends_at)
    plan = policy.on_request(request, None, rules, now=old.created_at)
    if isinstance(plan, Bypass):
        raise NotAdopted(plan.reason)
    if old.status == 304:
        raise NotAdopted("status")
    response = Response(old.status, _fields(old.headers), old.created_at, old.created_at)
    decision = policy.on_response(request, response, Fetch("uri-miss"), rules, now=old.created_at)
    if not isinstance(decision, Store):
        raise NotAdopted(getattr(decision, "reason", "status"))
    return decision


def _fields(lines: RawHeaders) -> CIMultiDict[str]:
    return CIMultiDict((_text(name), _text(value)) for name, value in lines)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")
