from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from yarl import URL

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend, SQLiteBackend
from aiohttp_cache_di.keys import REDACTED, has_param, is_sealed, redact_url, redacted, unsealed
from aiohttp_cache_di.keys.names import is_bearer_param, is_secret_param
from tests.backends.entries import make_entry
from tests.clients import Clients, is_hit
from tests.messages import a_stored
from tests.origin import Origin, answer

BASE = "http://example.org/api"
KEY = b"k" * 64

SECRETS = """
    access_token token api_key apikey key X-Amz-Signature X-Amz-Credential X-Amz-Security-Token AWSAccessKeyId Signature
    X-Goog-Signature GoogleAccessId password passwd client_secret session_id sid jwt auth auth_token hmac id_token
    SAMLResponse ticket refresh-token sharedaccesskey Key-Pair-Id sig x-sig
    PHPSESSID sessid pass userSid user_pass xsrf_access_token csrf_token
"""
PLAIN = """
    page q id keyword author sort user tenant lang X-Amz-Date X-Amz-Expires X-Amz-Algorithm monkeyboard bypass compass
    inside
"""


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
        (BASE + "/a;jsessionid=secret/b;v=1?x=1", f"{BASE}/a;jsessionid={REDACTED}/b;v=1?x=1"),
        (BASE + "?next=/cb?token=secret&a=1", f"{BASE}?next={REDACTED}&a=1"),
        (BASE + "?next=https%3A%2F%2Fh%2F%3Fp%3D1%26key%3Dsecret", f"{BASE}?next={REDACTED}"),
        (BASE + "?next=%252Fcb%253Fsig%253Dsecret", f"{BASE}?next={REDACTED}"),
        (
            BASE + "?next=https%3A%2F%2Fa%2Fcb%3Fu%3Dhttps%253A%252F%252Fx%252F%253Faccess_token%253Dsecret",
            f"{BASE}?next={REDACTED}",
        ),
        (BASE + "?next=/a?b=1%26access_token%3Dsecret", f"{BASE}?next={REDACTED}"),
        (BASE + "?next=/a?b=/c?access_token=secret", f"{BASE}?next={REDACTED}"),
        (BASE + "?form=access_token%3Dsecret", f"{BASE}?form={REDACTED}"),
        (BASE + "?u=http%3A%2F%2Fuser%3Asecret%40h%2F", f"{BASE}?u={REDACTED}"),
        (BASE + "?u=http://user:secret@h/", f"{BASE}?u={REDACTED}"),
        (BASE + "?u=http%3A%2F%2Fh%2Fa%40b&mail=a%40b", f"{BASE}?u=http%3A%2F%2Fh%2Fa%40b&mail=a%40b"),
        (BASE + "?next=/cb?p=1&q=a%3Db", f"{BASE}?next=/cb?p=1&q=a%3Db"),
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
        ((b"Content-Location", b"http://user:x@h:80/a@b"), b"http://h:80/a@b"),
        ((b"Link", b"<//x@h/?a=@>, <https://u:x@h>"), b"<//h/?a=@>, <https://h>"),
        ((b"SourceMap", b"/a.map?tok%65n=x"), b"/a.map?tok%65n=REDACTED"),
        ((b"Location", b"/made/1#access_token=x"), b"/made/1#access_token=REDACTED"),
        ((b"Link", b"</caf\xe9?token=x>"), b"</caf\xe9?token=REDACTED>"),
        ((b"URI", b"/a?token=x"), b"/a?token=REDACTED"),
        ((b"X-Accel-Redirect", b"/a?token=x"), b"/a?token=REDACTED"),
        ((b"Operation-Location", b"/a?token=x"), b"/a?token=REDACTED"),
        ((b"Azure-AsyncOperation", b"/a?token=x"), b"/a?token=REDACTED"),
        ((b"Referer", b"http://h/?u=http%3A%2F%2Fu%3Ax%40h"), b"http://h/?u=REDACTED"),
        ((b"X-Text", b"/a?token=x"), b"/a?token=x"),
        ((b"Link", b"</b?page=2>; token=x"), b"</b?page=2>; token=x"),
    ],
)
def test_a_field_that_names_a_url_is_stored_without_secrets(line: tuple[bytes, bytes], kept: bytes) -> None:
    entry = replace(a_stored(), raw_headers=((b"Date", b"x"), line))
    assert redacted(entry, {"mode"}).raw_headers == ((b"Date", b"x"), (line[0], kept))


