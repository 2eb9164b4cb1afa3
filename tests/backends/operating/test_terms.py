"""The URLs by which entries are selected: those that can be requested; and how messages quote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from yarl import URL

from aiohttp_cache_di.backends.operating.selection import Selectors, selection
from aiohttp_cache_di.backends.operating.terms import expect_scheme, named_host, named_url
from aiohttp_cache_di.errors import ConfigurationError


@pytest.mark.parametrize("text", ["https://e.test/", "wss://e.test/", "tcp://e.test/x", "http+unix://e.test/x"])
def test_a_url_that_a_connector_may_request_is_accepted(text: str) -> None:
    expect_scheme(URL(text), text)


@pytest.mark.parametrize("text", ["ftp://e.test/", "file:///x", "redis://e.test/0", "//e.test/", "/x", "e.test"])
def test_a_url_that_is_never_requested_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^url='{text}': use an absolute URL"):
        expect_scheme(URL(text), text)


URLS = {
    "redis://:hunter2@h/0": "'redis://h/0'",
    "http://user:hunter2@h:99999/": "'http://…@h:99999/'",
    "http://h:99999/?token=hunter2": "'http://h:99999/?…'",
    "http://h:99999/;sid=hunter2": "'http://h:99999/;…'",
    "ftp://h/?a=b&token=hunter2": "'ftp://h/?a=b&token=REDACTED'",
    "/x?token=hunter2": "'/x?token=REDACTED'",
    "user:hunter2@h/x": "'…@h/x'",
    "ftp://user:12/hunter2@h/x": "'ftp://…@h/x'",
    "http://user:s#hunter2@h/x": "'http://…@h/x'",
    "http://user:hunter2@ex℀mple/": "'http://…@ex℀mple/'",
}


@pytest.mark.parametrize("given", URLS)
def test_an_error_quotes_a_url_without_its_secrets(given: str) -> None:
    calls: list[tuple[str, Callable[[Any], object]]] = [("url", named_url), ("host", named_host)]
    for name, parse in calls:
        with pytest.raises(ConfigurationError) as caught:
            parse(given)
        assert str(caught.value).startswith(f"{name}={URLS[given]}: ")
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("given", [b"http://u:hunter2@h/?a", URL("ftp://u:hunter2@h/"), URL("ftp://h/?token=hunter2")])
def test_an_error_quotes_another_object_without_secrets(given: Any) -> None:
    wrong: list[Selectors] = [{"url": given}, {"host": given}, {"match": given}, {"match": [given]}]
    for selectors in wrong:
        with pytest.raises(ConfigurationError) as caught:
            selection(selectors)
        assert "h/" in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "told"),
    {
        "?token=hunter2": "'?token=REDACTED'",
        "/v1/?token=hunter2&a=b": "'/v1/?token=REDACTED&a=b'",
        "*.h/x?token=hunter2[z-a]": "'*.h/x?token=REDACTED'",
        "http://u:hunter2@[a-c].h/x?token=hunter2[z-a]": "'http://…@[a-c].h/x?…'",
        "*.h/x#token=hunter2": "'*.h/x#…'",
    }.items(),
)
def test_an_error_quotes_a_pattern_without_secrets(pattern: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        selection({"match": pattern})
    assert str(caught.value).startswith(f"match={told} ")
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_the_pattern_that_is_suggested_for_a_host_has_no_password() -> None:
    with pytest.raises(ConfigurationError, match=r"^host='http://\*\.h/': that is a pattern; .*: 'http://\*\.h/'$"):
        named_host("http://u:hunter2@*.h/")
