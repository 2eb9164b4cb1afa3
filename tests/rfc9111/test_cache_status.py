from __future__ import annotations

import math

from aiohttp_cache_di.rfc9111.cache_status import forwarded, generated, hit, stored


def test_a_hit_states_the_seconds_left_rounded_down() -> None:
    assert hit(fresh_until=130.9, now=100) == "aiohttp-cache-di; hit; ttl=30"
    assert hit(fresh_until=94.5, now=100) == "aiohttp-cache-di; hit; ttl=-6"


def test_a_hit_without_an_end_states_none() -> None:
    assert hit(fresh_until=math.inf, now=100) == "aiohttp-cache-di; hit"
    assert hit(fresh_until=-math.inf, now=100, detail="max-stale") == "aiohttp-cache-di; hit; detail=max-stale"


def test_a_forwarded_request_states_why_and_what_came_of_it() -> None:
    assert forwarded("uri-miss") == "aiohttp-cache-di; fwd=uri-miss"
    assert forwarded("stale", fwd_status=304) == "aiohttp-cache-di; fwd=stale; fwd-status=304"
    assert stored(forwarded("stale", fwd_status=304)) == "aiohttp-cache-di; fwd=stale; fwd-status=304; stored"
    assert forwarded("uri-miss", collapsed=True) == "aiohttp-cache-di; fwd=uri-miss; collapsed"
    assert forwarded("uri-miss", detail="no-store") == "aiohttp-cache-di; fwd=uri-miss; detail=no-store"


def test_an_answer_of_the_caches_own_is_neither_hit_nor_forwarded() -> None:
    assert generated("only-if-cached") == "aiohttp-cache-di; detail=only-if-cached"
