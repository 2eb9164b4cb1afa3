"""The URLs by which entries are selected: those that can be requested."""

from __future__ import annotations

import pytest
from yarl import URL

from aiohttp_cache_di.backends.operating.terms import expect_scheme
from aiohttp_cache_di.errors import ConfigurationError


@pytest.mark.parametrize("text", ["https://e.test/", "wss://e.test/", "tcp://e.test/x", "http+unix://e.test/x"])
def test_a_url_that_a_connector_may_request_is_accepted(text: str) -> None:
    expect_scheme(URL(text), text)


@pytest.mark.parametrize("text", ["ftp://e.test/", "file:///x", "redis://e.test/0", "//e.test/", "/x", "e.test"])
def test_a_url_that_is_never_requested_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^url='{text}': use an absolute URL"):
        expect_scheme(URL(text), text)
