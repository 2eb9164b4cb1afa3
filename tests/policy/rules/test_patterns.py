"""Patterns of URLs: which part of a URL a star may stand for."""

from __future__ import annotations

import random
from typing import Any

import pytest
from yarl import URL

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy.rules import patterns
from aiohttp_cache_di.policy.rules.expiration import UrlRules
from aiohttp_cache_di.policy.rules.patterns import UrlPatterns
from aiohttp_cache_di.policy.rules.principals import PrincipalPatterns


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


@pytest.mark.parametrize("by_host", [True, False])
@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("e.test:443", "https://e.test/x"),
        ("e.test:443", "https://e.test:443/"),
        ("e.test:443", "http://e.test:443/"),
        ("e.test:443/x", "https://e.test/x?y"),
        ("e.test:80", "http://e.test/x"),
        ("*.test:443", "https://api.e.test/x"),
        ("[::1]:443", "https://[::1]/x"),
        ("*://e.test:443", "https://e.test/"),
        ("http*://e.test:80", "http://e.test/"),
        ("http://e.test?x=1", "http://e.test/?x=1&y=2"),
        ("http://e.test?x=1", "http://e.test?x=1"),
        ("http://e.test/?x=1", "http://e.test?x=1"),
        ("e.test?a&x=1/2", "http://e.test?a&x=1/2"),
        ("https://e.test:443?x=1", "https://e.test/?x=1"),
        ("e.test:8443?x=*", "https://e.test:8443/?x=1"),
    ],
)
def test_a_port_may_be_any_schemes_own_and_a_query_may_follow_the_host(pattern: str, url: str, by_host: bool) -> None:
    assert UrlPatterns([pattern], option="o", by_host=by_host).match(url)


@pytest.mark.parametrize("by_host", [True, False])
@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("e.test:443", "http://e.test/"),
        ("e.test:443", "https://e.test:8443/"),
        ("e.test:80", "https://e.test/"),
        ("https://e.test:443", "https://e.test:8443/"),
        ("*.test:443", "https://api.e.test:8443/"),
        ("http://e.test:443", "http://e.test/"),
        ("*s://e.test:80", "https://e.test/"),
        ("http://e.test?x=1", "http://e.test.x=1/"),
        ("http://e.test?x=1", "http://e.test/y?x=1"),
        ("http://e.test?x=1", "http://e.test/?X=1"),
        ("https://e.test?x=1", "https://e.test.evil.test/?x=1"),
    ],
)
def test_a_pattern_with_a_port_or_a_query_covers_no_other(pattern: str, url: str, by_host: bool) -> None:
    assert not UrlPatterns([pattern], option="o", by_host=by_host).match(url)


HOSTS = [
    "a.test",
    "A.test",
    "1.2.3.4",
    "a.1",
    "xn--9ca.test",
    "a.xn--9ca",
    "a-b.c",
    "a:80",
    "u@a",
    "[::1]",
    "0x7f",
    "a.",
    "",
]
PIECES = [
    "/",
    "?",
    "#",
    "a",
    "%C3",
    "%A9",
    "%2F",
    "%2f",
    "%",
    "%zz",
    "'",
    '"',
    "..",
    "\\",
    "[",
    "&",
    "+",
    " ",
    "é",
    "%20",
]


