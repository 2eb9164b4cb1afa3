"""What the classes of a session may add to a request that its arguments do not tell.

A class of the user's may sign each request, or say in whose name it is: in a request class, by a method of the session
that aiohttp calls, in a connector. So only what is known to add nothing is answered without building the request:
aiohttp's own classes as aiohttp made them, and ours.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterable
from functools import lru_cache
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FunctionType
from typing import Any, Final

from aiohttp import BaseConnector, ClientRequest, ClientSession, NamedPipeConnector, TCPConnector, UnixConnector

from aiohttp_cache_di._aiohttp import genuine_request, is_genuine, request_class_of
from aiohttp_cache_di.arguments import named_parameters

__all__ = ["ADDING", "adds_nothing", "hands_on", "senders_below"]

_CONNECTORS: Final = frozenset({TCPConnector, UnixConnector, NamedPipeConnector})

# What runs before the cache is asked, so that its say is in the arguments, and what has nothing to do with requests.
_BEFORE: Final = frozenset(
    {"request", "get", "options", "head", "post", "put", "patch", "delete", "ws_connect", "close", "detach"}
    | {"disabled", "delete_expired_responses", "remove_expired_responses", "has_url", "delete_url", "ATTRS", "_request"}
)
_REQUEST_OPTIONS: Final = named_parameters(genuine_request()) or frozenset()


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name != "__getattribute__"


def _names_of(owner: type) -> frozenset[str]:
    return frozenset(name for name in dir(owner) if not _is_special(name))


ADDING: Final = (_names_of(ClientSession) | ClientSession.ATTRS | {"_send"}) - _BEFORE
"""Attributes of a session, by whichever name they are set or overridden, that may have a say in what is sent."""

_SETTINGS: Final = ADDING - {"closed", "loop", "_loop"}


def adds_nothing(session: ClientSession, own: frozenset[type]) -> bool:
    """Whether what *session* sends is told by the arguments of a request, its headers, its jar and its settings.

    Args:
        own: our classes of sessions.
    """
    connector = session.connector
    return (
        request_class_of(session) is ClientRequest
        and type(connector) in _CONNECTORS
        and all(map(is_genuine, (ClientRequest, BaseConnector, type(connector))))
        and _has_no_own(connector)
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


def senders_below(session_class: type, own: frozenset[type]) -> list[Callable[..., Any]]:
    """The methods ``_request`` that stand between our classes and aiohttp's, so that ours calls them."""
    bases = session_class.__mro__[:-1]
    first = max(index for index, base in enumerate(bases) if base in own) + 1
    return [vars(base)["_request"] for base in bases[first:] if base is not ClientSession and "_request" in vars(base)]


def hands_on(sender: Callable[..., Any]) -> bool:
    """Whether a method ``_request`` hands on what it was given, and nothing else, as far as its code tells.

    So do those that limit rates, count, or take times::

        async def _request(self, *args, **kwargs):
            async with self._limiter:
                return await super()._request(*args, **kwargs)
    """
    return type(sender) is FunctionType and _hands_on(sender.__code__)


@lru_cache(maxsize=64)
def _hands_on(code: CodeType) -> bool:
    if not code.co_flags & CO_VARKEYWORDS:
        return False
    last = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    *arguments, options = code.co_varnames[: last + 1]
    taken = {*arguments, options}
    if not taken.isdisjoint(code.co_cellvars):
        return False
    if not _SETTINGS.isdisjoint(code.co_names) or not _REQUEST_OPTIONS.isdisjoint(_texts_in(code)):
        return False
    calls = uses = merges = 0
    for step in dis.get_instructions(code):
        argument: Any = step.argval
        names: tuple[Any, ...] = _all(argument)
        if step.opname.startswith(("STORE_FAST", "DELETE_FAST")) and not taken.isdisjoint(names):
            return False
        if step.opname.startswith("LOAD_FAST"):
            uses += names.count(options)
        calls += step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER")) and argument == "_request"
        merges += step.opname in {"DICT_MERGE", "DICT_UPDATE"} or (step.opname == "BUILD_MAP" and step.arg != 0)
    return calls == uses > 0 and merges <= calls


def _texts_in(code: CodeType) -> Iterable[str]:
    for constant in code.co_consts:
        yield from (part for part in _all(constant) if isinstance(part, str))


def _all(argument: Any) -> tuple[Any, ...]:
    """Its parts: some instructions have several names, and some constants several texts."""
    parts: tuple[Any, ...] = (argument,)
    if issubclass(type(argument), tuple):
        parts = argument
    return parts
