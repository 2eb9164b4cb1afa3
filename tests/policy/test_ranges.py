"""Ranges and parts, in whole exchanges that the policy alone decides."""

from __future__ import annotations

import pytest

from tests.messages import Fields, a_request, fields_of
from tests.sync_cache import Answer, Reply, SyncCache, reply, scripted


def ask_range(cache: SyncCache, value: str, **more: str) -> Answer:
    return cache.send(a_request({"Range": value, **more}))


@pytest.mark.parametrize(
    ("value", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=20-", 416, b"", "bytes */10"),
    ],
)
def test_a_range_is_answered_from_a_complete_response(value: str, status: int, body: bytes, content_range: str) -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"})])
    cache.send(a_request())
    answer = ask_range(cache, value)
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (status, body, content_range)
    assert len(cache.sent) == 1


def test_several_ranges_and_other_units_go_to_the_origin() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"})])
    cache.send(a_request())
    assert not ask_range(cache, "bytes=0-1,3-4").from_cache
    assert not ask_range(cache, "lines=0-1").from_cache


def test_a_decoded_response_is_not_sliced() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "Content-Encoding": "gzip"})])
    cache.send(a_request())
    assert not ask_range(cache, "bytes=0-1").from_cache


def test_if_range_that_does_not_hold_gets_the_whole() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'})])
    cache.send(a_request())
    assert ask_range(cache, "bytes=0-1", **{"If-Range": '"a"'}).status == 206
    assert ask_range(cache, "bytes=0-1", **{"If-Range": '"b"'}).status == 200


def part(first: int, last: int, **more: str) -> Reply:
    fields = {"Cache-Control": "max-age=60", "Content-Range": f"bytes {first}-{last}/10", "ETag": '"a"', **more}
    return reply(fields, status=206, body=b"0123456789"[first : last + 1])


def test_a_stored_part_answers_only_what_it_holds() -> None:
    cache = scripted([part(2, 6), reply(status=200)])
    ask_range(cache, "bytes=2-6")
    assert ask_range(cache, "bytes=3-5").body == b"345"
    assert ask_range(cache, "bytes=20-").status == 416
    assert len(cache.sent) == 1
    assert not ask_range(cache, "bytes=3-8").from_cache
    assert not cache.send(a_request()).from_cache


def test_parts_are_joined_into_a_whole() -> None:
    cache = scripted([part(0, 4), part(5, 9)])
    ask_range(cache, "bytes=0-4")
    ask_range(cache, "bytes=5-9")
    answer = cache.send(a_request())
    assert (answer.status, answer.from_cache, answer.body) == (200, True, b"0123456789")


def rest(first: int = 5, last: int = 9, more: Fields = ()) -> Reply:
    return part(first, last, **{"Content-Length": str(last + 1 - first), **fields_of(more)})


def test_a_part_is_completed_by_asking_for_the_rest() -> None:
    cache = scripted([part(0, 4), rest()])
    ask_range(cache, "bytes=0-4")
    answer = cache.send(a_request())
    assert (answer.status, answer.from_cache, answer.body) == (200, False, b"0123456789")
    sent = cache.sent[-1].headers
    assert (sent["Range"], sent["If-Range"]) == ("bytes=5-", '"a"')
    again = cache.send(a_request())
    assert (again.status, again.from_cache, again.body) == (200, True, b"0123456789")


def test_a_part_whose_time_is_over_is_completed_by_what_confirms_it() -> None:
    cache = scripted([part(0, 4), rest()])
    ask_range(cache, "bytes=0-4")
    cache.now += 61
    assert cache.send(a_request()).body == b"0123456789"
    assert cache.sent[-1].headers["Range"] == "bytes=5-"


def test_the_rest_of_what_may_not_be_stored_is_handed_on_as_a_whole_all_the_same() -> None:
    cache = scripted([part(0, 4), rest(more={"Cache-Control": "no-store"})])
    ask_range(cache, "bytes=0-4")
    answer = cache.send(a_request())
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert [entry.status for entry in cache.entries.values()] == [206]


def test_a_whole_in_place_of_the_rest_is_of_another_state() -> None:
    cache = scripted([part(0, 4), reply({"Cache-Control": "max-age=60", "ETag": '"b"'}, body=b"changed")])
    ask_range(cache, "bytes=0-4")
    assert cache.send(a_request()).body == b"changed"
    assert cache.send(a_request()).body == b"changed"
    assert len(cache.sent) == 2


@pytest.mark.parametrize(
    "odd",
    [
        rest(more={"ETag": '"b"'}),
        rest(more={"ETag": 'W/"a"'}),
        rest(4, 9),
        rest(6, 9),
        rest(5, 8),
        rest(more={"Content-Length": "4"}),
        part(5, 9),
        rest(more={"Content-Range": "bytes 5-9/11"}),
        rest(more={"Content-Range": "bytes 5-9/*"}),
        rest(more={"Content-Encoding": "gzip"}),
        reply({"Content-Range": "bytes */5"}, status=416),
        reply(status=400),
    ],
)
def test_what_is_not_the_rest_is_followed_by_a_request_for_the_whole(odd: Reply) -> None:
    cache = scripted([part(0, 4), odd, reply({"Cache-Control": "max-age=60"})])
    ask_range(cache, "bytes=0-4")
    answer = cache.send(a_request())
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert [("Range" in request.headers) for request in cache.sent] == [True, True, False]


@pytest.mark.parametrize(
    ("held", "fields"),
    [
        (part(1, 4), {}),
        (part(0, 4, ETag='W/"a"'), {}),
        (part(0, 4, ETag="none"), {}),
        (part(0, 4, **{"Content-Range": "bytes 0-4/*"}), {}),
        (part(0, 4), {"If-None-Match": '"b"'}),
        (part(0, 4), {"If-Range": '"a"'}),
        (part(0, 4), {"Cache-Control": "no-cache"}),
    ],
)
def test_other_parts_are_not_completed(held: Reply, fields: dict[str, str]) -> None:
    cache = scripted([held, reply()])
    ask_range(cache, "bytes=0-4")
    cache.send(a_request(fields))
    assert "Range" not in cache.sent[-1].headers


def test_a_part_does_not_replace_the_whole() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'}), part(0, 1)])
    cache.send(a_request())
    ask_range(cache, "bytes=0-1", **{"Cache-Control": "no-cache"})
    assert cache.send(a_request()).from_cache


def test_a_part_that_says_not_which_part_is_not_stored() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60"}, status=206)])
    ask_range(cache, "bytes=0-1")
    assert cache.entries == {}


def test_a_part_of_another_state_drops_the_whole() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=60", "ETag": '"a"'}), part(0, 1, ETag='"b"')])
    cache.send(a_request())
    ask_range(cache, "bytes=0-1", **{"Cache-Control": "no-cache"})
    assert cache.entries == {}


def test_a_validated_whole_answers_the_range_that_was_asked_for() -> None:
    cache = scripted([reply({"Cache-Control": "max-age=5", "ETag": '"a"'}), Reply(304, fields_of({"ETag": '"a"'}))])
    cache.send(a_request())
    cache.now += 10
    answer = ask_range(cache, "bytes=0-1")
    assert (answer.status, answer.body) == (206, b"01")
    assert cache.sent[-1].headers["Range"] == "bytes=0-1"


def test_several_parts_in_one_body_are_not_stored() -> None:
    fields = {"Cache-Control": "max-age=60", "Content-Type": "multipart/byteranges; boundary=x"}
    cache = scripted([reply(fields, status=206)])
    ask_range(cache, "bytes=0-1,3-4")
    assert cache.entries == {}
