"""The words for what a response says of the cache: each token has some, and the documentation has them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aiohttp_cache_di.telemetry.reasons import DETAILS, FORWARDED, RULES, SERVED, CacheDecision

ROOT = Path(__file__).parents[2]


def test_each_rule_that_the_page_on_caching_names_has_words() -> None:
    page = (ROOT / "docs" / "caching.md").read_text(encoding="utf-8")
    found = re.search(r"the rule of this page that forbids it \((.*?)\)", page, re.S)
    assert found is not None
    assert set(re.findall(r"`([a-z-]+)`", found[1])) == set(RULES)


def test_no_detail_means_two_things() -> None:
    assert not DETAILS.keys() & (RULES.keys() | SERVED.keys())
    assert not RULES.keys() & SERVED.keys()


@pytest.mark.parametrize(
    ("cache_status", "words"),
    [
        ("aiohttp-cache-di; hit; ttl=5", "answered from the cache"),
        ("aiohttp-cache-di; hit; ttl=-5; detail=disconnected", f"answered from the cache; {SERVED['disconnected']}"),
        ("aiohttp-cache-di; fwd=uri-miss; stored", f"sent to the origin: {FORWARDED['uri-miss']}; stored"),
        (
            "aiohttp-cache-di; fwd=stale; fwd-status=304; stored",
            f"sent to the origin: {FORWARDED['stale']}; the origin said 304; stored",
        ),
        (
            "aiohttp-cache-di; fwd=uri-miss; collapsed",
            f"sent to the origin: {FORWARDED['uri-miss']}; "
            "answered by the response to another request that was on its way",
        ),
        (
            "aiohttp-cache-di; fwd=uri-miss; detail=private",
            f"sent to the origin: {FORWARDED['uri-miss']}; not stored: {RULES['private']}",
        ),
        (
            "aiohttp-cache-di; fwd=uri-miss; detail=too-large",
            f"sent to the origin: {FORWARDED['uri-miss']}; not stored: {DETAILS['too-large']}",
        ),
        ("aiohttp-cache-di; detail=only-if-cached", SERVED["only-if-cached"]),
        ("aiohttp-cache-di; fwd=new-token", "sent to the origin: new-token"),
        ("", "the cache was not asked"),
    ],
)
def test_what_happened_is_said_in_words(cache_status: str, words: str) -> None:
    assert str(CacheDecision(cache_status)) == words
