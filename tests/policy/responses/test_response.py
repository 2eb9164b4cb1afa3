from __future__ import annotations

import pytest

from aiohttp_cache_di.policy import Fetch, Pass, on_response
from tests.messages import NOW, PRIVATE, a_request, a_response


@pytest.mark.parametrize(("status", "is_lasting"), [(200, True), (404, True), (500, False), (503, False)])
def test_an_error_of_the_origin_says_nothing_about_its_next_response(status: int, is_lasting: bool) -> None:
    response = a_response({"Cache-Control": "no-store"}, status=status)
    decision = on_response(a_request(), response, Fetch("uri-miss"), PRIVATE, now=NOW)
    assert isinstance(decision, Pass)
    assert decision.is_lasting is is_lasting
