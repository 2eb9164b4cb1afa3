from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.keys import DEFAULT_CREDENTIAL_HEADERS, CredentialNames, create_key, credential_names
from aiohttp_cache_di.keys.names import says_which_resource, says_who_asks

BASE = "http://example.org/api"

TELLING = """
    Authorization Proxy-Authorization Cookie X-Api-Key Api-Key ApiKey X-ApiKey X-Auth-Token X-Access-Token
    X-Session-Token X-Goog-Api-Key X-Amz-Security-Token X-Functions-Key X-RapidAPI-Key X-Vault-Token
    Ocp-Apim-Subscription-Key
    Private-Token DD-API-KEY DD-APPLICATION-KEY X-Shopify-Access-Token X-Auth-Key X-API-Token Job-Token xi-api-key
    APCA-API-KEY-ID APCA-API-SECRET-KEY Cf-Access-Jwt-Assertion X-Forwarded-Access-Token DPoP Signature X-Signature
    X-Client-Cert X_Api_Key X-User-Id X-Forwarded-User Remote-User X-Tenant X-Tenant-Id X-Account-Id Client-Id
    X-Algolia-Application-Id X-Impersonate X-On-Behalf-Of X-Password SessionId X-Sid X-OTP Sec-Token-Binding X-Email
    X-Amz-Server-Side-Encryption-Customer-Key X-Authorisation X-Consumer-Credentials
    OpenAI-Organization X-Org-Id X-Customer-Id X-Member X-Workspace-Id X-Team-Id OpenAI-Project X-Company X-Merchant-Id
    X-License X-Device-Id X-Profile-Id X-SSL-Client-DN Sudo X-Acting-As X-Act-As X-Role X-Scopes X-PIN X-Login
    X-Amzn-Oidc-Data X-Amzn-Oidc-Identity X-Consumer-Custom-ID X-Okta-Uid X-Forwarded-Groups X-Remote-Groups X-Group
    X-SSL-Cert X-TLS-Client-Subject X-Forwarded-Client-Cert X-SSL-Client-S-DN X-Uid X-Pass
    X-CSRF-User Sec-WebSocket-Token Accept-Auth Sec-Fetch-Token Keep-Alive-Token X-User-Agent-Token
"""
SILENT = """
    Accept Accept-Encoding Accept-Language Accept-Signature User-Agent X-Amz-User-Agent Host Connection Keep-Alive
    Content-Type Content-Encoding If-None-Match Range Referer Origin Traceparent X-Request-Id X-Correlation-Id
    Idempotency-Key X-Idempotency-Key Sec-WebSocket-Key Sec-Fetch-User Sec-CH-UA Surrogate-Key X-Cache-Key X-CSRF-Token
    X-XSRF-TOKEN X-CSRFToken X-Keyword X-Author Authority X-Amz-Date Cache-Control Pragma DNT Prefer TE Via From
    Upgrade-Insecure-Requests X-Requested-With X-Pinned X-Projection Teamwork X-Remember X-Organic X-Device
    X-Certainty X-Grouping X-Fluid X-Bypass CSRF-Token X-Anti-CSRF-Token Sec-WebSocket-Protocol Sec-Fetch-Mode
    X-Forwarded-For X-Color-Scheme
"""


RESOURCES = """
    X-Forwarded-Host X-Forwarded-Server X-Forwarded-Prefix X-Forwarded-Proto X-Forwarded-Protocol X-Forwarded-Scheme
    X-Forwarded-Port X-Forwarded-SSL X-Forwarded-Path X-Forwarded-URI X-Host X-Original-Host X-Original-URL
    X-Original-URI X-Original-Proto X-Rewrite-URL X-Rewrite-URI X-HTTP-Method X-HTTP-Method-Override X-Method-Override
    X-HTTP-Host-Override X-Scheme X-URL-Scheme Front-End-Https Helicone-Target-URL X-Target-Host X-Portkey-Custom-Host
    X-HTTP-DestinationURL X-Upstream-URL X-Backend-Host X-Base-URL X-Proxy-URL X-Target-Domain Helicone-Target-Provider
    X-Original-Path X-Portkey-Provider Helicone-OpenAI-Api-Base X-Amz-Target SOAPAction
"""


@pytest.mark.parametrize("name", RESOURCES.split())
def test_a_header_by_which_a_server_makes_another_url_belongs_to_the_resource(name: str) -> None:
    """Else the redirect for plain HTTP that one request asks for would be every request's."""
    keys = {create_key("GET", BASE, headers={name: value} if value else {}) for value in ("", "http", "https")}
    assert len(keys) == 3
    assert says_which_resource(name.lower())


@pytest.mark.parametrize(
    "forwarded",
    [
        "host=a.test",
        "for=1.2.3.4;host=a.test",
        "for=1.2.3.4, proto=http",
        'FOR=x;by="y";Host="a:1"',
        'for="1;host=a"',
        "a.test",
    ],
)
def test_a_forwarded_field_that_names_a_host_or_scheme_belongs_to_the_resource(forwarded: str) -> None:
    keys = {
        create_key("GET", BASE, headers=headers) for headers in ({}, {"Forwarded": forwarded}, {"Forwarded": "host=b"})
    }
    assert len(keys) == 3
    named = {create_key("GET", BASE, headers=one, principal="me") for one in ({}, {"Forwarded": forwarded})}
    assert len(named) == 2


