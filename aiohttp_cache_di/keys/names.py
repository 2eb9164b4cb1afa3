"""What names say: which request headers say who asks or for what, and which parameters of a URL are secrets.

A list of names is never complete, since each API has a name of its own for its key. So names are judged by the words
in them, and the rule errs on the safe side: a header that is taken for a credential without being one costs a shared
hit, one that is overlooked gives a user another's response.
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
# Not secrets, but they say for whom a request is, or which application asks.
_IDENTITY: Final = (
    r"user(?!-?agent)|tenant|account|principal|identity|oidc|subject|consumer|impersonat|on-?behalf"
    r"|client-?(?:id|dn)|cert(?!ain)"
    r"|app(?:lication)?-?id|e-?mail|organi[sz]ation|customer|subscriber|merchant|workspace|licen[cs]e"
    r"|\b(?:org|member|team|project|company|login|sudo|act(?:ing)?-as|pin|roles?|scopes?|groups?|uid|dn)\b|(?:device|profile)-?id"
)
# By them a server or what stands before it takes another resource than the URL's, or another method.
_RESOURCE: Final = (
    r"forwarded-(?:host|server|prefix)|\bx-host\b|original-(?:host|ur[il])|rewrite-ur[il]|http-method|method-override"
)
_WHICH_RESOURCE: Final = compiled_later(_RESOURCE)
_WHO: Final = compiled_later(rf"{_BEARER}|{_SIGNED}|{_IDENTITY}|{_RESOURCE}|\bsig\b")
_SECRET_PARAM: Final = compiled_later(rf"{_BEARER}|{_SIGNED}|\bsig\b|accessid")
_BEARER_PARAM: Final = compiled_later(_BEARER)
_WITHIN: Final = compiled_later("(?<=[a-z0-9])(?=[A-Z])")  # where a word begins in a name such as userSid

# Header fields with such a word that mean something else: of one request (RFC 8941 draft Idempotency-Key, RFC 6455,
# Fetch Metadata), of the response that is wanted (RFC 9421 §5.1), of caches, and tokens against forged requests, which
# come along with a cookie.
_ELSEWHERE: Final = compiled_later(
    r"(?:x-)?idempotency-key|sec-websocket-key|sec-fetch-user|accept-signature|(?:x-)?(?:surrogate|cache)-key"
    r"|(?:x-)?(?:anti-)?[cx]srf-?token"
)

HARMLESS_FIELDS: Final = frozenset(
    ("surrogate-key", "x-surrogate-key", "cache-key", "x-cache-key", "access-control-allow-credentials", "author")
)
"""Header fields of responses (lower case) that have such a word in their names and give access to nothing."""

# What comes with an authorization code, whose own name says nothing (RFC 6749 §4.1.3, RFC 7636 §4.5).
_OF_GRANTS: Final = frozenset({"grant_type", "client_id", "client_secret", "redirect_uri", "code_verifier"})

_LONG_CODE: Final = 16  # characters; those of countries and products are shorter, and a guess must be unlikely

_REMEMBERED_CHARS: Final = 64  # Times _REMEMBERED, this bounds the memory that remembered names take.
_REMEMBERED: Final = 1024


def says_who_asks(name: str) -> bool:
    """Whether a request header called *name* (lower case) says who asks, or for which resource, by the words in it."""
    words = name.replace("_", "-")
    return _WHO.search(words) is not None and _ELSEWHERE.fullmatch(words) is None


def says_which_resource(name: str) -> bool:
    """Whether a request header called *name* (lower case) says which resource is meant, and not who asks for it."""
    return _WHICH_RESOURCE.search(name.replace("_", "-")) is not None


def is_secret_param(name: str) -> bool:
    """Whether the value of a query parameter called *name* is a secret or a signature, by the words in its name."""
    return _has_word(_SECRET_PARAM, name)


def is_bearer_param(name: str) -> bool:
    """Whether the value of a query parameter called *name* gives access by itself, as a token does."""
    return _has_word(_BEARER_PARAM, name)


def is_authorization_code(name: str, beside: Collection[str], value: str = "") -> bool:
    """Whether *name* is that of an authorization code of OAuth, by the names of what stands *beside* it.

    Args:
        value: of a parameter in a URL, where a redirect may bring nothing else along, or only a state.
    """
    if name != "code":
        return False
    is_long = len(value) >= _LONG_CODE and not value.isalpha() and not value.isdigit()
    return is_long or ("state" in beside and len(value) > _LONG_CODE // 2) or not _OF_GRANTS.isdisjoint(beside)


def _has_word(words: re.Pattern[str], name: str) -> bool:
    plain = name.replace("_", "-")
    return words.search(plain.lower()) is not None or words.search(_WITHIN.sub("-", plain).lower()) is not None


class CredentialNames:
    """The request headers that say who asks: some by name, and all whose names say so unless *by_rule* is off.

    Args:
        named: names that count, in any case.
        by_rule: whether those count too of which `says_who_asks` says so.
        without: names that do not count, whatever else says so, in any case.
    """

    __slots__ = ("_by_rule", "_harmless", "_known", "_named", "_without")

    def __init__(self, named: Iterable[str] = (), *, by_rule: bool = True, without: Iterable[str] = ()) -> None:
        self._named = frozenset(name.lower() for name in named)
        self._by_rule = by_rule
        self._without = frozenset(name.lower() for name in without)
        self._known: dict[str, bool] = {}
        self._harmless: set[str] = set()
        """Names, as they were spelled, that are known not to say who asks: those of nearly all requests."""

    def __contains__(self, name: str) -> bool:
        """Whether the header called *name* (lower case) says who asks."""
        known = self._known.get(name)
        return self._judge(name) if known is None else known

    def isdisjoint(self, names: Collection[str]) -> bool:
        """Whether none of *names*, in any case, says who asks."""
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
        """Whether a name that says who asks may not count."""
        return not self._by_rule or any(map(says_who_asks, self._without))

    def __or__(self, names: Iterable[str]) -> CredentialNames:
        """These and *names*, which count even where they were excepted."""
        more = frozenset(name.lower() for name in names)
        return CredentialNames(self._named | more, by_rule=self._by_rule, without=self._without - more)

    def but(self, names: Collection[str]) -> CredentialNames:
        """These without *names*."""
        return (
            CredentialNames(self._named, by_rule=self._by_rule, without=self._without.union(names)) if names else self
        )

    def __eq__(self, other: object) -> bool:
        """Whether *other* means the same names, for the same reasons."""
        return isinstance(other, CredentialNames) and self._meaning() == other._meaning()

    def __hash__(self) -> int:
        """As `__eq__` has it."""
        return hash(self._meaning())

    def __repr__(self) -> str:
        """Show what counts."""
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
"""The request headers that say who asks, by the words in their names."""


def credential_names(
    names: CredentialNames | Collection[str] = DEFAULT_CREDENTIAL_HEADERS, ignored: Collection[str] = ()
) -> CredentialNames:
    """What an option ``credential_headers`` means: the rule with its names, or names alone; *ignored* ones never count.

    What collections of names mean is remembered, since the same come again and again.
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
    """*names* in lower case, remembered for sets that come again and again."""
    return frozenset(name.lower() for name in names)
