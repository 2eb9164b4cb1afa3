"""A synchronous cache over a dict that carries out the policy's decisions as the middleware does, without network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import msgspec
from multidict import CIMultiDict

from aiohttp_cache_di import policy
from aiohttp_cache_di.policy import (
    Bypass,
    Complete,
    Fetch,
    Freshen,
    GatewayTimeout,
    Load,
    NotModified,
    Partial,
    Pass,
    Plan,
    RangeNotSatisfiable,
    Refetch,
    Reuse,
    Rules,
    Serve,
    ServeStale,
    Store,
    Validate,
)
from aiohttp_cache_di.rfc9111.messages import Headers, Request, Response, StoredResponse, VariantRef
from tests.messages import NOW, PRIVATE, Fields, a_request, date, fields_of

__all__ = ["Answer", "OriginDownError", "Reply", "SyncCache", "is_reused", "reply", "scripted"]


class OriginDownError(Exception):
    """What a scripted origin raises when it cannot be reached."""


@dataclass(frozen=True)
class Reply:
    """What the origin answers."""

    status: int = 200
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict[str])
    body: bytes = b"0123456789"


@dataclass(frozen=True)
class Answer:
    """What the caller gets."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    cache_status: str
    from_cache: bool
    age_s: int = 0
    stale: bool = False


Origin = Callable[[Request], Reply]


