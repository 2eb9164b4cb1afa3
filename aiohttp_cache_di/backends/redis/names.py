"""What records and leases are called on a server, so that no cache has a name of another's.

A record is ``<namespace>:<collection>:<key>``, a lease ``<namespace>:<collection>-lease:<key>``, and the secret of a
collection ``<namespace>:<collection>-secret:``. A namespace may have colons, as names on such servers do: ``app`` and
``app:responses`` are two caches. So a key and a collection have none; those that a caller gives them are written as
``%3A``. What is left of a name behind our prefix then tells whose it is:
with a colon in it, it is a name of a cache whose namespace begins like our prefix.
"""

from __future__ import annotations

__all__ = ["Names"]

_LEASE = "-lease"
_KEPT = "-secret"


class Names:
    """The names of one collection.

    Args:
        namespace: first part, colons allowed.
        collection: second part.
    """

    __slots__ = ("leases", "records", "secret")

    def __init__(self, namespace: str, collection: str) -> None:
        second = _escaped(collection)
        for suffix in (_LEASE, _KEPT):
            if second.endswith(suffix):  # which would be what belongs to another collection
                second = f"{second.removesuffix(suffix)}%2D{suffix[1:]}"
        self.records = _as_bytes(f"{namespace}:{second}:")
        self.secret = _as_bytes(f"{namespace}:{second}{_KEPT}:")
        self.leases = _as_bytes(f"{namespace}:{second}{_LEASE}:")

    def record(self, key: str) -> bytes:
        """The name of the record under *key*."""
        return self.records + (key.encode() if key.isalnum() and key.isascii() else _as_bytes(_escaped(key)))

    def lease(self, key: str) -> bytes:
        """The name of the lease on *key*."""
        return self.leases + _as_bytes(_escaped(key))

    def key(self, name: bytes) -> str | None:
        """The key of the record that has *name*; None if it is another cache's, or no name of a record."""
        first = len(self.records)
        if not name.startswith(self.records) or b":" in name[first:]:
            return None
        key = name[first:].decode("utf-8", "surrogateescape")
        return key.replace("%3A", ":").replace("%25", "%") if "%" in key else key


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A")


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
