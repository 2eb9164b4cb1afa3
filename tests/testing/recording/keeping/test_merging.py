"""Recording anew: what has not changed keeps its lines and its place."""

from __future__ import annotations

from dataclasses import replace

from aiohttp_cache_di.testing.recording.comparing.matching import Key, key_of
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange
from aiohttp_cache_di.testing.recording.keeping.merging import merged


def exchange(path: str, body: str = "a", *, at: float = 1.0, **headers: str) -> Exchange:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Exchange(Asked("GET", f"https://a.example{path}"), Answered(200, "OK", fields, body.encode()), at)


def key(one: Exchange) -> Key:
    return key_of(one.asked)


def test_what_changes_by_itself_is_no_change() -> None:
    old = [exchange("/1", Date="Monday", X_Request_Id="1", Age="1"), exchange("/2", X_Own="1")]
    new = [exchange("/1", at=2.0, date="Friday", X_Request_Id="2"), exchange("/2", at=2.0, x_own="1")]

    assert merged(old, new, key) == old


def test_a_change_is_written_whole() -> None:
    old = [exchange("/1", "a", Date="Monday"), exchange("/2")]
    new = [exchange("/1", "b", at=2.0, Date="Friday"), exchange("/2", at=2.0)]

    assert merged(old, new, key) == [new[0], old[1]]


def test_the_order_is_the_old_one_and_what_is_new_follows_what_it_came_after() -> None:
    old = [exchange("/1"), exchange("/2"), exchange("/3")]
    new = [exchange("/3"), exchange("/new"), exchange("/1"), exchange("/2"), exchange("/newer")]

    paths = [one.asked.url.rpartition("/")[2] for one in merged(old, new, key)]

    assert paths == ["1", "2", "newer", "3", "new"]


def test_the_same_request_again_is_compared_with_its_own_recording() -> None:
    old = [exchange("/1", "a"), exchange("/1", "b")]
    new = [exchange("/1", "a", at=2.0), exchange("/1", "c", at=2.0), exchange("/1", "d", at=2.0)]

    assert merged(old, new, key) == [old[0], new[1], new[2]]


def test_what_was_not_asked_goes_unless_it_is_kept() -> None:
    old = [exchange("/1"), exchange("/2"), exchange("/2", "b"), exchange("/3")]
    new = [exchange("/3", at=2.0), exchange("/2", at=2.0)]

    assert merged(old, new, key) == [old[1], old[3]]
    assert merged(old, new, key, keeps_unasked=True) == old


def test_fields_that_are_named_are_no_change() -> None:
    kind = "application/json"
    old = [exchange("/1", '{"at": 1, "a": [{"At": 1}]}', X_Own="1", Content_Type=kind)]
    new = [exchange("/1", '{"at": 2, "a": [{"At": 2}]}', X_Own="2", at=2.0, Content_Type=kind)]

    assert merged(old, new, key) == new
    assert merged(old, new, key, volatile=["at", "At", "x-own"]) == old


def test_a_request_that_has_changed_is_a_change() -> None:
    old = [exchange("/1")]
    new = [replace(old[0], asked=replace(old[0].asked, headers=(("Accept", "text/html"),)))]

    assert merged(old, new, key) == new
