"""What the classes of a session may add to a request that its arguments do not tell.

A class of the user's may sign each request, or say in whose name it is: in a request class, by a method of the session
that aiohttp calls, in a connector, in a jar. So only what is known to add nothing is answered without building the
request: aiohttp's own classes as aiohttp made them, and ours.
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
from aiohttp_cache_di.engine.bases.senders import ADDING, hands_on, senders_below

__all__ = ["adds_nothing"]

_JARS: Final = frozenset({CookieJar, DummyCookieJar})


def adds_nothing(session: ClientSession, own: frozenset[type]) -> bool:
    """Whether what *session* sends is told by the arguments of a request, its headers, its jar and its settings.

    Args:
        own: our classes of sessions.
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
    """Whether no method of *owner* is replaced on the object alone."""
    return not any(callable(getattr(owner.__class__, name, None)) for name in owner.__dict__)


def _is_plain(session_class: type, own: frozenset[type]) -> bool:
    for base in session_class.__mro__[:-1]:
        if base is ClientSession or base in own:
            if not is_genuine(base):
                return False
        elif not ADDING.isdisjoint(vars(base)) or "__getattribute__" in vars(base):
            return False
    return all(map(hands_on, senders_below(session_class, own)))