class SyncCache:
    """Sends requests to *origin* through a cache under *rules*; time passes only when ``now`` is changed."""

    def __init__(self, origin: Origin, rules: Rules) -> None:
        self.origin = origin
        self.rules = rules
        self.now = NOW
        self.entries: dict[str, StoredResponse] = {}
        self.sent: list[Request] = []
        self.refreshes: list[tuple[Request, StoredResponse]] = []

    @staticmethod
    def key(request: Request) -> str:
        return request.url

    def _read(self, key: str) -> StoredResponse | None:
        entry = self.entries.get(key)
        return None if entry is None or entry.store_until <= self.now else entry

    def _find(self, request: Request) -> tuple[StoredResponse | None, tuple[StoredResponse | VariantRef, ...]]:
        primary = self._read(self.key(request))
        if primary is None:
            return None, ()
        key = policy.select_variant(request, primary)
        return (None if key is None else self._read(key)), (primary, *primary.variants)

    def _forget(self, key: str) -> None:
        primary = self.entries.pop(key, None)
        for ref in () if primary is None else primary.variants:
            self.entries.pop(ref.key, None)

    def send(self, request: Request) -> Answer:
        if policy.is_unsafe(request.method):
            reply = self._ask(request)
            for url in policy.invalidated_urls(request, reply.status, reply.headers):
                self._forget(url)
            return self._handed_on(reply, "method")
        stored, candidates = self._find(request)
        decision = policy.on_request(request, stored, self.rules, now=self.now, candidates=candidates)
        match decision:
            case GatewayTimeout():
                return Answer(504, CIMultiDict(), b"", decision.cache_status, False)
            case Bypass():
                return self._handed_on(self._ask(request), decision.reason)
            case Fetch() | Validate():
                return self._forward(request, decision, candidates)
            case _:
                return self._reuse(request, decision)

    def refresh(self) -> None:
        """Run the pending background validations."""
        while self.refreshes:
            request, stored = self.refreshes.pop()
            plain = CIMultiDict((n, v) for n, v in request.headers.items() if n.lower() not in policy.PRIVATE_TO_CALLER)
            request = Request(request.method, request.url, plain)
            plan = policy.background_plan(request, stored, self.rules, now=self.now)
            self._forward(request, plan, (stored,))

    def _ask(self, request: Request) -> Reply:
        self.sent.append(request)
        return self.origin(request)

    def _forward(self, request: Request, plan: Plan, candidates: tuple[StoredResponse | VariantRef, ...]) -> Answer:
        outgoing = request
        if isinstance(plan, Validate):
            conditional = CIMultiDict(request.headers)
            conditional.update(plan.headers)
            outgoing = Request(request.method, request.url, conditional)
        try:
            reply = self._ask(outgoing)
        except OriginDownError:
            stale = policy.on_failure(plan, self.rules, request, now=self.now, is_reachable=False)
            if stale is None:
                raise
            return self._reuse(request, stale.answer)
        head = Response(reply.status, reply.headers, self.now, self.now)
        if request.method == "HEAD":
            self._learn_from_head(request, head)
        decision = policy.on_response(request, head, plan, self.rules, now=self.now, candidates=candidates)
        while isinstance(decision, Load):
            entry = self._read(decision.key)
            rest = tuple(candidate for candidate in candidates if candidate.key != decision.key)
            candidates = rest if entry is None else (*rest, entry)
            decision = policy.on_response(request, head, plan, self.rules, now=self.now, candidates=candidates)
        match decision:
            case Store():
                self._store(request, reply, decision)
                return self._handed_on(reply, decision.cache_status)
            case Pass():
                if decision.forget:
                    self._forget(self.key(request))
                return self._handed_on(reply, decision.cache_status)
            case Complete():
                if isinstance(decision.then, Store):
                    self._store(request, reply, decision.then)
                body = decision.stored.body + reply.body
                assert len(body) == decision.complete_bytes
                return self._handed_on(Reply(200, reply.headers, body), decision.then.cache_status)
            case Freshen():
                self.entries[decision.answer.stored.key] = decision.answer.stored
                return self._reuse(request, decision.answer)
            case ServeStale():
                return self._reuse(request, decision.answer)
            case Refetch():
                return self._forward(request, Fetch(plan.reason), ())
            case _:
                assert_never(decision)

    def _learn_from_head(self, request: Request, head: Response) -> None:
        stored, _ = self._find(request)
        if stored is not None and head.status != 304:
            updated = policy.on_head_response(request, head, stored, self.rules, now=self.now)
            if updated is not None:
                self.entries[updated.key] = updated

    def _store(self, request: Request, reply: Reply, decision: Store) -> None:
        if request.method == "HEAD":
            return
        lines = [(n, v) for n, v in reply.headers.items() if n.lower() not in decision.drop]
        entry = StoredResponse(
            key=self.key(request),
            method=request.method,
            url=request.url,
            status=reply.status,
            reason=b"OK",
            raw_headers=tuple((n.encode(), v.encode()) for n, v in (*lines, *decision.add)),
            requested_at=self.now,
            received_at=self.now,
            created_at=self.now,
            fresh_until=decision.fresh_until,
            store_until=decision.store_until,
            vary_fields=decision.vary_fields,
            vary_digest=decision.vary_digest,
            body=reply.body,
        )
        if decision.combine_with is not None:
            entry = policy.combine(decision.combine_with, entry)
        placement = policy.place_variant(
            self._read(entry.key), entry, max_variants=self.rules.max_variants, now=self.now
        )
        for write in placement.writes:
            # Serialise, as a store would.
            self.entries[write.key] = msgspec.msgpack.decode(msgspec.msgpack.encode(write), type=StoredResponse)
        for key in placement.deletes:
            self.entries.pop(key, None)

    def _handed_on(self, reply: Reply, cache_status: str) -> Answer:
        return Answer(reply.status, reply.headers, reply.body, cache_status, False)

    def _reuse(self, request: Request, answer: Reuse) -> Answer:
        if answer.revalidate:
            self.refreshes.append((request, answer.stored))
        stored, headers = answer.stored, self._headers(answer.stored.headers)
        age_s = 0 if isinstance(answer, RangeNotSatisfiable) else answer.age_s
        match answer:
            case Serve():
                status, body = stored.status, b"" if request.method == "HEAD" else stored.body
            case NotModified():
                status, body = 304, b""
            case Partial():
                status = 206
                body = stored.body[answer.first - answer.body_at : answer.last - answer.body_at + 1]
                headers["Content-Range"] = policy.content_range(answer.first, answer.last, answer.complete_bytes)
            case RangeNotSatisfiable():
                status, body = 416, b""
                headers["Content-Range"] = policy.content_range(None, None, answer.complete_bytes)
            case _:
                assert_never(answer)
        return Answer(status, headers, body, answer.cache_status, True, age_s, answer.stale)

    @staticmethod
    def _headers(headers: Headers) -> CIMultiDict[str]:
        return CIMultiDict(headers.items())


def reply(fields: Fields = (), *, status: int = 200, body: bytes = b"0123456789", dated: bool = True) -> Reply:
    headers = fields_of(fields)
    if dated and "Date" not in headers:
        headers["Date"] = date()
    return Reply(status, headers, body)


def scripted(replies: Sequence[Reply | None], rules: Rules = PRIVATE) -> SyncCache:
    """A cache in front of an origin that sends *replies* in turn and repeats the last; None: it cannot be reached."""
    waiting = list(replies)

    def origin(request: Request) -> Reply:
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if answer is None:
            raise OriginDownError
        return answer

    return SyncCache(origin, rules)


def is_reused(
    fields: Fields,
    *,
    status: int = 200,
    after_s: float = 3,
    second: Fields = (),
    rules: Rules = PRIVATE,
    url: str = "http://example.org/thing",
    dated: bool = True,
) -> bool:
    """Whether the same request, *after_s* seconds later, is answered from the store."""
    cache = scripted([reply(fields, status=status, dated=dated), reply(status=status)], rules)
    cache.send(a_request(url=url))
    cache.now += after_s
    return cache.send(a_request(second, url=url)).from_cache
