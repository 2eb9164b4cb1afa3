"""The tags of a response: read from any header fields, each once, and never more than are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.entries.tags import MAX_TAGS_BYTES, TAG_FIELDS, TooManyTagsError, as_shown, joined, tagging_of
from aiohttp_cache_di.rfc9111.messages import MAX_TAG_CHARS, MAX_TAGS, Tagging

names = st.sampled_from([*TAG_FIELDS, b"Cache-Groups", b"XKEY", b"X-Other"])
values = st.one_of(st.binary(max_size=60), st.text('", a;ü\\').map(str.encode))
tags = st.text(max_size=20)


@given(st.lists(st.tuples(names, values), max_size=9), st.lists(tags.filter(bool), max_size=9))
def test_whatever_comes_is_tagged_within_bounds_or_refused(lines: list[tuple[bytes, bytes]], others: list[str]) -> None:
    try:
        tagging = tagging_of(lines, others, origin="o", purges=7)
    except TooManyTagsError:
        return
    if tagging is None:
        assert not others
        return
    assert 0 < len(set(tagging.names)) == len(tagging.names) <= MAX_TAGS
    assert all(0 < len(name) <= MAX_TAG_CHARS and name.isprintable() for name in tagging.names)
    assert set(map(as_shown, others)) <= set(tagging.names)
    assert (tagging.groups <= len(tagging.names), tagging.purges) == (True, 7)
    assert tagging.origin == ("o" if tagging.groups else "")


def test_groups_come_first_and_are_one_list_over_several_lines() -> None:
    lines = [(b"xkey", b"x g"), (b"Cache-Groups", b'"g", "h i"'), (b"cache-groups", b'"j"')]
    assert tagging_of(lines, ["told"], origin="o") == Tagging(("g", "h i", "j", "x", "told"), 3, "o")
    assert tagging_of([(b"Cache-Groups", b'"g'), (b"xkey", b"x")], origin="o") == Tagging(("x",))
    assert tagging_of([(b"X-Other", b"x"), (b"Cache-Groups", b'""')]) is None


@pytest.mark.parametrize(
    "value",
    [
        b" ".join(b"%d" % number for number in range(MAX_TAGS + 1)),
        b"x" * (MAX_TAG_CHARS + 1),
        b" ".join(b"%d" % number + b"x" * 1000 for number in range(MAX_TAGS_BYTES // 1000 + 1)),
    ],
)
def test_too_many_are_refused(value: bytes) -> None:
    with pytest.raises(TooManyTagsError):
        tagging_of([(b"xkey", value)])
    assert tagging_of([(b"xkey", value[: MAX_TAG_CHARS // 2])]) is not None


def test_what_is_made_of_two_responses_has_outlived_no_more_than_either() -> None:
    one, other = Tagging(("g", "a"), 1, "o", 7), Tagging(("h", "a", "b"), 1, "o", 5)
    assert joined(one, other) == Tagging(("g", "h", "a", "b"), 2, "o", 5)
    assert joined(one, None) is joined(None, one) is one
    assert joined(None, None) is None
    half = Tagging(tuple(str(number) for number in range(MAX_TAGS)))
    with pytest.raises(TooManyTagsError):
        joined(half, one)
