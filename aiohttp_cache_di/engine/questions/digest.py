"""A session that logs in by digest (RFC 7616): its requests have another Authorization each time, or none at first.

Who asks is who logs in by aiohttp's middleware. So a hit needs no challenge, and a validation may be challenged as any
other request is: what is stored stands under the same key.
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

_strangers: Final[WeakKeyDictionary[DigestAuthMiddleware, str]] = WeakKeyDictionary()


def digest_user(middlewares: Iterable[ClientMiddlewareType]) -> DigestAuthMiddleware | None:
    """The one of *middlewares* that logs in by digest, if there is one."""
    for middleware in middlewares:
        if isinstance(middleware, DigestAuthMiddleware):
            return middleware
    return None


def log_in(fields: CIMultiDict[str], user: DigestAuthMiddleware) -> CIMultiDict[str]:
    """*fields* with an Authorization that says who *user* is, in place of what proves it once."""
    name, login = digest_login(user)
    sent = fields.get(hdrs.AUTHORIZATION)
    if sent is not None and not (sent[: len(SCHEME)].lower() == SCHEME and f'username="{name}"' in sent):
        return fields  # of the caller's own
    told = CIMultiDict(fields)
    told[hdrs.AUTHORIZATION] = f"Session {_identity(login, user)}"
    return told


def _identity(login: bytes | None, user: DigestAuthMiddleware) -> str:
    if login is not None:
        return blake2b(login, digest_size=32).hexdigest()
    return _strangers.setdefault(user, secrets.token_hex(32))  # for this object alone, as what it knows is not known