def test_what_has_nothing_to_hide_stays_the_same_object() -> None:
    for entry in (a_stored(), a_stored({"Link": "</b?page=2>"}), a_stored({"Location": "/?page=2"}, status=302)):
        assert redacted(entry, {"mode"}) is entry
        assert unsealed(entry) is entry


@pytest.mark.parametrize(
    "location",
    [
        "/b?p=1&signature=hunter2#top",
        "https://h/b?X-Amz-Signature=hunter2",
        "?sig=hunter2",
    ],
)
def test_the_location_of_a_signed_redirect_is_sealed(location: str) -> None:
    entry = a_stored({"Location": location, "ETag": '"1"'}, status=302)
    kept = redacted(entry, (), KEY)
    assert is_sealed(kept)
    assert "hunter2" not in repr(kept)
    assert kept.headers["Location"].startswith(location.partition("hunter2")[0] + REDACTED)
    assert redacted(kept, (), KEY) is kept
    assert unsealed(kept, KEY) == entry
    assert unsealed(kept, b"another key") is unsealed(kept) is None
    assert unsealed(replace(kept, url="http://example.org/other"), KEY) is None


def test_the_location_of_a_redirect_with_a_password_is_sealed() -> None:
    entry = a_stored({"Location": "http://user:hunter2@h/a"}, status=302)
    kept = redacted(entry, (), KEY)
    assert kept.headers["Location"].startswith("http://h/a#sealed=")
    assert "hunter2" not in repr(kept)
    assert unsealed(kept, KEY) == entry


def test_where_a_redirect_leads_that_says_it_by_uri_is_sealed() -> None:
    entry = a_stored({"URI": "/b?sig=hunter2"}, status=302)
    kept = redacted(entry, (), KEY)
    assert is_sealed(kept)
    assert "hunter2" not in repr(kept)
    assert unsealed(kept, KEY) == entry


def test_without_a_key_this_process_can_open_it() -> None:
    entry = a_stored({"Location": "/b?sig=hunter2"}, status=302)
    assert unsealed(redacted(entry)) == entry


def test_only_redirects_have_something_sealed() -> None:
    assert not is_sealed(a_stored({"Location": "/b#sealed=x"}, status=201))
    assert redacted(a_stored({"Location": "/b?sig=x"}, status=201)).headers["Location"] == f"/b?sig={REDACTED}"
    assert has_param("/b#sealed=x", ())


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
        ("/a;jsessionid=1", True),
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


class Signed:
    """An origin whose redirect leads to a URL that is signed."""

    def __init__(self, origin: Origin) -> None:
        self.url = origin.on("/download", answer(status=302, headers={"Location": "/blob?p=1&sig=hunter2"}))
        origin.on("/blob", lambda request: answer(request.target))


@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_signed_redirect_is_followed_and_its_signature_is_not_in_the_store(
    clients: Clients, origin: Origin, cache_control: bool
) -> None:
    client, signed = clients(cache_control=cache_control), Signed(origin)
    for expected in (False, True, True):
        async with client.session.get(signed.url) as response:
            assert (is_hit(response), await response.text()) == (expected, "/blob?p=1&sig=hunter2")
            assert response.history[0].headers["Location"] == "/blob?p=1&sig=hunter2"
            assert response.url.query["sig"] == "hunter2"
    assert origin.hits == 2
    await client.backend.settle()
    for url in (signed.url, f"{origin.url}/blob?p=1&sig=hunter2"):
        entry = await client.backend.stack.get(client.backend.create_key("GET", url))
        assert entry is not None
        assert "hunter2" not in repr(entry).replace("b'/blob?p=1&sig=hunter2'", "the body")


