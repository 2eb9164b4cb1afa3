"""What records and leases are called on a server, so that no cache has a name of another's.

A record is ``<namespace>:<collection>:<key>``, a lease ``<namespace>:<collection>-lease:<key>``, and the secret of a
collection ``<namespace>:<collection>-secret:``. A namespace may have colons, as names on such servers do: ``app`` and
``app:responses`` are two caches. So a key and a collection have none; those that a caller gives them are written as
``%3A``. What is left of a name behind our prefix then tells whose it is:
with a colon in it, it is a name of a cache whose namespace begins like our prefix.

In a cluster the key is in braces, ``<namespace>:<collection>:{<key>}``: what is between the first two of them tells the
slot (a hash tag), so that a record and the lease on its key are in one slot, where one script may have both.
"""

from __future__ import annotations

import re

from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["Names"]

_LEASE = "-lease"
_KEPT = "-secret"
_EMPTY = "%"  # which no key is written as
_WITH_TAG_OR_NONE = re.compile(r"[^{}]*(\{[^{}]+\}[^{}]*)?", re.DOTALL)


class Names:
    """The names of one collection.

    Args:
        namespace: first part, colons allowed.
        collection: second part.
        tagged: write the key as a hash tag.

    Raises:
        ConfigurationError: the namespace has braces that make no hash tag.
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
            if second.endswith(suffix):  # which would be what belongs to another collection
                second = f"{second.removesuffix(suffix)}%2D{suffix[1:]}"
        self.records: bytes = _as_bytes(f"{namespace}:{second}:")
        self.secret: bytes = _as_bytes(f"{namespace}:{second}{_KEPT}:")
        self.leases: bytes = _as_bytes(f"{namespace}:{second}{_LEASE}:")

    def record(self, key: str) -> bytes:
        """The name of the record under *key*."""
        if key.isalnum() and key.isascii():  # as the keys of requests are
            spelt = key.encode()
        elif self._is_tagged:
            spelt = _as_bytes(_escaped(key).replace("}", "%7D") or _EMPTY)
        else:
            spelt = _as_bytes(_escaped(key))
        return self.records + (b"{%b}" % spelt if self._is_tagged else spelt)

    def lease(self, key: str) -> bytes:
        """The name of the lease on *key*; in a cluster in the slot of its record."""
        return self.leases + self.record(key)[len(self.records) :]

    def key(self, name: bytes) -> str | None:
        """The key of the record that has *name*; None if it is another cache's, or no name of a record."""
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


def _without_braces(text: str) -> str:
    return text.replace("{", "%7B").replace("}", "%7D")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A")


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
