"""Whether the classes of a session may add something to a request that its arguments do not show.

A user's class may sign requests, or set credentials: in a request class, in an overridden method of the session, in a
connector or a cookie jar. So the fast lane, which does not build the request, is only for classes that are known to add
nothing: aiohttp's own, unpatched, and those of this package.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import (
    BaseConnector,
    ClientRequest,
    ClientSession,
    CookieJar,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractCookieJar

from aiohttp_cache_di._aiohttp import is_genuine, request_class_of
from aiohttp_cache_di.engine.bases.overrides import ADDING, hands_on, overrides_below

__all__ = ["adds_nothing"]

_JARS: Final = frozenset({CookieJar, DummyCookieJar})


def adds_nothing(session: ClientSession, own: frozenset[type]) -> bool:
    """Whether what *session* sends depends only on a request's arguments, and on its headers, cookies and settings.

    Args:
        own: the session classes of this package.
    """
    connector, jar = session.connector, session.cookie_jar
    return (
        request_class_of(session) is ClientRequest
        and type(connector) is TCPConnector  # others connect elsewhere than the URL says, which counts in keys
        and type(jar) in _JARS
        and all(map(is_genuine, (ClientRequest, BaseConnector, type(connector), AbstractCookieJar, type(jar))))
        and _has_no_own(connector)
        and _has_no_own(jar)
        and _has_no_own(session)
        and _is_plain(type(session), own)
    )


def _has_no_own(owner: Any) -> bool:
    """Whether no method of *owner* is replaced on the object itself."""
    return not any(callable(getattr(owner.__class__, name, None)) for name in owner.__dict__)


def _is_plain(session_class: type, own: frozenset[type]) -> bool:
    for base in session_class.__mro__[:-1]:
        if base is ClientSession or base in own:
            if not is_genuine(base):
                return False
        elif not ADDING.isdisjoint(vars(base)) or "__getattribute__" in vars(base):
            return False
    return all(map(hands_on, overrides_below(session_class, own)))
