"""Options of a session that is given a backend: they may repeat the backend's, but a different value is an error."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CacheBackend, CachedSession, ConfigurationError, SQLiteBackend, UrlExpiration
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS

MOMENT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "canary-canary-canary"  # pragma: allowlist secret


def may_keep(response: object) -> bool:
    return True


def whose(request: object) -> str | None:
    return None


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"expire_after": "1m"}, {"expire_after": 60}),
    ({"expire_after": timedelta(minutes=1)}, {"expire_after": 60.0}),
    ({"expire_after": "never"}, {"expire_after": -1}),
    ({"expire_after": None}, {}),
    ({"expire_after": "none", "cache_control": True}, {"cache_control": True}),
    ({"expire_after": MOMENT}, {"expire_after": "2030-01-02T03:04:05Z"}),
    ({"expire_after": "Wed, 02 Jan 2030 03:04:05 GMT"}, {"expire_after": MOMENT.replace(tzinfo=None)}),
    ({"allowed_codes": [200, 404]}, {"allowed_codes": (404, 200)}),
    ({"allowed_codes": range(200, 202)}, {"allowed_codes": frozenset({200, 201})}),
    ({"allowed_codes": [200]}, {}),
    ({"allowed_methods": {"get", "POST"}}, {"allowed_methods": ["post", "GET"]}),
    ({"ignored_params": ["a", "b"]}, {"ignored_params": {"b", "a"}}),
    ({"ignored_params": None}, {"ignored_params": ()}),
    ({"ignored_params": iter(["a"])}, {"ignored_params": iter(["a"])}),
    ({"urls_expire_after": {"a": "1h"}}, {"urls_expire_after": {"a": timedelta(hours=1)}}),
    ({"urls_expire_after": {"a": UrlExpiration("1h")}}, {"urls_expire_after": {"a": 3600}}),
    ({"urls_expire_after": {"a": {"expire_after": "1h"}}}, {"urls_expire_after": {"a": 3600}}),
    (
        {"urls_expire_after": {"a": {"stale_if_error": "1h", "allowed_methods": ["get"], "tags": ["x", "y"]}}},
        {"urls_expire_after": {"a": UrlExpiration(stale_if_error=3600, allowed_methods={"GET"}, tags=("y", "x"))}},
    ),
    ({"urls_expire_after": {}}, {"urls_expire_after": None}),
    ({"stale_if_error": "1h"}, {"stale_if_error": timedelta(hours=1)}),
    ({"stale_if_error": False}, {}),
    ({"stale_while_revalidate": True}, {"stale_while_revalidate": "always"}),
    ({"lease": 2}, {}),
    ({"coalesce_timeout": 2.0}, {}),
    ({"storage_deadline": 0.5}, {"storage_deadline": 0.5}),
    ({"storage_deadline": 0.25}, {}),
    ({"max_bytes": 1024.0}, {"max_bytes": 1024}),
    ({"max_entries": None}, {}),
    ({"post_as_query": ["*/graphql"], "cache_control": True}, {"post_as_query": ("*/graphql",), "cache_control": True}),
    ({"shared_credentials": {"a", "b"}}, {"shared_credentials": ["b", "a"]}),
    ({"credential_headers": ["X-A"]}, {"credential_headers": {"x-a"}}),
    ({"principals": {"a": "b"}}, {"principals": {"a": "b"}}),
    ({"secret_key": SECRET}, {"secret_key": [SECRET.encode()]}),
    ({"salt": "aiohttp-client-cache"}, {}),
    ({"filter_fn": may_keep}, {"filter_fn": may_keep}),
    ({"cache_name": "a"}, {"cache_name": "a"}),
    ({"autoclose": False, "shared": False, "coalesce": True}, {}),
]

NO_LIFETIME = "expire_after=-1 is not what the backend has (none is given: with cache_control, that adds no lifetime)"
IN_ITS_ORDER = "urls_expire_after={'a': 1, 'b': 2} is not what the backend has ({'b': 2, 'a': 1})"

OTHER: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"expire_after": "2m"}, {"expire_after": 60}, "expire_after='2m' is not what the backend has (60)"),
    ({"expire_after": -1, "cache_control": True}, {"cache_control": True}, NO_LIFETIME),
    ({"expire_after": MOMENT}, {"expire_after": 60}, "expire_after=datetime.datetime(2030"),
    ({"allowed_codes": (200, 404)}, {}, "allowed_codes=(200, 404) is not what the backend has ((200,))"),
    ({"allowed_codes": [200], "cache_control": True}, {"cache_control": True}, "allowed_codes=[200] is not"),
    ({"allowed_methods": ["GET"]}, {}, "allowed_methods=['GET'] is not"),
    ({"ignored_params": ["a"]}, {}, "ignored_params=['a'] is not what the backend has (frozenset())"),
    ({"urls_expire_after": {"a": "1h"}}, {"urls_expire_after": {"a": 60}}, "urls_expire_after={'a': '1h'} is not"),
    ({"urls_expire_after": {"a": 1, "b": 2}}, {"urls_expire_after": {"b": 2, "a": 1}}, IN_ITS_ORDER),
    ({"urls_expire_after": {"a": UrlExpiration(stale_if_error=False)}}, {"urls_expire_after": {"a": None}}, "urls_"),
    ({"stale_if_error": True}, {"stale_if_error": 60}, "stale_if_error=True is not what the backend has (60.0)"),
    ({"max_bytes": 1024}, {}, "max_bytes=1024 is not what the backend has (its default)"),
    ({"lease": 1}, {}, "lease=1 is not what the backend has (2.0)"),
    ({"secret_key": SECRET}, {"secret_key": SECRET * 2}, "secret_key= is not what the backend has"),
    ({"principals": {"a": SECRET}}, {}, "principals= is not what the backend has"),
]


@pytest.mark.usefixtures("usual_deadline")
@pytest.mark.parametrize(("of_session", "of_backend"), SAME, ids=str)
async def test_what_says_the_same_in_another_form_is_no_error(
    of_session: dict[str, Any], of_backend: dict[str, Any]
) -> None:
    async with CachedSession(cache=CacheBackend(**of_backend), **of_session):
        pass


@pytest.mark.parametrize(("of_session", "of_backend", "told"), OTHER, ids=str)
async def test_a_difference_is_told_by_name_and_values_with_the_way_out(
    of_session: dict[str, Any], of_backend: dict[str, Any], told: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(f"CachedSession: {told}")) as caught:
        CachedSession(cache=CacheBackend(**of_backend), **of_session)
    assert str(caught.value).endswith("With a cache=, the backend's options hold: give it there, or leave it out here")
    assert SECRET not in str(caught.value)


async def test_a_value_that_nothing_takes_is_told_as_that() -> None:
    with pytest.raises(ConfigurationError, match="expire_after='soon' is not a lifetime"):
        CachedSession(cache=CacheBackend(), expire_after="soon")
    with pytest.raises(ConfigurationError, match="lease='1s': use a number of seconds"):
        CachedSession(cache=CacheBackend(), lease="1s")  # type: ignore[arg-type]  # the wrong type is tested


async def test_what_the_backend_has_now_counts() -> None:
    backend = CacheBackend(expire_after=60)
    backend.expire_after = 120
    async with CachedSession(cache=backend, expire_after="2m"):
        pass
    with pytest.raises(TypeError, match=r"expire_after=60 is not what the backend has \(120\)"):
        CachedSession(cache=backend, expire_after=60)


async def test_options_of_a_backend_in_a_file_may_be_said_again(tmp_path: Path) -> None:
    backend = SQLiteBackend(str(tmp_path / "http"), expire_after=60, max_bytes=1024, cache_control=True)
    session = CachedSession(cache=backend, expire_after="1m", max_bytes=1024, cache_control=True, autoclose=True)
    await session.close()


async def test_a_value_that_compares_with_nothing_is_a_difference() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise TypeError("no")

        __hash__ = None  # type: ignore[assignment]  # it cannot be hashed either

        def dumps(self, value: object) -> bytes:
            return b""

        loads = dumps

    odd = Odd()
    backend = CacheBackend(serializer=odd)
    async with CachedSession(cache=backend, serializer=odd):
        pass
    with pytest.raises(TypeError, match="serializer= is not what the backend has"):
        CachedSession(cache=backend, serializer=Odd())


def test_each_option_can_be_looked_up() -> None:
    """All but ``max_bytes``, whose default depends on the store."""
    missing = object()
    backend = CacheBackend()
    assert {name for name in BACKEND_OPTIONS if backend.value_of(name, missing) is missing} == {"max_bytes"}
