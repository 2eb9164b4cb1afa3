"""Sessions that log in by digest (RFC 7616), whose requests have another Authorization each time, or none at first.

In keys and partitions, the login of aiohttp's `DigestAuthMiddleware` takes the place of that field. So a hit needs no
challenge, and a validation that is challenged still concerns the same entry.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final
from weakref import WeakKeyDictionary

from aiohttp import ClientMiddlewareType, DigestAuthMiddleware, hdrs
from multidict import CIMultiDict

from aiohttp_cache_di._aiohttp import digest_login

__all__ = ["digest_user", "log_in"]

SCHEME: Final = "digest "

_unknown_logins: Final[WeakKeyDictionary[DigestAuthMiddleware, str]] = WeakKeyDictionary()


def digest_user(middlewares: Iterable[ClientMiddlewareType]) -> DigestAuthMiddleware | None:
    """The one of *middlewares* that logs in by digest, if there is one."""
    for middleware in middlewares:
        if isinstance(middleware, DigestAuthMiddleware):
            return middleware
    return None


def log_in(fields: CIMultiDict[str], user: DigestAuthMiddleware) -> CIMultiDict[str]:
    """*fields* with an Authorization that identifies the login of *user*, instead of the one that is valid once.

    An Authorization that is not of this login stays: the caller has set it.
    """
    name, login = digest_login(user)
    sent = fields.get(hdrs.AUTHORIZATION)
    if sent is not None and not (sent[: len(SCHEME)].lower() == SCHEME and f'username="{name}"' in sent):
        return fields
    told = CIMultiDict(fields)
    told[hdrs.AUTHORIZATION] = f"Session {_identity(login, user)}"
    return told


def _identity(login: bytes | None, user: DigestAuthMiddleware) -> str:
    if login is not None:
        return blake2b(login, digest_size=32).hexdigest()
    return _unknown_logins.setdefault(user, secrets.token_hex(32))  # login not readable: identify this object alone
