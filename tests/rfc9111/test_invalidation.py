from __future__ import annotations

import pytest

from aiohttp_cache_di.rfc9111.invalidation import invalidated_urls, is_unsafe
from tests.messages import Fields, a_request, fields_of

TARGET = "http://example.org/a/thing?x=1"


def invalidated(
    fields: Fields = (), *, method: str = "POST", status: int | None = 200, url: str = TARGET
) -> tuple[str, ...]:
    return invalidated_urls(a_request(method=method, url=url), status, fields_of(fields))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "get", "PROPFIND"])
def test_safe_methods_invalidate_nothing(method: str) -> None:
    assert not is_unsafe(method)
    assert invalidated({"Location": "/b"}, method=method) == ()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FOO", "M-SEARCH", ""])
def test_other_methods_invalidate_the_target_even_unknown_ones(method: str) -> None:
    assert is_unsafe(method)
    assert invalidated(method=method) == (TARGET,)


@pytest.mark.parametrize(("status", "is_error"), [(200, False), (204, False), (303, False), (400, True), (500, True)])
def test_an_error_invalidates_nothing(status: int, is_error: bool) -> None:
    assert invalidated(status=status) == (() if is_error else (TARGET,))


def test_an_unsafe_request_without_a_response_may_have_changed_its_target() -> None:
    assert invalidated(status=None) == (TARGET,)
    assert invalidated(status=None, method="OPTIONS") == ()


def test_location_and_content_location_are_resolved() -> None:
    assert invalidated({"Location": "b#part", "Content-Location": "/c"}) == (
        TARGET,
        "http://example.org/a/b",
        "http://example.org/c",
    )


def test_a_url_is_named_once() -> None:
    assert invalidated({"Location": TARGET, "Content-Location": "#x"}) == (TARGET,)


@pytest.mark.parametrize(
    "reference",
    [
        "http://example.com/a",
        "https://example.org/a",
        "http://example.org:8080/a",
        "//example.com/a",
        "http://[::1/a",
        "http://example.org:x/a",
        "mailto:a@example.org",
        "",
    ],
)
def test_other_origins_and_nonsense_are_left_alone(reference: str) -> None:
    assert invalidated({"Location": reference}) == (TARGET,)


def test_a_default_port_is_the_same_origin() -> None:
    assert invalidated({"Location": "http://EXAMPLE.org:80/b"})[1:] == ("http://EXAMPLE.org:80/b",)


def test_a_repeated_location_is_not_followed() -> None:
    assert invalidated([("Location", "/b"), ("Location", "/c")]) == (TARGET,)
