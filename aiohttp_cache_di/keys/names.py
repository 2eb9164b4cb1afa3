"""Judge header fields and parameters by their names: which identify the user or the resource, and which are secrets.

No list of names would be complete, since every API has its own name for its key. So names are judged by the words in
them, erring on the safe side: a header that is wrongly taken for a credential costs hits, one that is missed would give
a user the response of another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final

from aiohttp_cache_di.lazy import compiled_later

__all__ = [
    "DEFAULT_CREDENTIAL_HEADERS",
    "HARMLESS_FIELDS",
    "CredentialNames",
    "credential_names",
    "is_authorization_code",
    "is_bearer_param",
    "is_secret_param",
    "lower_names",
    "says_which_resource",
    "says_who_asks",
]

_BEARER: Final = (
    r"auth(?!or(?!i[sz]))"  # auth, oauth, authorization; not author, nor authority
    r"|token|key(?!word|board|frame)|secret|sess(?:ion|id)|jwt|credential|passw|pwd|passphrase|passcode|pin-?code|cookie"
    r"|code-?verifier|(?:device|user|verification|security)-?code|bearer|assertion|saml|ticket|\b(?:otp|(?:user-?)?(?:pass|sid))\b"
)
_SIGNED: Final = r"signature|hmac|dpop"
# Not secrets, but they identify the user or the application.
_IDENTITY: Final = (
    r"user(?!-?agent)|tenant|account|principal|identity|oidc|subject|consumer|impersonat|on-?behalf"
    r"|client-?(?:id|dn)|cert(?!ain)"
    r"|app(?:lication)?-?id|e-?mail|organi[sz]ation|customer|subscriber|merchant|workspace|licen[cs]e"
    r"|\b(?:org|member|team|project|company|login|sudo|act(?:ing)?-as|pin|roles?|scopes?|groups?|uid|dn)\b|(?:device|profile)-?id"
)
# By these a server or a proxy in front of it selects another resource than the URL, or another method.
_RESOURCE: Final = (
    r"\Aforwarded\Z|forwarded-(?:host|server|prefix|proto|scheme|port|ssl|path|ur[il])"
    r"|original-(?:host|ur[il]|proto|scheme|path)|\bx-host\b"
    # Fields of gateways.
    r"|\b(?:target|destination|upstream|backend|base|custom|proxy)-?(?:host|ur[il]|domain|provider)\b"
    r"|api-base\b|portkey-(?:provider|config)\b|\bamz-target\b|\bsoapaction\b"
    r"|rewrite-ur[il]|http-method|(?:method|host)-override|\bx-(?:url-)?scheme\b|front-end-https"
)
_WHICH_RESOURCE: Final = compiled_later(_RESOURCE)
_WHO: Final = compiled_later(rf"{_BEARER}|{_SIGNED}|{_IDENTITY}|{_RESOURCE}|\bsig\b")
_SECRET_PARAM: Final = compiled_later(rf"{_BEARER}|{_SIGNED}|\bsig\b|accessid")
_BEARER_PARAM: Final = compiled_later(_BEARER)
_WITHIN: Final = compiled_later("(?<=[a-z0-9])(?=[A-Z])")  # the beginning of a word in a name such as userSid

# Header fields with such a word that identify no user: for a single request (Idempotency-Key, RFC 6455, Fetch
# Metadata), about the wanted response (RFC 9421 §5.1), for caches, and CSRF tokens, which accompany a cookie.
_ELSEWHERE: Final = compiled_later(
    r"(?:x-)?idempotency-key|sec-websocket-key|sec-fetch-user|accept-signature|(?:x-)?(?:surrogate|cache)-key"
    r"|(?:x-)?(?:anti-)?[cx]srf-?token"
)

HARMLESS_FIELDS: Final = frozenset(
    ("surrogate-key", "x-surrogate-key", "cache-key", "x-cache-key", "access-control-allow-credentials", "author")
)
"""Header fields of responses (lower case) with such a word in their names that are no secrets."""

# Parameters that accompany an authorization code, whose own name is just "code" (RFC 6749 §4.1.3, RFC 7636 §4.5).
_OF_GRANTS: Final = frozenset({"grant_type", "client_id", "client_secret", "redirect_uri", "code_verifier"})

_LONG_CODE: Final = 16  # characters; codes of countries and products are shorter

_REMEMBERED_CHARS: Final = 64  # Times _REMEMBERED, this bounds the memory that remembered names take.
_REMEMBERED: Final = 1024


def says_who_asks(name: str) -> bool:
    """Whether the request header *name* (lower case) identifies the user or the resource, by the words in the name."""
    words = name.replace("_", "-")
    return _WHO.search(words) is not None and _ELSEWHERE.fullmatch(words) is None


def says_which_resource(name: str) -> bool:
    """Whether the request header *name* (lower case) identifies the resource rather than the user."""
    return _WHICH_RESOURCE.search(name.replace("_", "-")) is not None


def is_secret_param(name: str) -> bool:
    """Whether the query parameter *name* is a secret or a signature, by the words in the name."""
    return _has_word(_SECRET_PARAM, name)


def is_bearer_param(name: str) -> bool:
    """Whether the query parameter *name* gives access by itself, as a token does."""
    return _has_word(_BEARER_PARAM, name)


def is_authorization_code(name: str, beside: Collection[str], value: str = "") -> bool:
    """Whether the parameter *name* is an authorization code of OAuth.

    Args:
        beside: the names of the other parameters.
        value: its value in a URL, where the code may be the only parameter, or have only ``state`` beside it.
    """
    if name != "code":
        return False
    is_long = len(value) >= _LONG_CODE and not value.isalpha() and not value.isdigit()
    return is_long or ("state" in beside and len(value) > _LONG_CODE // 2) or not _OF_GRANTS.isdisjoint(beside)


def _has_word(words: re.Pattern[str], name: str) -> bool:
    plain = name.replace("_", "-")
    return words.search(plain.lower()) is not None or words.search(_WITHIN.sub("-", plain).lower()) is not None


class CredentialNames:
    """The names of the request headers that identify the user or the resource.

    Args:
        named: names that count, in any case.
        by_rule: whether names that `says_who_asks` recognises count, too.
        without: names that never count, in any case.
    """

    __slots__ = ("_by_rule", "_harmless", "_known", "_named", "_without")

    def __init__(self, named: Iterable[str] = (), *, by_rule: bool = True, without: Iterable[str] = ()) -> None:
        self._named = frozenset(name.lower() for name in named)
        self._by_rule = by_rule
        self._without = frozenset(name.lower() for name in without)
        self._known: dict[str, bool] = {}
        self._harmless: set[str] = set()
        """Names, in their original case, that are known not to count: those in nearly all requests."""

    def __contains__(self, name: str) -> bool:
        """Whether the header *name* (lower case) counts."""
        known = self._known.get(name)
        return self._judge(name) if known is None else known

    def is_named(self, name: str) -> bool:
        """Whether the user has named the header *name* (lower case), so that its whole value counts."""
        return name in self._named

    def isdisjoint(self, names: Collection[str]) -> bool:
        """Whether none of *names*, in any case, counts."""
        harmless = self._harmless
        if harmless.issuperset(names):
            return True
        for name in names:
            if name.lower() in self:
                return False
            if len(name) <= _REMEMBERED_CHARS:
                if len(harmless) >= _REMEMBERED:
                    harmless.clear()
                harmless.add(str(name))
        return True

    @property
    def leaves_some_out(self) -> bool:
        """Whether a name that `says_who_asks` recognises may not count."""
        return not self._by_rule or any(map(says_who_asks, self._without))

    def __or__(self, names: Iterable[str]) -> CredentialNames:
        """These names and *names*, even those that were excluded."""
        more = frozenset(name.lower() for name in names)
        return CredentialNames(self._named | more, by_rule=self._by_rule, without=self._without - more)

    def but(self, names: Collection[str]) -> CredentialNames:
        """These without *names*."""
        return (
            CredentialNames(self._named, by_rule=self._by_rule, without=self._without.union(names)) if names else self
        )

    def __eq__(self, other: object) -> bool:
        """Whether *other* was made from the same names and rule."""
        return isinstance(other, CredentialNames) and self._meaning() == other._meaning()

    def __hash__(self) -> int:
        """Consistent with `__eq__`."""
        return hash(self._meaning())

    def __repr__(self) -> str:
        """Show the names and the rule."""
        named, by_rule, without = self._meaning()
        return f"CredentialNames({sorted(named)}, by_rule={by_rule}, without={sorted(without)})"

    def _meaning(self) -> tuple[frozenset[str], bool, frozenset[str]]:
        return self._named, self._by_rule, self._without

    def _judge(self, name: str) -> bool:
        tells = name not in self._without and (name in self._named or (self._by_rule and says_who_asks(name)))
        if len(name) <= _REMEMBERED_CHARS:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = tells
        return tells


DEFAULT_CREDENTIAL_HEADERS: Final = CredentialNames()
"""The request headers that identify the user or the resource, by the words in their names."""


def credential_names(
    names: CredentialNames | Collection[str] = DEFAULT_CREDENTIAL_HEADERS, ignored: Collection[str] = ()
) -> CredentialNames:
    """Turn the option ``credential_headers`` into `CredentialNames`; *ignored* names never count.

    Results are memoised, since the same collections are passed again and again.
    """
    if isinstance(names, CredentialNames) and not ignored:
        return names
    return _credential_names(names if isinstance(names, CredentialNames) else frozenset(names), frozenset(ignored))


@lru_cache(maxsize=64)
def _credential_names(names: CredentialNames | frozenset[str], ignored: frozenset[str]) -> CredentialNames:
    counting = names if isinstance(names, CredentialNames) else CredentialNames(names, by_rule=False)
    return counting.but(ignored)


@lru_cache(maxsize=64)
def lower_names(names: frozenset[str]) -> frozenset[str]:
    """*names* in lower case, memoised."""
    return frozenset(name.lower() for name in names)
