"""Deleting what an unsafe request makes invalid: responses (RFC 9111 §4.4), groups (RFC 9875)."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import ClientResponse, hdrs
from multidict import CIMultiDict

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.questions.question import key_of_another
from aiohttp_cache_di.rfc9111.messages import Headers

__all__ = ["invalidate", "invalidate_unanswered"]

logger: logging.Logger = logging.getLogger(__name__)

_GROUP_INVALIDATION = "Cache-Group-Invalidation"
_OF_THIS_REQUEST = frozenset({"headers", "cookies", "data", "decoded", "principal"})
"""Arguments of `create_key` that belong to one request, rather than to how the origin is reached."""


async def invalidate(lookup: Lookup, response: ClientResponse) -> None:
    """Delete and purge what the request of *lookup*, with this *response*, makes invalid.

    If the caller is cancelled meanwhile, that goes on in the background.
    """
    try:
        if lookup.backend.cache_control:
            await _forget_changed(lookup, response)
        await _purge_groups(lookup, response)
    except BaseException:
        lookup.runtime.spawn(_purge_groups(lookup, response), owner=lookup.backend)  # once more does no harm
        response.close()  # the caller will not get it
        raise


async def _forget_changed(lookup: Lookup, response: ClientResponse) -> None:
    """Delete the stored responses that are invalid (RFC 9111 §4.4); see `Lookup.drop`."""
    outdated = _outdated(lookup, response.status, response.headers)
    if outdated:
        await lookup.drop(outdated, is_change=True)


def invalidate_unanswered(lookup: Lookup) -> None:
    """Delete in the background what the request of *lookup* may have changed, which was sent and got no response.

    The origin may have done what it was asked for. RFC 9111 §4.4 asks for this after a response only, and allows more.
    """
    if lookup.backend.cache_control:
        outdated = _outdated(lookup, None, CIMultiDict())
        if outdated:
            lookup.drop_later(outdated, is_change=True)


async def _purge_groups(lookup: Lookup, response: ClientResponse) -> None:
    """Purge the groups that *response* declares invalid (RFC 9875 §3), with ``cache_control`` or without."""
    if _GROUP_INVALIDATION not in response.headers or _is_query(lookup):
        return
    request, runtime = lookup.question.request, lookup.runtime
    try:
        groups = policy.invalidated_groups(request, response.headers)
        if groups:
            for written in await runtime.here.purges.purge_groups(groups, policy.origin_of(request)):
                await runtime.settle(written, lookup.backend.guard.deadline_s)
    except Exception:
        logger.exception("The groups that a response declares invalid could not be purged")


def _is_query(lookup: Lookup) -> bool:
    return lookup.question.rules.post_as_query and lookup.question.request.method == hdrs.METH_POST


def _outdated(lookup: Lookup, status: int | None, headers: Headers) -> set[str]:
    """The keys of what the request of *lookup* makes invalid, with a response of this *status* and these *headers*.

    Args:
        status: None if there is no response.
    """
    if _is_query(lookup):
        return set()
    try:
        urls = policy.invalidated_urls(lookup.question.request, status, headers)
        return _keys_of(lookup, urls) if urls else set()
    except Exception:
        logger.exception("The stored responses that a request invalidates could not be found")
        return set()


def _keys_of(lookup: Lookup, urls: tuple[str, ...]) -> set[str]:
    """The keys of responses for *urls*, those for this request's credentials and for none."""
    arguments, backend = lookup.key_arguments, lookup.backend
    way = {name: value for name, value in arguments.items() if name not in _OF_THIS_REQUEST}
    own = {name: arguments.get(name) for name in ("headers", "cookies")}
    if "principal" in arguments:
        own["principal"] = arguments["principal"]
    hosts = lookup.question.request.headers.getall(hdrs.HOST, ())
    plain: dict[str, Any] = {"headers": [(hdrs.HOST, host) for host in hosts]}
    if "tls" in way:
        plain["tls"] = keys.without_client(way["tls"])
    return {
        key
        for url in urls
        for spelling in keys.spellings(url)
        for method in (hdrs.METH_GET, hdrs.METH_HEAD)
        for fields in (own, plain)
        for decoded in (True, False)
        if (key := key_of_another(backend, method, spelling, {**way, **fields, "decoded": decoded})) is not None
    }
