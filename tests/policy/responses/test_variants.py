from __future__ import annotations

from typing import Any

from aiohttp_cache_di.policy.responses.variants import Placement, place_variant
from aiohttp_cache_di.rfc9111.messages import StoredResponse, VariantRef
from aiohttp_cache_di.rfc9111.vary import variant_key
from tests.messages import NOW, a_stored


def variant(digest: bytes, *, fields: tuple[str, ...] = ("foo",), **more: Any) -> StoredResponse:
    return a_stored({"ETag": f'"{digest.decode()}"'}, vary_fields=fields, vary_digest=digest, **more)


def place(primary: StoredResponse | None, entry: StoredResponse, *, max_variants: int = 8) -> Placement:
    return place_variant(primary, entry, max_variants=max_variants, now=NOW)


def test_the_first_response_takes_the_place_of_the_url() -> None:
    entry = variant(b"1")
    assert place(None, entry) == Placement((entry,))


def test_a_response_takes_the_place_of_the_same_variant() -> None:
    ref = VariantRef(("foo",), b"2", "k.2")
    placed = place(variant(b"1", variants=(ref,)), variant(b"1", body=b"new"))
    assert [write.key for write in placed.writes] == ["k"]
    assert placed.writes[0].body == b"new"
    assert placed.writes[0].variants == (ref,)
    assert placed.deletes == ()


def test_another_variant_takes_the_first_place_and_the_old_one_moves_beside() -> None:
    moved, first = place(variant(b"1", body=b"old"), variant(b"2", body=b"new")).writes
    key = variant_key("k", ("foo",), b"1")
    assert (first.key, first.body) == ("k", b"new")
    assert first.variants == (VariantRef(("foo",), b"1", key, '"1"', moved.store_until),)
    assert (moved.key, moved.body, moved.variants) == (key, b"old", ())


def test_a_variant_that_comes_again_leaves_its_old_place() -> None:
    first = place(variant(b"1"), variant(b"2")).writes[-1]
    again = place(first, variant(b"1", body=b"again"))
    assert again.writes[-1].body == b"again"
    assert again.deletes == (variant_key("k", ("foo",), b"1"),)
    assert [ref.digest for ref in again.writes[-1].variants] == [b"2"]


def test_the_oldest_go_when_there_are_too_many() -> None:
    primary, kept = variant(b"0"), Placement(())
    for number in range(1, 6):
        kept = place(primary, variant(b"%d" % number), max_variants=3)
        primary = kept.writes[-1]
    assert [ref.digest for ref in primary.variants] == [b"4", b"3"]
    assert kept.deletes == (variant_key("k", ("foo",), b"2"),)


def test_one_variant_at_most_means_no_others() -> None:
    placed = place(variant(b"1"), variant(b"2"), max_variants=1)
    assert [write.key for write in placed.writes] == ["k"]
    assert placed.writes[0].variants == ()


def test_what_has_expired_from_the_store_is_not_carried_along() -> None:
    expired = VariantRef(("foo",), b"3", "k.3", None, NOW - 1)
    placed = place(variant(b"1", variants=(expired,), store_until=NOW - 1), variant(b"2"))
    assert [write.key for write in placed.writes] == ["k"]
    assert placed.writes[0].variants == ()
    assert placed.deletes == ("k.3",)


def test_a_response_that_varies_otherwise_is_another_variant() -> None:
    placed = place(variant(b"1"), a_stored())
    assert placed.writes[-1].vary_fields == ()
    assert [ref.fields for ref in placed.writes[-1].variants] == [("foo",)]


def test_a_response_that_varies_takes_the_place_of_older_ones_that_do_not() -> None:
    silent = variant(b"", fields=())
    placed = place(silent, variant(b"1"))
    assert [(write.key, write.vary_fields, write.variants) for write in placed.writes] == [("k", ("foo",), ())]
    beside = VariantRef((), b"", "k.0")
    placed = place(variant(b"1", variants=(beside,)), variant(b"2"))
    assert beside not in placed.writes[-1].variants
    assert placed.deletes == ("k.0",)
