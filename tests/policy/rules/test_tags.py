"""Tags as users give them."""

from __future__ import annotations

from typing import Any

import pytest

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy import Rules
from aiohttp_cache_di.policy.rules.expiration import UrlExpiration, UrlRules
from aiohttp_cache_di.policy.rules.tags import tags_of


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        (None, ()),
        ((), ()),
        ("a b", ("a b",)),
        ([" a ", "b", "a"], ("a", "b")),
        ({"a"}, ("a",)),
        ((each for each in "ab"), ("a", "b")),
    ],
)
def test_a_text_or_several_are_tags(given: Any, tags: tuple[str, ...]) -> None:
    assert tags_of(given) == tags


@pytest.mark.parametrize("given", [7, b"a", [b"a"], "", " ", ["a", ""], [None], ["x" * 1025], map(str, range(300))])
def test_what_is_none_is_refused_by_the_name_of_what_gave_it(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^tag_fn\(\)"):
        tags_of(given, option="tag_fn()")


def test_what_comes_with_a_request_may_be_too_long_and_too_many() -> None:
    assert len(tags_of(["x" * 2000, *map(str, range(300))], bounded=False)) == 301
    with pytest.raises(ConfigurationError, match="a tag is a text"):
        tags_of([""], bounded=False)


def test_a_pattern_of_urls_says_tags() -> None:
    rules = UrlRules({"*/users": UrlExpiration(tags="users"), "*/odd": UrlExpiration(60, tags=[" a ", "a"])})
    users, odd = rules.match("http://a.test/users/7"), rules.match("http://a.test/odd")
    assert users is not None
    assert odd is not None
    assert (users.tags, users.says_more, odd.tags) == (("users",), True, ("a",))
    empty = UrlRules({"*": UrlExpiration(60, True, tags=[])}).match("http://a.test/")
    assert empty is not None
    assert (empty.tags, hash(empty) != 0) == ((), True)
    assert Rules().tags == ()
    with pytest.raises(ConfigurationError, match=r"\*/x.*tags"):
        UrlRules({"*/x": UrlExpiration(60, tags=[""])})
