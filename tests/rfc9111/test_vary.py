from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.rfc9111.messages import VariantRef
from aiohttp_cache_di.rfc9111.vary import (
    VARIES_ON_ALL,
    normalised,
    select_variant,
    variant_key,
    vary_digest,
    vary_fields,
)
from tests.messages import Fields, a_request, a_stored, fields_of


def digest(fields: tuple[str, ...], headers: Fields) -> bytes:
    return vary_digest(fields, fields_of(headers))


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        ([], ()),
        ([""], ()),
        (["Foo"], ("foo",)),
        (["foo, Bar, FOO"], ("bar", "foo")),
        (["Foo", "Bar"], ("bar", "foo")),
        ([" ,Foo, ,"], ("foo",)),
        (["*"], VARIES_ON_ALL),
        (["Foo, *"], VARIES_ON_ALL),
        (["Foo", "*"], VARIES_ON_ALL),
        (["*", "Foo"], VARIES_ON_ALL),
        ([" * "], VARIES_ON_ALL),
        (["foo bar"], VARIES_ON_ALL),
        (['"foo"'], VARIES_ON_ALL),
        ([", ".join(f"x-{number}" for number in range(64))], tuple(sorted(f"x-{number}" for number in range(64)))),
        ([", ".join(f"x-{number}" for number in range(65))], VARIES_ON_ALL),
        (["x" * 4096], ("x" * 4096,)),
        (["x" * 4097], VARIES_ON_ALL),
        (["x" * 4000, "y" * 100], VARIES_ON_ALL),
    ],
)
def test_vary_names_fields_or_everything(lines: list[str], fields: tuple[str, ...]) -> None:
    assert vary_fields(fields_of([("Vary", line) for line in lines])) == fields


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("foo", "1,2", "1, 2"),
        ("foo", "1,2", " 1 ,\t2 "),
        ("foo", '"a,b",c', '"a,b" , c'),
        ("accept-encoding", "gzip, br", "br,gzip"),
        ("accept-encoding", "gzip,, br,", "gzip, br"),
        ("accept-encoding", "gzip;q=1.0, br", "GZIP, br;q=1"),
        ("accept", "text/html, */*;q=0.1", "*/*; q=0.10, text/html"),
        ("accept-language", "en;q=0.5, de", "de, EN;q=0.5"),
        ("accept-language", "de,en", "de, en"),
        ("accept-language", "de, en", "en, de"),
    ],
)
def test_values_of_one_meaning_are_normalised_alike(name: str, one: str, other: str) -> None:
    assert normalised(name, one) == normalised(name, other)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("foo", "1, 2", "2, 1"),
        ("foo", "A", "a"),
        ("foo", "bob", "bob,"),
        ("foo", "bob", ",bob"),
        ("foo", "a,,b", "a,b"),
        ("foo", '"a",', '"a"'),
        ("foo", '"a, b"', '"a,b"'),
        ("foo", "1 2", "12"),
        ("accept", "text/html;q=0.5", "text/html;q=0.6"),
        ("accept", "text/html;level=1", "text/html;level=2"),
        ("accept", "text/html;q=x", "text/html"),
        ("accept-encoding", "gzip;q=0", "gzip"),
    ],
)
def test_values_of_different_meanings_stay_apart(name: str, one: str, other: str) -> None:
    assert normalised(name, one) != normalised(name, other)


def test_lines_of_one_field_equal_their_list() -> None:
    assert digest(("foo",), [("Foo", "1"), ("Foo", "2")]) == digest(("foo",), {"Foo": "1,2"})


def test_a_digest_with_a_key_cannot_be_made_without_it() -> None:
    fields, headers = ("foo",), fields_of({"Foo": "1"})
    digests = {vary_digest(fields, headers, key) for key in (b"", b"a key", b"another key")}
    assert len(digests) == 3
    primary = a_stored(vary_fields=fields, vary_digest=vary_digest(fields, headers, b"a key"))
    assert select_variant(a_request({"Foo": "1"}), primary, b"a key") == "k"
    assert select_variant(a_request({"Foo": "1"}), primary) is None


