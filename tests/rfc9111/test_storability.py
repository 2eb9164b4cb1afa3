from __future__ import annotations

import pytest

from aiohttp_cache_di.rfc9111.directives import response_directives
from aiohttp_cache_di.rfc9111.messages import Request
from aiohttp_cache_di.rfc9111.storability import HOP_BY_HOP, unstorable_fields, why_not_storable
from tests.messages import Fields, a_request, fields_of


def why_not(
    fields: Fields = (), *, status: int = 200, request: Request | None = None, shared: bool = False
) -> str | None:
    headers = fields_of(fields)
    return why_not_storable(request or a_request(), status, headers, response_directives(headers), shared=shared)


def dropped(fields: Fields, *, shared: bool = False) -> frozenset[str]:
    headers = fields_of(fields)
    return unstorable_fields(headers, response_directives(headers), shared=shared)


@pytest.mark.parametrize("status", [200, 201, 299, 301, 302, 307, 400, 403, 404, 412, 416, 499, 500, 503, 599])
def test_any_final_status_may_be_stored(status: int) -> None:
    assert why_not({"Cache-Control": "max-age=60"}, status=status) is None


@pytest.mark.parametrize("status", [100, 101, 103, 304])
def test_interim_responses_and_304_are_not_stored(status: int) -> None:
    assert why_not({"Cache-Control": "max-age=60"}, status=status) == "status"


@pytest.mark.parametrize("field", ["If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since", "Range"])
def test_a_failed_condition_or_range_is_not_stored(field: str) -> None:
    request = a_request({field: "x"})
    assert why_not({"Cache-Control": "max-age=60"}, status=412, request=request) == "answers-condition"
    assert why_not({"Cache-Control": "max-age=60"}, status=416, request=request) == "answers-condition"


def test_no_store_forbids() -> None:
    assert why_not({"Cache-Control": "max-age=60, no-store"}) == "no-store"


def test_must_understand_takes_the_place_of_no_store() -> None:
    assert why_not({"Cache-Control": "no-store, must-understand, max-age=60"}) is None
    assert why_not({"Cache-Control": "must-understand, max-age=60"}, status=404) is None
    assert why_not({"Cache-Control": "must-understand, max-age=60"}, status=499) == "must-understand"
    assert why_not({"Cache-Control": "no-store, must-understand, max-age=60"}, status=599) == "must-understand"


def test_private_forbids_only_shared_caches() -> None:
    assert why_not({"Cache-Control": "private"}) is None
    assert why_not({"Cache-Control": "private"}, shared=True) == "private"
    assert why_not({"Cache-Control": 'private="X-A"'}, shared=True) is None


@pytest.mark.parametrize(
    ("cache_control", "reason"),
    [
        ("max-age=60", "authorization"),
        ("max-age=60, public", None),
        ("max-age=60, must-revalidate", None),
        ("s-maxage=60", None),
    ],
)
def test_a_shared_cache_stores_responses_with_credentials_only_if_the_origin_allows_it(
    cache_control: str, reason: str | None
) -> None:
    request = a_request({"Authorization": "Basic eA=="})
    assert why_not({"Cache-Control": cache_control}, request=request, shared=True) == reason
    assert why_not({"Cache-Control": cache_control}, request=request) is None


def test_a_part_is_stored_only_when_it_was_asked_for_and_is_not_coded() -> None:
    asked = a_request({"Range": "bytes=0-4"})
    assert why_not(status=206, request=asked) is None
    assert why_not(status=206) == "partial"
    assert why_not({"Content-Encoding": "gzip"}, status=206, request=asked) == "partial"
    assert why_not(status=206, request=a_request({"Range": "bytes=0-4"}, method="HEAD")) == "partial"


def test_fields_of_the_connection_are_not_stored() -> None:
    assert dropped({}) >= HOP_BY_HOP
    assert dropped({}) >= {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
    assert dropped({}) >= {"proxy-authenticate", "proxy-authorization", "proxy-authentication-info"}


def test_fields_that_connection_names_are_not_stored() -> None:
    assert dropped([("Connection", "close, X-A"), ("Connection", "x-b")]) >= {"x-a", "x-b", "close"}


def test_connection_cannot_remove_cache_control() -> None:
    assert "cache-control" not in dropped({"Connection": "Cache-Control"})


def test_cookies_are_not_stored() -> None:
    assert dropped({"Set-Cookie": "a=b"}) >= {"set-cookie", "set-cookie2"}


def test_fields_of_a_qualified_no_cache_are_not_stored() -> None:
    assert "x-a" in dropped({"Cache-Control": 'no-cache="X-A"'})


def test_fields_of_a_qualified_private_are_not_stored_by_a_shared_cache() -> None:
    assert "x-a" in dropped({"Cache-Control": 'private="X-A"'}, shared=True)
    assert "x-a" not in dropped({"Cache-Control": 'private="X-A"'})


def test_other_fields_are_stored() -> None:
    assert not dropped({"Cache-Control": "max-age=60", "X-A": "1"}) & {"x-a", "cache-control", "content-length", "age"}
