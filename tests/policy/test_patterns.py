"""Patterns of URLs: which part of a URL a star may stand for."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.policy.patterns import UrlPatterns
from aiohttp_cache_di.policy.principals import PrincipalPatterns


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("*.amazonaws.com", "https://s3.amazonaws.com"),
        ("*.amazonaws.com", "https://s3.eu.amazonaws.com:8443/x?y"),
        ("*.amazonaws.com", "https://amazonaws.com.x.amazonaws.com/"),
        ("*.Example.COM", "https://api.example.com/"),
        ("https://*.example.com/v1/*", "https://a.b.example.com/v1/x/y"),
        ("*/v1/*", "https://any.test/v1/x"),
        ("api?.example.com", "https://api1.example.com/"),
        ("api[!x].example.com", "https://api1.example.com/"),
        ("example.com/*me", "https://example.com/x/y?me"),
    ],
)
def test_a_pattern_by_host_covers_the_hosts_that_it_names(pattern: str, url: str) -> None:
    assert UrlPatterns([pattern], option="o", by_host=True).match(url)
    assert UrlPatterns([pattern], option="o").match(url)
    assert PrincipalPatterns({pattern: "it"}).match(url) == "it"


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("*.amazonaws.com", "https://evil.test/me?next=https://s3.amazonaws.com/x"),
        ("*.amazonaws.com", "https://evil.test/a.amazonaws.com"),
        ("*.amazonaws.com", "https://evil.test?x=.amazonaws.com"),
        ("*.amazonaws.com", "https://x.amazonaws.com@evil.test/"),
        ("*.amazonaws.com/*", "https://evil.test/files/www.amazonaws.com/x"),
        ("*amazonaws*", "https://evil.test/amazonaws"),
        ("evil?x.amazonaws.com", "https://evil/x.amazonaws.com"),
        ("evil[!a]x.amazonaws.com", "https://evil/x.amazonaws.com"),
        ("https://*.amazonaws.com", "https://evil.test/https://s3.amazonaws.com"),
    ],
)
def test_a_pattern_by_host_is_found_in_no_path_and_no_query(pattern: str, url: str) -> None:
    assert not UrlPatterns([pattern], option="o", by_host=True).match(url)
    assert PrincipalPatterns({pattern: "it"}).match(url) is None


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("https://e.test:443/*", "https://e.test/x"),
        ("http://e.test:80", "http://e.test:80/"),
        ("https://[::1]:443/*", "https://[::1]/x"),
        ("*.PDF", "https://e.test/Report.PDF"),
        ("*Report.pdf", "https://e.test/x/Report.pdf"),
        ("*?ID=5", "https://e.test/x?ID=5"),
        ("*Müller", "https://e.test/wiki/M%C3%BCller"),
        ("e.test*ID=5", "https://e.test/x?ID=5"),
        ("*.Example.COM", "https://api.example.com/"),
    ],
)
def test_a_pattern_may_have_capitals_without_a_slash_and_the_own_port_of_its_scheme(pattern: str, url: str) -> None:
    assert UrlPatterns([pattern], option="o").match(url)
