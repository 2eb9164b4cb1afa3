"""The names of records and leases on a server, which are different for each cache.

A record is ``<namespace>:<collection>:<key>``, a lease ``<namespace>:<collection>-lease:<key>``, and the secret of a
collection ``<namespace>:<collection>-secret:``. A namespace may have colons, as is usual on such servers: ``app`` and
``app:responses`` are two caches. So colons in a collection or a key are written as ``%3A``, and if the rest of a name
after our prefix has a colon, the name belongs to another cache, whose namespace begins like our prefix.

In a cluster the key is in braces, ``<namespace>:<collection>:{<key>}``. What is between the first two braces (a hash
tag) decides the slot, so that a record and its lease are in one slot and one script may use both.
"""

from __future__ import annotations

import re

from aiohttp_cache_di.backends.store import is_mark
from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["Names"]

_LEASE = "-lease"
_KEPT = "-secret"
_EMPTY = "%"  # stands for the empty key, since every other % is part of an escape
_WITH_TAG_OR_NONE = re.compile(r"[^{}]*(\{[^{}]+\}[^{}]*)?", re.DOTALL)


class Names:
    """The names of one collection.

    Args:
        namespace: first part, colons allowed.
        collection: second part.
        tagged: write the key as a hash tag.

    Raises:
        ConfigurationError: the namespace has braces that do not form a hash tag.
    """

    __slots__ = ("_is_tagged", "leases", "records", "secret")

    def __init__(self, namespace: str, collection: str, *, tagged: bool = False) -> None:
        if tagged and not _WITH_TAG_OR_NONE.fullmatch(namespace):
            raise ConfigurationError(
                f"{namespace!r}: in a cluster, braces in the name of a cache are a hash tag: '{{x}}'"
            )
        self._is_tagged = tagged
        second = _escaped(collection)
        if tagged:
            second = _without_braces(second)
        for suffix in (_LEASE, _KEPT):
            if second.endswith(suffix):  # else its records would be named like another collection's leases or secret
                second = f"{second.removesuffix(suffix)}%2D{suffix[1:]}"
        self.records: bytes = _as_bytes(f"{namespace}:{second}:")
        self.secret: bytes = _as_bytes(f"{namespace}:{second}{_KEPT}:")
        self.leases: bytes = _as_bytes(f"{namespace}:{second}{_LEASE}:")

    def record(self, key: str) -> bytes:
        """The name of the record under *key*."""
        if key.isalnum() and key.isascii():  # as all keys of requests
            spelt = key.encode()
        elif self._is_tagged:
            spelt = _as_bytes(_escaped(key).replace("}", "%7D") or _EMPTY)
        else:
            spelt = _as_bytes(_escaped(key))
        return self.records + (b"{%b}" % spelt if self._is_tagged else spelt)

    def lease(self, key: str) -> bytes:
        """The name of the lease on *key*; in a cluster it has the slot of the record."""
        return self.leases + self.record(key)[len(self.records) :]

    def key(self, name: bytes) -> str | None:
        """The key of the record *name*; None if it is not the name of a record of this cache."""
        first = len(self.records)
        if not name.startswith(self.records) or b":" in name[first:]:
            return None
        key = name[first:].decode("utf-8", "surrogateescape")
        if self._is_tagged:
            if not (key.startswith("{") and key.endswith("}")):
                return None
            key = key[1:-1]
            if key == _EMPTY:
                return ""
            key = key.replace("%7D", "}")
        return key.replace("%3A", ":").replace("%25", "%") if "%" in key else key

    def is_mark(self, name: bytes) -> bool:
        """Whether *name* is that of the record of a purge."""
        key = self.key(name)
        return key is not None and is_mark(key)


def _without_braces(text: str) -> str:
    return text.replace("{", "%7B").replace("}", "%7D")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A")


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
