"""A wrong value of an option is refused where the backend is made, not at each request."""

from __future__ import annotations

import math
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest

from aiohttp_cache_di import ConfigurationError
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.policy.rules.expiration import UrlExpiration


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("urls_expire_after", [("*", 1)]),
        ("allowed_codes", 200),
        ("allowed_codes", None),
        ("allowed_codes", ["200"]),
        ("allowed_codes", iter([200])),
        ("allowed_methods", "GET"),
        ("allowed_methods", None),
        ("ignored_params", "token"),
        ("filter_fn", None),
        ("match_order", "yes"),
        ("credential_headers", "X-Api-Key"),
        ("partition_cookies", "none"),
        ("partition_tls", "object"),
        ("stale_if_error", "5 months"),
        ("stale_if_error", [5]),
        ("stale_while_revalidate", "soon"),
        ("stale_while_revalidate", math.nan),
        ("stale_while_revalidate", -1),
        ("heuristic_fraction", 7),
        ("max_variants", None),
        ("max_body_bytes", "8MB"),
        ("max_entries", "5"),
        ("max_bytes", -1),
        ("coalesce_timeout", math.nan),
        ("lease", True),
        ("storage_deadline", None),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=f"^{name}=.*: use "):
        CacheBackend(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"allowed_codes": [HTTPStatus.OK, 404], "allowed_methods": {"GET": 1}, "ignored_params": iter(["a"])},
        {"stale_if_error": "1h", "stale_while_revalidate": timedelta(minutes=5), "expire_after": "5m"},
        {"stale_if_error": "always", "stale_while_revalidate": "none"},
        {"stale_if_error": True, "stale_while_revalidate": math.inf, "heuristic_fraction": 0, "lease": 0},
        {"max_entries": None, "max_bytes": 1e6, "max_body_bytes": 0, "credential_headers": ()},
    ],
)
def test_what_the_documentation_allows_is_taken(options: dict[str, Any]) -> None:
    CacheBackend(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"cache_control": True, "allowed_methods": ("GET", "POST")},
            "allowed_methods='GET,POST': with cache_control=True a response to POST answers no other request, for "
            "these methods are not cacheable in themselves (RFC 9110 §9.2.3); name the URLs to which POST is a query "
            "in post_as_query, or leave it out",
        ),
        (
            {"post_as_query": ["a.test"]},
            "post_as_query: without cache_control=True it has no effect; set that, or name POST in allowed_methods, "
            "or leave it out",
        ),
        (
            {"cache_control": True, "urls_expire_after": {"a.test": UrlExpiration(allowed_methods={"PUT"})}},
            "urls_expire_after: 'a.test': its allowed_methods: with cache_control=True a response to PUT answers no "
            "other request, for these methods are not cacheable in themselves (RFC 9110 §9.2.3); leave it out",
        ),
    ],
)
def test_options_that_do_nothing_together_are_told_with_the_way_out(
    options: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    CacheBackend("api", **options)

    assert caplog.messages == [f"Cache api: {told}"]
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.parametrize(
    "options",
    [
        {"allowed_methods": ("GET", "POST", "PUT")},
        {"cache_control": True, "allowed_methods": ("GET", "QUERY")},
        {"cache_control": True, "allowed_methods": ("GET", "POST"), "post_as_query": ["a.test"]},
    ],
)
def test_of_options_that_do_something_nothing_is_told(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    CacheBackend(**options)

    assert not caplog.messages
