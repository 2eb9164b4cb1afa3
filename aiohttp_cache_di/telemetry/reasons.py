"""What the Cache-Status of a response (RFC 9211) means, in words."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from aiohttp_cache_di.rfc9111.cache_status import parameters

__all__ = ["DETAILS", "FORWARDED", "RULES", "SERVED", "CacheDecision", "origin_of_answer"]

FORWARDED: Final = {
    "uri-miss": "nothing was stored for it",
    "vary-miss": "what was stored for its URL is for other header fields",
    "miss": "nothing that is stored could be used",
    "stale": "what was stored is no longer fresh",
    "request": "the request itself keeps what is stored from being used",
    "partial": "only another part of the response was stored",
    "method": "responses to its method are not cached",
    "bypass": "the cache was bypassed: it is turned off for this request, or could not deal with it",
}
"""Why a request went to the origin, by its ``fwd`` token."""

SERVED: Final = {
    "max-stale": "it was stale, and the request allows that",
    "stale-while-revalidate": "it was stale, and is validated in the background",
    "stale-if-error": "it was stale, and was used instead of an error, as directives or settings allow",
    "disconnected": "it was stale, and was used because the origin failed",
    "overtaken": "the response to another request came first",
    "only-if-cached": "the request may only be answered from the cache, and nothing stored could be used",
}
"""How a stored response was used, by its ``detail``."""

RULES: Final = {
    "no-store": "request or response forbids it",
    "private": "it is for one user, and the cache is shared",
    "authorization": "it is for a user who has logged in, and the cache is shared",
    "must-understand": "it asks for a cache that understands its status",
    "status": "its status is not one that is stored",
    "partial": "it is a part that cannot be joined with what is stored",
    "vary": "it varies on everything, so that no request could select it",
    "no-lifetime": "it has no lifetime, and nothing by which it could be validated",
    "answers-condition": "it answers a condition that the caller sent",
}
"""Why the rules do not let a response be stored, by its ``detail``."""

DETAILS: Final = {
    "too-large": "the body is longer than `max_body_bytes`, or than `max_bytes` of files",
    "close-delimited": (
        "the body ends where the connection ends, so that nothing tells whether it is whole, "
        "or it still has a transfer coding"
    ),
    "event-stream": "the body is a stream of events",
    "cut": "the body did not arrive to its end, or was not read to its end",
    "damaged": "the content coding of the body is damaged, or its length is not the one that was announced",
    "unseen": "the body cannot be copied: its stream is not aiohttp's own, or aiohttp has changed inside",
    "set-cookie": "it redirects and sets a cookie, without which the next caller would be led on",
    "ignored-param": "it redirects to a URL with a parameter of `ignored_params`",
    "odd-location": "it redirects to itself, or to something that is not an HTTP URL",
    "changed": "a class of the session, or a middleware behind the cache, has changed whom the request is for",
    "filtered": "`filter_fn` or `is_cacheable` refused it",
    "invalidated": "what it shows was changed or deleted while it was on its way, or a later response was stored",
    "purged": "one of its tags was purged while it was on its way",
    "too-many-tags": "it has more or longer tags than are kept, so that it could not be purged by each of them",
    "no-room": "the memory for it, or for what waits to be written, is full",
    "pending": "not yet, as the store fails: it waits in memory until the store takes it, and answers from there",
    "store-failed": "the store failed, or is left alone because it has failed",
    "given-up": "it was deleted before it was written, or the store did not accept it, or others needed its room",
    "error": "an error: the cache failed to judge or copy it, or `tag_fn`, `filter_fn` or `is_cacheable` raised one",
}
"""Why a response was not stored that the rules let be stored, by its ``detail`` (RFC 9211 §2.8)."""


_OF_STALE: Final = ("max-stale", "stale-while-revalidate", "stale-if-error", "disconnected")


def origin_of_answer(cache_status: str) -> str:
    """How a request was answered, in the words of the metrics, and the token that says why; "" if unknown.

    Args:
        cache_status: a Cache-Status member (RFC 9211).
    """
    found = parameters(cache_status)
    reason, detail = found.get("fwd", ""), found.get("detail", "")
    if "hit" in found:
        return f"stale ({detail})" if detail in _OF_STALE else "hit"
    if reason in ("bypass", "method"):
        return "bypass" if reason == "bypass" else "bypass (method)"
    if "collapsed" in found:
        return f"coalesced ({reason})"
    if found.get("fwd-status") == "304":
        return f"revalidated ({reason})"
    return f"miss ({reason})" if reason else detail


class CacheDecision(Struct, frozen=True):
    """How the cache handled one request, as the Cache-Status of its response says.

    Attributes:
        cache_status: the Cache-Status of the response.
        values: the values that decided, such as age and lifetime, in words; "" if they are not known.
    """

    cache_status: str
    values: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of `cache_status`; "" for one without a value."""
        return parameters(self.cache_status)

    @property
    def is_hit(self) -> bool:
        """Whether the request was answered from the store."""
        return "hit" in self.parameters

    @property
    def is_stored(self) -> bool:
        """Whether the response of the origin was stored."""
        return "stored" in self.parameters

    @property
    def reason(self) -> str:
        """The most specific token: ``detail``, else ``purged``, else ``fwd``; "" for a fresh response."""
        found = self.parameters
        return found.get("detail") or ("purged" if "purged" in found else found.get("fwd", ""))

    @property
    def because(self) -> str:
        """What happened and why, in words."""
        found, parts = self.parameters, list[str]()
        if "hit" in found:
            parts.append("answered from the cache")
        elif "fwd" in found and "purged" not in found:
            parts.append(f"sent to the origin: {FORWARDED.get(found['fwd'], found['fwd'])}")
        elif "fwd" in found:
            parts.append("sent to the origin")
        if "purged" in found:
            parts.append(f"tag {found['purged']} was purged")
        if "fwd-status" in found:
            parts.append(f"the origin said {found['fwd-status']}")
        if "collapsed" in found:
            parts.append("answered by the response to another request that was on its way")
        parts += [self.values] if self.values else []
        detail = found.get("detail", "")
        if detail:
            why_not = DETAILS.get(detail) or (RULES.get(detail) if "fwd" in found and "hit" not in found else None)
            parts.append(f"not stored: {why_not}" if why_not else SERVED.get(detail, detail))
        parts += ["stored"] if "stored" in found else []
        return "; ".join(parts) or "the cache was not asked"

    def __str__(self) -> str:
        return self.because
