from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.rfc9111.directives import (
    RequestDirectives,
    ResponseDirectives,
    request_directives,
    response_directives,
)
from tests.messages import fields_of


def response(*values: str) -> ResponseDirectives:
    return response_directives(fields_of([("Cache-Control", value) for value in values]))


def request(*values: str) -> RequestDirectives:
    return request_directives(fields_of([("Cache-Control", value) for value in values]))


def test_no_field_means_no_directives() -> None:
    assert response() == ResponseDirectives()
    assert request() == RequestDirectives()


@pytest.mark.parametrize(
    ("value", "max_age_s"),
    [
        ("max-age=60", 60),
        ("MaX-aGe=60", 60),
        ('max-age="60"', 60),
        ("max-age=0060", 60),
        ("max-age=2147483648", 2**31),
        ("max-age=99999999999", 2**31),
        ("foo, max-age=60 , bar", 60),
        (",,max-age=60,,", 60),
    ],
)
def test_max_age_is_read(value: str, max_age_s: float) -> None:
    assert response(value).max_age_s == max_age_s


@pytest.mark.parametrize(
    "value",
    [
        "max-age",
        "max-age=",
        "max-age=-60",
        "max-age=60.0",
        "max-age=60.5",
        "max-age=60a",
        "max-age=a60",
        "max-age='60'",
        "max-age= 60",
        "max-age =60",
        "max-age=6 0",
        'max-age="60',
        "max-age=60;",
        "max-age:60",
    ],
)
def test_a_max_age_that_cannot_be_read_means_stale(value: str) -> None:
    assert response(value).max_age_s == 0


def test_of_several_the_strictest_counts() -> None:
    assert response("max-age=60, max-age=10").max_age_s == 10
    assert response("max-age=10", "max-age=60").max_age_s == 10
    assert response("max-age=60, max-age=x").max_age_s == 0
    assert request("max-age=60, max-age=10").max_age_s == 10
    assert request("min-fresh=60, min-fresh=10").min_fresh_s == 60
    assert request("max-stale, max-stale=10").max_stale_s == 10


def test_what_stands_in_quotes_is_no_directive() -> None:
    assert response('extension="max-age=3600", max-age=1').max_age_s == 1
    assert response('max-age=1, extension="max-age=3600"').max_age_s == 1
    assert response('foo="no-store, private"') == ResponseDirectives()


def test_a_stray_quote_hides_no_restriction() -> None:
    assert response('foo=", no-store').no_store


def test_names_are_whole_tokens() -> None:
    assert response("xno-store, no-store-x, max-age-x=1") == ResponseDirectives()


def test_restrictions_hold_even_with_an_argument() -> None:
    assert response("no-store=1").no_store
    assert response('no-store="x"').no_store
    assert response("no-store x").no_store
    assert response("must-revalidate=").must_revalidate


def test_permissions_need_a_member_that_the_grammar_allows() -> None:
    assert response("public").public
    assert not response("public x").public
    assert not response("immutable=").immutable
    assert not request("only-if-cached;").only_if_cached


def test_unknown_directives_are_ignored() -> None:
    known = response("max-age=60, no-cache")
    assert response("foo, max-age=60, bar=1, no-cache, baz='x'").max_age_s == known.max_age_s
    assert request("foo, no-cache") == request("no-cache")


@pytest.mark.parametrize("name", ["no-cache", "private"])
def test_a_qualified_directive_names_fields(name: str) -> None:
    def read(value: str) -> tuple[bool, set[str]]:
        found = response(value)
        if name == "private":
            return found.private, set(found.private_fields)
        return found.no_cache, set(found.no_cache_fields)

    assert read(name) == (True, set())
    assert read(f'{name}="X-A, x-B"') == (False, {"x-a", "x-b"})
    assert read(f"{name}=X-A") == (False, {"x-a"})
    assert read(f'{name}="X-A", {name}') == (True, {"x-a"})
    assert read(f'{name}=""') == (True, set())
    assert read(f'{name}="a b"') == (True, set())
    assert read(f"{name}=") == (True, set())


def test_the_extensions_are_read() -> None:
    found = response("stale-while-revalidate=30, stale-if-error=60, immutable, must-understand, s-maxage=5")
    assert found.stale_while_revalidate_s == 30
    assert found.stale_if_error_s == 60
    assert found.immutable
    assert found.must_understand
    assert found.s_maxage_s == 5
    assert response("stale-if-error=x").stale_if_error_s == 0


def test_request_directives_are_read() -> None:
    found = request("max-age=1, min-fresh=2, max-stale=3, no-cache, no-store, only-if-cached, stale-if-error=4")
    assert found == RequestDirectives(1, 3, 2, True, True, True, 4)


def test_max_stale_without_a_number_is_unlimited() -> None:
    assert request("max-stale").max_stale_s == math.inf
    assert request("max-stale=x").max_stale_s == 0


def test_a_min_fresh_that_cannot_be_read_is_never_met() -> None:
    assert request("min-fresh").min_fresh_s == math.inf
    assert request("min-fresh=-1").min_fresh_s == math.inf


def test_pragma_counts_only_without_cache_control() -> None:
    assert request_directives(fields_of({"Pragma": "no-cache"})).no_cache
    assert request_directives(fields_of({"Pragma": "foo, NO-CACHE"})).no_cache
    assert not request_directives(fields_of({"Pragma": "no-cache", "Cache-Control": "foo"})).no_cache
    assert not request_directives(fields_of({"Pragma": "foo"})).no_cache
    assert not response_directives(fields_of({"Pragma": "no-cache"})).no_cache


@given(st.text())
def test_any_text_can_be_read(value: str) -> None:
    assert response(value) == response(value)
    assert request(value) == request(value)


MEMBERS = st.sampled_from(
    ["no-store", "no-cache", "private", "must-revalidate", "max-age=5", "max-age=x", "foo", 'foo="a, b"', "s-maxage=9"]
)


@given(st.lists(MEMBERS), st.lists(MEMBERS))
def test_adding_members_never_lifts_a_restriction(one: list[str], other: list[str]) -> None:
    fewer, more = response(", ".join(one)), response(", ".join(one + other))
    assert more.no_store >= fewer.no_store
    assert more.no_cache >= fewer.no_cache
    assert more.private >= fewer.private
    assert more.must_revalidate >= fewer.must_revalidate
    if fewer.max_age_s is not None:
        assert more.max_age_s is not None
        assert more.max_age_s <= fewer.max_age_s
