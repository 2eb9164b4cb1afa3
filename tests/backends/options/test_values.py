"""An invalid value of an option is refused when the backend is made, not at each request."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import (
    ConfigurationError,
    DynamoDBBackend,
    FileBackend,
    MongoDBBackend,
    RedisBackend,
    SQLiteBackend,
)
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.options.values import near_arguments
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.keys import credential_names
from aiohttp_cache_di.policy.rules.expiration import UrlExpiration


class Asking:
    """A coroutine function with a state."""

    async def __call__(self, request: object) -> str:
        return "tenant-7"


class Number:
    """A number that is neither an int nor a float."""

    def __float__(self) -> float:
        return 2.5


class Index:
    """An integer that is no int."""

    def __index__(self) -> int:
        return 200


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
        ("cache_control", "false"),
        ("include_headers", ["Accept"]),
        ("shared", None),
        ("store_cookies", "yes"),
        ("serializer", "json"),
        ("serializer", 5),
        ("cache_name", ""),
        ("cache_name", " "),
        ("cache_name", "redis://localhost:6379/0"),
        ("cache_name", "mongodb+srv://cluster.example.net"),
        ("cache_name", 5),
        ("cache_name", None),
        ("principal", 5),
        ("principal", asyncio.sleep),
        ("principal", Asking()),
        ("principal", Asking().__call__),
        ("principal", partial(Asking(), "x")),
        ("principal", partial(partial(asyncio.sleep, 1))),
        ("cache_name", "a\0b"),
        ("allowed_codes", [True]),
        ("allowed_codes", [200.0]),
        ("allowed_methods", [None]),
        ("allowed_methods", ["GET POST"]),
        ("ignored_params", ["token", None]),
        ("ignored_params", [b"token"]),
        ("credential_headers", ["X-Tenant:"]),
        ("credential_headers", ["X Tenant"]),
        ("credential_headers", [1]),
        ("credential_headers", iter(["X-Tenant:"])),
        ("allowed_methods", iter(["GET POST"])),
        ("ignored_params", iter([b"token"])),
        ("salt", 5),
        ("salt", None),
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
        {"allowed_codes": range(600)},
        {"allowed_codes": [Index(), 1000]},
        {"principal": Asking},
        {"principal": partial(str, "x")},
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


def test_an_address_in_place_of_a_name_is_not_repeated_with_its_password() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^cache_name='redis://…': use a name that is not blank; .* address= for Redis"
    ) as caught:
        RedisBackend("redis://:hunter2@localhost:6379/0")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        (RedisBackend, "url", "address"),
        (RedisBackend, "adress", "address"),
        (MongoDBBackend, "url", "host"),
        (DynamoDBBackend, "url", "endpoint_url"),
        (SQLiteBackend, "path", "cache_name"),
        (SQLiteBackend, "use_tmp", "use_temp"),
        (CacheBackend, "match_headers", "include_headers"),
    ],
)
def test_a_name_that_other_libraries_have_for_an_option_leads_to_ours(kind: Any, name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected option '{name}'; did you mean '{meant}'"):
        kind(**{name: "x"})


@pytest.mark.parametrize(
    ("kind", "name", "value", "said"),
    [
        (RedisBackend, "connection", "redis://h", "not a builtins.str; an address is given as address="),
        (MongoDBBackend, "connection", "mongodb://h", "not a builtins.str; an address is given as host="),
        (SQLiteBackend, "timeout", "soon", "timeout='soon': use a number of seconds"),
        (CacheBackend, "secret_key", 5, "secret_key is of the type int; give text or bytes"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_the_way_out(kind: Any, name: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        kind(**{name: value})


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (SQLiteBackend, {"timeout": "5s"}),
        (SQLiteBackend, {"timeout": "5"}),
        (SQLiteBackend, {"timeout": b"5"}),
        (SQLiteBackend, {"timeout": True}),
        (SQLiteBackend, {"timeout": None}),
        (SQLiteBackend, {"timeout": -1}),
        (SQLiteBackend, {"timeout": math.nan}),
        (SQLiteBackend, {"fast_save": "no"}),
        (SQLiteBackend, {"use_temp": "no"}),
        (SQLiteBackend, {"near_tier": "off"}),
        (SQLiteBackend, {"near_tier_bytes": "64MiB"}),
        (SQLiteBackend, {"near_tier_bytes": 0}),
        (FileBackend, {"use_temp": "no"}),
        (FileBackend, {"fsync": "no"}),
        (RedisBackend, {"near_tier_s": "5s"}),
        (RedisBackend, {"near_tier_s": True}),
        (RedisBackend, {"near_tier_bytes": "1MiB"}),
        (RedisBackend, {"address": None}),
        (RedisBackend, {"address": b"redis://localhost"}),
        (DynamoDBBackend, {"create_if_not_exists": "no"}),
        (DynamoDBBackend, {"consistent_reads": "no"}),
    ],
)
def test_an_option_of_one_store_with_a_value_that_cannot_be_used_is_refused_by_name(
    make: Any, option: dict[str, Any], tmp_path: Path
) -> None:
    own: dict[str, Any] = {} if make in (RedisBackend, DynamoDBBackend) else {"cache_name": tmp_path / "c"}
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        make(**own, **option)


@pytest.mark.parametrize(
    ("number", "read"), [(Fraction(5, 2), 2.5), (Number(), 2.5), (Index(), 200), (Decimal("2.5"), 2.5), (3, 3)]
)
def test_seconds_and_bytes_of_a_store_may_be_of_any_class_of_numbers(number: Any, read: float, tmp_path: Path) -> None:
    assert near_arguments({"near_tier_s": number, "near_tier_bytes": number}) == {
        "near_bytes": read,
        "near_lifetime_s": read,
    }
    assert CacheFile.resolve(tmp_path / "c", False, {"timeout": number}).options["timeout"] == read
    SQLiteBackend(str(tmp_path / "c"), timeout=number)


@pytest.mark.parametrize("value", ["5", b"5", True, 0, -1, math.nan, Fraction(0), Decimal("nan")])
def test_copies_for_a_time_that_is_no_number_above_0_are_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^near_tier_s=.*: use a number of seconds above 0"):
        near_arguments({"near_tier_s": value})
    with pytest.raises(ConfigurationError, match=r"^near_tier_bytes=.*: use a number of bytes above 0"):
        near_arguments({"near_tier_bytes": value})


@pytest.mark.parametrize("name", ["timeout", "use_temp", "near_tier", "create_if_not_exists"])
def test_an_option_of_another_store_is_unknown_whatever_its_value(name: str) -> None:
    options: dict[str, Any] = {name: None}
    with pytest.raises(TypeError, match=f"(?i)unknown option: {name}"):
        MongoDBBackend(**options)


def test_names_from_a_generator_are_checked_when_they_are_set_later_and_kept() -> None:
    backend = CacheBackend()
    late: Any = iter(["X-Tenant:"])
    with pytest.raises(ConfigurationError, match=r"^credential_headers=\('X-Tenant:',\): use "):
        backend.credential_headers = late
    named: Any = (name for name in ["X-Tenant"])
    assert CacheBackend(credential_headers=named).names_of_credentials == credential_names(["X-Tenant"])


def test_patterns_may_come_from_a_generator() -> None:
    options: dict[str, Any] = {
        "shared_credentials": (pattern for pattern in ["a.test"]),
        "post_as_query": (pattern for pattern in ["b.test"]),
    }
    backend = CacheBackend(cache_control=True, **options)
    assert backend.shared_patterns.match("http://a.test/")
    assert backend.query_patterns.match("http://b.test/")
