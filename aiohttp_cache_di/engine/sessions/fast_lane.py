"""The fast lane: answers plain hits without making aiohttp's request.

It repeats hits that took the full path, through aiohttp and the middleware, before: what it remembers was learned from
such a hit, so the key is right by construction. If anything differs from that hit (defaults, cookies, settings, the
stored variant), the request takes the full path. What a hit tells about its origin (scheme, host and port) is used for
other URLs of that origin, if keys there depend on the URL alone. Only sessions whose classes are known to add nothing
to a request use the fast lane (`bases.additions`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from aiohttp import ClientSession, RequestInfo
from aiohttp.typedefs import StrOrURL
from msgspec import Struct
from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di._aiohttp import (
    Needs,
    build_url,
    can,
    raises_for_status,
    said_by,
    sets_proxy_or_auth,
    total_timeout_s,
)
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.bounded import Bounded
from aiohttp_cache_di.engine.bases.additions import adds_nothing
from aiohttp_cache_di.engine.calls.call import DISABLED, EarlyRead, is_disabled
from aiohttp_cache_di.engine.calls.wishes import WISHES, wish_for_nothing
from aiohttp_cache_di.engine.questions.hooks import Hooks
from aiohttp_cache_di.engine.questions.question import Questions
from aiohttp_cache_di.engine.questions.remembered import MAX_URL_CHARS, Remembered
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.policy import PLAIN_HIT, Question, decide, needs_policy, select_variant
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import Request, StoredResponse
from aiohttp_cache_di.telemetry import CacheStats
from aiohttp_cache_di.telemetry.counters import Counts
from aiohttp_cache_di.telemetry.watch import Watch

__all__ = ["FastLane", "KnownCall", "State"]

MAX_ORIGINS = 1000
MIN_SHARE = 20  # the caller's total timeout must be this many storage deadlines; see _has_time
_CAN_HURRY: Final = can(Needs.FAST_LANE)
_PLAIN_OPTIONS: Final = frozenset({"allow_redirects", "timeout"})
_KNOWN_OPTIONS: Final = _PLAIN_OPTIONS | WISHES | {"raise_for_status"}


State: TypeAlias = tuple[object, int, int]
"""What calls depend on besides their arguments: a token of the lane, the versions of default headers and settings."""


class KnownCall(Struct, frozen=True):
    """What is known of a call: learned when it took the full path, or taken from another call to the same origin.

    Args:
        asked: the URL as the caller gave it.
        state: the state in which it was learned; in another one it is of no use.
        is_new: only the origin is known; a redirect may be stored under the key, or nothing.
        variant: of a variant with a key of its own: the key of its URL, and the request that selects the variant.
    """

    asked: StrOrURL
    question: Question
    url: URL
    info: RequestInfo
    response_class: type[CachedResponse]
    state: State
    is_new: bool = False
    variant: tuple[str, Request] | None = None


class FastLane:
    """The fast lane of one session.

    Args:
        questions: those of the session's middleware.
        own: this package's session classes, which are known to add nothing.
    """

    def __init__(self, backend: CacheBackend, questions: Questions, own: frozenset[type] = frozenset()) -> None:
        self._backend = backend
        self._questions = questions
        self._own = own
        self._is_closed = False
        self._token: object = object()
        """Another one each time that all is forgotten, so that calls under way are not remembered afterwards."""
        stats = getattr(backend, "stats", None) or CacheStats()  # a test double has none
        self.watch: Watch = stats.watch
        self.counts: Counts = stats.counts.here()
        """The counters of the thread that used the session last."""
        self._runtime: Runtime | None = None
        self._known: Remembered[KnownCall] = Remembered()
        self._origins: Bounded[tuple[str, str], KnownCall] = Bounded(MAX_ORIGINS)

    def answer(
        self, session: ClientSession, method: str, url: StrOrURL, options: dict[str, Any]
    ) -> CachedResponse | KnownCall | None:
        """The hit; or the known call, for `look_up`, if the store has to be asked; else None: take the full path."""
        try:
            known = self._known.get(url) if method == "GET" else None
        except TypeError:  # not a URL: aiohttp raises the right error
            return None
        if not (_PLAIN_OPTIONS.issuperset(options) or _is_plain_call(options)):
            return None
        if DISABLED.get() and is_disabled(session):
            return None
        if known is None:
            known = self._of_known_origin(session, method, url) if self._origins else None
            if known is None:
                return None
        backend = self._backend
        if known.state != (self._token, said_by(session), backend.revision):
            return None
        key = known.question.key
        runtime = self._runtime
        if runtime is None or (known.variant is not None and not self._is_listed(known, *known.variant)):
            return None
        entry = runtime.peek(key)
        if entry is None:
            here = runtime.here
            if known.variant is not None or here.is_in_memory or key in here.tombstones:
                return None
            return known if _has_time(session, options, backend) else None
        if not backend.write_behind and runtime.pending(key) is not None:
            return None
        return self._hit(session, known, entry, options)

    def _is_listed(self, known: KnownCall, primary_key: str, request: Request) -> bool:
        """Whether *request* selects the variant *known* among those that the entry under the URL's key lists.

        If it does not, or is not at hand, the variant is not used: a deletion may not have found it.
        """
        runtime, question = self._runtime, known.question
        primary = None if runtime is None else runtime.peek(primary_key)
        if primary is None or primary.partition != question.partition or time.time() >= primary.store_until:
            return False
        try:
            return select_variant(request, primary, self._backend.digest_key) == question.key
        except Exception:  # the full path finds the entry too, and discards it
            return False

    def _of_known_origin(self, session: ClientSession, method: str, url: StrOrURL) -> KnownCall | None:
        """The known call for a URL that is new here, made from a call to the same origin if there was one."""
        if method != "GET" or not isinstance(url, str | URL):
            return None
        try:
            target = build_url(session, url)
            origin = self._origins.get((target.scheme, target.raw_authority))
        except ValueError:  # not a URL: aiohttp raises the right error
            return None
        if origin is None or target.raw_fragment or len(target.raw_path_qs) > MAX_URL_CHARS:
            return None
        question, runtime = self._questions.plain(method, target), self._runtime
        if runtime is None or (runtime.here.is_in_memory and runtime.peek(question.key) is None):
            return None
        return replace(
            origin,
            asked=url,
            question=question,
            url=target,
            info=RequestInfo(target, method, origin.info.headers, target),
            is_new=True,
        )

    async def look_up(
        self, session: ClientSession, known: KnownCall, options: dict[str, Any], may_lease: Callable[[], bool]
    ) -> CachedResponse | EarlyRead:
        """Look *known*, which `answer` returned, up in the store.

        Returns:
            The hit; or, if there is none, what was read, so that the store is not asked twice.

        Args:
            may_lease: returns whether a request follows at once if there is no hit, so that the look-up may lease the
                key. A lease that the request does not use is released by `drop`.
        """
        runtime, key = self._runtime or Runtime.of(self._backend), known.question.key
        here, lease_s = runtime.here, 0.0
        if here.first_looks is not None and here.first_looks.is_due(key) and may_lease():
            lease_s = runtime.early_lease_s(known.question, self._backend)
        deletions = here.deletions.count
        found = await here.fetch(key, lease_s=lease_s)
        if isinstance(found, StoredResponse) and key not in here.tombstones:
            hit = self._hit(session, known, found, options)
            if hit is not None:
                return hit
        return EarlyRead(key, found, deletions)

    def drop(self, early_read: EarlyRead) -> None:
        """Give back the lease that may have come with *early_read*, which no request has used."""
        if self._runtime is not None:
            self._runtime.here.drop_early_lease(early_read.key, owner=self._backend)

    def _hit(
        self, session: ClientSession, known: KnownCall, entry: StoredResponse, options: dict[str, Any]
    ) -> CachedResponse | None:
        """The hit made from *entry*, if the policy decides that it is a plain hit."""
        now, backend = time.time(), self._backend
        try:
            if decide(known.question, entry, now) is not PLAIN_HIT:
                return None
            if entry.status != 200 and not _status_passes(session, entry.status, options):
                return None
            hit = known.response_class.from_stored(
                entry,
                url=known.url,
                session=session,
                request_info=known.info,
                served_at=now,
                standard=backend.cache_control,
            )
        except Exception:  # the full path finds the entry too, and discards it
            return None
        if known.is_new and known.state[0] is self._token:  # nothing was forgotten during the look-up
            self._known.keep(known.asked, replace(known, is_new=False))
        self.counts.hits += 1
        return hit

    def state(self, session: ClientSession) -> State | None:
        """What a call that begins now depends on besides its arguments, for `learn`; None not to learn it."""
        said = said_by(session) if _CAN_HURRY else None
        revision: int = getattr(self._backend, "revision", 0)  # a test double has none
        return None if said is None else (self._token, said, revision)

    def learn(
        self,
        session: ClientSession,
        method: str,
        url: StrOrURL,
        options: dict[str, Any],
        response: CachedResponse,
        keys: Sequence[str],
        began_in: State,
    ) -> None:
        """Remember the call if *response* is a hit that the fast lane could have given.

        Args:
            keys: those of the requests of the call.
            began_in: the `state` in which the call began. If it is another one now, nothing is remembered: the response
                may be for another user, or of other header fields.
        """
        if (
            method != "GET"
            or not keys
            or self._is_closed
            or began_in != self.state(session)
            or not _is_repeatable(response)
            or not _is_plain_call(options)
            or not _is_plain(session, self._backend)
            or not adds_nothing(session, self._own)
        ):
            return
        known = self._known_call(url, response, keys[-1], began_in)
        if known is None or len(str(known.url)) > MAX_URL_CHARS:
            return
        self._runtime = Runtime.of(self._backend)
        self.counts = self._runtime.counts
        self._known.keep(known.asked, known)
        if _is_model_for_origin(known, self._backend):
            at = known.info.url
            self._origins.note((at.scheme, at.raw_authority), known)

    def _known_call(
        self, asked: StrOrURL, response: CachedResponse, primary_key: str, began_in: State
    ) -> KnownCall | None:
        """What is known of the call that *response* has answered; None if the fast lane cannot answer it.

        Args:
            primary_key: the key of its URL, of which *response* may be a variant.
        """
        backend, stored, info = self._backend, response.stored, response.request_info
        variant: tuple[str, Request] | None = None
        if stored.key != primary_key:
            if backend.ignored_params or not backend.write_behind:  # the full path selects or reads in another way
                return None
            variant = primary_key, Request(response.method, str(info.url), info.headers)
        question = Question(
            response.method,
            stored.key,
            partition=stored.partition,
            plain_until=self._questions.plain_until(response.method, info.url),
            vary_digest=stored.vary_digest,
        )
        return KnownCall(asked, question, response.real_url, info, type(response), began_in, variant=variant)

    def forget(self, *, for_good: bool = False) -> None:
        """Forget all known calls, because an attribute of the session that may change its requests was replaced.

        Args:
            for_good: learn nothing any more, because a base class was seen to change requests.
        """
        self._is_closed = self._is_closed or for_good
        self._token = object()
        self._known.clear()
        self._origins.clear()


def _is_plain_call(options: dict[str, Any]) -> bool:
    """Whether *options* ask for nothing that a plain hit does not satisfy."""
    return (
        _KNOWN_OPTIONS.issuperset(options)
        and not callable(options.get("raise_for_status"))
        and wish_for_nothing(options)
    )


def _is_model_for_origin(known: KnownCall, backend: CacheBackend) -> bool:
    """Whether *known* can serve as a model for other URLs of its origin: their keys depend on the URL alone."""
    return (
        not backend.names_principals
        and not known.question.partition
        and not known.question.vary_digest
        and known.question.key == backend.create_key("GET", known.info.url)
    )


def _has_time(session: ClientSession, options: dict[str, Any], backend: CacheBackend) -> bool:
    """Whether the caller's total timeout, which begins after the look-up, is long compared to the store's deadline."""
    total_s = total_timeout_s(session)
    return "timeout" not in options and (total_s is None or total_s >= MIN_SHARE * backend.guard.deadline_s)


def _status_passes(session: ClientSession, status: int, options: dict[str, Any]) -> bool:
    """Whether a response of *status*, not 200, is whole, and aiohttp would neither raise for it nor follow it."""
    raises = options.get("raise_for_status")
    if raises is None:
        raises = raises_for_status(session)
    is_whole = not 300 <= status < 400 and status != 206  # the entry may have been replaced since the call was learned
    return is_whole and (raises is False or raises is None or (raises is True and status < 400))


def _is_repeatable(response: CachedResponse) -> bool:
    """Whether *response* answers a GET request as it is, without a redirect before it, and may do so again."""
    return not response.history and response.method == "GET" and response.stored.status not in (206, 304, 416, 504)


def _is_plain(session: ClientSession, backend: CacheBackend) -> bool:
    """Whether no setting or user's function of the session or the backend takes part in making or judging a hit."""
    hooks = Hooks.of(backend)
    return (
        backend.fast_lane
        and not backend.store_cookies
        and not hooks.judges_hits
        and not hooks.makes_keys
        and not callable(backend.principal)
        and not callable(raises_for_status(session))  # such a function has to be called with each response
        and not needs_policy(session.headers)
        and not sets_proxy_or_auth(session)
    )
