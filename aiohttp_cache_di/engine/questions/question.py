"""The question of a request: the key and the partition of its response, and the rules that apply."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from copy import copy
from typing import Any, Final, Protocol

from aiohttp import ClientRequest, hdrs
from msgspec import Struct
from msgspec.structs import replace
from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di import keys
from aiohttp_cache_di._aiohttp import connector_ssl
from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.notes import UnusableResultError, note_question_failure
from aiohttp_cache_di.engine.questions.hooks import Hooks
from aiohttp_cache_di.engine.questions.remembered import Remembered
from aiohttp_cache_di.engine.questions.wire import socket_of
from aiohttp_cache_di.keys.credentials import partition_of
from aiohttp_cache_di.policy import NEEDING_POLICY, FullQuestion, Question, Rules, may_be_plain, may_hop
from aiohttp_cache_di.policy.rules.book import Wishes
from aiohttp_cache_di.rfc9111.messages import Request

__all__ = ["NOWHERE", "Place", "Questions", "fields_without", "key_of_another"]

_OF_CONTENT = (hdrs.CONTENT_TYPE, hdrs.CONTENT_LENGTH, hdrs.CONTENT_ENCODING, hdrs.TRANSFER_ENCODING)


class RequestFacts(Protocol):
    """The parts of a request by which the place of its response is found.

    A request that is about to be sent has them, and so has the record of one that another program sent.
    """

    @property
    def method(self) -> str:
        """The method in capitals."""
        ...

    @property
    def url(self) -> URL:
        """The URL with its query, without a fragment."""
        ...

    @property
    def headers(self) -> CIMultiDict[str]:
        """The header fields that it is sent with."""
        ...


class Place(Struct, frozen=True, gc=False):
    """Where the response to a request is stored.

    Args:
        key: "" if it is never stored.
        partition: the digest of the user that it is for; "" if it is the same for all.
        is_named: the user is not identified by the request's own credentials (by a principal instead, by a digest
            login, or not at all for ``shared_credentials``), so that these may change.
    """

    key: str
    partition: str = ""
    is_named: bool = False


NOWHERE: Final = Place("")
_NOTHING: Final[Remembered[Question]] = Remembered()


class Questions:
    """Makes the questions of requests to one backend.

    Questions of plain requests, whose keys depend on the method and the URL alone, are remembered until a setting
    changes.

    Args:
        backend: makes the keys and the rules.
    """

    def __init__(self, backend: CacheBackend) -> None:
        self._backend = backend
        self._known: dict[str, Remembered[Question]] = {}  # by method
        self._revision = -1
        self._special_fields = keys.DEFAULT_CREDENTIAL_HEADERS
        self._keys_depend_on_more = self._names_principals = self._keys_are_plain = False
        self._ignored: Collection[str] = ()
        self._is_ordered = self._may_hop = False
        self._judges_hits = self._makes_rules = False
        self._plain_rules: Rules | None = None  # the rules by which a plain hit may answer GET at any time

    def of_plain(self, request: ClientRequest, url: str) -> Question | None:
        """The question of *request*, if its key depends on the method and the URL alone, so that a plain hit may do.

        A new question is not remembered, since most URLs that are not stored are asked for once; see `remember`.

        Args:
            url: its URL as a string.
        """
        if self._revision != self._backend.revision:
            self._renew()
        method = request.method
        question = self._known.get(method, _NOTHING).get(url)
        if (
            (question is None and (method != hdrs.METH_GET or self._keys_depend_on_more))
            or self._judges_hits
            or self._names_principals
            or not self._special_fields.isdisjoint(request.headers)
            or request.body
            or request.proxy is not None
            or request.ssl is not True
            or (request.is_ssl() and connector_ssl(request.session) is not True)
            or request.server_hostname
            or socket_of(request.session)
            or not keys.is_own_host(request.headers.get(hdrs.HOST, ""), request.url)
        ):
            return None
        return self._make(method, request.url, url) if question is None else question

    def remember(self, question: Question, url: str) -> None:
        """Remember *question* of a request to *url*, which `of_plain` has just made, and which may have an answer."""
        known = self._known.get(question.method)
        if known is None:
            known = self._known[question.method] = Remembered()
        if url not in known:
            known.keep(url, question)

    def _renew(self) -> None:
        backend = self._backend
        self._known.clear()
        self._revision = backend.revision  # before the settings, which another thread may change meanwhile
        hooks = Hooks.of(backend)
        self._special_fields = backend.names_of_credentials | NEEDING_POLICY | {"cookie"}
        self._names_principals = backend.names_principals
        self._keys_depend_on_more = backend.include_headers or hooks.makes_keys
        self._keys_are_plain = not self._keys_depend_on_more and not self._names_principals
        self._ignored, self._is_ordered = backend.ignored_params, backend.is_ordered
        self._may_hop = may_hop(cache_control=backend.cache_control, shared=backend.shared)
        self._judges_hits, self._makes_rules = hooks.judges_hits, hooks.makes_rules

    def place_of(self, request: RequestFacts, arguments: dict[str, Any], url: str) -> Place:
        """The key and the partition of *request*.

        Args:
            arguments: its `wire.key_arguments`; the principal is added if the backend names one.
            url: its URL as a string.

        Raises:
            Exception: whatever a user's function for principals or keys raises.
            UnusableResultError: a user's ``create_key`` has returned no key.
        """
        backend = self._backend
        if backend.names_principals and arguments.get("principal") is None:
            name = backend.principal_of(Request(request.method, url, arguments["headers"]))
            if name is not None:
                arguments["principal"] = name
        headers = arguments["headers"]
        names = backend.names_of_credentials
        plain = (
            len(arguments) == 1
            and names.isdisjoint(headers)
            and keys.is_own_host(headers.get(hdrs.HOST, ""), request.url)
        )
        if self._revision != backend.revision:
            self._renew()
        if not plain or self._keys_depend_on_more:
            key = _accepted(backend.create_key(request.method, request.url, **arguments))
            return Place(key) if plain else _place(key, request, arguments, backend)
        return Place(self.plain(request.method, request.url, url).key)

    def full(
        self,
        request: RequestFacts,
        wishes: Wishes,
        arguments: dict[str, Any],
        *,
        url: str,
        place: Place | None = NOWHERE,
        known: Question | None = None,
    ) -> FullQuestion:
        """The complete question of *request*, with the caller's options and the rules that apply.

        Args:
            arguments: its `wire.key_arguments`.
            url: its URL as a string.
            place: where its response is stored, `NOWHERE` if it never is; None if that cannot be told: then the rules
                turn the cache off.
            known: its question as `of_plain` made it, if it did.

        Raises:
            Exception: whatever a user's ``create_cache_actions`` raises.
            UnusableResultError: it has returned something else than actions.
        """
        backend = self._backend
        if self._revision != backend.revision:
            self._renew()
        if place is None:
            rules = replace(backend.rules_for(request.url, wishes), lifetime_s=0.0, override_origin=True)
            return FullQuestion.of(Request(request.method, url, request.headers), rules, key="")
        is_all_told = not backend.ignored_params and not place.is_named
        selecting = None if is_all_told else self._selecting(request, place)
        message = Request(request.method, url, request.headers, selecting)
        of_all = backend.of_all_urls if known is not None and known.plain_until == math.inf else None
        if of_all is not None:
            return FullQuestion(request.method, place.key, may_hop=self._may_hop, request=message, rules=of_all)
        rules = backend.rules_for(request.url, wishes)
        key = place.key
        if key and self._makes_rules:
            asked: dict[str, Any] = {"expire_after": wishes.expire_after, "refresh": wishes.refresh}
            actions: object = backend.create_cache_actions(key, request.url, **asked, **arguments)
            if not isinstance(actions, CacheActions):
                raise UnusableResultError("create_cache_actions()", actions, "it has to return CacheActions")
            resolved = actions.rules
            rules = replace(rules, lifetime_s=resolved.lifetime_s, ends_at=resolved.ends_at, refresh=resolved.refresh)
        if wishes.tags:
            rules = replace(rules, tags=wishes.tags + rules.tags)
        return FullQuestion.of(message, rules, key=key, partition=place.partition, is_named=place.is_named)

    def as_get(
        self, request: ClientRequest, wishes: Wishes, arguments: dict[str, Any], *, url: str
    ) -> tuple[FullQuestion, dict[str, Any]]:
        """The question of the GET request that is *request* without its content, and its `wire.key_arguments`."""
        get = copy(request)
        get.method, get.headers = hdrs.METH_GET, fields_without(request.headers, *_OF_CONTENT)
        arguments = {name: value for name, value in arguments.items() if name != "data"}
        arguments["headers"] = fields_without(arguments["headers"], *_OF_CONTENT)
        place = self.place_of(get, arguments, url)
        return self.full(get, wishes, arguments, url=url, place=place), arguments

    def _selecting(self, request: RequestFacts, place: Place) -> CIMultiDict[str] | None:
        """The header fields that Vary compares: without ignored ones, or credentials if `is_named`; None for all."""
        backend, headers = self._backend, request.headers
        ignored = keys.lower_names(backend.ignored_params)
        unmatched = [
            name
            for name in headers
            if (low := name.lower()) in ignored
            or (place.is_named and low in backend.names_of_credentials and not keys.says_which_resource(low))
        ]
        return fields_without(headers, *unmatched) if unmatched else None

    def plain(self, method: str, url: URL, text: str = "") -> Question:
        """The question of a request whose key depends on the method and *url* alone; remembered.

        Args:
            text: *url* as a string, if there is one already.
        """
        if self._revision != self._backend.revision:
            self._renew()
        text = text or str(url)  # a URL object with its caches takes ten times as much memory
        question = self._known.get(method, _NOTHING).get(text)
        if question is None:
            question = self._make(method, url, text)
            if not self._keys_depend_on_more:
                self.remember(question, text)
        return question

    def _make(self, method: str, url: URL, text: str) -> Question:
        """Make the question of a request whose key depends on the method and *url* alone."""
        if self._keys_are_plain and "@" not in text:  # no credentials in the URL, either
            key = keys.plain_key(method, url, ignored_params=self._ignored, ordered=self._is_ordered)
        else:
            key = self._backend.create_key(method, url)
        return Question(method, key, plain_until=self.plain_until(method, url), may_hop=self._may_hop)

    def plain_until(self, method: str, url: URL) -> float:
        """Until when a plain hit may answer a request without options for the cache (`Question.plain_until`)."""
        rules = self._backend.of_all_urls
        if rules is None:
            rules = self._backend.rules_for(url)
        elif method == hdrs.METH_GET and rules is self._plain_rules:
            return math.inf
        if method == hdrs.METH_HEAD or not may_be_plain(method, rules):  # HEAD also looks at the response to GET
            return -math.inf
        if rules.lifetime_s is None or rules.lifetime_s == math.inf or rules is self._backend.rules_for(url):
            if method == hdrs.METH_GET:
                self._plain_rules = rules
            return math.inf
        return time.time() + rules.lifetime_s  # ends at a fixed time, so that the rules differ at each moment


def _accepted(key: object) -> str:
    """*key* as a user's ``create_key`` has returned it.

    Raises:
        UnusableResultError: it is none, as of a function that forgets to return one or has to be awaited.
    """
    if isinstance(key, str) and key:
        return key
    raise UnusableResultError("create_key()", key, "a key is a str that is not empty")


def _place(key: str, request: RequestFacts, arguments: dict[str, Any], backend: CacheBackend) -> Place:
    """The place under *key*, in the partition of all credentials: header fields, cookies and those for a proxy."""
    principal = arguments.get("principal")
    are_shared = principal is None and backend.shared_patterns.match(request.url) is not None
    partition = partition_of(
        request.url,
        arguments,
        backend.names_of_credentials,
        principal=principal,
        credentials_are_shared=are_shared,
        key=backend.digest_key,
    )
    own = request.headers.get(hdrs.AUTHORIZATION)
    is_logged_in = arguments["headers"].get(hdrs.AUTHORIZATION) != own  # see digest.log_in
    return Place(key, partition, principal is not None or are_shared or is_logged_in)


def key_of_another(backend: CacheBackend, method: str, url: URL, arguments: dict[str, Any]) -> str | None:
    """The key of another request than the caller's; None, which is logged, if a user's ``create_key`` makes none."""
    try:
        return _accepted(backend.create_key(method, url, **arguments))
    except Exception as error:
        note_question_failure(error)
        return None


def fields_without(fields: CIMultiDict[str], *names: str) -> CIMultiDict[str]:
    """A copy of *fields* without those of *names*."""
    rest = CIMultiDict(fields)
    for name in names:
        rest.popall(name, None)
    return rest
