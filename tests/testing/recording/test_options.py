"""What a recording can be told, and what is said of what it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing import recorded


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"filter_jsn": ["a"]}, TypeError, "unknown option filter_jsn"),
        ({"filter_json": "a"}, TypeError, r"filter_json=\['a'\]"),
        ({"repeat": 1}, TypeError, "repeat=1: use True or False"),
        ({"filter": "a"}, TypeError, "filter='a': give a function"),
        ({"mode": "often"}, ConfigurationError, "record mode 'often': use one of none, once"),
    ],
)
def test_an_option_that_there_is_not_is_an_error(options: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        recorded("a.yaml", **options)


def test_a_path_that_is_none_is_an_error() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="5 is not the path of a file"):
        recorded(wrong)