def test_a_url_that_needs_no_parsing_is_read_as_one_that_is_parsed() -> None:
    rng = random.Random(5)
    for _ in range(3000):
        scheme, host = rng.choice(["http", "https", "HTTP", "ftp"]), rng.choice(HOSTS)
        url = f"{scheme}://{host}{''.join(rng.choices(PIECES, k=rng.randrange(6)))}"
        assert patterns.as_read(url) == patterns._parsed(url)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        " ",
        "https://",
        "^https?://api.example.org/.*",
        "https?://api.example.org",
        "WSS?://api.example.org",
        "(http|https)://e.test/*",
        ".*://e.test/*",
        "https(s)?://e.test/*",
        "/api/*",
        "https:///api/*",
        "^api.example.org/v1",
        r"api\.example\.org/v1",
        r"(www\.)?example.org/",
        r".*\.example\.org/.*",
        ".*",
        ".example.org",
        "my host.test/*",
        "e.test:http/*",
        ":8080/*",
        ":*",
        ":http/*",
        "e.test#b",
        "#b",
        "*#b",
        "e.test/a#b",
        "e.test/[!x]#[b]",
        "e.test/[#",
        "?x=1",
        "?a&x=1/2",
        "?mail=a@b.test",
        "https://?x=1",
    ],
)
def test_a_pattern_that_begins_with_no_host_and_no_wildcard_or_has_a_fragment_is_refused_with_the_way_out(
    pattern: str,
) -> None:
    for by_host in (False, True):
        with pytest.raises(ConfigurationError) as caught:
            UrlPatterns([pattern], option="post_as_query", by_host=by_host)
        assert str(caught.value).startswith(f"post_as_query: {pattern!r} would match no URL: begin it with a host, or")
    with pytest.raises(ConfigurationError, match=r"^principals: "):
        PrincipalPatterns({pattern: "it"})
    with pytest.raises(ConfigurationError, match=r"^urls_expire_after: "):
        UrlRules({pattern: 60})


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("http*://e.test", "https://e.test/"),
        ("*/$metadata", "https://e.test/odata/$metadata"),
        ("*(1)", "https://e.test/items(1)"),
        ("e.test/.well-known/*", "https://e.test/.well-known/x"),
        ("[::1]:8080/x", "http://[::1]:8080/x"),
        ("e.test:*/x", "https://e.test:8443/x"),
        ("e.test:80?0/x", "https://e.test:8080/x"),
        ("user:pw@e.test/x", "https://e.test/x"),
        ("https://user:pw@e.test/x", "https://e.test/x"),
        ("*?mail=a@b.test", "https://e.test/x?mail=a@b.test"),
        ("tcp://e.test/*", "tcp://e.test/x"),
        ("npipe://e.test/*", "npipe://e.test/x"),
        ("HTTP+unix://e.test/*", "http+unix://e.test/x"),
        ("*+unix://e.test/*", "http+unix://e.test/x"),
        ("[!f]*://e.test/*", "tcp://e.test/x"),
        ("http[s]://e.test/*", "https://e.test/x"),
        ("?pi.e.test?c=1", "http://api.e.test/?c=1"),
        ("?xample.org/*", "http://example.org/x"),
        ("?xample.org/a=b", "http://example.org/a=b"),
        ("e.test/[!#]*", "http://e.test/x"),
        ("e.test/[]#x]", "http://e.test/x"),
        ("user:p#w@e.test/x", "http://e.test/x"),
        ("*/[[]", "http://e.test/%5B"),
        ("*[", "http://e.test/x["),
        (r"*a\b", "http://e.test/a%5Cb"),
        ("[2001:*", "http://[2001:db8::1]/"),
        ("[ab].test/x", "http://a.test/x"),
    ],
)
def test_a_pattern_that_may_match_a_url_is_not_refused(pattern: str, url: str) -> None:
    assert UrlPatterns([pattern], option="o").match(url)


@pytest.mark.parametrize(
    ("pattern", "quoted"),
    [
        ("https://user:s3cret@{host}/x", "'https://…@{host}/x'"),
        ("user:s3cret@e.test/[z-a]", "'…@e.test/[z-a]'"),
        ("https://s3cret@e.test/[z-a]", "'https://…@e.test/[z-a]'"),
        ("https://user:s3/c?r#et@e.test/a#b", "'https://…@e.test/a#b'"),
        ("*:s3cret@e.test/[z-a]", "'…@e.test/[z-a]'"),
        ("https://user:s3cret@e.test/[z-a]", "'https://…@e.test/[z-a]'"),
        ("user:s3cret@e.test?u=http://[z-a]", "'…@e.test?u=http://[z-a]'"),
        (b"https://user:s3cret@e.test/", "b'https://…@e.test/'"),
        (URL("https://user:s3cret@e.test/"), "URL('https://…@e.test/')"),
        ("e.test/@me[z-a]", "'e.test/@me[z-a]'"),
    ],
)
def test_the_error_for_a_pattern_quotes_neither_user_nor_password(pattern: Any, quoted: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        UrlPatterns([pattern], option="o")
    assert str(caught.value).startswith(f"o: {quoted} ")


def test_an_error_for_the_value_of_a_pattern_quotes_neither_user_nor_password() -> None:
    pattern: Any = "https://user:s3cret@e.test/"
    with pytest.raises(ConfigurationError, match=r"^urls_expire_after\['https://…@e\.test/'\]: "):
        UrlRules({pattern: "soon"})
    with pytest.raises(ConfigurationError, match=r"^principals\['https://…@e\.test/'\]: "):
        PrincipalPatterns({pattern: ""})
