from __future__ import annotations

import pytest
from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di.keys import REDACTED, has_param, redact_url, redacted
from aiohttp_cache_di.keys.names import is_bearer_param, is_secret_param
from tests.clients import Clients
from tests.messages import a_stored
from tests.origin import Origin, answer

BASE = "http://example.org/api"

SECRETS = """
    access_token token api_key apikey key X-Amz-Signature X-Amz-Credential X-Amz-Security-Token AWSAccessKeyId Signature
    X-Goog-Signature GoogleAccessId password passwd client_secret session_id sid jwt auth auth_token hmac id_token
    SAMLResponse ticket refresh-token sharedaccesskey Key-Pair-Id
"""
PLAIN = (
    "sig page q id keyword author sort user tenant lang X-Amz-Date X-Amz-Expires X-Amz-Algorithm monkeyboard csrf_token"
)


@pytest.mark.parametrize("name", SECRETS.split())
def test_a_parameter_whose_name_says_that_it_is_a_secret_is_not_shown(name: str) -> None:
    assert redact_url(f"{BASE}?a=1&{name}=hunter2&b=2") == f"{BASE}?a=1&{name}={REDACTED}&b=2"


@pytest.mark.parametrize("name", PLAIN.split())
def test_other_parameters_are_shown(name: str) -> None:
    assert redact_url(f"{BASE}?{name}=1") == f"{BASE}?{name}=1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (BASE, BASE),
        ("http://user:secret@example.org:8080/a?b=c#d", "http://example.org:8080/a?b=c"),
        (BASE + "?token=secret&a=1&token=other", f"{BASE}?token={REDACTED}&a=1&token={REDACTED}"),
        (BASE + "?tok%65n=secret", f"{BASE}?tok%65n={REDACTED}"),
        (BASE + "?token", f"{BASE}?token={REDACTED}"),
        (BASE + "?Token=x", f"{BASE}?Token={REDACTED}"),
        (BASE + "?mode=x&Mode=y", f"{BASE}?mode={REDACTED}&Mode=y"),
        (URL(BASE + "?%74oken=secret&x=%41", encoded=True), f"{BASE}?%74oken={REDACTED}&x=%41"),
        ("http://[::1]:80/?token=a%26b", f"http://[::1]:80/?token={REDACTED}"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str | URL, shown: str) -> None:
    assert redact_url(url, {"token", "mode"}) == shown
    assert "secret" not in redact_url(url, {"token", "mode"})


def test_a_signature_gives_no_access_by_itself() -> None:
    assert [is_bearer_param(name) for name in ("access_token", "key", "sid", "hmac", "X-Amz-Signature", "page")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert is_secret_param("X-Amz-Signature")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ((b"Content-Location", b"/a?token=x&p=1"), b"/a?token=REDACTED&p=1"),
        ((b"content-location", b"/a?mode=x,y;z#f"), b"/a?mode=REDACTED#f"),
        (
            (b"Link", b'<http://h/?page=2&api_key=x,y>; rel="next", </b?p=1&mode=z>; rel="last"'),
            b'<http://h/?page=2&api_key=REDACTED>; rel="next", </b?p=1&mode=REDACTED>; rel="last"',
        ),
        ((b"Refresh", b"5; url=/a?hmac=x"), b"5; url=/a?hmac=REDACTED"),
        ((b"SourceMap", b"/a.map?tok%65n=x"), b"/a.map?tok%65n=REDACTED"),
        ((b"Location", b"/made/1#access_token=x"), b"/made/1#access_token=REDACTED"),
        ((b"Link", b"</caf\xe9?token=x>"), b"</caf\xe9?token=REDACTED>"),
        ((b"X-Text", b"/a?token=x"), b"/a?token=x"),
        ((b"Link", b"</b?page=2>; token=x"), b"</b?page=2>; token=x"),
    ],
)
def test_a_field_that_names_a_url_is_stored_without_secrets(line: tuple[bytes, bytes], kept: bytes) -> None:
    entry = replace(a_stored(), raw_headers=((b"Date", b"x"), line))
    assert redacted(entry, {"mode"}).raw_headers == ((b"Date", b"x"), (line[0], kept))


def test_what_has_nothing_to_hide_stays_the_same_object() -> None:
    for entry in (a_stored(), a_stored({"Link": "</b?page=2>"}), a_stored({"Location": "/?signature=x"}, status=302)):
        assert redacted(entry, {"mode"}) is entry


@pytest.mark.parametrize(
    ("reference", "is_there"),
    [
        ("/a?mode=1", True),
        ("/a?p=1&mode", True),
        ("/a?m%6Fde=1", True),
        ("/a#mode=1", True),
        ("/a?access_token=1", True),
        ("/cb#access_token=1", True),
        ("/a?sig=1&X-Amz-Signature=2", False),
        ("/a?key", False),
        ("/mode?p=mode", False),
        ("/a", False),
    ],
)
def test_a_reference_is_searched_for_parameters_that_are_not_stored(reference: str, is_there: bool) -> None:
    assert has_param(reference, {"mode"}) is is_there


@pytest.mark.parametrize("cache_control", [False, True])
async def test_no_secret_of_a_url_is_in_the_store(clients: Clients, origin: Origin, cache_control: bool) -> None:
    link = "/a?access_token=hunter2&mode=hunter2"
    url = origin.on("/a", answer("a", headers={"Content-Location": link, "Link": f"<{link}>", "ETag": '"1"'}))
    client = clients(cache_control=cache_control, ignored_params=["mode"])
    target = f"{url}?access_token=hunter2&X-Amz-Signature=hunter2&mode=hunter2"
    assert [(await client.fetch(target))[0] for _ in range(2)] == [False, True]
    await client.fetch(target, headers={"Cache-Control": "no-cache"})
    await client.backend.settle()
    key = client.backend.create_key("GET", target)
    entry = await client.backend.responses.read_entry(key)
    assert entry is not None
    assert "hunter2" not in repr(entry)
    assert not (await client.fetch(target.replace("hunter2", "other")))[0]


@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_redirect_to_a_url_that_gives_access_is_not_stored(
    clients: Clients, origin: Origin, cache_control: bool
) -> None:
    url = origin.on("/a", answer(status=302, headers={"Location": "/b?access_token=hunter2"}))
    origin.on("/b", answer("b"))
    client = clients(cache_control=cache_control)
    for _ in range(2):
        assert (await client.fetch(url))[1] == "b"
    assert (origin.hits_of("/a"), origin.hits_of("/b")) == (2, 1)
