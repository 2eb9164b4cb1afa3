"""Groups of an origin (RFC 9875): how fields are read, and whose groups they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aiohttp_cache_di.rfc9111.groups import groups_in, invalidated_groups, origin_of
from aiohttp_cache_di.rfc9111.messages import MAX_TAG_CHARS, MAX_TAGS, Request

names = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
bare = st.sampled_from(["token", "a/b:c*", "-1", "2.5", ":aGk=:", "?1", "@1659578233", '%"f%c3%bc"', '"text"'])
parameters = st.sampled_from(["", ";a", "; a=1", ';a="x"; b=?0', ";*x=:aGk=:"])
gaps = st.sampled_from([", ", ",", " ,\t", "\t, "])


def quoted(name: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


@given(st.lists(st.tuples(names, parameters), max_size=40), gaps)
def test_what_is_written_as_a_list_of_strings_is_read_as_it(members: list[tuple[str, str]], gap: str) -> None:
    field = gap.join(quoted(name) + more for name, more in members)
    assert groups_in(f"  {field}  ") == tuple(name for name, _ in members)


@given(st.lists(st.tuples(bare, parameters), min_size=1, max_size=5))
def test_members_that_are_no_strings_are_passed_over(members: list[tuple[str, str]]) -> None:
    inner = " ".join(item + more for item, more in members)
    field = ", ".join(item + more for item, more in members)
    strings = tuple("text" for item, _ in members if item == '"text"')
    assert groups_in(f'"first", ({inner});x, {field}') == ("first", *strings)


@pytest.mark.parametrize(
    "field",
    ['"a', 'a"', '"a" "b"', '"a",', ',"a"', '"a",,"b"', '"a\tb"', '"ü"', '"a\\b"', '"a";B', '("a"', '"a", (b', "ü"],
)
def test_a_field_that_cannot_be_parsed_names_no_groups(field: str) -> None:
    assert groups_in(field) == ()


@given(st.text(st.sampled_from('",;\\ ()ab=1?:@%\t'), max_size=60))
def test_no_field_value_raises(field: str) -> None:
    assert all(isinstance(group, str) for group in groups_in(field))


@pytest.mark.parametrize("piece", ['"', "\\", '"a",', "(", '("a" ', ";a", '"a" ', "\t,", '"a";a="'])
def test_a_field_takes_no_more_than_linear_time(piece: str) -> None:
    groups_in(piece * 20_000)  # of which anything else would take minutes


def request(method: str = "POST", url: str = "https://a.test/x", **headers: str) -> Request:
    return Request(method, url, CIMultiDict(headers))


@pytest.mark.parametrize(
    ("method", "groups"),
    [("POST", ("a", "b")), ("DELETE", ("a", "b")), ("X-OTHER", ("a", "b")), ("GET", ()), ("QUERY", ())],
)
def test_only_a_request_that_may_change_something_outdates_groups(method: str, groups: tuple[str, ...]) -> None:
    lines = CIMultiDict([("Cache-Group-Invalidation", '"a"'), ("Cache-Group-Invalidation", '"b", "a"')])
    assert invalidated_groups(request(method), lines) == groups


def test_what_no_response_can_be_in_is_not_looked_for() -> None:
    long = "x" * (MAX_TAG_CHARS + 1)
    many = ", ".join(f'"{n}"' for n in range(1000))
    assert invalidated_groups(request(), CIMultiDict({"Cache-Group-Invalidation": f'"", "{long}", "a"'})) == ("a",)
    assert len(invalidated_groups(request(), CIMultiDict({"Cache-Group-Invalidation": many}))) == MAX_TAGS
    assert invalidated_groups(request(), CIMultiDict()) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (request(url="https://a.test/x"), request(url="https://a.test:443/y?z")),
        (request(url="http://a.test/"), request(url="http://a.test:80")),
        (request(url="http://a.test/"), request(url="http://a.test/", Host="a.test")),
        (request(url="http://a.test:8080/"), request(url="http://a.test:8080/", Host="A.test:8080")),
        (request(url="http://user:word@a.test/"), request(url="http://A.test/")),
    ],
)
def test_one_origin_is_named_in_several_ways(one: Request, other: Request) -> None:
    assert origin_of(one) == origin_of(other)


def test_origins_differ_by_scheme_host_port_and_the_host_that_is_asked_for() -> None:
    requests = [
        request(url="https://a.test/"),
        request(url="http://a.test/"),
        request(url="http://a.test:443/"),
        request(url="http://b.test/"),
        request(url="http://a.test/", Host="b.test"),
        request(url="http://a.test/", Host="c.test"),
        request(url="http://[::1]/"),
    ]
    assert len({origin_of(each) for each in requests}) == len(requests)
