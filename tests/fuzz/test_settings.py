"""Variables that are anything: they are settings, or an error of ours that names one; and no text shows a secret."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.settings.report import effective_settings
from tests.fuzz.fuzzing import fuzzed

PREFIX = "AIOHTTP_CACHE_"
SECRET = "hunter2-hunter2-hunter2"
NAMES = [PREFIX + item.suffix for item in CacheSettings.variables()]
SECRET_NAMES = [PREFIX + item.suffix for item in CacheSettings.variables() if item.kind.secret]


def as_object(items: list[str]) -> str:
    """JSON texts as the values of an object of patterns."""
    return "{" + ",".join(f'"*{number}": {item}' for number, item in enumerate(items)) + "}"


pieces = st.sampled_from(
    [
        *("1h", "5m", "-1", "0", "inf", "nan", "1e400", "true", "none", "8MiB", "9" * 400, "sqlite", "redis", ",", ";"),
        *("redis://", "rediss://", "unix://", "http://", "host", ":", "@", "/", "?", "#", "%", "[", "]", "{", "}", '"'),
        *("*.example.org", "~", "..", "\n", "\t", " ", "é", "\udcff", "=", "$", "'", "a.b:C", "os:system", "[[[[[["),
    ]
)
texts = st.one_of(
    st.lists(pieces, max_size=8).map("".join),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30),
    st.integers(1, 5000).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(1, 5000).map(lambda depth: '{"a":' * depth + "1" + "}" * depth),
    st.recursive(
        st.sampled_from(["1", '"a"', "null", "true", '"1h"', "-1", "1e999"]),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
            st.lists(inner, max_size=3).map(as_object),
        ),
        max_leaves=8,
    ),
)
variables = st.dictionaries(st.sampled_from(NAMES), texts, max_size=4)
secret_texts = st.one_of(
    st.just(SECRET),
    st.tuples(texts, texts).map(SECRET.join),
    st.builds("redis://{}:{}@{}".format, pieces, st.just(SECRET), pieces),
)


pytestmark = pytest.mark.usefixtures("no_variables")


def texts_of(given_variables: dict[str, str]) -> str:
    """All that is said of the variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in given_variables.items():
            patch.setenv(name, text)
        try:
            settings = CacheSettings.load()
        except ConfigurationError as exc:
            return "".join(traceback.format_exception(exc))
        return f"{settings!r} {settings} {list(effective_settings(settings))}"


@fuzzed(250)
@given(variables)
def test_variables_are_settings_or_an_error_that_names_one(given_variables: dict[str, str]) -> None:
    said = texts_of(given_variables)
    assert "CacheSettings(" in said or any(name in said for name in given_variables)


@fuzzed(150)
@given(variables, st.sampled_from(SECRET_NAMES), secret_texts)
def test_no_text_shows_a_secret(given_variables: dict[str, str], name: str, text: str) -> None:
    assert SECRET not in texts_of({**given_variables, name: text})