async def test_those_who_wait_for_a_signed_redirect_are_led_on(clients: Clients, origin: Origin) -> None:
    client, signed = clients(expire_after=60), Signed(origin)
    fetched = await asyncio.gather(*(client.fetch(signed.url) for _ in range(4)))
    assert [text for _, text in fetched] == ["/blob?p=1&sig=hunter2"] * 4
    assert origin.hits == 2


def content_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


@pytest.mark.parametrize("secret_key", [None, "a secret of some length"])
async def test_a_file_has_no_signature_and_leads_on_in_another_process(
    origin: Origin, tmp_path: Path, secret_key: str | None
) -> None:
    signed, path = Signed(origin), tmp_path / "cache.sqlite"
    origin.on("/blob", answer("blob"))

    async def asked(**options: Any) -> int:
        """How often the origin has been asked where to, after one more download."""
        backend = SQLiteBackend(str(path), expire_after=60, **options)
        async with CachedSession(cache=backend) as session, session.get(signed.url) as response:
            assert await response.text() == "blob"
        await backend.close()
        assert b"hunter2" not in content_of(tmp_path)
        return origin.hits_of("/download")

    assert [await asked(secret_key=secret_key) for _ in range(3)] == [1, 1, 1]
    if secret_key is not None:
        after_rotation = ["another secret of some length", secret_key]
        assert [await asked(secret_key=after_rotation) for _ in range(2)] == [2, 2]


URLS = [
    "/a?access_token=hunter2",
    "/a?p=1&sig=a%2Fb",
    "/a;jsessionid=hunter2",
    "/a?mode=x&token=y",
    "/a?mode=x",
    "/a?p=1",
]


@pytest.mark.parametrize("cache_control", [False, True])
async def test_what_is_listed_can_be_asked_for_and_deleted(
    clients: Clients, origin: Origin, cache_control: bool
) -> None:
    client = clients(cache_control=cache_control, ignored_params=["mode"])
    origin.on("/a", answer("a"))
    origin.on("/a;jsessionid=hunter2", answer("a"))
    signed = Signed(origin)
    urls = [URL(origin.url + url, encoded=True) for url in URLS]
    for url in urls:
        async with client.session.get(url) as response:
            await response.read()
    await client.fetch(signed.url)
    listed = [url async for url in client.backend.get_urls()]
    assert len(listed) == len(urls) + 2
    assert "hunter2" not in str(listed)
    for asks in (client.backend, client.session):
        if isinstance(asks, CacheBackend | CachedSession):
            assert [await asks.has_url(URL(url, encoded=True)) for url in listed] == [True] * len(listed)
            assert not await asks.has_url(f"{origin.url}/b?sig={REDACTED}")
    for each in listed:
        await client.backend.delete_url(URL(each, encoded=True))
    assert [url async for url in client.backend.get_urls()] == []


async def test_a_listed_url_stands_for_all_that_are_listed_so(clients: Clients, origin: Origin) -> None:
    client, url = clients(allowed_methods=("GET", "POST"), expire_after=60), origin.on("/a", answer("a"))
    for token in ("x", "y"):
        await client.fetch(f"{url}?token={token}")
        await client.fetch(f"{url}?token={token}", "POST")
    await client.fetch(f"{url}?token=x&p=1")
    await client.backend.settle()
    assert await client.backend.delete_url(f"{url}?token={REDACTED}") == 2
    assert await client.backend.delete_url(f"{url}?token=x", "POST") == 1
    assert len([url async for url in client.backend.get_urls()]) == 2


async def test_what_others_have_stored_with_a_secret_is_listed_without(clients: Clients) -> None:
    backend = clients().backend
    entry = replace(make_entry("k"), url="http://user:hunter2@origin.test/a?p=1&token=hunter2")
    await backend.responses.write_entry(entry)
    listed = [url async for url in backend.get_urls()]
    assert listed == [f"http://origin.test/a?p=1&token={REDACTED}"]
    assert await backend.delete_url(listed[0]) == 1