def test_an_absent_field_differs_from_an_empty_one() -> None:
    assert digest(("foo",), {}) != digest(("foo",), {"Foo": ""})


def test_absent_fields_of_different_names_differ() -> None:
    assert digest(("foo",), {}) != digest(("bar",), {})


def test_values_do_not_run_into_each_other() -> None:
    assert digest(("bar", "foo"), {"Bar": "1", "Foo": "23"}) != digest(("bar", "foo"), {"Bar": "12", "Foo": "3"})
    assert digest(("bar", "foo"), {"Bar": "1"}) != digest(("bar", "foo"), {"Foo": "1"})


def test_a_response_that_does_not_vary_is_selected_by_any_request() -> None:
    assert select_variant(a_request({"Foo": "1"}), a_stored()) == "k"


def test_a_variant_is_selected_by_the_same_values() -> None:
    fields = ("foo",)
    other = VariantRef(fields, digest(fields, {"Foo": "2"}), "k.2")
    wider = VariantRef(("bar", "foo"), digest(("bar", "foo"), {"Foo": "3"}), "k.3")
    primary = a_stored(vary_fields=fields, vary_digest=digest(fields, {"Foo": "1"}), variants=(other, wider))
    assert select_variant(a_request({"Foo": "1"}), primary) == "k"
    assert select_variant(a_request({"Foo": "2"}), primary) == "k.2"
    assert select_variant(a_request({"Foo": "3"}), primary) == "k.3"
    assert select_variant(a_request({"Foo": "3", "Bar": "1"}), primary) is None
    assert select_variant(a_request(), primary) is None


def test_what_varies_on_everything_is_never_selected() -> None:
    ref = VariantRef(VARIES_ON_ALL, b"", "k.2")
    primary = a_stored(vary_fields=VARIES_ON_ALL, variants=(ref,))
    assert select_variant(a_request(), primary) is None


def test_variant_keys_are_distinct_and_no_primary_keys() -> None:
    keys = {
        variant_key("k", ("foo",), b"1"),
        variant_key("k", ("foo",), b"2"),
        variant_key("k", ("bar",), b"1"),
        variant_key("l", ("foo",), b"1"),
    }
    assert len(keys) == 4
    assert all("." in key for key in keys)


@given(st.sampled_from(["foo", "accept", "accept-encoding", "accept-language"]), st.text())
def test_normalising_twice_changes_nothing(name: str, value: str) -> None:
    once = normalised(name, value)
    assert normalised(name, once) == once


@given(st.text(), st.text())
def test_equal_digests_mean_equal_normalised_values(one: str, other: str) -> None:
    same = digest(("foo",), {"Foo": one}) == digest(("foo",), {"Foo": other})
    assert same == (normalised("foo", one) == normalised("foo", other))


@pytest.mark.parametrize(
    ("language", "asked", "is_selected"),
    [
        ("de", "fr;q=0.5, de;q=1.0", True),
        ("DE", "de", True),
        ("de", "de, en;q=0.9, *;q=0.1", True),
        ("de", "de, en", False),
        ("de", "en, de;q=0.9", False),
        ("de", "de-AT", False),
        ("de, en", "de", False),
        ("de", "de;q=0", False),
        ("de", "*", False),
        ("de", "", False),
        ("", "de", False),
    ],
)
def test_a_language_that_is_preferred_to_all_others_is_selected(language: str, asked: str, is_selected: bool) -> None:
    fields = ("accept-language",)
    stored = a_stored(
        {"Content-Language": language}, vary_fields=fields, vary_digest=digest(fields, {"Accept-Language": "x"})
    )
    assert select_variant(a_request({"Accept-Language": asked}), stored) == ("k" if is_selected else None)


def test_a_language_selects_nothing_where_more_than_the_language_varies() -> None:
    stored = a_stored({"Content-Language": "de"}, vary_fields=("accept-language", "foo"), vary_digest=b"x")
    assert select_variant(a_request({"Accept-Language": "de"}), stored) is None
    assert select_variant(a_request(), stored) is None
