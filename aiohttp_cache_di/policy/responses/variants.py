"""Where the variants of one URL are stored: one under the URL's own key, the others under keys derived from it."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from aiohttp_cache_di.rfc9111.messages import MAX_VARIANTS, StoredResponse, VariantRef
from aiohttp_cache_di.rfc9111.validation import entity_tag
from aiohttp_cache_di.rfc9111.vary import variant_key

__all__ = ["Placement", "place_variant"]


class Placement(Struct, frozen=True):
    """The entries to write, in this order, and the keys to delete afterwards."""

    writes: tuple[StoredResponse, ...]
    deletes: tuple[str, ...] = ()


def place_variant(primary: StoredResponse | None, entry: StoredResponse, *, max_variants: int, now: float) -> Placement:
    """Place *entry* among the stored responses for its URL.

    A request may select several variants if they vary on different fields. Then the newest must be used (RFC 9111
    §4.1), so it is placed where `select_variant` looks first. A response without Vary, which every request selects, is
    deleted when a newer one has Vary.

    Args:
        primary: the response stored under the URL's own key, or None.
        entry: a new or freshened response; its key is the URL's own, or that of the variant it replaces.
        max_variants: how many are kept; the oldest are deleted first.
        now: POSIX time, UTC; references that have expired are dropped.
    """
    if primary is None:
        return Placement((entry,))
    refs = [ref for ref in primary.variants if ref.store_until > now and not _replaces(entry, ref.fields, ref.digest)]
    if primary.store_until <= now or _replaces(entry, primary.vary_fields, primary.vary_digest):
        moved: tuple[StoredResponse, ...] = ()
    else:
        key = variant_key(primary.key, primary.vary_fields, primary.vary_digest)
        moved = (replace(primary, key=key, variants=()),)
        refs.insert(0, _ref(moved[0]))
    kept = refs[: max(0, min(max_variants, MAX_VARIANTS) - 1)]
    placed = replace(entry, key=primary.key, variants=tuple(kept))
    kept_keys = {ref.key for ref in kept}
    writes = tuple(write for write in moved if write.key in kept_keys)
    old_keys = [ref.key for ref in primary.variants]
    deletes = tuple(key for key in old_keys if key not in kept_keys)
    return Placement((*writes, placed), deletes)


def _replaces(entry: StoredResponse, fields: tuple[str, ...], digest: bytes) -> bool:
    if entry.vary_fields and not fields:
        return True
    return (fields, digest) == (entry.vary_fields, entry.vary_digest)


def _ref(entry: StoredResponse) -> VariantRef:
    return VariantRef(
        fields=entry.vary_fields,
        digest=entry.vary_digest,
        key=entry.key,
        etag=entity_tag(entry.headers),
        store_until=entry.store_until,
    )
