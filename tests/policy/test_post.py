from __future__ import annotations

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.policy import Rules, on_post_response
from tests.messages import NOW, PRIVATE, Fields, a_request, a_response

URL = "http://example.org/thing?a=1"
FRESH = {"Cache-Control": "max-age=60", "Content-Location": "/thing?a=1"}


def answers_get(fields: Fields, *, status: int = 200, method: str = "POST", rules: Rules = PRIVATE) -> bool:
    request = a_request({"Content-Type": "text/plain"}, method=method, url=URL)
    found = on_post_response(request, a_response(fields, status=status), rules)
    if found is None:
        return False
    get, store = found
    assert (get.method, get.url, store.fresh_until) == ("GET", URL, NOW + 60)
    return True


@pytest.mark.parametrize("location", ["/thing?a=1", URL, URL + "#f", "?a=1"])
def test_a_response_to_post_answers_get_where_it_says_so(location: str) -> None:
    assert answers_get({**FRESH, "Content-Location": location})


@pytest.mark.parametrize(
    "fields",
    [
        {"Cache-Control": "max-age=60"},
        {"Content-Location": URL, "ETag": '"a"', "Last-Modified": "Fri, 15 Jan 2027 07:00:00 GMT"},
        {**FRESH, "Cache-Control": "max-age=0"},
        {**FRESH, "Cache-Control": "max-age=60, no-store"},
        {**FRESH, "Content-Location": "/thing?a=2"},
        {**FRESH, "Content-Location": "http://other.test/thing?a=1"},
        {**FRESH, "Content-Location": "http://[bad"},
        {**FRESH, "Vary": "*"},
        [*FRESH.items(), ("Content-Location", "/thing?a=1")],
    ],
)
def test_a_response_that_does_not_say_so_answers_nothing(fields: Fields) -> None:
    assert not answers_get(fields)


def test_only_a_success_of_post_answers_get_and_only_by_the_standard() -> None:
    assert answers_get(FRESH)
    assert answers_get(FRESH, status=201)
    assert not answers_get(FRESH, status=404)
    assert not answers_get(FRESH, status=206)
    assert not answers_get(FRESH, method="PUT")
    assert not answers_get(FRESH, rules=Rules())
    assert not answers_get(FRESH, rules=replace(PRIVATE, allowed_methods=frozenset({"HEAD"})))