@pytest.mark.parametrize(
    "forwarded", ["for=192.0.2.60", 'For="[2001:db8::1]:80", for=unknown', "by=_proxy; for=_me;", ""]
)
def test_a_forwarded_field_that_names_clients_only_opens_no_partition(forwarded: str) -> None:
    assert create_key("GET", BASE, headers={"Forwarded": forwarded}) == create_key("GET", BASE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("for=a;host=b", "for=a, host=b"),  # of the nearest proxy, or of another one
        (r'host="a\";for=b\""', r'host="a\";for=c\""'),  # no client: a host with quotes
        ('host="a;for=b"', 'host="a;for=c"'),
    ],
)
def test_forwarded_fields_that_name_different_hosts_do_not_look_alike(one: str, other: str) -> None:
    assert create_key("GET", BASE, headers={"Forwarded": one}) != create_key("GET", BASE, headers={"Forwarded": other})


def test_clients_in_a_forwarded_field_count_if_the_user_names_it() -> None:
    names = DEFAULT_CREDENTIAL_HEADERS | ["Forwarded"]
    headers = [{"Forwarded": "for=192.0.2.60"}, {"Forwarded": "for=192.0.2.61"}, {}]
    assert len({create_key("GET", BASE, headers=one, credential_headers=names) for one in headers}) == 3


@pytest.mark.parametrize("name", TELLING.split())
def test_a_header_whose_name_says_who_asks_opens_a_partition(name: str) -> None:
    keys = {create_key("GET", BASE, headers={name: value} if value else {}) for value in ("", "a=1", "a=2")}
    assert len(keys) == 3


@pytest.mark.parametrize("name", SILENT.split())
def test_a_header_that_means_something_else_opens_none(name: str) -> None:
    headers = [{name: value} for value in ("example.org", "EXAMPLE.org")] + [{}]
    assert len({create_key("GET", BASE, headers=one) for one in headers}) == 1


def test_a_name_that_is_ignored_opens_none_in_any_case() -> None:
    one, other = (create_key("GET", BASE, headers={"Job-Token": who}, ignored_params=["job-TOKEN"]) for who in "ab")
    assert one == other
    assert create_key("GET", "http://u:p@example.org/api", ignored_params={"Authorization"}) == create_key("GET", BASE)


def test_a_collection_of_names_stands_for_these_alone() -> None:
    names = credential_names(["X-Region"])
    assert "x-region" in names
    assert "authorization" not in names
    assert names.isdisjoint(["authorization", "cookie"])
    assert not names.isdisjoint(["accept", "x-region"])


def test_names_are_added_to_the_rule_and_taken_from_it() -> None:
    names = DEFAULT_CREDENTIAL_HEADERS | ["X-Region"]
    assert "x-region" in names
    assert "authorization" in names
    assert "authorization" not in names.but(["Authorization"])
    assert "authorization" in names.but(["Authorization"]) | ["authorization"]
    assert "x-region" not in DEFAULT_CREDENTIAL_HEADERS


def test_equal_names_are_equal_and_show_what_counts() -> None:
    assert CredentialNames(["a"]) == DEFAULT_CREDENTIAL_HEADERS | ["A"]
    assert len({DEFAULT_CREDENTIAL_HEADERS | ["A"], CredentialNames(["a"])}) == 1
    assert CredentialNames(["a"]) != CredentialNames(["a"], by_rule=False)
    assert (
        repr(CredentialNames(["B", "a"], without=["C"])) == "CredentialNames(['a', 'b'], by_rule=True, without=['c'])"
    )


@given(st.lists(st.text(string.ascii_lowercase + "-", max_size=80), max_size=20))
def test_what_is_remembered_of_a_name_is_what_the_rule_says(names: list[str]) -> None:
    counting = CredentialNames()
    for name in [*names, *names]:
        assert (name in counting) is says_who_asks(name) is not counting.isdisjoint([name])


def test_the_names_that_are_remembered_are_bounded() -> None:
    counting = CredentialNames()
    for number in range(5000):
        assert f"x-{number}" not in counting
    assert "x" * 1000 not in counting
    assert len(counting._known) <= 1024
    assert "x" * 1000 not in counting._known
    assert all(counting.isdisjoint([f"X-{number}"]) for number in range(5000))
    assert counting.isdisjoint(["x" * 1000])
    assert len(counting._harmless) <= 1024
    assert "x" * 1000 not in counting._harmless


def test_names_are_told_apart_in_any_case() -> None:
    for _ in range(2):  # the second time by what is remembered
        assert DEFAULT_CREDENTIAL_HEADERS.isdisjoint(["Accept", "ACCEPT", "host"])
        assert not DEFAULT_CREDENTIAL_HEADERS.isdisjoint(["Accept", "AUTHORIZATION"])
        assert not DEFAULT_CREDENTIAL_HEADERS.isdisjoint(["cookie"])
