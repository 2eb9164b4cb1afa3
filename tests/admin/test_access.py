"""Who is let in to the page: no other site's pages, no proxy's clients, and changes by a token only."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest

from aiohttp_cache_di.admin.access import COOKIE, TOKEN_HEADER, AccessControl
from aiohttp_cache_di.admin.messages import AdminError
from tests.admin.asking import TOKEN, ask, change

LOCAL = AccessControl(is_local=True)
OPEN = AccessControl(is_local=False)


def refused(code: str) -> Any:
    return pytest.raises(AdminError, check=lambda error: error.code == code)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::1%lo", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:8080"])
def test_clients_on_this_machine_are_local(peer: str, host: str) -> None:
    LOCAL.admit(ask(headers=[("host", host)], peers=(peer, peer)), is_page=False)


@pytest.mark.parametrize(
    "peers",
    [
        ("192.168.0.7",),
        ("::ffff:10.0.0.1",),
        ("0.0.0.0",),
        ("testclient",),  # of Starlette's TestClient
        ("",),  # of a Unix socket, by aiohttp
        (None,),
        (),  # of a Unix socket, by ASGI
        ("127.0.0.1", "10.0.0.1"),  # what a middleware makes of it, too
        ("10.0.0.1", "127.0.0.1"),
    ],
)
def test_others_are_not_local_whatever_they_say(peers: tuple[str | None, ...]) -> None:
    with refused("not-local"):
        LOCAL.admit(ask(peers=peers), is_page=False)
    OPEN.admit(ask(peers=peers), is_page=False)


@pytest.mark.parametrize(
    "header",
    ["x-forwarded-for", "x-forwarded-whatever", "forwarded", "x-real-ip", "via", "cf-connecting-ip", "true-client-ip"],
)
def test_what_a_proxy_has_handed_on_is_not_local(header: str) -> None:
    with refused("not-local"):
        LOCAL.admit(ask(headers=[("host", "localhost"), (header, "127.0.0.1")]), is_page=True)
    OPEN.admit(ask(headers=[("host", "localhost"), (header, "127.0.0.1")]), is_page=True)


def test_a_proxy_that_adds_nothing_is_known_by_what_it_speaks() -> None:
    with refused("not-local"):
        LOCAL.admit(ask(version="1.0"), is_page=True)
    OPEN.admit(ask(version="1.0"), is_page=True)
    LOCAL.admit(ask(version="2"), is_page=True)


@pytest.mark.parametrize(
    "hosts",
    [
        ("rebound.attacker.test",),
        ("localhost.attacker.test",),
        ("127.0.0.1.attacker.test:8080",),
        ("localhost@attacker.test",),
        ("attacker.test#localhost",),
        (" localhost",),
        ("0.0.0.0",),
        ("2130706433",),
        ("[::1",),
        ("",),
        (),
        ("localhost", "attacker.test"),
    ],
)
def test_a_name_that_leads_here_and_is_not_ours_is_refused(hosts: tuple[str, ...]) -> None:
    with refused("foreign-host"):
        LOCAL.admit(ask(headers=[("host", host) for host in hosts]), is_page=True)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_pages_of_other_sites_get_nothing_but_a_link_may_lead_to_the_page(site: str) -> None:
    link = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
    frame = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]
    fetch = [("sec-fetch-site", site), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")]
    OPEN.admit(ask(headers=link), is_page=True)
    for headers, is_page in ((link, False), (frame, True), (fetch, True), (fetch, False)):
        with refused("cross-site"):
            OPEN.admit(ask(headers=headers), is_page=is_page)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_page_itself_and_the_address_bar_are_let_in(site: str) -> None:
    OPEN.admit(ask(headers=[("sec-fetch-site", site)]), is_page=False)


def test_a_question_of_another_origin_is_refused_where_the_browser_tells_no_site() -> None:
    foreign = ask(headers=[("origin", "http://evil.test"), ("host", "service.test")])
    with refused("cross-site"):
        OPEN.admit(foreign, is_page=False)
    OPEN.admit(ask(headers=[("origin", "http://service.test"), ("host", "service.test")]), is_page=False)


def test_a_change_repeats_the_cookie() -> None:
    OPEN.admit_change(change())


@pytest.mark.parametrize(
    ("cookie", "token"),
    [(TOKEN, ""), ("", TOKEN), ("", ""), (TOKEN, "u" * 43), ("short", "short"), (f"{'t' * 42}ä", f"{'t' * 42}ä")],
)
def test_a_change_without_the_token_is_refused(cookie: str, token: str) -> None:
    with refused("token"):
        OPEN.admit_change(change(cookie=cookie, token=token))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("origin", "http://localhost:8080")], nullcontext()),
        ([("origin", "http://attacker.test")], refused("cross-site")),
        ([("origin", "http://localhost")], refused("cross-site")),  # another port is another origin
        ([("origin", "null")], refused("cross-site")),
        # The browser has compared, before a proxy has put another Host.
        ([("origin", "https://service.test"), ("sec-fetch-site", "same-origin")], nullcontext()),
        ([("origin", "https://service.test"), ("sec-fetch-site", "none")], refused("cross-site")),
    ],
)
def test_a_change_comes_from_the_own_origin(headers: list[tuple[str, str]], expected: Any) -> None:
    with expected:
        OPEN.admit_change(change(more=headers))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_another_site_cannot_change_anything(kind: str) -> None:
    headers = [("content-type", kind), (TOKEN_HEADER.lower(), TOKEN), ("host", "localhost")]
    with refused("content-type"):
        OPEN.admit_change(ask("POST", headers=headers, cookies={COOKIE: TOKEN}, body=json.dumps({}).encode()))


def test_a_token_is_given_once_and_kept() -> None:
    token, headers = OPEN.token_of(ask(is_https=True))
    assert headers["Set-Cookie"] == f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Secure"
    assert OPEN.token_of(ask(cookies={COOKIE: token}))[0] == token
    assert OPEN.token_of(ask())[0] != token
    assert OPEN.token_of(ask(cookies={COOKIE: "x; Domain=attacker.test"}))[0] != "x; Domain=attacker.test"
    OPEN.admit_change(change(cookie=token, token=token))
